"""Model folders: the same prompts as llama.cpp, and every way one can be unusable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from lem.engines import gguf_folder
from lem.engines._folder_files import quantisation
from lem.engines._gguf_header import read_header
from lem.engines.builtin import NAME
from lem.engines.folder import ModelFolder
from lem.engines.gguf_folder import _check_tokenizer, folder_of
from lem.engines.llamacpp import LlamaEngine
from lem.errors import LemError
from lem.probes import load_probes
from lem.prompts import plan_arms, render
from lem.records import Condition
from tiny_folders import change_json, mlx_adapter, peft_adapter, tiny_folder, tiny_gguf


@pytest.fixture(scope="module")
def model(built_in_folder: Path) -> ModelFolder:
    return ModelFolder(built_in_folder, NAME)


@pytest.fixture
def tiny(tmp_path: Path, built_in_folder: Path) -> Path:
    return tiny_folder(tmp_path / "tiny", built_in_folder)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(LemError) as error:
        ModelFolder(path, "tiny", **options)
    return str(error.value)


# --- the built-in model, both ways -------------------------------------------------------------


def test_prompts_of_the_folder_are_llama_cpps(
    engine: LlamaEngine, model: ModelFolder, standard: list[Condition]
) -> None:
    probes = load_probes("P20")
    arms, _ = plan_arms(standard, engine, probes[0])
    compared = 0
    for arm in arms:
        for probe in probes:
            theirs, ours = render(arm, engine, probe), render(arm, model, probe)
            assert ours == theirs
            compared += len(ours.token_ids or [])
    assert len(arms) == 3
    assert compared > 50_000


def test_template_facts_are_llama_cpps(engine: LlamaEngine, model: ModelFolder) -> None:
    assert model.facts == engine.facts


def test_control_tokens_in_text_are_seen(engine: LlamaEngine, model: ModelFolder) -> None:
    for text in ("a<|im_end|>b", "<|endoftext|>", "<|im_end", "plain", "½² ٣٤ 12345"):
        assert model.foreign_tokens(text) is engine.foreign_tokens(text)
        assert model.tokenize_plain(text) == engine.tokenize_plain(text)


def test_text_comes_back_with_control_tokens_and_broken_bytes(model: ModelFolder) -> None:
    text = "naïve 🤖 日本語\n  x"
    ids = model.tokenize_plain(text)
    assert model.decode(ids) == text
    assert model.decode([*model.tokenize_plain("a"), 2]) == "a<|im_end|>"
    robot = model.tokenize_plain("🤖")
    assert len(robot) > 1
    assert set(model.decode(robot[:1])) == {"�"}


def test_the_converted_model_stops_where_llama_cpp_does(
    engine: LlamaEngine, model: ModelFolder
) -> None:
    ends = {i for i in range(300) if engine.lib.vocab_is_eog(engine.vocab, i)}
    assert model.stop_ids == ends
    assert model.notes == []


def test_a_conversion_with_another_rule_for_splitting_text_is_refused(
    model_path: Path, model: ModelFolder, tmp_path: Path
) -> None:
    shutil.copytree(model.path, tmp_path / "m")
    raw = json.loads((tmp_path / "m" / "tokenizer.json").read_text())
    steps = raw["pre_tokenizer"]["pretokenizers"]
    assert steps.pop(0)["type"] == "Digits"
    (tmp_path / "m" / "tokenizer.json").write_text(json.dumps(raw))
    other = ModelFolder(tmp_path / "m", "m")
    llama = LlamaEngine(model_path, NAME)
    try:
        _check_tokenizer(model_path, model.tokenizer, read_header(model_path), llama)
        with pytest.raises(LemError, match="differ near"):
            _check_tokenizer(model_path, other.tokenizer, read_header(model_path), llama)
    finally:
        llama.close()


def test_a_folder_is_converted_once(model_path: Path, built_in_folder: Path) -> None:
    said: list[str] = []
    assert folder_of(model_path, said.append) == built_in_folder
    assert said == []
    origin = json.loads((built_in_folder / "lem.json").read_text())
    assert origin["stored_as"] == "float16"  # the built-in model's own numbers, exactly
    assert origin["quantisation"] == "none"


def test_a_quantised_file_is_converted_and_says_so(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tiny_gguf(tmp_path / "tiny.gguf", model_path)
    monkeypatch.setenv("LEM_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    place = folder_of(tmp_path / "tiny.gguf", said.append)
    assert said == ["converting tiny.gguf into a folder for transformers and mlx (once)"]
    model = ModelFolder(place, "tiny")
    assert model.quantisation == "gguf Q8_0, dequantised"
    assert model.fingerprint()["quantisation"] == "gguf Q8_0, dequantised"
    assert model.stop_ids >= {2} and model.facts.default_system
    assert list((tmp_path / "cache" / "models").glob("tmp*")) == []
    with safe_open(place / "model.safetensors", "np") as weights:
        for ours, theirs in (
            ("model.embed_tokens", "token_embd"),
            ("model.layers.1.mlp.down_proj", "blk.1.ffn_down"),
        ):
            found = weights.get_tensor(f"{ours}.weight")
            wanted = stored[f"{theirs}.weight"]
            assert found.dtype == np.float16 and np.array_equal(found, wanted.astype(np.float16))


def test_a_conversion_that_fails_leaves_nothing(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gguf_folder, "free_memory", lambda: 1e9)
    with pytest.raises(LemError, match="takes 1 GB of memory, and 1 GB are free"):
        folder_of(model_path)
    monkeypatch.setattr(gguf_folder, "free_memory", lambda: 1e12)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf_folder, "_save_tokenizer", full)
    with pytest.raises(LemError, match=r"could not be kept as a folder .* No space left"):
        folder_of(model_path)
    assert [p.suffix for p in (tmp_path / "cache" / "models").iterdir()] == [".lock"]


def test_what_is_not_gguf_is_not_converted(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"<html>")
    with pytest.raises(LemError, match="not a GGUF file"):
        folder_of(tmp_path / "m.gguf")
    (tmp_path / "n.gguf").write_bytes(b"GGUF" + b"\x03\0\0\0" + b"\xff" * 64)
    with pytest.raises(LemError, match="cannot be read as a GGUF file"):
        folder_of(tmp_path / "n.gguf")


def test_the_header_of_a_gguf_file_is_what_the_gguf_package_reads(
    model_path: Path, tmp_path: Path
) -> None:
    from gguf import GGUFReader, LlamaFileType

    header, reader = read_header(model_path), GGUFReader(model_path)
    theirs = {n: f.contents() for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    assert header.fields == theirs
    assert header.numbers == sum(int(t.n_elements) for t in reader.tensors)
    assert (header.architecture, header.file_type, header.context_length) == ("llama", "F16", 8192)
    known = {t.value: t.name.removeprefix("MOSTLY_").removeprefix("ALL_") for t in LlamaFileType}
    from lem.engines._gguf_header import _FILE_TYPES

    assert {n: known.get(n) for n in _FILE_TYPES} == _FILE_TYPES
    whole = model_path.read_bytes()[:2_000_000]
    for size in (3, 10, 30, 1000, 1_000_000):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        with pytest.raises(LemError):
            read_header(tmp_path / "cut.gguf")


# --- a folder that is in order ------------------------------------------------------------------


def test_a_folder_says_what_it_is(tiny: Path) -> None:
    model = ModelFolder(tiny, "tiny")
    assert model.context_length == 4096
    assert model.quantisation == "none"
    pins = model.fingerprint()
    assert set(pins) == {
        "format", "weights_sha256", "config_sha256", "tokenizer_sha256", "template_sha256",
        "quantisation",
    }  # fmt: skip


def test_the_fingerprint_follows_what_decides_the_answers(tiny: Path) -> None:
    before = ModelFolder(tiny, "tiny").fingerprint()
    change_json(tiny / "config.json", transformers_version="9.9")
    assert ModelFolder(tiny, "other name").fingerprint() == before
    change_json(tiny / "config.json", rope_theta=5000.0)
    after = ModelFolder(tiny, "tiny").fingerprint()
    assert {k for k in before if before[k] != after[k]} == {"config_sha256"}


def test_an_adapter_is_part_of_the_fingerprint(tiny: Path, tmp_path: Path) -> None:
    first = ModelFolder(tiny, "tiny", adapter=peft_adapter(tmp_path / "a")).fingerprint()
    second = ModelFolder(
        tiny, "tiny", adapter=peft_adapter(tmp_path / "b", lora_alpha=4)
    ).fingerprint()
    assert first["adapter_sha256"] != second["adapter_sha256"]
    assert first["weights_sha256"] == second["weights_sha256"]


def test_shards_with_an_index(tiny: Path) -> None:
    whole = ModelFolder(tiny, "tiny").fingerprint()["weights_sha256"]
    (tiny / "model.safetensors").rename(tiny / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}}
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    assert ModelFolder(tiny, "tiny").fingerprint()["weights_sha256"] != whole  # the name counts
    index["weight_map"]["model.embed_tokens.weight"] = "model-00002-of-00002.safetensors"
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks 1 of its 2 weight files: model-00002" in refusal(tiny)
    index["weight_map"]["x"] = "../elsewhere.safetensors"
    (tiny / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "which is not a .safetensors file of this folder" in refusal(tiny)


def test_templates_are_found_wherever_they_are(tiny: Path) -> None:
    source = (tiny / "chat_template.jinja").read_text()
    (tiny / "chat_template.jinja").unlink()
    wanted = ModelFolder  # shorthand
    change_json(tiny / "tokenizer_config.json", chat_template=source)
    assert wanted(tiny, "t").template.source == source
    both = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": source}]
    change_json(tiny / "tokenizer_config.json", chat_template=both)
    assert wanted(tiny, "t").template.source == source
    (tiny / "chat_template.json").write_text(json.dumps({"chat_template": source + "\n"}))
    assert wanted(tiny, "t").template.source == source + "\n"


def test_a_tokenizer_in_an_older_form_is_converted(tiny: Path) -> None:
    whole = ModelFolder(tiny, "t")
    raw = json.loads((tiny / "tokenizer.json").read_text())["model"]
    (tiny / "vocab.json").write_text(json.dumps(raw["vocab"]))
    merges = [m if isinstance(m, str) else " ".join(m) for m in raw["merges"]]
    (tiny / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (tiny / "tokenizer.json").unlink()
    change_json(tiny / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    older = ModelFolder(tiny, "t")
    assert older.tokenize_plain("An older form, naïve.") == whole.tokenize_plain(
        "An older form, naïve."
    )
    (tiny / "merges.txt").unlink()
    (tiny / "vocab.json").write_text("[")
    assert "vocab.json cannot be read" in refusal(tiny)


def test_exactly_one_bos(tiny: Path) -> None:
    change_json(tiny / "tokenizer_config.json", add_bos_token=True, bos_token="<|endoftext|>")
    plain = ModelFolder(tiny, "t")
    once = plain.tokenize("x")
    assert once == [0, *plain.tokenize_plain("x")]
    assert plain.tokenize("<|endoftext|>x") == once
    assert plain.facts.bos_tokens == 1
    change_json(tiny / "tokenizer_config.json", add_bos_token=False)
    assert ModelFolder(tiny, "t").tokenize("x") == once[1:]
    assert ModelFolder(tiny, "t").tokenize("<|endoftext|>x") == once  # the template's own stays


def test_an_end_of_turn_token_that_is_no_stop_token_is_added(tiny: Path) -> None:
    change_json(tiny / "config.json", eos_token_id=0)
    change_json(tiny / "generation_config.json", eos_token_id=[0])
    model = ModelFolder(tiny, "t")
    assert model.stop_ids == {0, 2}
    assert model.notes == [
        "The model's end-of-turn token <|im_end|> is not in its stop list; it was added."
    ]


def test_a_switch_for_thinking_is_used(tiny: Path) -> None:
    assert ModelFolder(tiny, "t").facts.thinking_switch is False
    source = (tiny / "chat_template.jinja").read_text()
    switch = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
    (tiny / "chat_template.jinja").write_text(source + switch)
    asked = [{"role": "user", "content": "x"}]
    assert ModelFolder(tiny, "t", thinking=False).render(asked).endswith("<think></think>")
    assert not ModelFolder(tiny, "t").render(asked).endswith("<think></think>")
    assert ModelFolder(tiny, "t").facts.thinking_switch is True
    pins = [ModelFolder(tiny, "t", thinking=t).fingerprint() for t in (None, True, False)]
    assert [p.get("thinking") for p in pins] == [None, True, False]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "none"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "mlx 4-bit, group 64"),
        (
            {"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4"}},
            "mlx 4-bit, group 32, mxfp4",
        ),
        (
            {
                "quantization_config": {
                    "quant_method": "bitsandbytes",
                    "load_in_4bit": True,
                    "bnb_4bit_quant_type": "nf4",
                }
            },
            "bitsandbytes nf4",
        ),
        (
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
            "bitsandbytes int8",
        ),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
            "gptq 4-bit, group 128",
        ),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq 4-bit"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4"),
        (
            {"text_config": {"quantization_config": {"quant_method": "awq", "bits": 4}}},
            "awq 4-bit",
        ),
    ],
)
def test_quantisation_in_words(config: dict[str, Any], words: str) -> None:
    assert quantisation(config) == words


def test_the_language_part_of_a_model_that_sees_is_read(tiny: Path) -> None:
    text = {"max_position_embeddings": 1234, "eos_token_id": 7}
    change_json(tiny / "config.json", max_position_embeddings=None, text_config=text)
    model = ModelFolder(tiny, "t")
    assert model.context_length == 1234
    assert 7 in model.stop_ids


# --- what cannot be run ---------------------------------------------------------------------


def test_no_model_folder(tmp_path: Path) -> None:
    assert "is a folder without config.json" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    assert "not a JSON object" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read" in refusal(tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert "what kind of model" in refusal(tmp_path)


def test_no_weights_and_pickled_weights(tiny: Path) -> None:
    (tiny / "model.safetensors").unlink()
    assert "holds no weights" in refusal(tiny)
    (tiny / "pytorch_model.bin").write_bytes(b"\x80\x04")
    said = refusal(tiny)
    assert "are pickled (pytorch_model.bin)" in said
    assert "can run any code" in said


def test_weights_cut_short_a_pointer_or_something_else(tiny: Path) -> None:
    file = tiny / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert f"cut short: {len(whole) - 10:,} bytes instead of {len(whole):,}" in refusal(tiny)
    file.write_bytes(whole + b"x")
    assert "longer than its header says" in refusal(tiny)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "Git LFS pointer" in refusal(tiny)
    for junk in (b"", b"1234", b"<html>" * 20, b"\xff" * 100, (5).to_bytes(8, "little") + b"[1,2]"):
        file.write_bytes(junk)
        assert "is not a safetensors file" in refusal(tiny)


def test_no_tokenizer_or_a_broken_one(tiny: Path) -> None:
    (tiny / "tokenizer.json").write_text('{"version": "1.0"}')
    assert "tokenizer.json cannot be read" in refusal(tiny)
    (tiny / "tokenizer.json").unlink()
    assert "has no tokenizer" in refusal(tiny)


def test_no_template_a_broken_one_and_one_that_raises(tiny: Path) -> None:
    (tiny / "chat_template.jinja").unlink()
    assert "carries no chat template" in refusal(tiny)
    (tiny / "chat_template.jinja").write_text("{% for %}")
    assert "chat template is not valid" in refusal(tiny)
    (tiny / "chat_template.jinja").write_text("{{ raise_exception('not like this') }}")
    with pytest.raises(LemError, match="cannot render a plain user message: not like this"):
        _ = ModelFolder(tiny, "t").facts


def test_an_architecture_nobody_knows(tiny: Path) -> None:
    change_json(tiny / "config.json", model_type="newest", architectures=["NewestForCausalLM"])
    assert "NewestForCausalLM (newest) is not supported by transformers." in refusal(tiny)
    change_json(tiny / "config.json", auto_map={"AutoModelForCausalLM": "modeling.Newest"})
    said = refusal(tiny)
    assert "only by Python code in the model's folder" in said
    assert "never run" in said


def test_weights_for_mlx_are_not_for_transformers(tiny: Path) -> None:
    change_json(tiny / "config.json", quantization={"bits": 4, "group_size": 64})
    assert "quantised for MLX (mlx 4-bit, group 64)" in refusal(tiny)

    class Mlx(ModelFolder):
        engine_name = "mlx"

    assert Mlx(tiny, "t").quantisation == "mlx 4-bit, group 64"


def test_no_end_of_an_answer(tiny: Path) -> None:
    change_json(tiny / "config.json", eos_token_id=None)
    (tiny / "generation_config.json").unlink()
    assert ModelFolder(tiny, "t").stop_ids == {2}  # the template's own
    (tiny / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}"
    )
    assert "does not say which token ends an answer" in refusal(tiny)


@pytest.mark.parametrize("make", [peft_adapter, mlx_adapter])
def test_adapters_for_another_base(tiny: Path, tmp_path: Path, make: Any) -> None:
    assert ModelFolder(tiny, "t", adapter=make(tmp_path / "good")).adapter_files is not None
    said = refusal(tiny, adapter=make(tmp_path / "wide", width=64))
    assert "an adapter for another base" in said
    assert "layers.0.self_attn.q_proj is 32 × 32 in the base and 64 × 64 in the adapter" in said
    said = refusal(tiny, adapter=make(tmp_path / "deep", layers=5))
    assert "it changes layer 4, and the base has layers 0 to 1" in said


def test_what_is_no_adapter(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "is no adapter" in refusal(tiny, adapter=tmp_path / "a")
    place = peft_adapter(tmp_path / "b")
    (place / "adapter_model.safetensors").rename(place / "adapter_model.bin")
    assert "Its weights are pickled" in refusal(tiny, adapter=place)
    place = peft_adapter(tmp_path / "c", peft_type="IA3")
    assert "of the kind IA3; only LoRA" in refusal(tiny, adapter=place)
    place = peft_adapter(tmp_path / "d")
    (place / "adapter_model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes())
    assert "holds no LoRA weights" in refusal(tiny, adapter=place)
