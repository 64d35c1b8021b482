"""Errors a user can act on: what is wrong, what it means, what to do."""

from __future__ import annotations


class LemError(Exception):
    """Bad input or a broken surrounding, told as cause, consequence and fix.

    The command line prints it and exits with code 2. Nothing is written after it is raised, and
    nothing that was written before is lost.

    Args:
        cause: what is wrong, naming the file, line or field.
        consequence: what did not happen because of it.
        fix: what the user can do now.
    """

    exit_code = 2

    def __init__(self, cause: str, consequence: str, fix: str) -> None:
        super().__init__(cause, consequence, fix)
        self.cause, self.consequence, self.fix = cause, consequence, fix

    def __str__(self) -> str:
        return f"{self.cause}\n  so:  {self.consequence}\n  fix: {self.fix}"


def missing_extra(what: str, extra: str) -> LemError:
    """The error for a back end whose packages are not installed."""
    return LemError(
        f"{what} is not installed.",
        "The back end that needs it cannot start.",
        f"pip install 'lem-lab[{extra}]'",
    )
