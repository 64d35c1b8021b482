"""The published study as data, the page and the figure made of it, and the recipes beside it."""

import json
import math
import re
import subprocess
import sys

import pytest

from conftest import REPOSITORY

DATA = REPOSITORY / "src" / "lem" / "bench" / "data"
SCRIPT = REPOSITORY / "benchmarks" / "reanalysis.py"
PAGE = REPOSITORY / "docs" / "reanalysis.md"
FIGURE = REPOSITORY / "docs" / "figures" / "reanalysis.svg"
ARMS = ("baseline", "json", "txt")

STUDY = json.loads((DATA / "published.json").read_text(encoding="utf-8"))
MODELS = {m["name"]: m for m in STUDY["models"]}
RUNS = [(m, which, m[which]) for m in STUDY["models"] for which in ("P20", "P100") if m[which]]


def numbers(value):
    if isinstance(value, dict):
        for inner in value.values():
            yield from numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_the_models_are_the_published_ones():
    assert len(STUDY["models"]) == len(MODELS) == 29
    tuned = [m for m in STUDY["models"] if m["tuned_from"]]
    assert len(tuned) == 9
    for model in tuned:
        base = MODELS[model["tuned_from"]]
        assert base["tuned_from"] is None
        assert (base["family"], base["size"]) == (model["family"], model["size"])
    files = [run["stored"]["file"] for _, _, run in RUNS]
    assert len(set(files)) == len(files) == 35
    assert STUDY["source"] and STUDY["notes"]


def test_figures_are_finite_numbers_and_the_file_is_small():
    assert all(map(math.isfinite, numbers(STUDY["models"])))
    for _, _, run in RUNS:
        for where in ("document", "stored"):
            assert all(isinstance(run[where][k], int | float | None) for k in (*ARMS, "n"))
    assert (DATA / "published.json").stat().st_size < 150_000


@pytest.mark.parametrize("model,which,run", RUNS, ids=lambda x: x if isinstance(x, str) else "")
def test_printed_deltas_follow_from_printed_averages(model, which, run):
    document = run["document"]
    for kernel in ARMS[1:]:
        if document[kernel] is None:
            assert document[f"{kernel}_delta"] is None
        else:
            delta = document[kernel] - document["baseline"]
            assert delta == pytest.approx(document[f"{kernel}_delta"], abs=0.0051)


def test_stored_summaries_agree_with_themselves():
    for model, which, run in RUNS:
        stored = run["stored"]
        same = all(stored[k] == run["document"][k] for k in ARMS)
        assert run["stored_disagrees"] == (stored["scorer"] == "v2" and not same), model["name"]
        for counts in filter(None, stored["counts"].values()):
            assert sum(counts.values()) == stored["n"]
        if "categories" not in stored:
            assert stored["scorer"] == "v1"
            continue
        sizes = STUDY["category_sizes"]["P20_21" if stored["n"] == 21 else which]
        assert sum(sizes.values()) == stored["n"]
        assert set(sizes) == set(stored["categories"])
        for k in ARMS:
            if stored[k] is not None:
                total = sum(sizes[c] * means[k] for c, means in stored["categories"].items())
                assert total / stored["n"] == pytest.approx(stored[k], abs=0.012)


# --- the page -----------------------------------------------------------------------------------


def plain(text):
    return re.sub(r"\s+", " ", text.replace("*", "")).strip()


@pytest.fixture(scope="module")
def printed():
    pytest.importorskip("yaml")
    command = [sys.executable, str(SCRIPT), "--no-figure"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_figure_the_script_prints_stands_in_the_page(printed):
    page = plain(PAGE.read_text(encoding="utf-8"))
    lines = [line.removeprefix("doc: ") for line in printed if line.startswith("doc: ")]
    assert len(lines) > 60
    assert [line for line in lines if plain(line) not in page] == []


def test_every_computed_table_row_of_the_page_is_printed(printed):
    """A row with a difference in it can only come from the script."""
    known = {plain(line.removeprefix("doc: ")) for line in printed}
    rows = [r for r in PAGE.read_text(encoding="utf-8").splitlines() if r.startswith("| ")]
    computed = [r for r in rows if re.search(r"[+−]\d|settle-", r)]
    assert len(computed) > 40
    assert [r for r in computed if plain(r) not in known] == []


def test_the_page_names_only_recipes_that_exist():
    page = re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8"))
    named = set(re.findall(r"lem bench ([a-z0-9-]+)", page)) | set(
        re.findall(r"`(settle-[a-z0-9-]+)`", page)
    )
    there = {path.stem for path in DATA.glob("*.yaml")}
    assert named <= there
    assert {name for name in there if name.startswith("settle-")} <= named


def test_the_figure_is_redrawn_byte_for_byte(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("yaml")
    drawn = []
    for name in ("first.svg", "second.svg"):
        command = [sys.executable, str(SCRIPT), "--figure", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True)
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    committed = FIGURE.read_bytes()
    assert len(committed) < 200_000
    assert b"<dc:date>" not in committed and b"<text" in committed
    if f"Matplotlib v{matplotlib.__version__},".encode() in committed:
        assert drawn[0] == committed


# --- the recipes --------------------------------------------------------------------------------


def recipes():
    return sorted(DATA.glob("*.yaml"))


@pytest.mark.parametrize("path", recipes(), ids=lambda path: path.stem)
def test_recipes_load_and_refer_to_models_they_have(path):
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert recipe["name"] == path.stem
    names = [m["name"] for m in recipe["models"]]
    assert len(set(names)) == len(names)
    assert {m["tuned_from"] for m in recipe["models"] if m.get("tuned_from")} <= set(names)
    hubs = {m["hub"]: m for m in STUDY["models"]}
    for model in recipe["models"]:
        if model["model"] in hubs:
            published = hubs[model["model"]]
            assert (model["family"], model["version"], model["size"]) == (
                published["family"],
                published["version"],
                published["size"],
            )
            assert bool(model.get("tuned_from")) == bool(published["tuned_from"])


def test_the_large_recipe_has_exactly_the_published_models():
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((DATA / "published-29.yaml").read_text(encoding="utf-8"))
    hubs = {m["name"]: m["model"] for m in recipe["models"]}
    assert sorted(hubs.values()) == sorted(m["hub"] for m in STUDY["models"])
    for model in recipe["models"]:
        base = next(m for m in STUDY["models"] if m["hub"] == model["model"])["tuned_from"]
        assert (base and MODELS[base]["hub"]) == hubs.get(model.get("tuned_from"))
