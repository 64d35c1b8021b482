"""The check of probe and lesson sets: every rule, every figure, in one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeVar

from lem.corpus import style
from lem.corpus.contamination import REPHRASED, Contamination, Hit, contamination
from lem.corpus.duplicates import NEAR, Pair, duplicates, shared_runs
from lem.corpus.rules import RULES, Rules, rules_of
from lem.corpus.semantic import Embedded, Embedder
from lem.corpus.texts import Part, Passage, of_lessons, of_probes, of_systems
from lem.kernels import BUILT_IN as KERNELS
from lem.kernels import load_kernel
from lem.records import Lesson, Probe

T = TypeVar("T", Probe, Lesson)


class SetOf(NamedTuple):
    """A set to be checked."""

    name: str
    items: Sequence[Probe] | Sequence[Lesson]

    @property
    def passages(self) -> list[Passage]:
        """Its texts, under its own name."""
        return of_probes(self._own(Probe)) + of_lessons(self._own(Lesson))

    @property
    def systems(self) -> list[Passage]:
        """The system messages of its lessons, each once."""
        return of_systems(self._own(Lesson))

    def _own(self, kind: type[T]) -> list[T]:
        return [i.model_copy(update={"set": self.name}) for i in self.items if isinstance(i, kind)]

    @property
    def training(self) -> bool:
        """Whether it is of lessons."""
        return any(isinstance(i, Lesson) for i in self.items)


class Finding(NamedTuple):
    """A rule that is broken."""

    rule: str
    where: str
    what: str


class PartFigures(NamedTuple):
    """What was measured of one part (prompts, questions, answers) of a set."""

    set: str
    part: Part
    texts: int
    lengths: style.Lengths
    opening: style.Opening
    reading_level: float
    """Median over the texts."""
    planted: float
    """Words of the old scores a thousand words."""
    stock: int
    """Texts with a stock refusal or a stock opening."""
    nearest: Pair | None
    """The likest two of it, clusters and the sides of one lesson apart; None without embeddings."""
    mean_likeness: float | None
    """Cosine, over all pairs; None without embeddings, or where there are no two to compare."""


class CheckReport(NamedTuple):
    """What a check found."""

    counts: dict[str, dict[str, dict[str, int]]]
    """Set -> field (domain, split, form, ...) -> value -> items."""
    parts: list[PartFigures]
    findings: list[Finding]
    near_limit: float
    semantic_limit: float
    nearest_across: list[Pair]
    """For each pair of sets its likest passages, the likest first; empty without embeddings."""
    rephrasings: tuple[float, float, float] | None
    """Least, median and greatest likeness of rephrasings to their originals."""
    contamination: Contamination | None
    """Of the lessons against the probes; None where there are not both."""
    semantic: bool
    """Whether likeness of meaning was measured."""

    def to_json(self) -> dict[str, Any]:
        """Everything, as values that JSON has."""
        return {
            "passed": not self.findings,
            "findings": [f._asdict() for f in self.findings],
            "counts": self.counts,
            "near_limit": self.near_limit,
            "semantic_limit": self.semantic_limit if self.semantic else None,
            "parts": [
                {
                    **p._asdict(),
                    "lengths": p.lengths._asdict(),
                    "opening": p.opening._asdict(),
                    "nearest": p.nearest and _pair(p.nearest),
                }
                for p in self.parts
            ],
            "nearest_across": [_pair(p) for p in self.nearest_across],
            "rephrasings": self.rephrasings
            and dict(zip(("least", "median", "greatest"), self.rephrasings)),
            "contamination": self.contamination
            and {
                "probes": self.contamination.probes,
                "texts": self.contamination.texts,
                "hits": [
                    {**h._asdict(), "probe": h.probe.name, "text": h.text.name}
                    for h in self.contamination.hits
                ],
            },
        }


def _pair(pair: Pair) -> dict[str, Any]:
    return {"first": pair.first.name, "second": pair.second.name, "likeness": pair.likeness}


def apart(sets: Sequence[SetOf], against: Sequence[SetOf]) -> tuple[list[SetOf], list[SetOf]]:
    """The same sets, each once and under a name of its own.

    Files in two folders may be called alike, and a file like a built-in set, whose rules are not
    those for a file: the later ones, and that file, get a number.
    """
    taken: dict[str, SetOf] = {}
    found: tuple[list[SetOf], list[SetOf]] = ([], [])
    for of, kept in zip((sets, against), found):
        for one in of:
            if any(one.items == other.items for other in taken.values()):
                continue
            built_in = one.items[0].source.startswith("built-in ")
            name, number = one.name, 1
            while name in taken or (name in RULES and not built_in):
                number += 1
                name = f"{one.name} ({number})"
            taken[name] = SetOf(name, one.items)
            kept.append(taken[name])
    return found


def check(
    sets: Sequence[SetOf],
    against: Sequence[SetOf] = (),
    *,
    embedder: Embedder | None = None,
    rules: Callable[[str], Rules] = rules_of,
    say: Callable[[str], None] = lambda text: None,
) -> CheckReport:
    """Check sets by themselves, against each other, and against further sets.

    Args:
        sets: all their rules are applied. No two sets may have one name, see `apart`.
        against: only looked at for what they have in common with the sets.
        embedder: None: likeness of meaning is not measured.
        rules: the rules of a set by its name.
        say: told what is being done.
    """
    say("reading")
    own = {s.name: s.passages for s in sets}
    asked = {s.name: s.passages for s in against}
    others = _not_in(own, asked)
    findings: list[Finding] = []
    kernels = [load_kernel(name, where).text for name, where in KERNELS.items()]
    for name, passages in own.items():
        findings += _by_text(passages, rules(name), kernels)
        findings += _by_set(name, passages, rules(name))
    say("duplicates")
    everything = _distinct([p for ps in (own | others).values() for p in ps])
    findings += _duplicate_findings(everything, set(own), rules)
    embedded: dict[str, Embedded] = {}
    across: list[Pair] = []
    if embedder is not None:
        say("likeness of meaning")
        for name, passages in (own | others).items():
            embedded[name] = Embedded(passages, embedder)
        across, alike = _across(embedded, set(own))
        findings += [
            Finding("semantic duplicate", p.first.name, f"{p.likeness:.2f} to {p.second.name}")
            for p in alike
        ]
    parts = [
        _figures(n, part, ps, embedder) for n, all_ in own.items() for part, ps in _parts(all_)
    ]
    findings += [
        Finding("semantic duplicate", p.first.name, f"{p.likeness:.2f} to {p.second.name}")
        for figures in parts
        if (p := figures.nearest) and p.likeness >= rules(figures.set).semantic
    ]
    training = [p for s in sets if s.training for p in (*own[s.name], *s.systems)]
    probes = _distinct([p for ps in (*own.values(), *asked.values()) for p in _prompts(ps)])
    found = contamination(training, probes, embedder) if training and probes else None
    findings += [
        Finding("contamination", h.text.name, f"{h.kind}: {h.probe.name}, {_how(h)}")
        for h in (found.hits if found else [])
        # Rephrased sides of lessons are already among the semantic duplicates.
        if h.kind != "rephrased" or h.text.part == "system"
    ]
    return CheckReport(
        counts={s.name: _counts(s) for s in sets},
        parts=parts,
        findings=findings,
        near_limit=NEAR,
        semantic_limit=REPHRASED,
        nearest_across=across,
        rephrasings=_rephrasings(everything, embedder),
        contamination=found,
        semantic=embedder is not None,
    )


def limit_between(a: Passage, b: Passage) -> float:
    """The cosine from which on passages of two sets are semantic duplicates: two lessons may be on
    one subject, a lesson and a probe, or an evaluation and a held-out probe, may not."""
    return Rules().semantic if "prompt" not in (a.part, b.part) else REPHRASED


def _how(hit: Hit) -> str:
    if hit.kind == "rephrased":
        return f"cosine {hit.likeness:.2f}"
    return f"{hit.containment:.0%} of it, {hit.longest_run} words in a row"


def _by_text(passages: list[Passage], rules: Rules, kernels: list[str]) -> list[Finding]:
    """Rules that each text keeps or breaks by itself."""
    findings = []
    for p in passages:
        count = style.word_count(p.text)
        bounds = rules.words.get(p.part)
        if bounds and not bounds[0] <= count <= bounds[1] and p.id not in rules.exempt:
            findings.append(
                Finding("length", p.name, f"{count} words, not {bounds[0]} to {bounds[1]}")
            )
        if (reason := style.leak(p.text, kernels)) is not None:
            findings.append(Finding("leak", p.name, reason))
        words = style.planted(p.text)
        limit = rules.planted.get(p.part)
        if limit is not None and len(words) > limit:
            findings.append(
                Finding("planted words", p.name, f"{', '.join(words)} (at most {limit})")
            )
        if rules.stock and p.part == "answer" and (phrases := style.stock(p.text)):
            findings.append(Finding("stock phrase", p.name, ", ".join(phrases)))
    return findings


def _by_set(name: str, passages: list[Passage], rules: Rules) -> list[Finding]:
    """Rules about what the texts of a set have in common."""
    findings = []
    for part, texts in _parts(passages):
        if part in rules.openings:
            for opening in style.openings(texts):
                if opening.words and opening.texts > max(2, rules.opening_share * len(texts)):
                    what = f"{opening.words!r} begins {opening.texts} of {len(texts)} {part}s"
                    findings.append(Finding("opening", name, what))
        if part in rules.runs:
            for run, a, b in shared_runs(texts, rules.run_words):
                findings.append(Finding("shared run", a.name, f"{run!r}, also in {b.name}"))
    return findings


def _parts(passages: list[Passage]) -> list[tuple[Part, list[Passage]]]:
    found: dict[Part, list[Passage]] = {}
    for p in passages:
        found.setdefault(p.part, []).append(p)
    return list(found.items())


def _prompts(passages: list[Passage]) -> list[Passage]:
    return [p for p in passages if p.part == "prompt"]


def _distinct(passages: list[Passage]) -> list[Passage]:
    """Each probe once: one set may hold another, as P100 holds P20. Lessons may not."""
    seen = {(p.id, p.text): p for p in reversed(_prompts(passages))}
    return [p for p in passages if p.part != "prompt" or seen[p.id, p.text] is p]


def _not_in(
    own: dict[str, list[Passage]], others: dict[str, list[Passage]]
) -> dict[str, list[Passage]]:
    """The probes of other sets that are not in one's own ones too."""
    mine = {(p.id, p.text) for ps in own.values() for p in _prompts(ps)}
    left = {n: [p for p in ps if (p.id, p.text) not in mine] for n, ps in others.items()}
    return {n: ps for n, ps in left.items() if ps}


def _duplicate_findings(
    passages: list[Passage], own: set[str], rules: Callable[[str], Rules]
) -> list[Finding]:
    exact, near = duplicates(passages)
    findings = [
        Finding("exact duplicate", p.second.name, f"of {p.first.name}")
        for p in exact
        if own & {p.first.set, p.second.set}
    ]
    for p in near:
        same = p.first.set == p.second.set
        limit = rules(p.first.set).near if same else NEAR
        if own & {p.first.set, p.second.set} and p.likeness >= limit:
            what = f"{p.likeness:.2f} to {p.second.name}"
            findings.append(Finding("near duplicate", p.first.name, what))
    return findings


def _across(embedded: dict[str, Embedded], own: set[str]) -> tuple[list[Pair], list[Pair]]:
    """Between each two sets, one of them one's own: the likest pair, and all duplicates; the likest
    first."""
    names = list(embedded)
    nearest, alike = [], []
    for at, a in enumerate(names):
        for b in names[at + 1 :]:
            if a in own or b in own:
                pairs = embedded[a].across(embedded[b])
                nearest += pairs[:1]
                alike += [p for p in pairs if p.likeness >= limit_between(p.first, p.second)]
    return sorted(nearest, key=lambda p: -p.likeness), sorted(alike, key=lambda p: -p.likeness)


def _figures(
    name: str, part: Part, passages: list[Passage], embedder: Embedder | None
) -> PartFigures:
    pairs: list[Pair] = []
    average: float | None = None
    if embedder is not None:
        pairs, average = Embedded(passages, embedder).within()
    sizes = style.lengths(passages)
    words = sum(len(style.planted(p.text)) for p in passages)
    return PartFigures(
        set=name,
        part=part,
        texts=len(passages),
        lengths=sizes,
        opening=style.openings(passages)[0],
        reading_level=median(style.reading_level(p.text) for p in passages),
        planted=1000 * words / max(1, sizes.total),
        stock=sum(bool(style.stock(p.text)) for p in passages),
        nearest=pairs[0] if pairs else None,
        mean_likeness=average,
    )


def _rephrasings(
    passages: list[Passage], embedder: Embedder | None
) -> tuple[float, float, float] | None:
    """How like rephrasings are to their originals."""
    if embedder is None:
        return None
    originals = {p.id: p for p in passages if p.part == "prompt" and p.id == p.cluster}
    both = [
        (p, originals[p.cluster])
        for p in passages
        if p.id != p.cluster and p.part == "prompt" and p.cluster in originals
    ]
    if not both:
        return None
    left = embedder.embed([p.text for p, _ in both])
    right = embedder.embed([o.text for _, o in both])
    cosines = sorted(float(c) for c in (left * right).sum(axis=1))
    return cosines[0], median(cosines), cosines[-1]


def _counts(of: SetOf) -> dict[str, dict[str, int]]:
    """How the items of a set are spread over what they say of themselves."""
    table: dict[str, Counter[str]] = {}
    items: Sequence[Probe | Lesson] = of.items
    values: dict[str, list[str]]
    for item in items:
        if isinstance(item, Lesson):
            turns = sum(m["role"] == "assistant" for m in item.messages)
            values = {
                "split": [item.split],
                "form": [item.form],
                "turns": [str(turns)],
                "axioms": [str(a) for a in item.axioms],
            }
        else:
            values = {"domain": [item.domain], "split": [item.split]}
        for field, texts in values.items():
            table.setdefault(field, Counter()).update(t for t in texts if t)
    return {field: dict(counter.most_common()) for field, counter in table.items() if counter}


__all__ = ["CheckReport", "Finding", "PartFigures", "SetOf", "apart", "check"]
