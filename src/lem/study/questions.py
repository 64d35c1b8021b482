"""The questions of a study: which answers, of whatever input, are to the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lem.errors import LemError
from lem.scoring.shapes import Item
from lem.study.records import ProbeText
from lem.text import printable, sha256

_NO_DOMAIN = "(none)"


class Questions:
    """Gives every question its id. Inputs share a question only if id and text are the same.

    Args:
        problem: told (kind, place, text) of what a reader must know.
    """

    def __init__(self, problem: Callable[[str, str, str], None]) -> None:
        self._problem = problem
        self.probes: dict[str, ProbeText] = {}
        self.asked: dict[str, str] = {}
        """Question -> the id it was first seen under."""

    def place(self, item: Item, cluster: str | None = None) -> str:
        """The study's id of the question that an answer is to.

        Args:
            cluster: its dilemma, as the run's manifest says it.

        Raises:
            LemError: it is said to be a wording of two dilemmas.
        """
        own, prompt = str(item.id), item.prompt
        name = printable(own)
        if item.numbered and prompt is not None:
            name = self.asked.get(prompt, name)
        cluster = item.cluster or cluster
        # a cluster that is the id says nothing: every question is a wording of itself
        cluster = None if cluster in (None, own) else printable(str(cluster))
        domain = printable(item.category or _NO_DOMAIN)
        first = self.probes.setdefault(name, ProbeText(name, domain, cluster or name, prompt))
        if None not in (first.prompt, prompt) and first.prompt != prompt:
            other = f"{name}~{sha256(str(prompt))[:6]}"
            if other not in self.probes:
                self.probes[other] = ProbeText(other, domain, cluster or other, prompt)
                self._problem(
                    "other text",
                    f"{item.file}: {name}",
                    f"another question goes by the id {name} elsewhere; here it is called {other}, "
                    "and the two are not compared",
                )
            name, first = other, self.probes[other]
        if prompt is not None:
            self.asked.setdefault(prompt, name)
        self._complete(first, domain, cluster, prompt, item.file)
        return name

    def _complete(
        self, first: ProbeText, domain: str, cluster: str | None, prompt: str | None, file: str
    ) -> None:
        """Add what another line says of a known question and the lines before it did not.

        Raises:
            LemError: it is said to be a wording of two dilemmas.
        """
        if first.prompt is None and prompt is not None:
            self.probes[first.id] = first = first._replace(prompt=prompt)
        if first.domain == _NO_DOMAIN != domain:
            self.probes[first.id] = first = first._replace(domain=domain)
        if cluster is None or cluster == first.cluster:
            return
        if first.cluster != first.id:
            raise LemError(
                f"{printable(file)}: {first.id} is said to be a wording of the dilemma {cluster}, "
                f"and elsewhere of {first.cluster}.",
                "Dilemmas are what is counted, so nothing was reported.",
                "Give it the same cluster everywhere; of a run, correct its probe file and run "
                "the same command again (no answer is made twice).",
            )
        self.probes[first.id] = first._replace(cluster=cluster)

    def order(self, known: Iterable[str]) -> None:
        """Put the probes in the order of the sets they were asked from, as far as runs say it;
        answers stand in a log as they were finished."""
        names = dict.fromkeys([*map(printable, known), *self.probes])
        self.probes = {name: self.probes[name] for name in names if name in self.probes}
