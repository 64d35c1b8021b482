"""From what the user names to an engine: every form of a model, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

import fake_hub
from lem.bench.recipe import ModelSpec
from lem.engines import EngineOptions, choice, hub, resolve
from lem.engines.builtin import NAME
from lem.engines.llamacpp import LlamaEngine
from lem.engines.locate import locate
from lem.engines.mlx import MlxEngine
from lem.engines.resolve import obstacle
from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel
from lem.probes import load_probes
from lem.records import Condition, Sampling
from lem.runs import make_plan
from tiny_folders import change_json, mlx_adapter, peft_adapter, tiny_folder


@pytest.fixture
def tiny(tmp_path: Path, built_in_folder: Path) -> Path:
    return tiny_folder(tmp_path / "tiny", built_in_folder)


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "is_installed", lambda _: True)


@pytest.fixture
def the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_hub.Hub]:
    """A hub on this machine, and an empty cache for what comes from it."""
    with fake_hub.serve() as served:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        pattern = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", pattern)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield served


def refusal(model: str, **options: Any) -> str:
    with pytest.raises(LemError) as error:
        resolve(model, EngineOptions(**options))
    return str(error.value)


# --- every form of a model --------------------------------------------------------------------


@pytest.mark.usefixtures("all_installed")
def test_what_runs_a_model_follows_from_its_files(
    tiny: Path, tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(model: str, **given: Any) -> str:
        return choice.choose(locate(model, **given), None)

    monkeypatch.setattr(choice, "is_apple_silicon", lambda: False)
    assert chosen(NAME) == chosen(NAME.upper()) == chosen(str(model_path)) == "llama.cpp"
    assert chosen(str(tiny)) == "transformers"
    assert chosen(str(tiny), adapter=str(peft_adapter(tmp_path / "p"))) == "transformers"
    assert chosen(str(tiny), adapter=str(mlx_adapter(tmp_path / "m"))) == "mlx"
    assert chosen(NAME, adapter=str(tmp_path / "p")) == "transformers"
    monkeypatch.setattr(choice, "is_apple_silicon", lambda: True)
    assert chosen(str(tiny)) == "mlx"
    assert chosen(str(tiny), adapter=str(tmp_path / "p")) == "transformers"
    change_json(tiny / "config.json", quantization={"bits": 4, "group_size": 64})
    monkeypatch.setattr(choice, "is_apple_silicon", lambda: False)
    assert chosen(str(tiny)) == "mlx"
    awq = {"quant_method": "awq", "bits": 4}
    change_json(tiny / "config.json", quantization=None, quantization_config=awq)
    monkeypatch.setattr(choice, "is_apple_silicon", lambda: True)
    assert chosen(str(tiny)) == "transformers"


def test_the_engine_that_is_installed_is_taken(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = locate(str(tiny))
    monkeypatch.setattr(choice, "is_installed", lambda e: e == "mlx")
    assert choice.choose(found, None) == "mlx"
    monkeypatch.setattr(choice, "is_installed", lambda _: False)
    with pytest.raises(LemError, match=r"lem-lab\[(torch|mlx)\]"):
        choice.choose(found, None)


def test_an_engine_is_made_of_each_form(tiny: Path, tmp_path: Path, model_path: Path) -> None:
    copies = tmp_path / "one-gguf"
    copies.mkdir()
    (copies / "small.gguf").symlink_to(model_path)
    for model, kind, name in (
        (NAME, LlamaEngine, NAME),
        (str(copies), LlamaEngine, "small"),
        (str(copies / "small.gguf"), LlamaEngine, "small"),
    ):
        engine = resolve(model)
        assert isinstance(engine, kind) and engine.info.model == name
        engine.close()
    for model, name in ((str(tiny), "tiny"), (NAME, NAME)):
        mlx = resolve(model, EngineOptions(engine="mlx", dtype="float32"))
        assert isinstance(mlx, MlxEngine) and mlx.info.model == name
        mlx.close()


def test_the_transformers_engine_is_made(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("lem.engines.transformers")
    options = EngineOptions(engine="transformers", adapter=str(peft_adapter(tmp_path / "a")))
    engine = resolve(str(tiny), options)
    assert engine.info.engine == "transformers"
    assert engine.info.model == "tiny+a"
    assert engine.info.fingerprint["adapter_sha256"]
    engine.close()


def test_an_adapter_folder_finds_its_base(tiny: Path, tmp_path: Path) -> None:
    found = locate(str(peft_adapter(tmp_path / "a", base=str(tiny))))
    assert (found.path, found.name) == (tiny, "tiny+a")
    assert found.adapter is not None and found.adapter.format == "peft"
    # A relative base may stand beside the adapter.
    found = locate(str(peft_adapter(tmp_path / "b", base="../tiny")))
    assert found.path is not None and found.path.resolve() == tiny


def test_base_urls_and_thinking_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    class Engine:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            made["all"] = (arguments, options)

    monkeypatch.setattr("lem.engines.openai.OpenAIEngine", Engine)
    urls = ("http://one/v1", "http://two/v1")
    resolve("openai:x", EngineOptions(base_urls=urls, parallel=3, thinking=False))
    assert made["all"] == (("x", urls), {"concurrency": 3, "thinking": False})


def test_workers_wrap_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lem.engines.workers.WorkersEngine", lambda *given: given)
    options = EngineOptions(workers=2)
    assert resolve("m.gguf", options) == ("m.gguf", options)


# --- what is refused ----------------------------------------------------------------------------


def test_names_of_nothing(tmp_path: Path, tiny: Path, model_path: Path) -> None:
    assert "No such model: nothing" in refusal("nothing")
    assert "No such model: models/gone.gguf" in refusal("models/gone.gguf")
    (tmp_path / "empty").mkdir()
    assert "is a folder without config.json" in refusal(str(tmp_path / "empty"))
    assert "holds weights only" in refusal(str(tiny / "model.safetensors"))
    (tmp_path / "two").mkdir()
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "two" / name).symlink_to(model_path)
    assert "holds 2 GGUF files: a.gguf, b.gguf" in refusal(str(tmp_path / "two"))


def test_engines_that_cannot_take_the_files(tiny: Path, tmp_path: Path) -> None:
    assert "There is no engine 'vllm'" in refusal(NAME, engine="vllm")
    said = refusal(str(tiny), engine="llama.cpp")
    assert "llama.cpp reads GGUF files" in said and "--engine transformers or mlx" in said
    adapter = str(peft_adapter(tmp_path / "a"))
    assert "no adapters" in refusal(NAME, engine="llama.cpp", adapter=adapter)
    assert "in PEFT's format" in refusal(str(tiny), engine="mlx", adapter=adapter)
    adapter = str(mlx_adapter(tmp_path / "b"))
    assert "in mlx-lm's format" in refusal(str(tiny), engine="transformers", adapter=adapter)
    change_json(tiny / "config.json", quantization={"bits": 4, "group_size": 64})
    assert "quantised for MLX" in refusal(str(tiny), engine="transformers")
    assert "No engine can run" in refusal(str(tiny), adapter=str(tmp_path / "a"))


def test_options_that_would_be_ignored(tiny: Path) -> None:
    assert "--dtype goes with --engine transformers or mlx, and" in refusal(NAME, dtype="float16")
    assert "--device goes with --engine transformers, and" in refusal(
        str(tiny), engine="mlx", device="cuda"
    )
    assert "--quantise goes with --engine transformers, and" in refusal(
        str(tiny), engine="mlx", quantise="nf4"
    )
    assert "--revision is for models from the hub" in refusal(NAME, revision="main")
    assert "--base-url goes with --model openai:NAME" in refusal(NAME, base_urls=("http://x",))
    assert "--adapter is for models that run in this process" in refusal("echo", adapter="a")
    assert "--thinking is for models that run in this process" in refusal("planted", thinking=True)
    assert "--engine is for models that run in this process" in refusal(
        "openai:x", engine="mlx", base_urls=("http://127.0.0.1:9/v1",)
    )
    assert "has no switch for reasoning" in refusal(NAME, thinking=True)
    assert "has no switch for reasoning" in refusal(str(tiny), engine="mlx", thinking=False)


def test_adapters_that_go_on_nothing(tiny: Path, tmp_path: Path) -> None:
    alone = peft_adapter(tmp_path / "a", base=str(tmp_path / "gone"))
    said = refusal(str(alone))
    assert "is an adapter for" in said and "--model BASE --adapter" in said
    assert "does not say of which base" in refusal(
        str(peft_adapter(tmp_path / "b", base_model_name_or_path=None))
    )
    one = str(peft_adapter(tmp_path / "c", base=str(tiny)))
    assert "an adapter itself" in refusal(one, adapter=one)
    assert "which is an adapter too" in refusal(str(peft_adapter(tmp_path / "d", base=one)))
    wide = mlx_adapter(tmp_path / "e", width=64)
    change_json(wide / "adapter_config.json", model=str(tiny))
    assert "an adapter for another base" in refusal(str(wide))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "are pickled (pytorch_model.bin)",
        ),
        (
            lambda f: (f / "chat_template.jinja").write_text("{{ raise_exception('no') }}"),
            "cannot render a plain user message: no",
        ),
        (
            lambda f: change_json(f / "config.json", model_type="unheard-of"),
            "is not supported by mlx",
        ),
    ],
)
def test_broken_folders_are_named_before_anything_is_loaded(
    tiny: Path, harm: Any, said: str
) -> None:
    harm(tiny)
    error = obstacle(str(tiny), EngineOptions(engine="mlx"))
    assert error is not None and said in str(error)
    with pytest.raises(LemError) as raised:
        plan(str(tiny))
    assert said in str(raised.value)


def plan(model: str, max_tokens: int = 8) -> Any:
    engine = resolve(model, EngineOptions(engine="mlx"))
    kernel = load_kernel("json", BUILT_IN["json"])
    condition = Condition(name="json", kernel=kernel, placement="system")
    try:
        return make_plan(
            engine, load_probes("P20")[:1], [condition], Sampling(max_tokens=max_tokens)
        )
    finally:
        engine.close()


def test_a_context_too_short_is_named_before_anything_is_loaded(tiny: Path) -> None:
    assert len(plan(str(tiny)).requests) == 1
    change_json(tiny / "config.json", max_position_embeddings=512)
    with pytest.raises(LemError, match="more than the context of 512"):
        plan(str(tiny))


def test_an_added_stop_token_is_in_the_notes(tiny: Path) -> None:
    change_json(tiny / "config.json", eos_token_id=0)
    change_json(tiny / "generation_config.json", eos_token_id=0)
    engine = resolve(str(tiny), EngineOptions(engine="mlx"))
    assert any("<|im_end|> is not in its stop list" in note for note in engine.info.notes)


def test_obstacle_neither_fetches_nor_converts(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_path: Path
) -> None:
    copy = tmp_path / "other.gguf"
    shutil.copy(model_path, copy)
    with copy.open("ab") as file:
        file.write(b"x")  # another hash: its folder is not there
    monkeypatch.setattr("lem.engines.gguf_folder._convert", lambda *_: pytest.fail("converted"))
    monkeypatch.setattr(hub, "pull", lambda *_: pytest.fail("fetched"))
    assert obstacle(str(copy), EngineOptions(engine="mlx")) is None
    assert obstacle(NAME, EngineOptions(engine="mlx")) is None
    assert obstacle(str(tiny), EngineOptions(engine="mlx")) is None
    assert obstacle("org/unheard-of") is None
    monkeypatch.setattr(choice, "is_installed", lambda _: False)
    missing = obstacle(NAME, EngineOptions(engine="transformers"))
    assert missing is not None and "lem-lab[torch]" in missing.fix


# --- the hub ------------------------------------------------------------------------------------


def test_a_model_from_the_hub_and_then_from_the_cache(tiny: Path, the_hub: fake_hub.Hub) -> None:
    (tiny / "modeling.py").write_text("raise SystemExit")
    (tiny / "pytorch_model.bin").write_bytes(b"\x80")
    (tiny / "onnx").mkdir()
    (tiny / "onnx" / "model.safetensors").write_bytes(b"x")
    the_hub.repositories["org/tiny"] = tiny
    said: list[str] = []
    options = EngineOptions(engine="mlx", say=said.append)
    engine = resolve("org/tiny", options)
    assert engine.info.model == "org/tiny"
    assert f"From the hub, at commit {fake_hub.COMMIT}." in engine.info.notes
    assert [s for s in said if s.startswith("fetching org/tiny from the hub (")]
    path = locate("org/tiny", fetch=False).path
    assert path is not None
    assert {p.name for p in path.rglob("*")} == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    asked = len(the_hub.asked)
    again = resolve("org/tiny", options)
    assert len(the_hub.asked) == asked
    assert again.info.fingerprint == engine.info.fingerprint


def test_an_adapter_from_the_hub(tiny: Path, tmp_path: Path, the_hub: fake_hub.Hub) -> None:
    the_hub.repositories["org/tiny"] = tiny
    the_hub.repositories["org/lora"] = peft_adapter(tmp_path / "lora", base="org/tiny")
    found = locate("org/tiny", adapter="org/lora")
    assert found.name == "org/tiny+lora" and found.adapter is not None
    alone = locate("org/lora")
    assert (alone.path, alone.adapter) == (found.path, found.adapter)


def test_revisions_of_the_hub(tiny: Path, the_hub: fake_hub.Hub) -> None:
    the_hub.repositories["org/tiny"] = tiny
    assert locate("org/tiny", revision=fake_hub.COMMIT).commit == fake_hub.COMMIT
    with pytest.raises(LemError, match="has no revision 'v9'"):
        locate("org/tiny", revision="v9")


def test_a_gguf_from_the_hub(tmp_path: Path, the_hub: fake_hub.Hub) -> None:
    (tmp_path / "g").mkdir()
    for name in ("m-Q4_K_M.gguf", "m-Q4_K_S.gguf", "m-f16.gguf", "README.md"):
        (tmp_path / "g" / name).write_bytes(b"GGUF" + name.encode())
    the_hub.repositories["org/g"] = tmp_path / "g"
    found = locate("org/g:Q4_K_M")
    assert found.path is not None and found.path.name == "m-Q4_K_M.gguf"
    assert found.kind == "gguf" and found.commit == fake_hub.COMMIT
    assert locate("org/g:m-f16.gguf").name == "m-f16"
    with pytest.raises(LemError, match=r"has several GGUF files: .*m-Q4_K_S\.gguf"):
        locate("org/g")
    with pytest.raises(LemError, match="names 0 of its GGUF files"):
        locate("org/g:Q8_0")


def test_what_the_hub_does_not_give(tmp_path: Path, the_hub: fake_hub.Hub) -> None:
    the_hub.errors["org/gated"] = (403, "GatedRepo")
    the_hub.errors["org/broken"] = (500, "")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "pytorch_model.bin").write_bytes(b"\x80")
    the_hub.repositories["org/pickled"] = tmp_path / "p"
    assert "is gated: its licence has to be accepted" in refusal("org/gated")
    assert "There is no model 'org/none' here, and none on the hub" in refusal("org/none")
    assert "neither safetensors nor GGUF" in refusal("org/pickled")
    assert "could not be reached for org/broken" in refusal("org/broken")


def test_the_hub_is_out_of_reach(
    tmp_path: Path, the_hub: fake_hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "The hub could not be reached for org/tiny" in refusal("org/tiny")


def test_offline_the_cache_is_used_and_nothing_else(
    tiny: Path, the_hub: fake_hub.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_hub.repositories["org/tiny"] = tiny
    locate("org/tiny")
    asked = len(the_hub.asked)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert locate("org/tiny").commit == fake_hub.COMMIT
    said = refusal("org/other")
    assert "not in the local cache, and the hub is switched off (HF_HUB_OFFLINE)" in said
    error = obstacle("org/other")
    assert error is not None and "HF_HUB_OFFLINE" in error.cause
    assert len(the_hub.asked) == asked


# --- recipes -------------------------------------------------------------------------------------


def test_a_recipe_says_how_a_model_is_run() -> None:
    plain = ModelSpec(name="a", model="m.gguf")
    assert plain.how == {} and plain.base_url is None
    spec = ModelSpec.model_validate(
        {
            "name": "a",
            "model": "org/m",
            "engine": "transformers",
            "adapter": "x",
            "revision": 3,
            "base_url": ["http://one/v1", "http://two/v1"],
        }
    )
    assert spec.how == {"engine": "transformers", "adapter": "x", "revision": "3"}
    assert spec.base_url == ("http://one/v1", "http://two/v1")
    one = ModelSpec.model_validate({"name": "a", "model": "openai:x", "base_url": "http://one/v1"})
    assert one.base_url == ("http://one/v1",)


def test_recipes_keep_their_hash_until_they_say_more(tmp_path: Path) -> None:
    from lem.bench.inputs import load_inputs
    from lem.bench.recipe import builtin_recipes, load_recipe

    path = builtin_recipes()["published-29"]
    inputs = load_inputs(load_recipe(path), path)
    # As of the release before these fields: a matrix that was begun goes on.
    assert inputs.sha256.startswith("79f9b17cea47c5a9")
    assert inputs.model_sha256(inputs.recipe.models[0]).startswith("0c7f0d40af35bebd")
    first = inputs.recipe.models[0]
    other = first.model_copy(update={"adapter": "x"})
    assert inputs.model_sha256(other) != inputs.model_sha256(first)
    moved = first.model_copy(update={"base_url": ("http://one/v1",)})
    assert inputs.model_sha256(moved) == inputs.model_sha256(first)


def test_how_a_model_is_run_reaches_the_engine(tiny: Path, tmp_path: Path) -> None:
    from lem.bench.inputs import load_inputs
    from lem.bench.recipe import load_recipe

    adapter = mlx_adapter(tmp_path / "mine")
    recipe = tmp_path / "r.yaml"
    model = {"name": "a", "model": "tiny", "adapter": "mine", "engine": "mlx", "dtype": "float32"}
    recipe.write_text(json.dumps({"name": "r", "models": [model]}))
    inputs = load_inputs(load_recipe(recipe), recipe)
    spec = inputs.recipe.models[0]
    options = inputs.options(spec, EngineOptions(threads=1, workers=2))
    assert options == EngineOptions(
        threads=1, workers=2, adapter=str(adapter), engine="mlx", dtype="float32"
    )
    assert inputs.experiment(spec).model == str(tiny)
