"""The plan: every request of a run, known and checked before the first token."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

from lem.engines import Engine
from lem.errors import LemError
from lem.prompts import Arm, plan_arms, render
from lem.records import Condition, Probe, Request, Sampling, request_key

#: Tokens of a placebo may differ by this share from its kernel's before the run says so.
PLACEBO_TOLERANCE = 0.05

#: Added to the sample index of a replicate in its keys and seeds, so that it is neither the
#: baseline's answer nor its draw, however many samples the baseline is given later. The response
#: itself says 0, 1, 2, … as in every other arm.
REPLICATE_OFFSET = 1_000_000


@dataclasses.dataclass(frozen=True)
class Plan:
    """What will be asked, in the order of asking: condition, then probe, then sample."""

    arms: list[Arm]
    probes: list[Probe]
    requests: list[Request]
    sampling: Sampling
    samples: int
    notes: list[str]


def make_plan(
    engine: Engine,
    probes: Sequence[Probe],
    conditions: Sequence[Condition],
    sampling: Sampling,
    samples: int = 1,
) -> Plan:
    """Render every prompt and check that it can be answered.

    Raises:
        LemError: a kernel that vanishes, a text with control tokens in it, a prompt that does not
            fit the model's context, samples that would all be the same, two equal prompts.
    """
    if samples > 1 and sampling.temperature == 0:
        raise LemError(
            f"--samples {samples} at temperature 0 would give {samples} times the same answer.",
            "They would look like more data than there are; nothing was run.",
            "Add --temperature 0.8, or leave --samples at 1.",
        )
    for probe in probes:
        if engine.foreign_tokens(probe.prompt):
            raise LemError(
                f"Probe {probe.id} ({probe.source}) holds text that this model reads as a "
                "control token (such as an end-of-turn mark).",
                "It would break the prompt apart; nothing was run.",
                "Remove the mark from the probe.",
            )
    arms, notes = plan_arms(conditions, engine, probes[0])
    requests: list[Request] = []
    places: dict[str, str] = {}
    for arm in arms:
        for probe in probes:
            requests += _requests(engine, arm, probe, sampling, samples, places)
    notes += _placebo_notes(requests)
    return Plan(arms, list(probes), requests, sampling, samples, notes)


def _requests(
    engine: Engine,
    arm: Arm,
    probe: Probe,
    sampling: Sampling,
    samples: int,
    places: dict[str, str],
) -> list[Request]:
    rendered = render(arm, engine, probe)
    if rendered.token_ids is not None:
        _check_fits(engine.info.context_length, len(rendered.token_ids), arm, probe, sampling)
    made = []
    offset = REPLICATE_OFFSET if arm.condition.role == "replicate" else 0
    for sample in range(samples):
        drawn = sample + offset
        seed = request_seed(sampling.seed, probe.id, drawn)
        key = request_key(engine.info, rendered.text, rendered.token_ids, sampling, seed, drawn)
        here = f"{probe.id} under {arm.condition.name}"
        if key in places:
            raise LemError(
                f"{here} is the same prompt as {places[key]}.",
                "One answer would count as two; nothing was run.",
                "Leave one of the two conditions or probes out.",
            )
        places[key] = here
        made.append(
            Request(
                key=key,
                probe=probe.id,
                condition=arm.condition.name,
                sample=sample,
                messages=rendered.messages,
                prompt=rendered.text,
                prompt_sha256=rendered.sha256,
                token_ids=rendered.token_ids,
                sampling=sampling,
                seed=seed,
            )
        )
    return made


def _check_fits(context: int | None, tokens: int, arm: Arm, probe: Probe, s: Sampling) -> None:
    if context is None or tokens + s.max_tokens <= context:
        return
    over = tokens + s.max_tokens - context
    room = context - tokens
    fix = (
        f"Use a kernel that is at least {-room + 1} tokens shorter, or a model with a longer "
        "context."
        if room < 1
        else f"Use --max-tokens {room} or less, a shorter kernel, or a longer context."
    )
    kernel = arm.condition.kernel
    what = f"kernel {kernel.name!r}" if kernel else "prompt"
    raise LemError(
        f"The {what} is too long: {probe.id} under {arm.condition.name!r} has {tokens} tokens, "
        f"which with {s.max_tokens} for the answer is {over} more than the context of {context}.",
        "Nothing is ever cut off to make it fit, so nothing was run.",
        fix,
    )


def request_seed(seed: int, probe: str, sample: int) -> int:
    """A request's own 31-bit seed. It does not depend on the condition, so that the arms of a
    pair draw from the same stream."""
    digest = hashlib.sha256(f"{seed}\x1e{probe}\x1e{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _placebo_notes(requests: Sequence[Request]) -> list[str]:
    """Say where a placebo is not as long as its kernel for this model."""
    total: dict[str, int] = {}
    for request in requests:
        if request.token_ids is not None:
            name = request.condition
            total[name] = total.get(name, 0) + len(request.token_ids)
    notes = []
    for name, tokens in total.items():
        kernel = total.get(name.removeprefix("placebo-"), 0)
        if name.startswith("placebo-") and kernel:
            off = tokens / kernel - 1
            if abs(off) > PLACEBO_TOLERANCE:
                notes.append(f"{name}: its prompts have {off:+.0%} tokens against the kernel's.")
    return notes
