"""mlx: rows that share a kernel answer as each would alone."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lem.engines import Meter, mlx
from lem.engines._mlx_blas import faster_blas
from lem.engines.llamacpp import common_prefix
from lem.errors import LemError
from lem.records import Request, Sampling
from tiny_folders import mlx_adapter, peft_adapter, tiny_folder

faster_blas()  # before anything imports mlx
mx = pytest.importorskip("mlx.core", reason="mlx is not installed (the extra mlx)")
pytest.importorskip("mlx_lm", reason="mlx-lm is not installed (the extra mlx)")

from lem.engines import _mlx_load, _mlx_rows  # noqa: E402
from lem.engines.mlx import MlxEngine  # noqa: E402


def ask(ids, condition="c", sample=0, **sampling) -> Request:
    """A request for given tokens; its key says which."""
    sampling = Sampling(**{"max_tokens": 6} | sampling)
    return Request(
        key=f"{condition} {ids} {sample}",
        probe="p",
        condition=condition,
        sample=sample,
        messages=[],
        prompt="",
        prompt_sha256="",
        token_ids=list(ids),
        sampling=sampling,
        seed=sampling.seed + sample,
    )


def prompts(count: int, prefix: int, seed: int = 0, condition: str = "c", **sampling):
    """Requests with a common prefix and suffixes of 1 to 9 tokens."""
    draw = np.random.default_rng(seed)
    first = draw.integers(3, 250, prefix).tolist()
    suffixes = [[i + 3, *draw.integers(3, 250, i * 3 % 9).tolist()] for i in range(count)]
    return [ask(first + suffix, condition, **sampling) for suffix in suffixes]


def answers(engine: MlxEngine, requests, rows=None) -> dict:
    engine.max_rows = rows
    return {r.key: r for r in engine.generate(requests, Meter())}


def finals(responses) -> dict[str, str]:
    return {key: r.final for key, r in responses.items()}


def numbers(ids) -> str:
    """Stands in for decoding, so that answers are compared token by token."""
    return " ".join(map(str, ids))


def plain(folder, name: str, **options) -> MlxEngine:
    """An engine whose answers are the numbers of their tokens."""
    made = MlxEngine(folder, name, **{"dtype": "float32"} | options)
    made.decode = numbers
    return made


def by_mlx_lm(engine: MlxEngine, request: Request) -> list[int]:
    """The greedy answer of mlx-lm itself, one prompt at a time."""
    from mlx_lm.generate import generate_step

    steps = generate_step(
        mx.array(request.token_ids), engine._model, max_tokens=request.sampling.max_tokens
    )
    made = []
    for token, _ in steps:
        if int(token) in engine.stop_ids:
            break
        made.append(int(token))
    return made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, built_in_folder) -> MlxEngine:
    folder = tiny_folder(tmp_path_factory.mktemp("tiny") / "model", built_in_folder)
    return plain(folder, "tiny")


@pytest.fixture(scope="module")
def saved(tmp_path_factory, built_in_folder):
    """A tiny model of any architecture, as transformers saves it, with a real tokenizer."""
    from tiny_models import tiny as build

    def save(name: str, **config):
        place = tmp_path_factory.mktemp(name)
        model = build(name)
        if config.get("tie_word_embeddings"):
            model.lm_head.weight = model.model.embed_tokens.weight
            model.config.tie_word_embeddings = True
        model.save_pretrained(place)
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copy(built_in_folder / file, place / file)
        return place, model

    return save


# -- the built-in model --


@pytest.fixture(scope="module")
def smol(built_in_folder):
    made = MlxEngine(built_in_folder, "smollm2-135m", dtype="float32")
    yield made
    made.close()


def test_rows_of_the_real_model_answer_as_each_does_alone(smol):
    """Few tokens: without OpenBLAS, mlx takes 0.1 s for each on a Linux CPU."""
    requests = []
    for question, tokens in (
        ("What is the capital of France?", 6),
        ("Name a colour that is neither blue nor red.", 2),
        ("May I read my daughter's diary?", 3),
    ):
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": question},
        ]
        requests.append(ask(smol.tokenize(smol.render(messages)), max_tokens=tokens))
    meter = Meter()
    smol.max_rows = 2  # the third takes the place of the one that ends first
    together = {r.key: r for r in smol.generate(requests, meter)}
    alone = {k: v for q in requests[1:] for k, v in answers(smol, [q]).items()}
    assert finals(together) | finals(alone) == finals(together)
    assert "Paris" in together[requests[0].key].final
    assert smol._together and not smol.info.notes
    prefix = common_prefix([r.token_ids for r in requests])
    assert prefix >= 10
    assert meter.prefilled == sum(len(r.token_ids) for r in requests) - 2 * prefix
    assert meter.shared == 2 * prefix == sum(r.cached_tokens for r in together.values())
    assert meter.generated >= sum(r.completion_tokens for r in together.values())


def test_info_names_versions_weights_and_type(smol):
    info = smol.info
    assert info.engine == "mlx" and info.engine_version.startswith("mlx 0.")
    assert " mlx-lm 0." in info.engine_version
    assert info.fingerprint["dtype"] == "float32" and len(info.fingerprint["weights_sha256"]) == 64
    assert info.context_length == 8192


# -- batching, on tiny models --


@pytest.mark.parametrize("rows", [None, 2, 3])
def test_ragged_rows_and_refills_do_not_change_answers(tiny, rows):
    requests = prompts(5, prefix=20) + prompts(4, prefix=0, seed=1, condition="d")
    requests += prompts(3, prefix=33, seed=2, condition="e")
    requests = [
        ask(request.token_ids, request.condition, max_tokens=3 + i % 4)
        for i, request in enumerate(requests)
    ]
    made = answers(tiny, requests, rows)
    assert set(made) == {r.key for r in requests} and tiny._together
    for request in requests:
        expected = by_mlx_lm(tiny, request)
        response = made[request.key]
        assert response.final == numbers(expected)
        assert response.completion_tokens == len(expected)


def test_the_kernel_is_computed_once_a_condition(tiny, monkeypatch):
    computed = []
    real = _mlx_rows.prefix_memory
    monkeypatch.setattr(
        mlx, "prefix_memory", lambda model, ids: computed.append(len(ids)) or real(model, ids)
    )
    requests = prompts(5, prefix=20) + prompts(4, prefix=30, seed=1, condition="d")
    tiny.max_rows = 2
    meter = Meter()
    made = list(tiny.generate(requests, meter))
    assert computed == [20, 30]
    assert meter.shared == 4 * 20 + 3 * 30 == sum(r.cached_tokens for r in made)
    assert meter.prefilled == sum(len(r.token_ids) for r in requests) - meter.shared


def test_samples_do_not_depend_on_their_neighbours(tiny):
    requests = [
        ask(request.token_ids, sample=sample, temperature=0.9, top_p=0.95)
        for request in prompts(3, prefix=12)
        for sample in range(3)
    ]
    one, four = answers(tiny, requests, 1), answers(tiny, requests, 4)
    assert finals(one) == finals(four)
    assert len(set(finals(one).values())) >= 8  # of 9: samples differ
    other = [r.model_copy(update={"seed": r.seed + 100}) for r in requests]
    assert finals(answers(tiny, other, 4)) != finals(four)
    # Further samples of a prompt that joins in the same moment cost its last token only.
    shared = sorted(r.cached_tokens - len(q.token_ids) for r, q in zip(four.values(), requests))
    assert shared.count(-1) >= 2


def test_an_answer_ends_at_a_stop_token(tiny, monkeypatch):
    request = prompts(1, prefix=5)[0]
    full = by_mlx_lm(tiny, request)
    monkeypatch.setattr(tiny, "stop_ids", frozenset([full[3]]))
    made = answers(tiny, [request])[request.key]
    cut = full[: full.index(full[3])]
    assert made.finish_reason == "stop" and made.completion_tokens == len(cut)
    assert made.final == numbers(cut)
    monkeypatch.setattr(tiny, "stop_ids", frozenset())
    assert answers(tiny, [request])[request.key].finish_reason == "length"


def test_closing_early_leaves_a_usable_engine(tiny):
    requests = prompts(4, prefix=10)
    running = tiny.generate(requests, Meter())
    next(running)
    running.close()
    assert len(answers(tiny, requests, 2)) == 4
    tiny.close()
    tiny.close()
    assert len(answers(tiny, requests[:1])) == 1


def test_rows_are_put_back_when_memory_runs_out(tiny, monkeypatch):
    requests = prompts(6, prefix=10) + prompts(3, prefix=15, seed=3, condition="d")
    expected = finals(answers(tiny, requests, 8))
    real, said = _mlx_rows.Rows.step, []

    def scarce(self, tokens):
        if len(tokens) > 3:
            raise RuntimeError("[metal::malloc] Attempting to allocate 9 bytes")
        return real(self, tokens)

    monkeypatch.setattr(_mlx_rows.Rows, "step", scarce)
    monkeypatch.setattr(tiny, "say", said.append)
    made = list(tiny.generate(requests, Meter()))
    assert len(made) == len(requests) and {r.key: r.final for r in made} == expected
    assert any("memory ran out" in line for line in said)


@pytest.mark.parametrize(
    ("error", "message"),
    [(MemoryError("std::bad_alloc"), "too little memory"), (RuntimeError("Oops"), "mlx stopped")],
)
def test_what_was_finished_before_a_failure_is_kept(tiny, monkeypatch, error, message):
    real, calls = _mlx_rows.Rows.step, []

    def failing(self, tokens):
        calls.append(1)
        if len(calls) > 8:
            raise error
        return real(self, tokens)

    requests = prompts(3, prefix=10)
    answers(tiny, requests[:1])  # loaded and compared before it fails
    monkeypatch.setattr(_mlx_rows.Rows, "step", failing)
    tiny.max_rows, kept = 1, []
    with pytest.raises(LemError, match=message):
        kept.extend(iter_into(kept, tiny.generate(requests, Meter())))
    assert [r.key for r in kept] == [requests[0].key]


def iter_into(kept, responses):
    for response in responses:
        kept.append(response)
    return []


# -- architectures --


@pytest.mark.parametrize("name", ["gemma3", "olmo3"])
@pytest.mark.parametrize("prefix", [4, 40])
def test_sliding_windows_stay_exact(saved, name, prefix):
    """The window is 16 tokens: shorter prompts, longer ones, and rows on both sides of it."""
    engine = plain(saved(name)[0], name)
    requests = prompts(4, prefix=prefix, max_tokens=12) + prompts(2, 14, 5, "d", max_tokens=9)
    made = answers(engine, requests, 3)
    assert engine._together
    for request in requests:
        assert made[request.key].final == numbers(by_mlx_lm(engine, request))


def test_a_model_whose_rows_depend_on_each_other_runs_one_at_a_time(saved):
    """mlx-lm's Gemma 2 cannot mask rows of unequal length."""
    engine = plain(saved("gemma2", tie_word_embeddings=True)[0], "gemma2")
    requests = prompts(4, prefix=10)
    made = answers(engine, requests)
    for request in requests:
        assert made[request.key].final == numbers(by_mlx_lm(engine, request))
    assert any("one at a time" in note for note in engine.info.notes)
    assert len(answers(engine, requests)) == 4


def test_rows_that_see_padding_or_sit_off_by_one_are_found_out(tiny, monkeypatch):
    answers(tiny, prompts(1, prefix=3))
    prefix = _mlx_rows.prefix_memory(tiny._model, list(range(3, 30)))
    assert _mlx_rows.obstacle(tiny._model, prefix, "float32") is None
    from mlx_lm.models.cache import BatchKVCache

    real = BatchKVCache.make_mask
    monkeypatch.setattr(
        BatchKVCache,
        "make_mask",
        lambda self, N, **options: real(blind(self), N, **options),
    )
    assert "off" in _mlx_rows.obstacle(tiny._model, prefix, "float32")


def blind(cache):
    """A cache that does not know where its padding is."""
    return SimpleNamespace(_idx=cache._idx, left_padding=mx.zeros_like(cache.left_padding))


@pytest.mark.parametrize("name", ["deepseek-qwen", "deepseek-llama", "smollm3", "gemma3"])
def test_what_transformers_5_writes_is_the_same_model_here(saved, name):
    """It moved the rotary settings; mlx-lm would silently take its defaults for these."""
    import torch

    folder, model = saved(name)
    engine = MlxEngine(folder, name, dtype="float32")
    ids = np.random.default_rng(0).integers(3, 250, (1, 24))
    with torch.no_grad():
        expected = model(torch.tensor(ids)).logits[0, -1].numpy()
    got = np.array(_mlx_load.load(engine, "float32")(mx.array(ids))[0, -1])
    assert np.linalg.norm(got - expected) < 1e-4 * np.linalg.norm(expected)


def test_a_window_that_mlx_lm_leaves_out_is_said(saved):
    engine = MlxEngine(saved("mistral-window")[0], "mistral", dtype="float32")
    answers(engine, prompts(2, prefix=2, max_tokens=1))
    assert not any("sliding window" in note for note in engine.info.notes)
    answers(engine, prompts(2, prefix=20))
    assert any("sliding window of 16 tokens" in note for note in engine.info.notes)


def test_a_4_bit_folder_runs(tmp_path, built_in_folder):
    from mlx_lm.convert import convert

    source = tiny_folder(tmp_path / "full", built_in_folder)
    convert(str(source), str(tmp_path / "four"), quantize=True, q_bits=4, q_group_size=32)
    engine = plain(tmp_path / "four", "four", dtype=None)
    assert engine.quantisation == "mlx 4-bit, group 32"
    requests = prompts(3, prefix=12)
    made = answers(engine, requests)
    for request in requests:
        assert made[request.key].final == numbers(by_mlx_lm(engine, request))
    assert engine.info.fingerprint["quantisation"] == "mlx 4-bit, group 32"


# -- adapters --


def last_logits(engine: MlxEngine) -> np.ndarray:
    model = _mlx_load.load(engine, "float32")
    return np.array(model(mx.array([[5, 6, 7, 8]]))[0, -1])


def test_both_kinds_of_adapter_change_the_model_alike(tmp_path, tiny):
    peft, other = peft_adapter(tmp_path / "peft"), mlx_adapter(tmp_path / "mlx")
    tensors = {}
    for name, weight in load_file(peft / "adapter_model.safetensors").items():
        name = name.removeprefix("base_model.model.").replace(".lora_A.weight", ".lora_a")
        tensors[name.replace(".lora_B.weight", ".lora_b")] = np.ascontiguousarray(weight.T)
    save_file(tensors, other / "adapters.safetensors")
    bare = last_logits(tiny)
    one, two = (
        last_logits(MlxEngine(tiny.path, "t", adapter=folder, dtype="float32"))
        for folder in (peft, other)
    )
    assert np.allclose(one, two, atol=1e-5) and not np.allclose(one, bare, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
    ],
)
def test_adapters_that_would_be_applied_in_part_are_refused(tmp_path, tiny, change, message):
    folder = peft_adapter(tmp_path / "peft", **change)
    with pytest.raises(LemError, match=message):
        _mlx_load.load(MlxEngine(tiny.path, "t", adapter=folder), "float32")


# -- errors --


def test_bad_folders_are_named_before_the_first_token(tmp_path, tiny, built_in_folder):
    with pytest.raises(LemError, match=r"config\.json"):
        MlxEngine(tmp_path, "none")
    with pytest.raises(LemError, match="falcon9"):
        MlxEngine(tiny_folder(tmp_path / "a", built_in_folder, model_type="falcon9"), "a")
    # A setting that the weights do not fit is only seen when they load.
    wide = tiny_folder(tmp_path / "b", built_in_folder, intermediate_size=64)
    with pytest.raises(LemError, match="mlx-lm cannot load"):
        list(MlxEngine(wide, "b").generate(prompts(1, 2), Meter()))
    code = tiny_folder(tmp_path / "c", built_in_folder, model_file="evil.py")
    (code / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(LemError, match=r"never run"):
        list(MlxEngine(code, "c").generate(prompts(1, 2), Meter()))
    with pytest.raises(LemError, match="int3"):
        MlxEngine(tiny.path, "tiny", dtype="int3")


def test_numbers_that_overflow_are_no_answers(tmp_path, built_in_folder):
    folder = tiny_folder(tmp_path / "hot", built_in_folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= np.float32(1e30)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(LemError, match="not finite"):
        list(MlxEngine(folder, "hot", dtype="float16").generate(prompts(2, 3), Meter()))


def test_without_mlx_the_extra_is_named(tiny, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(mlx.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(LemError, match=r"mlx-lm is not installed[\s\S]*lem-lab\[mlx\]"):
            MlxEngine(tiny.path, "tiny")
    monkeypatch.setitem(sys.modules, "mlx.core", None)
    with pytest.raises(LemError, match=r"back end for this machine[\s\S]*lem-lab\[mlx\]"):
        MlxEngine(tiny.path, "tiny")


def test_settings_of_positions_find_their_older_names():
    nested = {
        "text_config": {
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        }
    }
    text = _mlx_load.adapted(nested)["text_config"]
    assert text["rope_theta"] == 1e6 and text["rope_local_base_freq"] == 1e4
    assert text["rope_scaling"]["type"] == "linear" and text["sliding_window_pattern"] == 3
    older = {"rope_theta": 5e5, "rope_scaling": None, "vocab_size": 8}
    assert _mlx_load.adapted(older) == {}
    both = {"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    assert "rope_theta" not in _mlx_load.adapted(both)


# -- the CPU's matrix product --


def test_openblas_is_looked_for_before_mlx_only(monkeypatch):
    from lem.engines import _mlx_blas

    look = _mlx_blas.faster_blas.__wrapped__
    assert not look()  # mlx is loaded: too late
    monkeypatch.delitem(sys.modules, "mlx.core")
    monkeypatch.setattr(_mlx_blas, "_OPENBLAS", "libnone.so.0")
    assert not look()
    monkeypatch.setattr(_mlx_blas.sys, "platform", "darwin")
    assert look()


# -- drawing --


def test_draws_follow_the_distribution_after_temperature_and_top_p():
    from lem.engines.sampling import draw, uniform

    p = np.array([0.05, 0.4, 0.1, 0.3, 0.15])
    logits = (np.log(p) * 0.7).astype(np.float32)  # at temperature 0.7: p
    grid = (np.arange(2000) + 0.5) / 2000
    counts = np.bincount([draw(logits, 0.7, 1.0, u) for u in grid], minlength=5) / 2000
    assert np.allclose(counts, p, atol=0.001)
    counts = np.bincount([draw(logits, 0.7, 0.8, u) for u in grid], minlength=5) / 2000
    kept = np.array([0, 0.4, 0, 0.3, 0.15])  # 0.4 + 0.3 is not yet 0.8
    assert np.allclose(counts, kept / 0.85, atol=0.001)
    assert draw(logits, 0.7, 1e-9, 0.999) == 1 and draw(logits, 0.0, 1.0, 0.0) == 1
    assert draw(logits, 0.7, 1.0, 1 - 2**-53) == 4
    peaked = np.array([0, 1000, -np.inf], dtype=np.float32)
    assert {draw(peaked, 1.0, 0.9, u) for u in (0.0, 0.5, 0.999)} == {1}
    draws = [uniform(3, step) for step in range(2000)]
    assert draws == [uniform(3, step) for step in range(2000)] and len(set(draws)) == 2000
    assert abs(np.mean(draws) - 0.5) < 0.03 and uniform(4, 0) != draws[0]
