"""Judging: every answer by every rubric, resumable, each verdict traceable to a raw reply."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Literal

import lem
from lem.engines import Engine, Meter
from lem.errors import LemError
from lem.judge.kinship import kinship
from lem.judge.material import Answer, Material
from lem.judge.prompts import VERSION, ask_score, ask_winner
from lem.judge.rubrics import Rubric
from lem.judge.verdicts import Verdict, read_verdict
from lem.prompts import Arm, render
from lem.records import Condition, Probe, Record, Request, Response, Sampling, request_key
from lem.runs import ResponseStore
from lem.runs.execute import Watcher
from lem.text import dump_json, read_text, sha256, write_atomic

#: Requests that may fail one by one, with no success between them, before the judge is given up.
FAILURES_IN_A_ROW = 8

FILE, MANIFEST = "judgements.jsonl", "judge.json"

Mode = Literal["scores", "pairs"]


class Judgement(Record):
    """One verdict: a line of judgements.jsonl, which can be rebuilt from responses.jsonl."""

    schema_version: Literal[1] = 1
    mode: Mode
    rubric: str
    rubric_sha256: str
    probe: str
    unit: str
    condition: str
    against: str | None = None
    """In pairs: what the condition is compared with."""
    sample: int
    answers_sha256: str
    value: int | None
    """A score from 1 to 5; in pairs 1 (condition better), -1 (worse), 0 (tie)."""
    unscored: str | None
    """Why there is no value: see `lem.judge.verdicts.UNSCORED`."""
    flipped: bool | None = None
    """In pairs: the verdict changed with the order of the answers (and counts as a tie)."""
    reason: str = ""
    keys: tuple[str, ...] = ()
    """Of the raw replies."""

    @property
    def place(self) -> tuple[str, ...]:
        """What was judged; equal for all judges of the same answers by the same rubric."""
        of = (self.rubric_sha256, self.probe, self.condition, self.against or "", str(self.sample))
        return (*of, self.answers_sha256)


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one call of `judge` came to."""

    folder: Path
    mode: Mode
    judgements: list[Judgement]
    new: int
    """Replies made by this call; the others were there."""
    warnings: list[str]
    notes: list[str]


@dataclasses.dataclass(frozen=True)
class _Item:
    """One thing to be asked: an answer, or two in this order."""

    rubric: Rubric
    shown: tuple[Answer, ...]
    request: Request | None
    unscored: str | None
    """Why there is nothing to ask."""


def judge(
    material: Material,
    engine: Engine,
    rubrics: Sequence[Rubric],
    *,
    against: str | None = None,
    max_tokens: int = 128,
    watcher: Watcher | None = None,
    on_plan: Callable[[Path, int, int], None] | None = None,
    command: list[str] | None = None,
) -> Judged:
    """Judge what was not judged yet, and write the judge's folder.

    Args:
        against: None: score every answer by itself. A condition: compare every other condition
            with it, answer by answer, in both orders.
        max_tokens: of a reply. Replies are greedy.
        on_plan: told the folder, the number of replies needed, and how many are missing.

    Raises:
        LemError: the judge keeps failing, or the folder cannot be written; replies made before
            are kept. A request that fails alone costs only its own item.
    """
    mode: Mode = "scores" if against is None else "pairs"
    sampling = Sampling(max_tokens=max_tokens)
    settings = [engine.info.model_dump_json(exclude={"notes"}), sampling.model_dump_json()]
    mark = sha256("\x1e".join([*settings, VERSION, mode]))[:8]
    slug = re.sub(r"[^a-z0-9.]+", "-", engine.info.model.lower()).strip("-.")[:40]
    folder = material.folder / f"{slug}-{mode}-{mark}"
    shown = [(a,) for a in material.answers] if against is None else _pairs(material, against)
    items = [_item(engine, rubric, answers, sampling) for rubric in rubrics for answers in shown]
    requests = list({i.request.key: i.request for i in items if i.request}.values())
    warnings = kinship(engine.info.model, engine.info.fingerprint, material)
    with ResponseStore(folder) as store:
        missing = [r for r in requests if r.key not in store.responses]
        _write_manifest(folder, engine, mode, sampling, rubrics, material, warnings, command)
        if on_plan:
            on_plan(folder, len(requests), len(missing))
        failures = _ask(engine, missing, requests, store, watcher) if missing else []
        new = sum(r.key in store.responses for r in missing)
        judgements = _judgements(items, store.responses, mode)
        _write_judgements(folder, judgements)
    notes = list(material.notes)
    alone = sum(a.condition != against for a in material.answers) - len(shown) // 2
    if against is not None and alone:
        notes.append(f"{alone} answers have none of {against!r} beside them and are left out.")
    if failures:
        first = failures[0].cause
        notes.append(f"{len(failures)} requests failed and are asked again next time: {first}")
    return Judged(folder, mode, judgements, new, warnings, notes)


def read_judgements(folder: Path) -> list[Judgement]:
    """The judgements in a judge's folder.

    Raises:
        LemError: there are none, or a line is damaged.
    """
    path, found = folder / FILE, []
    for number, line in enumerate(read_text(path, "judgements").split("\n"), 1):
        try:
            found += [Judgement.model_validate_json(line)] if line else []
        except ValueError as e:
            raise LemError(
                f"{path}, line {number} is damaged: {str(e).splitlines()[0]}.",
                "The judgements were not used.",
                "Delete the file; the command that made it rebuilds it without asking the judge.",
            ) from None
    return found


def _pairs(material: Material, against: str) -> list[tuple[Answer, ...]]:
    """Every answer with the reference's to the same probe and sample, in both orders."""
    reference = {(a.probe, a.sample): a for a in material.answers if a.condition == against}
    pairs: list[tuple[Answer, ...]] = []
    for answer in material.answers:
        other = reference.get((answer.probe, answer.sample))
        if other and answer.condition != against:
            pairs += [(answer, other), (other, answer)]
    if not pairs:
        raise LemError(
            f"No probe has an answer of the condition {against!r} and one of another.",
            "There is nothing to compare; nothing was judged.",
            f"Compare with another condition; there are: {', '.join(material.conditions)}.",
        )
    return pairs


def _item(engine: Engine, rubric: Rubric, shown: tuple[Answer, ...], sampling: Sampling) -> _Item:
    """What to ask, or why it cannot be asked. Nothing is ever cut off to make it fit."""
    texts = [answer.text for answer in shown]
    if not all(map(str.strip, texts)):
        return _Item(rubric, shown, None, "empty answer")
    if len(set(texts)) < len(texts):
        return _Item(rubric, shown, None, None)  # two equal answers: a tie without asking
    if rubric.notice and not shown[0].notice:
        return _Item(rubric, shown, None, "no points")
    ask = ask_score if len(shown) == 1 else ask_winner
    points = shown[0].notice if rubric.notice else ()
    prompt = ask(rubric, shown[0].question, *texts, notice=points)
    if engine.foreign_tokens(prompt):
        return _Item(rubric, shown, None, "control tokens")
    # Named after the answers in the order shown, so that scripted judges (replay) can be written.
    place = "/".join([shown[0].probe, *(answer.condition for answer in shown)])
    probe = Probe(id=place, domain="judge", prompt=prompt, set="judge", cluster=place)
    arm = Arm(condition=Condition(name=rubric.id), placement="none")
    rendered = render(arm, engine, probe)
    context, ids = engine.info.context_length, rendered.token_ids
    if context and ids and len(ids) + sampling.max_tokens > context:
        return _Item(rubric, shown, None, "too long")
    request = Request(
        key=request_key(engine.info, rendered.text, ids, sampling, 0, 0),
        probe=place,
        condition=rubric.id,
        sample=shown[0].sample,
        messages=rendered.messages,
        prompt=rendered.text,
        prompt_sha256=rendered.sha256,
        token_ids=ids,
        sampling=sampling,
        seed=0,
    )
    return _Item(rubric, shown, request, None)


def _ask(
    engine: Engine,
    missing: Sequence[Request],
    requests: Sequence[Request],
    store: ResponseStore,
    watcher: Watcher | None,
) -> list[LemError]:
    """Ask, and keep every reply as it comes.

    An engine raises for a round in which requests failed, and may have given the round up early.
    So what is then unanswered is asked again one by one, and in growing groups where that goes
    well: a request that fails costs nothing but itself. The order is then one without meaning, so
    that failures in a row speak of the judge and not of questions that stand together. Even so
    they may all be of the questions, for what a judge always fails on is what is left at the end:
    it is given up only if it then fails on a request, too, that it answered before.

    Args:
        requests: all that are needed, the answered ones too.

    Returns:
        The error of each request that failed alone.
    """
    total = len(requests)
    meter, left, size = Meter(), list(missing), len(missing)
    failures: list[LemError] = []
    in_a_row = 0
    if watcher:
        watcher.start(total, total - len(missing), meter)
    try:
        while left:
            group, left = left[:size], left[size:]
            error = None
            with contextlib.closing(_replies(engine, group, meter)) as replies:
                for reply in replies:
                    if isinstance(reply, LemError):
                        error = reply
                        continue
                    store.append(reply)
                    in_a_row = 0
                    if watcher:
                        watcher.tick(reply)
            if error is None:
                size *= 2
            elif len(group) > 1:
                unanswered = [r for r in group if r.key not in store.responses]
                left, size = sorted(unanswered + left, key=lambda r: r.key), 1
            else:
                failures.append(error)
                in_a_row += 1
                if in_a_row >= FAILURES_IN_A_ROW or len(failures) == total:
                    if not _answers_still(engine, requests, store):
                        raise _given_up(error, len(failures))
                    in_a_row = 0
    finally:
        if watcher:
            watcher.stop()
    return failures


def _answers_still(engine: Engine, requests: Sequence[Request], store: ResponseStore) -> bool:
    """Whether a judge that failed often answers a request, again, that it answered before."""
    answered = [r for r in requests if r.key in store.responses][-1:]
    return any(isinstance(r, Response) for r in _replies(engine, answered, Meter()))


def _given_up(error: LemError, failures: int) -> LemError:
    again = "Then run the same command again: it makes only what is missing."
    return LemError(
        f"The judge keeps failing ({failures} requests): {error.cause}",
        "It was given up. Every reply made before is kept.",
        error.fix if again in error.fix else f"{error.fix} {again}",
    )


def _replies(
    engine: Engine, group: Sequence[Request], meter: Meter
) -> Generator[Response | LemError]:
    """The replies of one round, and its error if there is one."""
    try:
        for reply in engine.generate(group, meter):
            whole = reply.final.encode("utf-8", "replace").decode()  # no lone surrogates in the log
            yield reply if whole == reply.final else reply.model_copy(update={"final": whole})
    except LemError as e:
        yield e


def _judgements(
    items: Sequence[_Item], replies: dict[str, Response], mode: Mode
) -> list[Judgement]:
    """Items and replies -> judgements; of a pair, the two items stand one behind the other."""
    step = 1 if mode == "scores" else 2
    made = []
    for item, *other in zip(*(items[i::step] for i in range(step))):
        verdicts = [_verdict(i, replies, mode) for i in (item, *other)]
        unscored = next((v.unscored for v in verdicts if v.unscored), None)
        value, flipped = verdicts[0].value, None
        if mode == "pairs" and unscored is None and item.request:
            flipped = value != -(verdicts[1].value or 0)
            value = 0 if flipped else value
        answer = item.shown[0]
        made.append(
            Judgement(
                mode=mode,
                rubric=item.rubric.id,
                rubric_sha256=item.rubric.sha256,
                probe=answer.probe,
                unit=answer.unit,
                condition=answer.condition,
                against=item.shown[1].condition if mode == "pairs" else None,
                sample=answer.sample,
                answers_sha256=sha256(
                    "\x1e".join([answer.question, *(a.text for a in item.shown)])
                ),
                value=None if unscored else value,
                unscored=unscored,
                flipped=flipped,
                reason=" | ".join(v.reason for v in verdicts if v.reason),
                keys=tuple(i.request.key for i in (item, *other) if i.request),
            )
        )
    return made


def _verdict(item: _Item, replies: dict[str, Response], mode: Mode) -> Verdict:
    if item.request is None:
        return Verdict(None if item.unscored else 0, item.unscored)
    reply = replies.get(item.request.key)
    if reply is None:
        return Verdict(None, "failed")
    return read_verdict(reply.final, reply.finish_reason, pairwise=mode == "pairs")


def _write_judgements(folder: Path, judgements: Sequence[Judgement]) -> None:
    """Write them; those of other rubrics and probes, made by earlier calls, stay."""
    known = read_judgements(folder) if (folder / FILE).exists() else []
    kept = {j.place: j for j in known} | {j.place: j for j in judgements}
    write_atomic(folder / FILE, "".join(j.model_dump_json() + "\n" for j in kept.values()))


def _write_manifest(
    folder: Path,
    engine: Engine,
    mode: Mode,
    sampling: Sampling,
    rubrics: Sequence[Rubric],
    material: Material,
    warnings: Sequence[str],
    command: list[str] | None,
) -> None:
    texts = [[a.probe, a.condition, a.sample, a.text] for a in material.answers]
    manifest = {
        "schema_version": 1,
        "lem": lem.__version__,
        "updated": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "engine": engine.info.model_dump(),
        "template": engine.facts.model_dump(),
        "prompt_version": VERSION,
        "mode": mode,
        "sampling": sampling.model_dump(),
        "rubrics": [{**r.model_dump(), "sha256": r.sha256} for r in rubrics],
        "judged_model": material.model,
        "answers": {"n": len(texts), "sha256": sha256(dump_json(texts))},
        "self_judging": list(warnings),
        "notes": engine.info.notes,
    }
    write_atomic(folder / MANIFEST, dump_json(manifest, indent=1) + "\n")
