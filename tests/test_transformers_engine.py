"""The transformers engine as a whole: what it loads, answers, refuses and survives."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

torch = pytest.importorskip("torch", reason="torch is not installed (the extra torch)")
pytest.importorskip("transformers", reason="transformers is not installed (the extra torch)")

from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from lem.ab import Experiment, run_ab  # noqa: E402
from lem.cli import cli  # noqa: E402
from lem.conditions import all_conditions, choose  # noqa: E402
from lem.engines import (  # noqa: E402
    EngineOptions,
    Meter,
    _torch_load,
    plain_cache,
    shared_prefix,
)
from lem.engines.llamacpp import common_prefix  # noqa: E402
from lem.engines.shared_prefix import Done, schedule  # noqa: E402
from lem.engines.shared_prefix.step import Prefill  # noqa: E402
from lem.engines.transformers import TransformersEngine  # noqa: E402
from lem.engines.workers import WorkersEngine  # noqa: E402
from lem.errors import LemError  # noqa: E402
from lem.kernels.load import make_kernel  # noqa: E402
from lem.probes import load_probes  # noqa: E402
from lem.records import Condition, Request, Response, Sampling  # noqa: E402
from lem.runs import Plan, make_plan, read_responses  # noqa: E402
from tiny_folders import change_json, mlx_adapter, peft_adapter, tiny_folder  # noqa: E402
from tiny_models import VOCAB, tiny  # noqa: E402

_OF_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ask(ids: Sequence[int], condition: str = "c", sample: int = 0, **sampling: Any) -> Request:
    """A request for given tokens; its key says which."""
    settings = Sampling(**{"max_tokens": 6} | sampling)
    return Request(
        key=f"{condition} {list(ids)} {sample}",
        probe="p",
        condition=condition,
        sample=sample,
        messages=[],
        prompt="",
        prompt_sha256="",
        token_ids=list(ids),
        sampling=settings,
        seed=settings.seed + 1000 * sample + sum(ids),
    )


def prompts(count: int, prefix: int, condition: str = "c", **sampling: Any) -> list[Request]:
    """Requests with a common prefix and suffixes of unequal length."""
    draw = random.Random(f"{condition} {prefix}")
    first = [draw.randrange(3, VOCAB) for _ in range(prefix)]
    suffixes = [
        [i + 3, *(draw.randrange(3, VOCAB) for _ in range(3 * i % 7))] for i in range(count)
    ]
    return [ask(first + suffix, condition, **sampling) for suffix in suffixes]


def numbers(ids: Sequence[int]) -> str:
    """Stands in for decoding, so that answers are compared token by token."""
    return " ".join(map(str, ids))


def engine_of(folder: Path, **options: Any) -> TransformersEngine:
    """An engine whose answers are the numbers of their tokens, on one thread of the processor."""
    settings = {"dtype": "float32", "device": "cpu", "threads": 1}
    made = TransformersEngine(folder, folder.name, **settings | options)
    made.decode = numbers  # type: ignore[method-assign]
    return made


def answers(engine: TransformersEngine, requests: Sequence[Request]) -> dict[str, Response]:
    """By key; each request has exactly one."""
    made = list(engine.generate(requests, Meter()))
    assert sorted(r.key for r in made) == sorted(r.key for r in requests)
    return {r.key: r for r in made}


def finals(responses: dict[str, Response]) -> dict[str, str]:
    return {key: response.final for key, response in responses.items()}


def plainly(model: Any, request: Request, stop_ids: Sequence[int] = ()) -> list[int]:
    """What transformers itself answers, greedily, with nothing shared or batched."""
    prompt = torch.tensor([request.token_ids])
    made = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=request.sampling.max_tokens,
        do_sample=False,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=0,
    )[0, prompt.shape[1] :].tolist()
    return made[:-1] if made[-1] in stop_ids else made


def assert_as_plainly(engine: TransformersEngine, model: Any, requests: Sequence[Request]) -> None:
    """The engine's greedy answers are transformers' own, token by token."""
    made = finals(answers(engine, requests))
    expected = {r.key: numbers(plainly(model, r, sorted(engine.stop_ids))) for r in requests}
    assert made == expected


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, built_in_folder: Path) -> Any:
    """Saves a tiny model of any architecture with a real tokenizer, as transformers does."""

    def save(name: str, model: Any = None) -> tuple[Path, Any]:
        place = tmp_path_factory.mktemp("models") / name
        model = tiny(name) if model is None else model
        model.save_pretrained(place)
        for file in _OF_TOKENIZER:
            shutil.copy(built_in_folder / file, place / file)
        return place, model

    return save


@pytest.fixture
def small(tmp_path: Path, built_in_folder: Path) -> Path:
    """A Llama of two layers with the whole vocabulary."""
    return tiny_folder(tmp_path / "small", built_in_folder)


@pytest.fixture(scope="module")
def llama(saved: Any) -> TransformersEngine:
    return engine_of(saved("llama")[0])


def short_conditions() -> list[Condition]:
    """Kernels short enough for real weights on one core."""
    kernels = [
        make_kernel("one", "Weigh who is hurt and who decides. " * 3, "test"),
        make_kernel("two", "Say plainly what you would do and why. " * 4, "test"),
    ]
    return choose(all_conditions(kernels), None, controls=False)


def plan_of(engine: Any, probes: int = 2, samples: int = 1, **sampling: Any) -> Plan:
    settings = Sampling(**{"max_tokens": 8} | sampling)
    return make_plan(engine, load_probes("P20")[:probes], short_conditions(), settings, samples)


# --- real weights


@pytest.fixture(scope="module")
def real(built_in_folder: Path) -> Iterator[TransformersEngine]:
    made = engine_of(built_in_folder)
    yield made
    made.close()


def test_real_answers_are_transformers_own_and_the_kernel_is_computed_once(
    real: TransformersEngine, built_in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    forward = schedule.forward

    def counting(model: Any, store: Any, step: Any) -> Any:
        if isinstance(step, Prefill):
            computed.append(step.size)
        return forward(model, store, step)

    monkeypatch.setattr(schedule, "forward", counting)
    plan = plan_of(real)
    requests = list(plan.requests)
    assert len(requests) == 6
    question = [{"role": "user", "content": "What is the capital of France?"}]
    requests.append(ask(real.tokenize(real.render(question)), "capital", max_tokens=12))
    meter = Meter()
    made = {r.key: r for r in real.generate(requests, meter)}
    reference = AutoModelForCausalLM.from_pretrained(built_in_folder, dtype=torch.float32)
    for request in requests:
        expected = plainly(reference, request, sorted(real.stop_ids))
        response = made[request.key]
        assert response.final == numbers(expected)
        assert response.completion_tokens == len(expected)
        ended = len(expected) < request.sampling.max_tokens
        assert response.finish_reason == ("stop" if ended else "length")
        assert response.prompt_tokens == len(request.token_ids or [])
    paris = made[requests[-1].key]
    assert paris.finish_reason == "stop" and (paris.completion_tokens or 0) > 4
    assert {made[r.key].finish_reason for r in plan.requests} == {"length"}

    every = sum(len(r.token_ids or []) for r in requests)
    shared = sum(
        common_prefix([r.token_ids or [] for r in plan.requests if r.condition == name])
        for name in ("baseline", "one", "two")
    )
    assert shared > 60
    assert meter.shared == shared == sum(r.cached_tokens or 0 for r in made.values())
    assert meter.prefilled == every - shared == sum(computed)
    ends = sum(r.finish_reason == "stop" for r in made.values())
    assert meter.generated == sum(r.completion_tokens or 0 for r in made.values()) + ends
    assert real.info.notes == []


def test_real_samples_do_not_depend_on_their_company(real: TransformersEngine) -> None:
    requests = plan_of(real, samples=3, temperature=0.8, top_p=0.9).requests[:12]
    assert {r.sample for r in requests} == {0, 1, 2}
    real.max_rows = 8
    eight = finals(answers(real, requests))
    real.max_rows = 1
    some = [*requests[:2], requests[7]]
    assert finals(answers(real, some)) == {r.key: eight[r.key] for r in some}
    real.max_rows = None
    assert len(set(eight.values())) >= 9  # samples differ


def test_samples_do_not_depend_on_rows_or_order(llama: TransformersEngine) -> None:
    requests = [
        ask(r.token_ids or [], r.condition, sample, temperature=0.8, top_p=0.9)
        for condition in "abc"
        for r in prompts(3, 12, condition)
        for sample in range(3)
    ]
    made = {}
    for rows in (1, 8):
        llama.max_rows = rows
        made[rows] = finals(answers(llama, requests))
    assert made[1] == made[8]
    assert len(set(made[8].values())) > 20
    mixed = random.Random(0).sample(requests, len(requests))
    mixed.sort(key=lambda r: "bca".index(r.condition))
    assert finals(answers(llama, mixed)) == made[8]
    llama.max_rows = None
    other = [r.model_copy(update={"seed": r.seed + 1}) for r in requests]
    assert finals(answers(llama, other)) != made[8]


# --- what comes out


def test_answers_go_through_the_parser(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = saved("qwen3")
    template = (folder / "chat_template.jinja").read_text()
    switch = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    (folder / "chat_template.jinja").write_text(template + switch)
    engine = TransformersEngine(folder, "t", dtype="float32", device="cpu", threads=1)
    written = [
        ("<think>\nWho is hurt?\n</think>\n\nNobody.", True),
        ("<think>\nWho is hurt", False),
        ("Nobody.<|im_start|>", True),
    ]

    def replay(model: Any, jobs: Sequence[Any], **options: Any) -> Iterator[Done]:
        assert options["stop_ids"] == engine.stop_ids
        for i, (text, ended) in enumerate(written):
            yield Done(i, engine.tokenizer.ids(text, special=True), ended, 2, 0.5)

    monkeypatch.setattr(shared_prefix, "generate", replay)
    made = list(engine.generate(prompts(3, 5), Meter()))
    assert [r.final for r in made] == ["Nobody.", "", "Nobody."]
    assert [r.reasoning for r in made] == ["Who is hurt?", "Who is hurt", None]
    assert [r.finish_reason for r in made] == ["stop", "length", "stop"]
    assert [r.format_errors for r in made] == [0, 0, 1]
    assert [r.cached_tokens for r in made] == [2, 2, 2]
    assert made[0].completion_tokens == len(engine.tokenizer.ids(written[0][0], special=True))


def test_no_requests_load_no_weights(llama: TransformersEngine, saved: Any) -> None:
    engine = engine_of(saved("gpt2")[0])
    assert list(engine.generate([], Meter())) == []
    assert engine._model is None
    engine.close()
    engine.close()


# --- devices and types


def test_unknown_devices_and_types_are_named(small: Path) -> None:
    for device in ("tpu", "cuda:99", "cuda:x", "mps:3", ""):
        with pytest.raises(LemError, match=r"is not on this machine.*sees cpu"):
            engine_of(small, device=device)
    assert engine_of(small, device="cpu:0").device == "cpu"
    with pytest.raises(LemError, match=r"--dtype 'fp8' is not known.*\n.*\n.*float32, bfloat16"):
        engine_of(small, dtype="fp8")
    with pytest.raises(LemError, match="--quantise 'int4' is not known"):
        engine_of(small, quantise="int4")


def test_the_type_is_what_the_hardware_is_fast_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, dtype in (({}, "float32"), ({"avx512_bf16": True, "sse": True}, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert _torch_load.choose_dtype(None, "cpu") == dtype
    for new, dtype in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.backends.mps, "is_macos_or_newer", lambda *_, new=new: new)
        assert _torch_load.choose_dtype(None, "mps") == dtype
    for fast, dtype in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda fast=fast, **_: fast)
        assert _torch_load.choose_dtype(None, "cuda:0") == dtype


def test_the_type_is_part_of_the_key_and_the_device_is_not(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, half = engine_of(small), engine_of(small, dtype="bfloat16")
    assert half.info.fingerprint["dtype"] == "bfloat16"
    keys = [[r.key for r in plan_of(engine, probes=1).requests] for engine in (full, half)]
    assert not set(keys[0]) & set(keys[1])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    elsewhere = engine_of(small, device="cuda:1")
    assert elsewhere.device == "cuda:1"
    assert elsewhere.info == full.info
    assert [r.key for r in plan_of(elsewhere, probes=1).requests] == keys[0]
    assert len(answers(half, plan_of(half, probes=1).requests)) == 3
    assert half._model.dtype == torch.bfloat16


def test_numbers_that_overflow_are_not_taken_for_answers(saved: Any) -> None:
    model = tiny("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(1e6)
    folder, _ = saved("large", model)
    requests = prompts(3, 8)
    assert_as_plainly(engine_of(folder), model, requests)
    with pytest.raises(LemError, match=r"do not fit into float16.*\n.*\n.*--dtype float32"):
        list(engine_of(folder, dtype="float16").generate(requests, Meter()))


# --- architectures


@pytest.mark.parametrize("name", ["gemma2", "gpt-oss", "gemma3"])
def test_architectures_load_whatever_attention_they_support(saved: Any, name: str) -> None:
    """Gemma 2 and GPT-OSS have no sdpa; `tests/test_shared_prefix.py` has all architectures."""
    folder, model = saved(name)
    engine = engine_of(folder)
    assert_as_plainly(engine, model, prompts(3, 30, max_tokens=8))
    assert engine._obstacle is None


def test_a_model_that_also_sees_answers_text(saved: Any) -> None:
    """As Gemma 3 4B and larger come: language model and vision tower in one folder."""
    sight = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    sight |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    text = tiny("gemma3").config.to_dict() | {"pad_token_id": 0}
    config = AutoConfig.for_model(
        "gemma3", text_config=text, vision_config=sight, mm_tokens_per_image=4
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=2 / parameter.shape[-1] ** 0.5)
    model = model.float().eval()
    folder, _ = saved("seeing", model)
    engine = engine_of(folder)
    assert engine.context_length == text["max_position_embeddings"]
    assert_as_plainly(engine, model, prompts(3, 30))
    assert engine._obstacle is None
    assert _torch_load.kv_bytes_per_token(engine._model) == 2 * 4 * 2 * 16 * 4


def test_a_model_that_is_not_served_answers_all_the_same(
    saved: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = saved("bloom")
    said: list[str] = []
    engine = engine_of(folder, say=said.append)
    requests = prompts(4, 20) + prompts(2, 0, "d")
    assert_as_plainly(engine, model, requests)
    notes = [n for n in engine.info.notes if "Shared-prefix attention does not serve" in n]
    assert len(notes) == 1 and "slower and gives the same answers" in notes[0]
    assert f"note: {notes[0]}" in said
    sizes: list[tuple[int, int]] = []
    batch = plain_cache._batch

    def watching(model: Any, jobs: Any, cache: Any, stop_ids: Any) -> Any:
        known = 0 if cache is None else cache.get_seq_length()
        sizes.append((len(jobs), len(jobs[0].ids) - known))
        return batch(model, jobs, cache, stop_ids)

    monkeypatch.setattr(plain_cache, "PASS_TOKENS", 8)
    monkeypatch.setattr(plain_cache, "_batch", watching)
    same = [ask(r.token_ids or [], r.condition, s) for r in requests for s in range(5)]
    made = answers(engine, same)
    assert all(rows * tokens <= 8 for rows, tokens in sizes) and max(sizes)[0] == 5
    expected = {r.key: numbers(plainly(model, r)) for r in same}
    assert finals(made) == expected
    engine.close()
    assert len(answers(engine, requests[:1])) == 1
    assert sum("does not serve" in n for n in engine.info.notes) == 1


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "gemma4", "deepseek-v3", "bloom"])
def test_memory_is_planned_from_what_a_token_holds(name: str) -> None:
    model = tiny(name)
    cache = model(torch.tensor([[3, 4, 5, 6]]), use_cache=True).past_key_values
    held = [
        tensor
        for layer in cache.layers
        for tensor in (layer.keys, layer.values)
        if tensor is not None
    ]
    real = sum(t.numel() * t.element_size() for t in held) // 4
    said = _torch_load.kv_bytes_per_token(model)
    if name in ("gemma4", "deepseek-v3"):  # layers without keys of their own, keys compressed
        assert real < said
    else:
        assert real == said


def test_models_without_keys_have_rows_too() -> None:
    assert _torch_load.kv_bytes_per_token(tiny("mamba")) > 0


# --- weights


def test_folders_are_loaded_safely(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a folder says: no code of its own, no pickles, nothing fetched."""
    change_json(
        small / "config.json",
        auto_map={"AutoModelForCausalLM": "evil.Evil"},
        attn_implementation="somebody/kernels",
    )
    (small / "evil.py").write_text("raise SystemExit")
    real = AutoModelForCausalLM.from_pretrained
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(
        AutoModelForCausalLM,
        "from_pretrained",
        lambda *args, **options: given.append(options) or real(*args, **options),
    )
    assert len(answers(engine_of(small), prompts(2, 4))) == 2
    wanted = {
        "trust_remote_code": False,
        "use_safetensors": True,
        "local_files_only": True,
        "attn_implementation": "eager",
    }
    assert [{k: options.get(k) for k in wanted} for options in given] == [wanted]


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(LemError) as error:
        list(engine_of(folder, **options).generate(prompts(2, 4), Meter()))
    return str(error.value)


def test_weights_that_do_not_fill_the_model_are_refused(small: Path) -> None:
    """transformers would draw them at random, and only warn."""
    whole = load_file(small / "model.safetensors")
    left = {k: v for k, v in whole.items() if "layers.1.mlp" not in k}
    save_file(left, small / "model.safetensors", metadata={"format": "pt"})
    said = refusal(small)
    assert "model.layers.1.mlp.down_proj.weight is not there (and 2 more)" in said
    assert "would have been random numbers" in said
    save_file(whole, small / "model.safetensors", metadata={"format": "pt"})
    change_json(small / "config.json", intermediate_size=50)
    said = refusal(small)
    assert "mlp.down_proj.weight is 32 × 48 in the files and 32 × 50 in config.json" in said
    change_json(small / "config.json", intermediate_size=48, num_hidden_layers=3)
    assert "model.layers.2." in refusal(small)


def test_weights_larger_than_the_memory_are_named_before_they_are_loaded(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers_of = sum(v.size for v in load_file(small / "model.safetensors").values())
    monkeypatch.setattr(_torch_load.sys, "platform", "linux")
    monkeypatch.setattr(_torch_load, "free_memory", lambda: numbers_of * 2.5)
    assert "do not fit into the memory of cpu" in refusal(small)
    assert len(answers(engine_of(small, dtype="bfloat16"), prompts(2, 4))) == 2
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", out_of_memory)
    monkeypatch.setattr(_torch_load, "free_memory", lambda: 1e12)
    assert "do not fit into the memory of cpu" in refusal(small)


def out_of_memory(*args: Any, **options: Any) -> None:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")


def test_quantised_weights_are_unpacked_where_the_processor_cannot_use_them(saved: Any) -> None:
    """GPT-OSS comes as mxfp4: blocks of 32 numbers of 4 bits with a common scale of 8."""
    folder, model = saved("gpt-oss")
    stored = load_file(folder / "model.safetensors")
    draw = np.random.default_rng(0)
    packed: dict[str, Any] = {}
    for key, value in stored.items():
        if not key.endswith(("experts.gate_up_proj", "experts.down_proj")):
            packed[key] = value
            continue
        experts, inputs, outputs = value.shape
        shape = (experts, outputs, inputs // 32)
        packed[f"{key}_blocks"] = draw.integers(0, 256, (*shape, 16), np.uint8)
        packed[f"{key}_scales"] = np.full(shape, 124, np.uint8)
        levels = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
        levels = np.concatenate([levels, -levels]) * 2.0 ** (124 - 127)
        low, high = packed[f"{key}_blocks"] & 15, packed[f"{key}_blocks"] >> 4
        unpacked = levels[np.stack([low, high], -1)].reshape(experts, outputs, inputs)
        model.get_parameter(key).data = torch.tensor(unpacked).float().transpose(1, 2).contiguous()
    save_file(packed, folder / "model.safetensors", metadata={"format": "pt"})
    kept = [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ]
    change_json(
        folder / "config.json",
        quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": kept},
    )
    engine = engine_of(folder)
    assert engine.info.fingerprint["quantisation"] == "mxfp4"
    assert_as_plainly(engine, model, prompts(3, 20))
    assert "those of gpt-oss are stored as mxfp4" in refusal(folder, quantise="nf4")


def test_packages_that_stored_weights_need_are_named(small: Path) -> None:
    if importlib.util.find_spec("optimum") or importlib.util.find_spec("gptqmodel"):
        pytest.skip("they are installed")
    change_json(small / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    said = refusal(small)
    assert "cannot load small as it is stored" in said and "Install what is named" in said


# --- 4 and 8 bits


@pytest.fixture(scope="module")
def blocks(saved: Any) -> Path:
    """A model whose matrices can be cut into blocks of 64 numbers, as nf4 needs."""
    config = copy.deepcopy(tiny("llama").config)
    config.intermediate_size = 128
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    folder: Path = saved("blocks", model.float())[0]
    return folder


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_weights_are_loaded_in_fewer_bits(
    blocks: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bits = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (extra bits)")
    engine = engine_of(blocks, quantise=kind)
    assert engine.info.fingerprint["quantisation"] == f"none, loaded as {kind}"
    plain = engine_of(blocks)
    keys = [{r.key for r in plan_of(e, probes=1).requests} for e in (engine, plain)]
    assert not keys[0] & keys[1]
    requests = prompts(3, 20)
    engine.max_rows = 1
    assert len(answers(engine, requests)) == len(requests)
    layer = engine._model.model.layers[0].self_attn.q_proj
    assert type(layer) is {"nf4": bits.nn.Linear4bit, "int8": bits.nn.Linear8bitLt}[kind]
    assert engine._obstacle is None
    assert any("int8 rounds" in note for note in engine.info.notes) is (kind == "int8")
    assert "MatMul8bitLt" not in capfd.readouterr().err


def test_without_bitsandbytes_the_extra_is_named(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = _torch_load.importlib.util.find_spec
    monkeypatch.setattr(
        _torch_load.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else find(name, *rest),
    )
    with pytest.raises(
        LemError, match=r"bitsandbytes .* is not installed.*\n.*\n.*lem-lab\[bits\]"
    ):
        engine_of(small, quantise="nf4")


# --- adapters


def with_delta(folder: Path, place: Path, delta: Any) -> Path:
    """A copy of a folder with something added to its query projections, layer by layer."""
    shutil.copytree(folder, place)
    weights = load_file(place / "model.safetensors")
    for key, value in weights.items():
        if key.endswith("q_proj.weight"):
            weights[key] = value + delta(key.removesuffix(".weight")).astype(np.float32)
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_a_peft_adapter_is_put_on(small: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    adapter = peft_adapter(tmp_path / "adapter")
    engine = engine_of(small, adapter=adapter)
    plain = engine_of(small)
    requests = prompts(3, 12)
    base = AutoModelForCausalLM.from_pretrained(small)
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    assert_as_plainly(engine, merged, requests)
    made = finals(answers(engine, requests))
    assert made != finals(answers(plain, requests))
    factors = load_file(adapter / "adapter_model.safetensors")

    def delta(module: str) -> Any:
        a, b = (factors[f"base_model.model.{module}.lora_{n}.weight"] for n in "AB")
        return 8 / 4 * b @ a

    by_hand = engine_of(with_delta(small, tmp_path / "by-hand", delta))
    assert finals(answers(by_hand, requests)) == made
    pins, others = engine.info.fingerprint, plain.info.fingerprint
    assert {k for k in pins if pins[k] != others.get(k)} == {"adapter_sha256"}


def test_an_adapter_of_mlx_lm_is_the_same_as_pefts(small: Path, tmp_path: Path) -> None:
    mlx, peft = mlx_adapter(tmp_path / "mlx"), peft_adapter(tmp_path / "peft")
    factors = load_file(mlx / "adapters.safetensors")
    turned = {}
    for key, value in factors.items():
        name = key.replace("lora_a", "lora_A.weight").replace("lora_b", "lora_B.weight")
        turned[f"base_model.model.{name}"] = np.ascontiguousarray(value.T)
    save_file(turned, peft / "adapter_model.safetensors")
    requests = prompts(3, 12)
    made = [answers(engine_of(small, adapter=adapter), requests) for adapter in (mlx, peft)]
    assert finals(made[0]) == finals(made[1])
    assert finals(made[0]) != finals(answers(engine_of(small), requests))


def test_an_adapter_that_would_change_nothing_is_refused(small: Path, tmp_path: Path) -> None:
    """PEFT leaves out weights under other names, and only warns."""
    adapter = peft_adapter(tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    renamed = {
        k.replace("model.model.", "model.language.model."): v for k, v in load_file(file).items()
    }
    save_file(renamed, file)
    said = refusal(small, adapter=adapter)
    assert "cannot be put on" in said and "missing adapter keys" in said


def test_adapters_of_mlx_lm_that_cannot_be_merged_are_refused(small: Path, tmp_path: Path) -> None:
    adapter = mlx_adapter(tmp_path / "adapter")
    file = adapter / "adapters.safetensors"
    whole = load_file(file)
    save_file({k.replace("model.", "language.", 1): v for k, v in whole.items()}, file)
    assert "which is not a linear layer of that size" in refusal(small, adapter=adapter)
    save_file(whole, file)
    change_json(adapter / "adapter_config.json", fine_tune_type="dora")
    assert "mlx-lm's kind 'dora'" in refusal(small, adapter=adapter)


def test_an_adapter_on_quantised_weights_stays_beside_them(blocks: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (extra bits)")
    adapter = peft_adapter(tmp_path / "adapter", width=64, layers=3)
    engine = engine_of(blocks, adapter=adapter, quantise="nf4")
    requests = prompts(3, 12)
    made = finals(answers(engine, requests))
    assert type(engine._model).__name__ == "LlamaForCausalLM" and engine._obstacle is None
    assert made != finals(answers(engine_of(blocks, quantise="nf4"), requests))
    mlx = mlx_adapter(tmp_path / "mlx", width=64, layers=3)
    assert "are quantised" in refusal(blocks, adapter=mlx, quantise="nf4")


# --- memory


def test_rows_are_planned_from_the_free_memory(
    llama: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    real = shared_prefix.generate

    def watching(model: Any, jobs: Any, **options: Any) -> Iterator[Done]:
        rows.append(options["rows"])
        return real(model, jobs, **options)

    monkeypatch.setattr(shared_prefix, "generate", watching)
    requests = prompts(9, 20)
    cell = 3 * 2 * 2 * 16 * 4  # layers, keys and values, heads, width, bytes
    longest = max(len(r.token_ids or []) for r in requests) - 20 + 6
    for cells in (20 + 4 * longest, 20 + 4 * longest - 1, 0, 10**9):
        monkeypatch.setattr(_torch_load, "memory_for_rows", lambda _, n=cells: n * cell)
        answers(llama, requests)
    assert rows == [4, 3, 1, 9]


#: A run in a process that may hardly grow once the weights are loaded, with too many rows planned.
_SCARCE = """
import resource, sys
from pathlib import Path
from lem.ab import run_ab
from lem.engines import _torch_load
from lem.engines.shared_prefix import schedule
from lem.engines.transformers import TransformersEngine
from test_transformers_engine import scarce_run

place = Path(sys.argv[1])
size, fewer = resource.getpagesize(), []
less, load, generate = (
    schedule._Loop._do_with_less, TransformersEngine._loaded, TransformersEngine.generate
)

def limit(soft):
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))

def loaded(self):
    model = load(self)
    limit(int(Path("/proc/self/statm").read_text().split()[0]) * size + 60_000_000)
    return model

def generating(self, requests, meter):
    try:
        yield from generate(self, requests, meter)
    finally:
        limit(resource.RLIM_INFINITY)

def watching(self, filling):
    less(self, filling)
    fewer.append(self.capacity)

_torch_load.memory_for_rows = lambda device: 1e12
TransformersEngine._loaded, TransformersEngine.generate = loaded, generating
schedule._Loop._do_with_less = watching
print(scarce_run(place, "fewer").new_answers, *fewer)
"""


def scarce_run(place: Path, name: str) -> Any:
    """96 answers of a tiny model with the whole vocabulary."""
    for kernel in ("one", "two"):
        (place / f"{kernel}.txt").write_text(f"Kernel {kernel}: weigh who is hurt.")
    experiment = Experiment(
        model=str(place / "model"),
        limit=8,
        samples=4,
        max_tokens=24,
        temperature=0.9,
        kernels=[(kernel, str(place / f"{kernel}.txt")) for kernel in ("one", "two")],
        scorers=["v2"],
    )
    options = EngineOptions(engine="transformers", device="cpu", dtype="float32", threads=1)
    return run_ab(experiment, folder=place / name, options=options)


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of the address space")
def test_a_run_outlives_a_lack_of_memory(
    tmp_path: Path, built_in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer rows; and where not even one fits, with what was finished, to go on from."""
    tiny_folder(tmp_path / "model", built_in_folder)
    child = subprocess.run(
        [sys.executable, "-c", _SCARCE, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert child.returncode == 0, child.stderr
    made, *rows = map(int, child.stdout.split())
    assert made == 96 and rows and 1 <= rows[-1] < 96

    forward, finished = schedule.forward, 0
    answer = TransformersEngine._response

    def counting(self: Any, *arguments: Any) -> Response:
        nonlocal finished
        finished += 1
        return answer(self, *arguments)

    def failing(*arguments: Any) -> Any:
        if finished >= 5:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")
        return forward(*arguments)

    monkeypatch.setattr(_torch_load, "memory_for_rows", lambda device: 1.0)  # one row at a time
    monkeypatch.setattr(TransformersEngine, "_response", counting)
    with monkeypatch.context() as context:
        context.setattr(schedule, "forward", failing)
        with pytest.raises(LemError, match="memory of cpu does not hold even one answer"):
            scarce_run(tmp_path, "none")
    kept = read_responses(tmp_path / "none")
    assert len(kept) == 5
    monkeypatch.setattr(_torch_load, "memory_for_rows", lambda device: 1e12)
    again = scarce_run(tmp_path, "none")
    assert again.new_answers == 91
    logs = [read_responses(tmp_path / name) for name in ("fewer", "none")]
    assert [len({r.key for r in log}) for log in logs] == [len(log) for log in logs] == [96, 96]
    texts = [{r.key: r.final for r in log} for log in logs]
    assert texts[0] == texts[1]
    assert kept == logs[1][:5]


# --- the command line, and workers


def test_lem_ab_makes_nothing_twice(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = _torch_load.load_model
    monkeypatch.setattr(
        _torch_load, "load_model", lambda *given: loads.append(given[3]) or load(*given)
    )
    monkeypatch.chdir(tmp_path)
    command = ["ab", "--engine", "transformers", "--model", str(small), "--limit", "2"]
    command += ["--max-tokens", "4", "--dtype", "float32", "--threads", "1", "--json"]
    said = [CliRunner().invoke(cli, command) for _ in range(2)]
    assert [s.exit_code for s in said] == [0, 0], said[0].output
    folder = Path(json.loads(said[0].stdout)["run"])
    assert json.loads(said[1].stdout)["run"] == str(folder)
    assert loads == ["float32"]
    assert "loading small (float32 on cpu)" in said[0].stderr
    assert "6 of 6 answers are there already" in said[1].stderr
    assert "loading" not in said[1].stderr
    log = read_responses(folder)
    assert len({r.key for r in log}) == len(log) == 6
    assert {r.completion_tokens for r in log} <= {0, 1, 2, 3, 4}
    other = CliRunner().invoke(cli, [*command, "--quantise", "int9"])
    assert other.exit_code == 2


def test_workers_share_a_kernel_each_and_give_the_same_answers(small: Path) -> None:
    options = {"dtype": "float32", "device": "cpu", "threads": 1}
    alone = TransformersEngine(small, "small", **options)  # type: ignore[arg-type]
    requests = plan_of(alone, probes=6, temperature=0.7).requests
    expected = finals(answers(alone, requests))
    workers = WorkersEngine(
        str(small),
        EngineOptions(engine="transformers", workers=2, **options),  # type: ignore[arg-type]
    )
    try:
        assert [r.key for r in plan_of(workers, probes=6, temperature=0.7).requests] == [
            r.key for r in requests
        ]
        meter = Meter()
        made = {r.key: r for r in workers.generate(requests, meter)}
    finally:
        workers.close()
    assert finals(made) == expected
    # Of three probes a worker and condition, one pays for the kernel and two do not.
    for condition in ("one", "two"):
        shared = [made[r.key].cached_tokens or 0 for r in requests if r.condition == condition]
        assert sum(n > 20 for n in shared) >= 3 and sum(n == 0 for n in shared) <= 3
    assert meter.shared == sum(r.cached_tokens or 0 for r in made.values())
    every = sum(len(r.token_ids or []) for r in requests)
    assert meter.prefilled + meter.shared == every
