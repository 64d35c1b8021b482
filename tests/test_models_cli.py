"""lem models and lem doctor: what is shown, and that damage is found."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

import fake_hub
from lem.cli import main
from lem.engines import builtin, choice, doctor, fingerprint
from lem.engines.builtin import NAME
from lem.engines.locate import locate
from tiny_folders import change_json, peft_adapter, tiny_folder


@pytest.fixture(autouse=True)
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


@pytest.fixture
def tiny(tmp_path: Path, built_in_folder: Path) -> Path:
    made = tiny_folder(tmp_path / "tiny", built_in_folder)
    (made / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# Tiny\n")
    return made


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_path: Path) -> Path:
    """A cache of our own, with the built-in model in it."""
    monkeypatch.setenv("LEM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "models").mkdir(parents=True)
    shutil.copy(model_path, builtin.prepared_place())
    return tmp_path / "cache"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str, fails: bool = False) -> str:
        try:
            main(list(arguments))
            code = 0
        except SystemExit as e:
            code = int(e.code or 0)
        out, err = capsys.readouterr()
        assert code == (2 if fails else 0), err
        for line in out.splitlines():
            assert len(line) <= 80 or arguments[-1] == "--json" or arguments[1] == "pull", line
        return err if fails else out

    return call


# --- list ---------------------------------------------------------------------------------------


def test_the_list_has_everything_that_is_here(
    run: Any, tiny: Path, tmp_path: Path, the_hub: fake_hub.Hub, built_in_folder: Path
) -> None:
    the_hub.repositories["org/tiny"] = tiny
    the_hub.repositories["org/lora"] = peft_adapter(tmp_path / "lora", base="org/tiny")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "m-Q4_K_M.gguf").write_bytes(b"GGUFbroken")
    the_hub.repositories["org/g"] = tmp_path / "g"
    for name in ("org/tiny", "org/lora", "org/g"):
        run("models", "pull", name)
    listed = {e["name"]: e for e in json.loads(run("models", "list", "--json"))}
    first = listed[NAME]
    assert (first["kind"], first["quantisation"], first["licence"]) == (
        "built-in",
        "F16",
        "apache-2.0",
    )
    assert first["size"] > 200_000_000
    assert first["engines"] == {
        "llama.cpp": "yes",
        "transformers": "after conversion",
        "mlx": "after conversion",
    }
    assert listed[str(built_in_folder)]["kind"] == "converted"
    hub_one = listed["org/tiny"]
    assert (hub_one["format"], hub_one["licence"]) == ("safetensors", "mit")
    assert hub_one["engines"]["mlx"] == "yes" and "GGUF" in hub_one["engines"]["llama.cpp"]
    assert listed["org/lora"]["format"] == "adapter"
    assert listed["org/lora"]["engines"]["transformers"] == "on org/tiny"
    broken = listed["org/g:m-Q4_K_M.gguf"]
    assert "cannot be read as a GGUF file" in broken["engines"]["llama.cpp"]
    shown = run("models", "list")
    assert "org/tiny" in shown and "runs on: llama.cpp; transformers, mlx (converted once)" in shown


def test_the_list_of_an_empty_machine(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEM_CACHE", str(tmp_path / "nothing"))
    listed = json.loads(run("models", "list", "--json"))
    assert [(e["name"], e["path"]) for e in listed] == [(NAME, None)]
    assert "not here" in run("models", "list")
    assert "is not on this machine yet" in run("models", "show", NAME, fails=True)


# --- show ---------------------------------------------------------------------------------------


def test_the_built_in_model_is_shown(run: Any, model_path: Path) -> None:
    made = json.loads(run("models", "show", NAME, "--json"))
    assert made["files"][0]["sha256"] == fingerprint.file_sha256(model_path)
    assert (made["architecture"], made["context"], made["family"]) == ("llama", 8192, "SmolLM2")
    assert made["stop_tokens"]["<|im_end|>"] == 2
    assert "SmolLM" in made["template"]["default_system"]
    assert made["problems"] == []
    assert "trained by Hugging" in run("models", "show", NAME)


def test_a_folder_is_shown_as_its_gguf_is(run: Any, built_in_folder: Path) -> None:
    gguf = json.loads(run("models", "show", NAME, "--json"))
    folder = json.loads(run("models", "show", str(built_in_folder), "--json"))
    for field in ("template", "stop_tokens", "context", "family", "parameters", "licence"):
        assert folder[field] == gguf[field], field


def test_what_stands_against_a_model_is_shown(run: Any, tiny: Path) -> None:
    change_json(tiny / "config.json", model_type="unheard", architectures=["UnheardForCausalLM"])
    (tiny / "model.safetensors").write_bytes(b"junk")
    made = json.loads(run("models", "show", str(tiny), "--json"))
    assert made["engines"]["transformers"] == "transformers does not know UnheardForCausalLM"
    assert "is not a safetensors file" in made["problems"][0]
    assert "problem:" in run("models", "show", str(tiny))


def test_an_adapter_is_shown_on_its_base(run: Any, tiny: Path, tmp_path: Path) -> None:
    adapter = peft_adapter(tmp_path / "a", base=str(tiny))
    made = json.loads(run("models", "show", str(adapter), "--json"))
    assert made["name"] == "tiny+a" and made["adapter"]["format"] == "peft"
    assert made["engines"]["mlx"] == "the adapter is in PEFT's format"
    wide = peft_adapter(tmp_path / "b", width=64)
    made = json.loads(run("models", "show", str(tiny), "--adapter", str(wide), "--json"))
    assert "an adapter for another base" in made["problems"][0]


def test_what_has_no_files(run: Any) -> None:
    assert "has no files on this machine" in run("models", "show", "openai:x", fails=True)
    said = run("models", "show", "org/unheard", fails=True)
    assert "lem models pull org/unheard" in said


# --- pull ---------------------------------------------------------------------------------------


def test_pull_says_where_it_is(run: Any, tiny: Path, the_hub: fake_hub.Hub) -> None:
    the_hub.repositories["org/tiny"] = tiny
    place = Path(run("models", "pull", "org/tiny").strip())
    assert (place / "model.safetensors").read_bytes() == (tiny / "model.safetensors").read_bytes()
    made = json.loads(run("models", "pull", "org/tiny", "--json"))
    assert made == {"model": "org/tiny", "path": str(place), "commit": fake_hub.COMMIT}
    shown = json.loads(run("models", "show", "org/tiny", "--json"))
    assert shown["commit"] == fake_hub.COMMIT and shown["licence"] == "mit"
    weights = next(f for f in shown["files"] if f["name"] == "model.safetensors")
    assert weights["hub"] == weights["sha256"]


def test_what_cannot_be_pulled(run: Any, tiny: Path, the_hub: fake_hub.Hub) -> None:
    assert "not the name of a model that can be fetched" in run(
        "models", "pull", str(tiny), fails=True
    )
    the_hub.errors["org/gated"] = (403, "GatedRepo")
    assert "is gated" in run("models", "pull", "org/gated", fails=True)


# --- verify -------------------------------------------------------------------------------------


def flip(file: Path, at: int) -> None:
    """Change one byte of a file as a bad disk would, without a trace in its times."""
    stat = file.stat()
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 1]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_rotten_byte_of_the_built_in_model_is_found(run: Any, own_cache: Path) -> None:
    assert "no hash is known" in run("models", "verify", NAME)
    file = builtin.prepared_place()
    fingerprint.file_sha256(file)  # as every run does
    assert "hash known from: first use" in run("models", "verify", NAME)
    flip(file, file.stat().st_size // 2)
    said = run("models", "verify", NAME, fails=True)
    assert "its hash is not the one recorded when it was first used" in said


def test_a_file_of_a_conversion_that_changed_is_found(
    run: Any, built_in_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(built_in_folder, copy)
    assert run("models", "verify", str(copy)).count("same") == 6
    flip(copy / "model.safetensors", 1_000_000)
    (copy / "config.json").write_text('{"model_type": "llama"}')
    (copy / "chat_template.jinja").unlink()
    said = run("models", "verify", str(copy), fails=True)
    assert "3 of 6 files are not what they should be" in said


def test_the_hubs_hashes_are_compared(run: Any, tiny: Path, the_hub: fake_hub.Hub) -> None:
    the_hub.repositories["org/tiny"] = tiny
    place = Path(run("models", "pull", "org/tiny").strip())
    made = json.loads(run("models", "verify", "org/tiny", "--json"))
    assert made["good"] and {f["against"] for f in made["files"]} == {"hub"}
    flip((place / "model.safetensors").resolve(), 5000)
    said = run("models", "verify", "org/tiny", fails=True)
    assert "1 of 7 files" in said and "model.safetensors: its hash is not the hub's" in said
    text = (place / "config.json").resolve()
    text.write_text(text.read_text() + " ")
    assert "2 of 7 files" in run("models", "verify", "org/tiny", fails=True)


def test_a_folder_fetched_to_a_place_of_ones_own(run: Any, tiny: Path) -> None:
    note = tiny / ".cache" / "huggingface" / "download" / "model.safetensors.metadata"
    note.parent.mkdir(parents=True)
    digest = fingerprint.file_sha256(tiny / "model.safetensors")
    note.write_text(f"{fake_hub.COMMIT}\n{digest}\n1700000000.0\n")
    assert "hash known from: hub" in run("models", "verify", str(tiny))
    note.write_text(f"{fake_hub.COMMIT}\n{'0' * 64}\n1700000000.0\n")
    assert "its hash is not the hub's" in run("models", "verify", str(tiny), fails=True)


def test_weights_cut_short_are_found(run: Any, tiny: Path) -> None:
    assert "whole" in run("models", "verify", str(tiny))
    file = tiny / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert "cut short" in run("models", "verify", str(tiny), fails=True)
    file.unlink()
    assert "holds no weights" in run("models", "verify", str(tiny), fails=True)


def test_verify_covers_the_adapter(run: Any, tiny: Path, tmp_path: Path) -> None:
    adapter = peft_adapter(tmp_path / "a", base=str(tiny))
    assert "adapter_model.safetensors" in run("models", "verify", str(adapter))
    with (adapter / "adapter_model.safetensors").open("ab") as file:
        file.write(b"x")
    assert "longer than its header says" in run("models", "verify", str(adapter), fails=True)


# --- doctor -------------------------------------------------------------------------------------


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[dict[str, Any], str | None]]:
    """What loading each engine's library says, in place of loading it."""
    said: dict[str, tuple[dict[str, Any], str | None]] = {
        "llama.cpp": ({}, None),
        "transformers": ({"cuda": None, "hip": None, "cpu_bf16": True, "gpus": []}, None),
        "mlx": ({}, None),
    }
    monkeypatch.setattr(doctor, "_load", lambda engine: said[engine])
    return said


def test_the_doctor_looks_at_everything(
    run: Any, loads: Any, monkeypatch: pytest.MonkeyPatch, model_path: Path
) -> None:
    monkeypatch.setenv("LEM_API_KEY", "very-secret")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    gpu = {"device": "cuda:0", "name": "H100", "memory": 80e9, "free": 79e9, "bf16": True}
    loads["transformers"][0]["gpus"].append(gpu)
    text = run("doctor")
    report = json.loads(run("doctor", "--json"))
    assert "cuda:0: H100, 79.0 GB free of 80.0 GB" in text
    assert "very-secret" not in text + json.dumps(report)
    assert report["keys"]["LEM_API_KEY"] is True and report["keys"]["HF_TOKEN"] is False
    assert report["built_in"]["prepared"] and report["can_run"]
    assert report["cores"] >= 1 and report["memory"]["free"] > 1e8
    assert report["cache"]["size"] > 2e8


def test_the_doctor_without_engines(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEM_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(choice, "is_installed", lambda _: False)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 2
    report = doctor.examine()
    assert report["advice"][:2] == [
        "llama.cpp: pip install 'lem-lab[llama]'",
        "transformers: pip install 'lem-lab[torch]'",
    ]
    assert any("lem models pull" in a for a in report["advice"])


def test_the_doctor_survives_a_broken_library(run: Any, loads: Any) -> None:
    loads["llama.cpp"] = ({}, "ImportError: no such symbol")
    report = json.loads(run("doctor", "--json"))
    assert report["can_run"] and not report["engines"]["llama.cpp"]["loads"]
    assert any("no such symbol" in a and "lem-lab[llama]" in a for a in report["advice"])
    assert "does not load" in run("doctor")


def test_a_library_that_ends_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor._LOADS, "mlx", "import os\nos.abort()")
    assert doctor._load("mlx") == ({}, "loading it ended the process (signal 6)")
    monkeypatch.setitem(doctor._LOADS, "mlx", "raise ImportError('gone')")
    assert doctor._load("mlx") == ({}, "ImportError: gone")
    monkeypatch.setitem(doctor._LOADS, "mlx", "told = {'device': 'cpu'}")
    assert doctor._load("mlx") == ({"device": "cpu"}, None)


def test_llama_cpp_loads_here() -> None:
    assert doctor._load("llama.cpp") == ({}, None)


def test_nothing_is_fetched_to_look(the_hub: fake_hub.Hub, run: Any) -> None:
    run("models", "list")
    run("models", "show", "org/unheard", fails=True)
    assert the_hub.asked == []
    assert locate(NAME, fetch=False).path is not None
