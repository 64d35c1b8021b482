"""The built-in probes and the loader of the published format."""

import json
import re
from collections import Counter

import pytest

from lem.errors import LemError
from lem.probes import card, load_probes, load_union

GOOD = {"id": "A", "domain": "Identity", "prompt": "What now?"}


def test_p20():
    probes = load_probes("P20")
    assert len(probes) == 21
    ids = [p.id for p in probes]
    assert [i[:3] for i in ids[:20]] == [f"P{n:02d}" for n in range(1, 21)]
    for probe in probes[:20]:
        assert re.fullmatch(r"P\d\d(_[A-Z0-9]+){2,}", probe.id)
        assert probe.id.split("_")[1] == probe.domain.upper()
        assert 40 <= len(probe.prompt.split()) <= 90
    domains = Counter(p.domain for p in probes)
    assert set(domains) == {
        *("Identity", "Network", "Storage", "Compute", "Payment"),
        *("Hypnos", "Governance", "Education", "Health", "Culture", "Control"),
    }
    assert domains["Control"] == 1


def write(tmp_path, text, name="probes.json"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_json_and_jsonl_and_category(tmp_path):
    items = [GOOD, {"id": "B", "category": "Health", "prompt": "And é now?", "extra": 1}]
    as_list = load_probes(write(tmp_path, json.dumps(items, indent=2)))
    lines = "\n".join(json.dumps(i) for i in items) + "\n\n"
    as_lines = load_probes(write(tmp_path, lines, "probes.jsonl"))
    assert (
        [p.prompt for p in as_list] == [p.prompt for p in as_lines] == ["What now?", "And é now?"]
    )
    assert [p.domain for p in as_list] == ["Identity", "Health"]
    assert as_list[1].source.endswith("line 7 (probe 2)") and as_lines[1].source.endswith("line 2")
    one = load_probes(write(tmp_path, json.dumps(GOOD), "one.jsonl"))
    assert len(one) == 1


def test_rephrasings_share_a_cluster(tmp_path):
    items = [GOOD, {**GOOD, "id": "A1", "prompt": "So what?", "cluster": "A", "split": "held-out"}]
    a, b = load_probes(write(tmp_path, json.dumps(items)))
    assert (a.cluster, b.cluster, b.split) == ("A", "A", "held-out")


BAD = [
    ("[]", "holds no probes"),
    ("", "is empty"),
    ('{"a": 1}', "'domain' (or 'category')|'id' is missing"),
    ("[1]", r"line 1 \(probe 1\).*not a number"),
    ('[\n{"id": "A", "domain": "X"}]', r"line 2 \(probe 1\): field 'prompt' is missing"),
    ('[{"id": "A", "prompt": "x"}]', r"'domain' \(or 'category'\)"),
    ('[{"id": 7, "domain": "X", "prompt": "x"}]', "field 'id' must be a text, not a number"),
    ('[{"id": "A", "domain": "X", "prompt": null}]', "'prompt' must be a text, not null"),
    ('[{"id": "A", "domain": "X", "prompt": "  "}]', "field 'prompt' is empty"),
    ('[{"id": "A", "domain": "X", "prompt": "x", "split": "dev"}]', "field 'split'"),
    ('[{"id": "A", "domain": "X", "prompt": "x"},]', "line 1, column"),
    ('{"id": "A", "domain": "X", "prompt": "x"}\n{"id": "B"', "line 2, column"),
    (json.dumps([GOOD, {**GOOD, "prompt": "y"}]), r"the id 'A' was used before, at line 1 \(pro"),
    (json.dumps([GOOD, {**GOOD, "id": "B"}]), "the prompt 'What now\\?' was used before"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_bad_files_are_refused_with_their_place(tmp_path, text, said):
    with pytest.raises(LemError, match=said) as caught:
        load_probes(write(tmp_path, text))
    assert caught.value.fix and "probes.json" in caught.value.cause


def test_missing_and_latin1(tmp_path):
    with pytest.raises(LemError, match="No such probe set"):
        load_probes(str(tmp_path / "none.json"))
    file = tmp_path / "latin.json"
    file.write_bytes('[{"id": "é"}]'.encode("latin-1"))
    with pytest.raises(LemError, match="not UTF-8"):
        load_probes(str(file))


def test_the_union_of_a_set_and_its_part_is_the_set():
    assert [p.id for p in load_union(["P20", "P100"])] == [p.id for p in load_probes("P100")]
    whole = load_union(["P100", "P100R", "G100", "A60", "R200"])
    assert len(whole) == 101 + 303 + 100 + 60 + 200
    assert len({p.cluster for p in whole}) == 101 + 100 + 60 + 200


EXTRAS = [
    ({"notice": "x"}, "field 'notice' is not a list of texts"),
    ({"notice": [""]}, "field 'notice' is not a list of texts"),
    ({"check": {"kind": "sum", "value": 1}}, "field 'check' cannot be used: kind"),
    ({"check": {"kind": "number"}}, "field 'check' cannot be used: value"),
    ({"check": 42}, "field 'check' cannot be used"),
]


@pytest.mark.parametrize(("extra", "said"), EXTRAS)
def test_what_a_good_answer_is_must_be_well_told(tmp_path, extra, said):
    with pytest.raises(LemError, match=said):
        load_probes(write(tmp_path, json.dumps([{**GOOD, **extra}])))


def test_cards():
    assert card("p100").startswith("# P100")
    with pytest.raises(LemError, match="no built-in probe set 'P7'"):
        card("P7")
