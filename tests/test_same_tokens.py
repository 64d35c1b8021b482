"""The same probe is the same token ids in every engine, and over a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from lem.conditions import all_conditions, choose
from lem.engines import Engine, EngineOptions, resolve
from lem.kernels import BUILT_IN, load_kernel
from lem.probes import load_probes
from lem.records import Sampling
from lem.runs import make_plan


def prompts(engine: Engine) -> dict[tuple[str, str], tuple[str, tuple[int, ...]]]:
    """Text and ids of every prompt of the standard A/B with its controls."""
    kernels = [load_kernel(name, where) for name, where in BUILT_IN.items()]
    conditions = choose(all_conditions(kernels), None, controls=True)
    plan = make_plan(engine, load_probes("P20"), conditions, Sampling(max_tokens=8))
    return {(r.condition, r.probe): (r.prompt, tuple(r.token_ids or ())) for r in plan.requests}


@pytest.mark.parametrize("engine", ["transformers", "mlx"])
def test_prompts_are_the_same_to_the_token(
    engine: str, model_path: Path, built_in_folder: Path
) -> None:
    if engine == "mlx":
        pytest.importorskip("mlx.core", reason="mlx is not installed")
    reference = resolve(str(model_path), EngineOptions(engine="llama.cpp"))
    other = resolve(str(built_in_folder), EngineOptions(engine=engine))
    try:
        expected, found = prompts(reference), prompts(other)
        assert len(expected) >= 21 * 7
        assert all(ids for _, ids in expected.values())
        assert found == expected
        facts = {"template_sha256"}
        assert other.facts.model_dump(exclude=facts) == reference.facts.model_dump(exclude=facts)
    finally:
        reference.close()
        other.close()
