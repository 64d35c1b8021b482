"""Several probe sets as one."""

from __future__ import annotations

from collections.abc import Sequence

from lem.errors import LemError
from lem.probes.load import load_probes
from lem.records import Probe
from lem.text import excerpt

_STOPPED = "One answer would count as two; nothing was run."


def load_union(where: Sequence[str]) -> list[Probe]:
    """The probes of all sets, in order; a probe that is in several of them is taken once.

    Args:
        where: built-in names or paths.

    Raises:
        LemError: as for `load_probes`; or one id with two prompts, or one prompt with two ids.
    """
    probes: dict[str, Probe] = {}
    ids: dict[str, Probe] = {}
    for place in where:
        for probe in load_probes(place):
            known = probes.setdefault(probe.id, probe)
            if known.prompt != probe.prompt:
                raise LemError(
                    f"The probe {excerpt(probe.id)} has another prompt in {place} than in "
                    f"{known.set}.",
                    "Its answers could not be told apart; nothing was run.",
                    "Rename one of the two probes, or leave one of the sets out.",
                )
            same = ids.setdefault(probe.prompt, probe)
            if same.id != probe.id:
                raise LemError(
                    f"The probes {excerpt(same.id)} (in {same.set}) and {excerpt(probe.id)} "
                    f"(in {place}) have the same prompt.",
                    _STOPPED,
                    "Remove one of the two, or give them the same id.",
                )
    return list(probes.values())
