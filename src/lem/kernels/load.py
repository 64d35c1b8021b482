"""Kernels from the package or from a file, used as they stand."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

from lem.errors import LemError
from lem.records import Kernel
from lem.text import read_text, sha256

#: Default condition name -> built-in file.
BUILT_IN = {"json": "lek-1.json", "txt": "lek-1.txt"}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def data_text(file: str) -> str:
    """A text file that ships with this room."""
    return (resources.files("lem.kernels") / "data" / file).read_text(encoding="utf-8")


def make_kernel(name: str, text: str, source: str) -> Kernel:
    """A kernel record with its hash. The text is used without its outer blank space, which chat
    templates treat differently."""
    text = text.strip()
    return Kernel(name=name, text=text, sha256=sha256(text), source=source)


def load_kernel(name: str, where: str) -> Kernel:
    """A kernel by built-in file name or by path.

    Args:
        name: the condition's name.
        where: ``lek-1.json``, ``lek-1.txt``, or a path. A file of that name in the working
            folder goes before the built-in one.

    Raises:
        LemError: unreadable, empty or not UTF-8; or a .json file that is not JSON.
    """
    path = Path(where)
    if not path.exists() and where in BUILT_IN.values():
        return make_kernel(name, data_text(where), f"built-in {where}")
    text = read_text(path, "kernel")
    if path.suffix.lower() == ".json":
        try:
            json.loads(text)
        except json.JSONDecodeError as e:
            raise LemError(
                f"The kernel {path} is not valid JSON: {e.msg} at line {e.lineno}, "
                f"column {e.colno}.",
                "A broken kernel would be sent to the model as it stands; nothing was run.",
                "Repair the file, or rename it to .txt if it is meant as plain text.",
            ) from None
    return make_kernel(name, text, str(path))


def parse_kernel_option(value: str) -> tuple[str, str]:
    """``NAME=PATH`` as given to ``--kernel``.

    Raises:
        LemError: not of that form, or the name has characters that file names dislike.
    """
    name, equals, where = value.partition("=")
    if not equals or not where or not _NAME.fullmatch(name):
        raise LemError(
            f"--kernel {value!r} is not NAME=PATH.",
            "No condition could be made of it, and nothing was run.",
            "For example: --kernel json=kernel/axioms.json "
            "(a name has letters, digits, '.', '_' or '-').",
        )
    return name, where
