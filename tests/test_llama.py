"""llama.cpp in process, with real weights."""

import pytest

from lem.engines import Meter, resolve
from lem.engines.llamacpp import LlamaEngine, common_prefix
from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel, placebo
from lem.probes import load_probes
from lem.records import Sampling
from lem.runs import make_plan


def test_the_prepared_model_knows_the_capital_of_france(model_path):
    from lem.engines.builtin import _ask

    assert "Paris" in _ask(model_path, "What is the capital of France?")


@pytest.fixture(scope="module")
def short():
    """Small kernels keep the real runs short."""
    from lem.conditions import all_conditions, choose
    from lem.kernels.load import make_kernel

    kernels = [
        make_kernel("one", "Weigh who is hurt and who decides. " * 6, "test"),
        make_kernel("two", "Say plainly what you would do and why. " * 8, "test"),
    ]
    return choose(all_conditions(kernels), None, controls=False)


def run(engine, conditions, probes=4, rows=None, **sampling):
    plan = make_plan(
        engine,
        load_probes("P20")[:probes],
        conditions,
        Sampling(**{"max_tokens": 12} | sampling),
        samples=1 if not sampling.get("temperature") else 3,
    )
    engine.max_rows = rows
    engine._free_context()
    meter = Meter()
    return plan, list(engine.generate(plan.requests, meter)), meter


def test_the_kernel_is_computed_once_a_condition(engine, short):
    plan, responses, meter = run(engine, short)
    assert {r.key for r in responses} == {r.key for r in plan.requests}
    shared = 0
    for arm in plan.arms:
        prompts = [r.token_ids for r in plan.requests if r.condition == arm.condition.name]
        shared += common_prefix(prompts) * (len(prompts) - 1)
    every = sum(len(r.token_ids) for r in plan.requests)
    assert meter.prefilled == every - shared and meter.shared == shared > every / 5
    assert sum(r.cached_tokens for r in responses) == shared
    assert all(r.prompt_tokens > r.cached_tokens >= 0 for r in responses)
    assert all(r.completion_tokens == 12 or r.finish_reason == "stop" for r in responses)


@pytest.mark.parametrize("rows", [1, 3])
def test_refilled_rows_answer_every_request_once(engine, short, rows):
    plan, responses, _ = run(engine, short, rows=rows)
    assert sorted(r.key for r in responses) == sorted(r.key for r in plan.requests)


def test_sharing_does_not_change_greedy_answers(engine, short):
    """Sums in another order may flip a near-tie between two tokens, so a few may differ later
    on; a row that saw a wrong cell would differ from its first token, and in most answers."""
    plan, together, _ = run(engine, short, probes=6)
    shared = {r.key: r.final for r in together}
    alone = {r.key: r.final for q in plan.requests for r in engine.generate([q], Meter())}
    same = sum(shared[k] == alone[k] for k in alone)
    assert same >= 0.8 * len(alone)
    first_words = [(shared[k].split()[:1], alone[k].split()[:1]) for k in alone]
    assert sum(a == b for a, b in first_words) >= 0.95 * len(alone)


def test_samples_differ_and_repeat_with_their_seed(engine, short):
    one = run(engine, short[:1], probes=2, temperature=1.0, top_p=0.9)[1]
    two = run(engine, short[:1], probes=2, temperature=1.0, top_p=0.9)[1]
    assert len({r.final for r in one}) >= 5  # of 6
    assert {r.key: r.final for r in one} == {r.key: r.final for r in two}
    other = run(engine, short[:1], probes=2, temperature=1.0, top_p=0.9, seed=7)[1]
    assert {r.final for r in other} != {r.final for r in one}


def test_closing_early_leaves_a_usable_engine(engine, short):
    plan = make_plan(engine, load_probes("P20")[:4], short, Sampling(max_tokens=8))
    answers = engine.generate(plan.requests, Meter())
    next(answers)
    answers.close()
    assert len(list(engine.generate(plan.requests[:2], Meter()))) == 2


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("seed", range(3))
def test_placebos_have_the_kernels_token_count_within_5_percent(engine, name, seed):
    kernel = load_kernel(name, BUILT_IN[name])
    ratio = len(engine.tokenize(placebo(kernel, seed).text)) / len(engine.tokenize(kernel.text))
    assert abs(ratio - 1) <= 0.05


def test_a_kernel_beyond_the_context_is_refused(engine):
    from lem.conditions import all_conditions
    from lem.kernels.load import make_kernel

    long = all_conditions([make_kernel("long", "word " * 9000, "test")])
    with pytest.raises(LemError, match=r"is \d+ more than the context of 8192"):
        make_plan(engine, load_probes("P20")[:1], long, Sampling(max_tokens=8))


def test_damaged_and_foreign_model_files(model_path, tmp_path):
    cut = tmp_path / "cut.gguf"
    with model_path.open("rb") as source:
        cut.write_bytes(source.read(20_000_000))
    with pytest.raises(LemError, match="cannot load"):
        LlamaEngine(cut, "cut")
    page = tmp_path / "page.gguf"
    page.write_text("<html>not found</html>")
    with pytest.raises(LemError, match="not a GGUF file"):
        resolve(str(page))
    with pytest.raises(LemError, match="No such model"):
        resolve(str(tmp_path / "none.gguf"))
    with pytest.raises(LemError, match="holds 2 GGUF files"):
        resolve(str(tmp_path))


def test_common_prefix():
    assert common_prefix([[1, 2, 3], [1, 2, 4], [1, 2, 3, 5]]) == 2
    assert common_prefix([[1, 2], [1, 2, 3]]) == 1  # each keeps a token of its own
    assert common_prefix([[1, 2]]) == 0
    assert common_prefix([[1], [2]]) == 0
