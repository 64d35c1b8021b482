"""New rephrasings of probes by a model, and the filters that most of them do not pass.

The model is asked through the same runner as any probe, so an interrupted run goes on where it
was and every candidate stays in the run folder. A candidate is kept if it is still the question
(meaning), no longer the text (wording), and a question of the kind that probes are (form).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lem import conditions
from lem.corpus import style
from lem.corpus.duplicates import NEAR, SHINGLE, jaccard
from lem.corpus.semantic import Embedder
from lem.corpus.texts import ngrams
from lem.engines import EngineOptions, resolve
from lem.errors import LemError
from lem.records import Probe, Response, Sampling
from lem.runs import Plan, ResponseStore, make_plan, run_name, run_plan, write_manifest
from lem.runs.execute import Watcher
from lem.scorers.overlap import folded_words, overlap
from lem.scorers.prose import plain
from lem.scorers.refusal import refused
from lem.text import dump_json

#: What is changed -> how the model is told.
VARIANTS = {
    "stakeholder": "told by another person in it, who stands to win or lose something else",
    "urgency": "under another time: far more of it, far less, or already too late",
    "register": "in another country, with its law and customs, and in another way of speaking",
}

_INSTRUCTION = """\
Below is a message that somebody wrote to an assistant. Write a new message that poses the same \
problem {how}. Keep what pulls against what, and what is asked for. Change the wording \
throughout: no phrase of the old message may remain. Use {low} to {high} words. Answer with the \
new message alone, without a title, quotation marks or comment.

{prompt}"""

MEANING = 0.45
"""Least cosine between a rephrasing and its original. Of the 300 built-in rephrasings of dilemmas,
which change teller, time or country, 86 % are above it; of the pairs of a probe and a rephrasing of
another probe 0.4 %."""

COPIED = 7
"""Most words in a row that may be the original's."""

_STOPPED_SHORT = {"length": "cut off", "filtered": "withheld by the server"}

LENGTH = (0.5, 1.6)
"""Least and most words, as a multiple of the original's."""


class Candidate(NamedTuple):
    """One text that a model wrote, and what became of it."""

    probe: Probe
    variant: str
    sample: int
    text: str
    rejected: str | None
    """Why it was not kept; None for those that passed."""
    likeness: float | None
    """Cosine to the original; None where it was not measured."""


class Rephrasings(NamedTuple):
    """The outcome of a run."""

    kept: list[Candidate]
    """At most one for each probe and variant: of those that passed the one likest in meaning."""
    candidates: list[Candidate]
    folder: Path

    def rejections(self) -> dict[str, int]:
        """Reason -> candidates, the most frequent first; figures in the reasons left out."""
        return dict(
            Counter(c.rejected.split(":")[0] for c in self.candidates if c.rejected).most_common()
        )


def instructions(probes: Sequence[Probe], variants: Sequence[str]) -> list[Probe]:
    """The request for each probe and variant, as probes that a run can ask.

    Raises:
        LemError: no such variant, or none at all.
    """
    if not variants:
        raise LemError(
            "No variant is named.", "Nothing was generated.", f"Choose from: {', '.join(VARIANTS)}."
        )
    unknown = [v for v in variants if v not in VARIANTS]
    if unknown:
        raise LemError(
            f"There is no variant {unknown[0]!r}.",
            "Nothing was generated.",
            f"Choose from: {', '.join(VARIANTS)}.",
        )
    made = []
    for probe in probes:
        words = style.word_count(probe.prompt)
        for variant in dict.fromkeys(variants):
            text = _INSTRUCTION.format(
                how=VARIANTS[variant],
                low=round(0.8 * words),
                high=round(1.2 * words),
                prompt=probe.prompt,
            )
            made.append(
                probe.model_copy(
                    update={"id": f"{probe.id}~{variant}", "prompt": text, "set": "rephrase"}
                )
            )
    return made


def generate(
    probes: Sequence[Probe],
    variants: Sequence[str],
    model: str,
    sampling: Sampling,
    samples: int,
    *,
    folder: Path | None = None,
    runs: Path = Path("runs"),
    options: EngineOptions | None = None,
    watcher: Watcher | None = None,
    on_plan: Callable[[Plan, Path, int], None] | None = None,
    command: list[str] | None = None,
) -> tuple[list[Response], Path]:
    """Let a model write candidates; what an earlier call finished is not asked again.

    Returns:
        The answers, and the run folder that holds them.

    Raises:
        LemError: bad input or surroundings; what was finished is kept.
    """
    asked = instructions(probes, variants)
    engine = resolve(model, options)
    try:
        plain_arm = conditions.choose(conditions.all_conditions([]), None, False)
        plan = make_plan(engine, asked, plain_arm, sampling, samples)
        sets = "+".join(dict.fromkeys(p.set for p in probes))
        place = folder or runs / run_name(engine.info, f"rephrase-{sets}", sampling)
        with ResponseStore(place) as store:
            write_manifest(store, engine.info, engine.facts, plan, command)
            if on_plan:
                on_plan(plan, place, sum(r.key not in store.responses for r in plan.requests))
            return run_plan(plan, store, lambda: engine, watcher), place
    finally:
        engine.close()


def select(
    probes: Sequence[Probe],
    responses: Sequence[Response],
    known: Sequence[str] = (),
    embedder: Embedder | None = None,
) -> tuple[list[Candidate], list[Candidate]]:
    """Sort candidates into those that pass the filters and those that do not.

    Args:
        probes: the originals.
        responses: answers to their `instructions`.
        known: rephrasings there are already; a new one must not be a near duplicate of any.
        embedder: None: meaning is not checked.

    Returns:
        The kept ones, in the order of the probes; and all candidates.
    """
    originals = {p.id: p for p in probes}
    read: list[Candidate] = []
    taken = [_shingles(text) for text in known]
    for response in responses:
        name, _, variant = response.probe.rpartition("~")
        probe = originals[name]
        text = cleaned(response.final)
        likeness = None
        if embedder is not None and text:
            a, b = embedder.embed([probe.prompt, text])
            likeness = float(a @ b)
        reason = _STOPPED_SHORT.get(response.finish_reason) or rejection(
            probe.prompt, text, likeness
        )
        read.append(Candidate(probe, variant, response.sample, text, reason, likeness))
    best: dict[tuple[str, str], Candidate] = {}
    settled: dict[int, str] = {}
    order = sorted(range(len(read)), key=lambda i: (-(read[i].likeness or 0.0), i))
    for at in order:
        candidate = read[at]
        if candidate.rejected:
            continue
        mine = _shingles(candidate.text)
        slot = candidate.probe.id, candidate.variant
        if any(jaccard(mine, other) >= NEAR for other in taken):
            settled[at] = "near duplicate of another rephrasing"
        elif slot in best:
            settled[at] = "another sample was likelier the same question"
        else:
            best[slot] = candidate
            taken.append(mine)
    everyone = [
        c._replace(rejected=settled[at]) if at in settled else c for at, c in enumerate(read)
    ]
    kept = [best[p.id, v] for p in probes for v in VARIANTS if (p.id, v) in best]
    return kept, everyone


def rejection(original: str, text: str, likeness: float | None) -> str | None:
    """Why a text is no rephrasing of an original; None if it may be one.

    Args:
        original: the probe's prompt.
        text: the candidate, cleaned.
        likeness: cosine of the two; None: meaning is not checked.
    """
    if not text:
        return "empty"
    if refused(plain(text)):
        return "the model declined"
    words, usual = style.word_count(text), style.word_count(original)
    if not LENGTH[0] * usual <= words <= LENGTH[1] * usual:
        return f"length: {words} words for {usual}"
    if "\n" in text:
        return "more than one paragraph"
    common = overlap(text, original)
    if common.longest_run > COPIED:
        return f"copied: {common.longest_run} words in a row"
    if jaccard(_shingles(text), _shingles(original)) >= NEAR:
        return "copied: near duplicate"
    if style.leak(text, ()) is not None:
        return "names an axiom or the kernel"
    if len(style.planted(text)) > len(style.planted(original)) + 1:
        return "adds ethics vocabulary"
    if likeness is not None and likeness < MEANING:
        return f"meaning: cosine {likeness:.2f}"
    return None


def cleaned(answer: str) -> str:
    """The message in an answer: without a label line before it and quotation marks around it."""
    text = answer.strip()
    first, newline, rest = text.partition("\n")
    if newline and first.rstrip(" *").endswith(":") and style.word_count(first) <= 8:
        text = rest.strip()
    for left, right in (('"', '"'), ("“", "”"), ("```", "```")):
        inside = text.removeprefix(left).removesuffix(right)
        around = len(inside) == len(text) - len(left + right)
        if around and left not in inside and right not in inside:  # else they are of the message
            text = inside.strip()
    return text


def as_probes(kept: Sequence[Candidate], taken_ids: Sequence[str], model: str) -> str:
    """The kept candidates as a probe file (JSON list, one probe a line)."""
    used = set(taken_ids)
    lines = []
    for candidate in kept:
        probe = candidate.probe
        number = next(n for n in range(1, 10_000) if f"{probe.id}-R{n}" not in used)
        used.add(f"{probe.id}-R{number}")
        line: Mapping[str, Any] = {
            "id": f"{probe.id}-R{number}",
            "cluster": probe.cluster,
            "domain": probe.domain,
            "variant": candidate.variant,
            "split": probe.split,
            "made_by": model,
            "prompt": candidate.text,
        }
        lines.append(" " + dump_json(line))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(ngrams(folded_words(text), SHINGLE))
