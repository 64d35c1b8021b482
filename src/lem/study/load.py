"""From run folders and files to a `Study`: read, scored, joined by probe. Whatever is left out is
a `Problem`, never silent."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lem.conditions import BASELINE
from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel
from lem.scoring.shapes import Item
from lem.scoring.sources import Broken, Meter, Source, open_inputs, read_source
from lem.scoring.summary import REPETITIVE
from lem.scoring.work import Job, Scored, describe, score_all
from lem.study import inputs as told
from lem.study.questions import Questions
from lem.study.records import Answer, Group, Model, Problem, Stored, Study
from lem.text import printable, sha256

SCORERS = ("v2", "reasoning")
"""Used where nobody names any: the published one first, so that its tables can be compared."""

TEXT_BUDGET = 200_000_000
"""Characters of answers that are kept; of larger inputs only the measures are."""

_PARALLEL_FROM = 4_000_000  # bytes of input from which a second process pays for its start
_HEURISTICS = {"v1": 8, "v2": 14}  # signals in a stored score of each generation

Progress = Callable[[int, int | None], None]
"""(bytes read, bytes in all, None where unknown)."""


def load_study(
    inputs: Sequence[str | Path],
    *,
    scorers: Sequence[str] = SCORERS,
    keep_texts: bool = True,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Study:
    """Read and score every answer of any number of inputs.

    Args:
        inputs: run folders, the folder of a matrix (its recipe names and groups the models),
            folders of run folders, published A/B files, or JSON Lines of answers as `lem score`
            reads them.
        scorers: the first one is the primary one.
        keep_texts: keep the answers' texts, to be shown.
        jobs: scoring processes; 0: all cores for large inputs, else one. (A script that asks for
            several must guard its entry point, as `multiprocessing` wants it.)
        progress: told now and then how far it has come.

    Raises:
        LemError: an input is missing, unreadable or without answers; two different answers in
            one place; no such scorer.
    """
    meant, notes = told.expand([str(name) for name in inputs])
    sources = open_inputs(tuple(m.path for m in meant))
    builder = _Builder(list(scorers), keep_texts)
    builder.problems += notes
    size = sum(source.size or 0 for source in sources)
    jobs = jobs or ((os.cpu_count() or 1) if size > _PARALLEL_FROM else 1)
    meter = Meter()
    job = Job(scorers=tuple(dict.fromkeys([*scorers, "v2"])), kernels=_kernel_texts(sources))
    current = iter(_read(sources, builder, meter))
    for item, scored in score_all(current, job, jobs):
        builder.add(item, scored)
        if progress:
            progress(meter.read, size or None)
    return builder.finish(list(zip(sources, meant)))


def _kernel_texts(sources: Sequence[Source]) -> tuple[str, ...]:
    """The built-in kernels and those of the runs: what an answer may recite."""
    texts = [load_kernel(name, file).text for name, file in BUILT_IN.items()]
    for source in sources:
        texts += source.run.kernels if source.run else ()
    return tuple(dict.fromkeys(texts))


def _read(sources: Sequence[Source], builder: _Builder, meter: Meter) -> Iterator[Item]:
    for source in sources:
        for found in read_source(source, "auto", meter):
            if isinstance(found, Broken):
                builder.problem("broken line", found.place, found.cause)
            elif builder.wanted(source, found):
                yield found


class _Source:
    """What has been learnt of one input so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.manifest = told.manifest_of(source)
        manifest = self.manifest or {}
        items = manifest["probes"]["items"] if self.manifest else []
        self.probes = {item["id"]: item for item in items}
        self.conditions = {c["name"] for c in manifest.get("conditions", [])}
        self.superseded = set(manifest.get("superseded", []))
        self.samples = manifest.get("samples", 1)
        self.left_out = 0
        self.unseen = 0
        """Answers that a published file had and does not show."""
        self.stored = False
        self.models: dict[str, list[str]] = {}
        """Model as the input calls it -> its conditions in order of first sight."""

    @property
    def has_baseline(self) -> bool:
        """Whether a condition of it is the baseline by its name."""
        seen = (arm for arms in self.models.values() for arm in arms)
        return BASELINE in (*self.conditions, *seen)


class _Builder:
    """Takes scored answers one by one, in the order of the inputs."""

    def __init__(self, scorers: list[str], keep_texts: bool) -> None:
        self.scorers, self.texts = scorers, keep_texts
        self.headlines = [describe(name).headline for name in scorers]
        self.problems: list[Problem] = []
        self.questions = Questions(self.problem)
        self.asked_again: Counter[tuple[str, str, str, str]] = Counter()
        """(input, model, condition, probe) -> answers without an id."""
        self.sources: dict[str, _Source] = {}
        self.answers: dict[tuple[str, str, str, str, int], Answer] = {}
        """(input, model, condition, probe, sample) -> answer."""
        self.characters = 0

    def problem(self, kind: str, place: str, text: str) -> None:
        self.problems.append(Problem(kind, printable(place), printable(text)))

    def wanted(self, source: Source, item: Item) -> bool:
        """Whether an answer belongs to what its run is of. A log may also hold answers to
        kernels, probes and conditions of earlier calls."""
        known = self.sources.get(source.name)
        if known is None:
            known = self.sources[source.name] = _Source(source)
        if known.manifest is None:
            return True
        keep = (
            item.key not in known.superseded
            and item.id in known.probes
            and item.condition in known.conditions
            and (item.sample or 0) < known.samples
        )
        known.left_out += not keep
        return keep

    def add(self, item: Item, scored: Scored) -> None:
        """Take in one answer.

        Raises:
            LemError: another answer has its place.
        """
        known = self.sources[item.file]
        model = printable(item.model or Path(item.file).stem)
        condition = printable(item.condition or told.UNNAMED)
        arms = known.models.setdefault(model, [])
        if condition not in arms:
            arms.append(condition)
        told_cluster = known.probes.get(str(item.id), {}).get("cluster")
        probe = self.questions.place(item, told_cluster)
        answer = self._answer(model, condition, probe, item, scored)
        known.stored = known.stored or answer.stored is not None
        known.unseen += max(0, (item.samples or 1) - 1)
        place = (item.file, model, condition, probe, answer.sample)
        if item.numbered and item.sample is None:  # a question asked again is another sample
            answer = answer._replace(sample=self.asked_again[place[:4]])
            self.asked_again[place[:4]] += 1
            place = (*place[:4], answer.sample)
        if place in self.answers:
            self._second(known, place, item, answer)
            return
        self._keep(place, answer)

    def _keep(self, place: tuple[str, str, str, str, int], answer: Answer) -> None:
        self.characters += len(answer.text)
        if self.texts and self.characters > TEXT_BUDGET:
            self.texts = False
            self.answers = {k: a._replace(text="") for k, a in self.answers.items()}
            self.problem(
                "texts left out",
                place[0],
                f"the answers are longer than {TEXT_BUDGET:,} characters in all, so only their "
                "scores and measures are kept; lem show RUN PROBE shows them",
            )
        self.answers[place] = answer if self.texts else answer._replace(text="")

    def _second(
        self, known: _Source, place: tuple[str, str, str, str, int], item: Item, answer: Answer
    ) -> None:
        """Another answer in a place that is taken: the same text is dropped, and said so; a
        later one of a run's log replaces it; anything else is refused."""
        if known.manifest is not None:
            known.left_out += 1
            self._keep(place, answer)
            return
        first = self.answers[place]
        where = f"{item.file}: {answer.probe}, {answer.condition}, sample {answer.sample}"
        # texts that were not kept are told apart by their measures
        if (first.text, first.scores, first.words) == (
            answer.text if self.texts else "",
            answer.scores,
            answer.words,
        ):
            self.problem("duplicate", where, "stands there twice; it counts once")
            return
        raise LemError(
            f"{printable(where)} stands there twice, with different answers.",
            "It cannot be told which one counts; nothing was reported.",
            'Remove one of the two, or number them with a field "sample".',
        )

    def _answer(self, model: str, condition: str, probe: str, item: Item, scored: Scored) -> Answer:
        text = scored.text
        values = tuple(
            _number(scored.scores[name].get(field))
            for name, field in zip(self.scorers, self.headlines)
        )
        repetition = text["repetition"]
        return Answer(
            model=model,
            condition=condition,
            probe=probe,
            sample=item.sample or 0,
            text=item.text,
            words=int(text["words"] or 0),
            empty=bool(text["empty"]),
            truncated=None if text["truncated"] is None else bool(text["truncated"]),
            malformed=item.finish_reason == "filtered",
            refused=bool(text["refused"]),
            repetitive=isinstance(repetition, float) and repetition >= REPETITIVE,
            foreign=not text["empty"] and text["language"] not in ("en", "und"),
            leak=bool(scored.overlap["leak"]),
            scores=values,
            stored=self._stored(item, scored),
        )

    def _stored(self, item: Item, scored: Scored) -> Stored | None:
        if item.stored is None:
            return None
        signals = len([name for name in item.stored if name != "lek_score"])
        version = next((v for v, n in _HEURISTICS.items() if n == signals), "unknown")
        value = _number(item.stored.get("lek_score"))
        own = _number(scored.scores["v2"]["lek_score"]) if version == "v2" else None
        stored = Stored(version, value, own)  # type: ignore[arg-type]
        where = f"{item.file}: {item.id}, {item.condition}"
        if value is None:
            self.problem("stored score", where, "the stored score is no number")
        elif stored.disagrees:
            self.problem("stored score", where, f"stored {value:g}, but v2 of the text is {own:g}")
        return stored

    def finish(self, sources: Sequence[tuple[Source, told.Input]]) -> Study:
        """The study.

        Raises:
            LemError: an input has no answers.
        """
        models: list[Model] = []
        renamed: dict[tuple[str, str], str] = {}
        lone = not any(known.has_baseline for known in self.sources.values())
        for source, meant in sources:
            known = self.sources.get(source.name)
            if known is None or not known.models:
                raise self._nothing(source, known)
            if known.left_out:
                text = f"{known.left_out} answers to earlier settings of this run"
                self.problem("left out", source.name, text)
            if known.unseen:
                text = (
                    f"{known.unseen} answers are not in the file, which holds one sample a prompt: "
                    "only that one counts here; its stored scores are means of all samples"
                )
                self.problem("left out", source.name, text)
            for model, arms in known.models.items():
                name = _unused(meant.name or model, source, models)
                renamed[source.name, model] = name
                models.append(_model(name, known, arms, meant.group, lone))
        self.questions.order(name for s, _ in sources for name in self.sources[s.name].probes)
        return Study(
            models=tuple(models),
            probes=self.questions.probes,
            answers=tuple(self._sorted(models, renamed)),
            scorers=tuple(describe(name) for name in self.scorers),
            problems=tuple(self.problems),
            texts=self.texts,
            kernels={
                sha256(text): text for text in _kernel_texts([source for source, _ in sources])
            },
        )

    def _sorted(
        self, models: Sequence[Model], renamed: Mapping[tuple[str, str], str]
    ) -> list[Answer]:
        rank = {
            m.name: (i, {a.name: j for j, a in enumerate(m.arms)}) for i, m in enumerate(models)
        }
        probe_rank = {name: i for i, name in enumerate(self.questions.probes)}
        answers = [
            answer._replace(model=renamed[place[0], place[1]])
            for place, answer in self.answers.items()
        ]
        answers.sort(
            key=lambda a: (
                rank[a.model][0],
                rank[a.model][1][a.condition],
                probe_rank[a.probe],
                a.sample,
            )
        )
        return answers

    def _nothing(self, source: Source, known: _Source | None) -> LemError:
        broken = [p for p in self.problems if p.place.startswith(source.name)]
        because = f" {broken[0].place}: {broken[0].text}." if broken else ""
        if known is not None and known.left_out:
            because += f" {known.left_out} of its log are to earlier settings of the run."
        return LemError(
            f"There are no answers in {source.name}.{because}",
            "There is nothing to report on.",
            "Name a run folder with answers, a file made with --output, or JSON Lines like "
            '{"id": ..., "prompt": ..., "condition": ..., "response": ...}.',
        )


def _model(name: str, known: _Source, conditions: Sequence[str], group: Group, lone: bool) -> Model:
    manifest: dict[str, Any] | None = known.manifest
    path = known.source.path
    return Model(
        name=name,
        source=str(path.parent if manifest and path else known.source.name),
        form="run" if manifest else "published" if known.stored else "lines",
        arms=told.arms_of_manifest(manifest) if manifest else told.arms_of_names(conditions, lone),
        settings=told.settings_of_manifest(manifest)
        if manifest
        else told.settings_of_file(known.source),
        group=group,
        manifest=manifest,
    )


def _unused(model: str, source: Source, models: Sequence[Model]) -> str:
    """The model's own name, with its folder or file where another one has that name."""
    taken = {m.name for m in models}
    if model not in taken:
        return model
    path = source.path
    place = (path.parent.name if source.run and path else Path(source.name).stem) or "2"
    name = f"{model} ({printable(place)})"
    number = 2
    while name in taken:
        name, number = f"{model} ({printable(place)} {number})", number + 1
    return name


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
