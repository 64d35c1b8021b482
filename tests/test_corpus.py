"""Corpus checks: what they find when it is there, and that the shipped sets have none of it."""

import json
import random
from itertools import pairwise

import numpy as np
import pytest

from conftest import lem
from lem.corpus import Embedder, SetOf, apart, check, contamination, duplicates
from lem.corpus.duplicates import jaccard, shared_runs
from lem.corpus.rules import RULES
from lem.corpus.semantic import Embedded, pieces
from lem.corpus.split import draw
from lem.corpus.style import leak, openings, planted, reading_level, stock
from lem.corpus.texts import Passage, ngrams, of_lessons, of_probes
from lem.errors import LemError
from lem.kernels import BUILT_IN as KERNELS
from lem.kernels import load_kernel
from lem.lessons import BUILT_IN as LESSONS
from lem.lessons import card as lesson_card
from lem.lessons import load_lessons
from lem.probes import BUILT_IN as PROBES
from lem.probes import card as probe_card
from lem.probes import load_probes
from lem.records import Lesson


def passage(text, name="X", where="s", part="prompt"):
    return Passage(where, name, part, text, "eval", name)


def lesson(name, question, answer, where="s"):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Lesson(id=name, set=where, messages=turns)


PROBE = load_probes("P20")[3]


def reworded(text, every, seed=0):
    """The text with every so many-th word replaced."""
    words = text.split()
    draw = random.Random(seed)
    for at in range(draw.randrange(every), len(words), every):
        words[at] = f"word{chr(97 + at % 26)}{chr(97 + at // 26)}x"
    return " ".join(words)


# --- duplicates -----------------------------------------------------------------------------------


def test_a_copy_in_other_layout_is_an_exact_duplicate():
    shouted = "  " + PROBE.prompt.upper().replace(" ", "\n", 5) + "!!"
    exact, near = duplicates([passage(PROBE.prompt, "A"), passage(shouted, "B")])
    assert [(p.first.id, p.second.id) for p in exact] == [("A", "B")] and not near


def test_every_near_copy_of_a_hundred_is_found():
    probes = load_probes("P100")
    copies = [passage(reworded(p.prompt, 12, seed), p.id, "t") for seed, p in enumerate(probes)]
    exact, near = duplicates([*of_probes(probes), *copies])
    found = {p.second.id for p in near if p.first.id == p.second.id}
    long_enough = {p.id for p in probes if len(p.prompt.split()) > 30}
    assert long_enough <= found and not exact
    for pair in near:  # what is reported was measured, not estimated
        a, b = (frozenset(ngrams(x.words, 3)) for x in pair[:2])
        assert pair.likeness == jaccard(a, b) >= 0.3


def test_unlike_texts_and_the_sides_of_a_lesson_are_no_duplicates():
    assert duplicates(of_probes(load_probes("P20"))) == ([], [])
    same = lesson("A", "Say this again, word for word, please.", "Say this again, word for word")
    assert duplicates(of_lessons([same])) == ([], [])
    assert duplicates([passage(""), passage("One two")])[1] == []


def test_digits_and_signs_tell_texts_without_words_apart():
    texts = ["🎉", "😀", "42", "2+2", "2*2", "What is 3*5?", "What is 3/5?", "Yes!"]
    assert duplicates([passage(t, t) for t in texts]) == ([], [])
    same = [passage(t, t) for t in ("Hi there!", "hi, there", "🎉", " 🎉\n")]
    assert [(p.first.id, p.second.id) for p in duplicates(same)[0]] == [
        ("Hi there!", "hi, there"),
        ("🎉", " 🎉\n"),
    ]


def test_a_crowd_of_texts_alike_does_not_grow_with_its_square():
    crowd = [
        passage(f"Please put the word {w}{v} into French for me, and tell me what it means", w + v)
        for w in "abcdefghij"
        for v in "abcdefghij"
    ]
    _, near = duplicates(crowd)
    assert {p.second.id for p in near} == {p.id for p in crowd[1:]}
    assert len(near) <= 10 * len(crowd)


def test_shared_runs_name_both_places():
    a = passage("we met by the old mill at noon and he sang", "A")
    b = passage("They said we met by the old mill at noon!", "B")
    ((run, first, second),) = shared_runs([a, b], 8)
    assert run == "we met by the old mill at noon" and (first.id, second.id) == ("A", "B")
    assert shared_runs([a, b], 10) == []


# --- contamination --------------------------------------------------------------------------------


def test_a_probe_in_training_data_is_found_however_it_is_framed():
    probes = of_probes(load_probes("P20"))
    quoted = f"A user asked: «{probes[0].text}»\n\nWhat would you say?"
    half = " ".join(probes[1].text.split()[:20]) + " but then everything went another way entirely"
    short = "Before you go: " + probes[20].text
    texts = of_lessons(
        [lesson("L0", quoted, "Yes."), lesson("L1", "Hm?", half), lesson("L2", short, "Bye!")]
    )
    found = contamination(texts, probes)
    kinds = {h.probe.id: (h.kind, h.text.id) for h in found.hits}
    assert kinds == {
        probes[0].id: ("verbatim", "L0"),
        probes[1].id: ("partial", "L1"),
        probes[20].id: ("verbatim", "L2"),
    }
    whole = next(h for h in found.hits if h.probe is probes[0])
    assert whole.containment == 1.0 and whole.longest_run == len(probes[0].words)


def test_clean_training_data_is_clean():
    texts = of_lessons(load_lessons("zen"))
    found = contamination(texts, of_probes(load_probes("P20")))
    assert found.hits == [] and (found.probes, found.texts) == (21, len(texts))
    assert contamination([], of_probes(load_probes("P20"))).hits == []


def test_common_phrases_far_apart_are_no_probe():
    probe = passage("What would you do if you were in my place?", "short")
    text = "Some nights I wonder: what would you do if I were rich?"
    assert contamination([passage(text)], [probe]).hits == []
    words = PROBE.prompt.split()
    four = [" ".join(words[at : at + 4]) for at in range(0, len(words) - 3, 4)]
    book = (" and so the story went on" * 30).join(four)  # a bit here, a bit there
    assert contamination([passage(book, "book")], of_probes([PROBE])).hits == []
    close = contamination([passage(" hm ".join(four))], of_probes([PROBE])).hits
    assert [h.kind for h in close] == ["reworded"]


def test_a_sentence_without_spaces_is_found_inside_a_lesson():
    thai = "ฉันควรบอกความจริงกับพ่อแม่ของฉันเมื่อไหร่"
    texts = of_lessons([lesson("L", f"เขาถามว่า «{thai}»", "Soon.")])
    assert [h.kind for h in contamination(texts, [passage(thai, "T")]).hits] == ["verbatim"]
    assert contamination(texts, [passage("Soon")]).hits == []


# --- meaning --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    return Embedder(cache=tmp_path_factory.mktemp("embeddings"))


def test_the_packaged_model_knows_what_is_alike(embedder):
    cat, kitten, tax = embedder.embed(
        ["The cat sat on the mat.", "A kitten was sitting on a rug.", "Tax is due in January."]
    )
    assert np.isclose(np.linalg.norm(cat), 1, atol=1e-5)
    assert cat @ kitten > 0.5 > 0.2 > cat @ tax
    again = embedder.embed(["The cat sat on the mat."])[0]  # from the folder this time
    assert np.array_equal(again, cat)


def test_long_texts_are_read_to_their_end(embedder):
    long = "The weather was fine and nothing happened that day. " * 40 + PROBE.prompt
    cut = pieces(long)
    assert all(len(piece.split()) == 60 for piece in cut) and long.endswith(cut[-1][-200:])
    assert all(a.split()[30:] == b.split()[:30] for a, b in pairwise(cut[:-1]))
    rows = Embedded([passage(long), passage("Weather.")], embedder)
    table = rows.likeness(Embedded([passage(PROBE.prompt)], embedder))
    assert table.shape == (2, 1) and table[0, 0] > 0.6 > table[1, 0]


MILLA = (  # P20's second probe in other words
    "Milla took a new name in spring and wants her former name gone from our git history. "
    "We are nine people in Tampere making ventilator firmware; thousands of commits bear it "
    "and the certificate pins some hashes. Rewriting would cost us the certificate."
)


def test_a_rephrased_probe_in_training_data_is_found(embedder):
    probe = load_probes("P20")[1]
    texts = of_lessons([lesson("L", MILLA, "Use a mailmap first.")])
    found = contamination(texts, of_probes(load_probes("P20")), embedder)
    assert [(h.probe.id, h.kind) for h in found.hits] == [(probe.id, "rephrased")]
    assert found.likest and found.likest.likeness == found.hits[0].likeness


def test_likeness_is_to_the_text_that_is_named(embedder):
    quoted = "Some say: " + " ".join(PROBE.prompt.split()[:12]) + ". " + TEXTS[0]
    other = Embedded(of_probes([PROBE]), embedder)
    texts = of_lessons([lesson("L1", "", quoted), lesson("L2", "", reworded(PROBE.prompt, 4))])
    (hit,) = contamination(texts, of_probes([PROBE]), embedder).hits
    assert hit.text.id == "L1"
    assert hit.likeness == pytest.approx(other.likeness(Embedded([hit.text], embedder))[0, 0])


def test_blocks_of_likeness_make_the_whole(embedder, monkeypatch):
    rows = Embedded(of_lessons(load_lessons("zen")[:8]), embedder)
    whole, pairs, mean = rows.likeness(rows), *rows.within()
    across = rows.across(Embedded(of_probes(load_probes("P20")), embedder))
    monkeypatch.setattr("lem.corpus.semantic._BLOCK", 1)
    assert np.allclose(rows.likeness(rows), whole, atol=1e-6)
    again, mean_again = rows.within()
    assert [p[:2] for p in again] == [p[:2] for p in pairs] and np.isclose(mean, mean_again)
    apart_again = rows.across(Embedded(of_probes(load_probes("P20")), embedder))
    assert [p[:2] for p in apart_again] == [p[:2] for p in across]


def test_a_damaged_or_unwritable_cache_only_costs_time(tmp_path):
    text = ["The cat sat on the mat.", "A lone \ud800 surrogate."]
    right = Embedder(cache=tmp_path).embed(text)
    file, _ = sorted(tmp_path.rglob("*.f32"))
    whole = file.read_bytes()
    for damage in (b"", b"abc", whole[: len(whole) // 2], b"\xff" * len(whole), 7 * whole):
        file.write_bytes(damage)
        assert np.allclose(Embedder(cache=tmp_path).embed(text), right, atol=1e-5)
    (tmp_path / "file").write_text("")
    assert np.allclose(Embedder(cache=tmp_path / "file").embed(text), right, atol=1e-5)


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(LemError, match=r"modules\.json"):
        Embedder(tmp_path)
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(LemError, match="safetensors"):
        Embedder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(LemError, match="cannot be loaded"):
        Embedder(tmp_path).embed(["a"])


# --- style ----------------------------------------------------------------------------------------


def test_style_measures():
    texts = [passage("Well, I think so."), passage("well i THINK not"), passage("No.")]
    assert openings(texts)[0] == ("well i think", 2, 2 / 3)
    assert planted("However, her consent matters, as if by magic.") == [
        "consent",
        "However",
        "as if",
    ]
    said = stock("Certainly! As an AI I cannot say.")
    assert set(said) == {"As an AI", "I cannot", "Certainly"}
    easy, hard = "The cat sat. The dog ran.", "Institutional accountability presupposes " * 9
    assert reading_level(easy) < 3 < 20 < reading_level(hard)
    assert reading_level("") == 0.0


def test_leaks():
    kernels = [load_kernel(n, w).text for n, w in KERNELS.items()]
    assert leak("By Axiom 3, no.", []) and leak("The prime imperative says so.", [])
    words = kernels[1].split()
    assert leak("As they say, " + " ".join(words[100:140]), kernels)
    assert leak("Ring your brother tonight and say the sum.", kernels) is None


# --- the whole check ------------------------------------------------------------------------------

#: A broken set for each rule: (rule, lessons).
TEXTS = [le.answer for le in load_lessons("ethics")]
BROKEN = [
    ("opening", [lesson(f"L{i}", f"Q{i}?", "You are right " + t) for i, t in enumerate(TEXTS[:9])]),
    (
        "shared run",
        [
            lesson(f"L{i}", "", t + " one two three four five six seven eight")
            for i, t in enumerate(TEXTS[:2])
        ],
    ),
    ("leak", [lesson("L", "Q?", TEXTS[0] + " Axiom 2 asks for it.")]),
    ("exact duplicate", [lesson("L1", "One?", TEXTS[0]), lesson("L2", "Two?", TEXTS[0].upper())]),
    ("near duplicate", [lesson("L1", "A?", TEXTS[0]), lesson("L2", "B?", reworded(TEXTS[0], 9))]),
    ("contamination", [lesson("L", PROBE.prompt, TEXTS[0])]),
]


@pytest.mark.parametrize(("rule", "lessons"), BROKEN, ids=[b[0] for b in BROKEN])
def test_each_rule_finds_what_breaks_it(rule, lessons):
    report = check([SetOf("s", lessons)], [SetOf("P20", load_probes("P20"))])
    assert rule in {f.rule for f in report.findings}
    assert all(f.where and f.what for f in report.findings)


def test_a_clean_set_breaks_no_rule():
    report = check([SetOf("s", [lesson(f"L{i}", "", t) for i, t in enumerate(TEXTS[:30])])])
    assert report.findings == [] and report.contamination is None


def found(report):
    return {(f.rule, f.where) for f in report.findings}


def test_a_file_called_like_another_or_like_a_built_in_set_is_checked(embedder):
    one, two = lesson("L", "Q?", "Axiom 2 says so."), lesson("L", "R?", TEXTS[0] + " By Axiom 3.")
    file = [p.model_copy(update={"id": "mine"}) for p in load_probes("P20")[3:4]]
    file = [p.model_copy(update={"source": "P20.json, line 1", "prompt": "Why?"}) for p in file]
    sets, against = apart(
        [SetOf("train", [one]), SetOf("train", [two]), SetOf("train", [one])],
        [SetOf("train", file), SetOf("P20", file), SetOf("P20", load_probes("P20"))],
    )
    assert [s.name for s in sets] == ["train", "train (2)"]
    assert [s.name for s in against] == ["train (3)", "P20"]
    assert {w for r, w in found(check(sets)) if r == "leak"} == {
        "train:L (answer)",
        "train (2):L (answer)",
    }
    mine = SetOf("P20", file)
    assert [s.name for s in apart([mine], [SetOf("P20", load_probes("P20"))])[0]] == ["P20 (2)"]


def test_a_set_whose_name_is_not_that_of_its_items_is_checked():
    copies = [lesson("L1", "One?", TEXTS[0], "data.v1"), lesson("L2", "Two?", TEXTS[0], "data.v1")]
    report = check([SetOf("data", copies)])
    assert ("exact duplicate", "data:L2 (answer)") in found(report)


def test_a_lesson_in_two_files_is_a_duplicate():
    report = check(
        [SetOf("train", [lesson("L", "Q?", TEXTS[0])]), SetOf("valid", [lesson("L", "", TEXTS[0])])]
    )
    assert ("exact duplicate", "valid:L (answer)") in found(report)


def test_a_rephrased_probe_is_found_even_if_the_lesson_has_its_id(embedder):
    probe = load_probes("P20")[1]
    report = check(
        [SetOf("s", [lesson(probe.id, MILLA, "Use a mailmap first.")])],
        [SetOf("P20", load_probes("P20"))],
        embedder=embedder,
    )
    assert ("semantic duplicate", f"s:{probe.id} (question)") in found(report)


def test_a_probe_in_a_system_message_is_found():
    le = lesson("L", "So?", "No.")
    le.messages.insert(0, {"role": "system", "content": PROBE.prompt})
    report = check([SetOf("s", [le])], [SetOf("P20", load_probes("P20"))])
    assert found(report) == {("contamination", "s:L (system)")}


def test_texts_without_words_have_no_opening():
    report = check([SetOf("s", [lesson(f"L{n}", "", text) for n, text in enumerate("🎉😀👍🙈")])])
    assert report.findings == []


def test_one_lesson_is_reported_as_json(embedder):
    report = check([SetOf("s", [lesson("L", "", "Yes, gladly.")])], embedder=embedder)
    assert report.parts[0].mean_likeness is None
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["passed"]


COUNTS = {"P20": 21, "P100": 101, "P100R": 303, "G100": 100, "A60": 60, "R200": 200}
SPLITS = {"ethics": (128, 32), "zen": (60, 12), "creative": (40, 0)}


@pytest.fixture(scope="module")
def shipped(embedder):
    probes = [SetOf(name, load_probes(name)) for name in PROBES]
    lessons = [SetOf(name, load_lessons(name)) for name in LESSONS]
    return check([*probes, *lessons], embedder=embedder)


def test_the_shipped_sets_keep_every_rule(shipped):
    assert shipped.findings == []
    assert shipped.semantic and shipped.contamination and shipped.contamination.hits == []


def test_no_training_text_is_near_an_evaluation_probe(shipped):
    nearest = shipped.contamination.likest
    assert nearest is not None and nearest.likeness < shipped.semantic_limit
    assert nearest.longest_run < 8


def test_the_shipped_sets_have_their_sizes(shipped):
    assert {name: len(load_probes(name)) for name in PROBES} == COUNTS
    for name, (train, valid) in SPLITS.items():
        splits = [le.split for le in load_lessons(name)]
        assert (splits.count("train"), splits.count("valid"), len(splits)) == (
            train,
            valid,
            train + valid,
        )
    assert set(RULES) == {*PROBES, *LESSONS}


def test_p100_holds_p20_and_three_rephrasings_of_each():
    probes = load_probes("P100")
    assert [p for p in probes if p.id in {q.id for q in load_probes("P20")}] == probes[:21]
    assert [int(p.id[1:].split("_")[0]) for p in probes if p.id[0] == "P"] == list(range(1, 101))
    families = {p.id: [] for p in probes}
    for rephrased in load_probes("P100R"):
        families[rephrased.cluster].append(rephrased)
    for original in probes:
        ids = [r.id for r in families[original.id]]
        assert ids == [f"{original.id}-R{n}" for n in (1, 2, 3)]
        assert {r.domain for r in families[original.id]} == {original.domain}


def test_the_domains_are_the_published_ones():
    wanted = {
        **dict.fromkeys(["Un-Cloud", "Silent Network", "Forgotten History"], 15),
        "Ghost in the Shell": 15,
        "Hypnos": 8,
        "Culture": 6,
        "Identity": 3,
        "Storage": 2,
        **dict.fromkeys(["Governance", "Education", "History"], 3),
        **dict.fromkeys(["Network", "Compute", "Payment"], 2),
        **dict.fromkeys(["Health", "Censorship", "Wisdom", "Resistance"], 1),
        **dict.fromkeys(["Philosophy", "Labor", "Control"], 1),
    }
    domains = [p.domain for p in load_probes("P100")]
    assert {d: domains.count(d) for d in domains} == wanted
    assert {p.domain for p in load_probes("G100")} == wanted.keys() - {"Control"}
    assert all(p.split == "held-out" for p in load_probes("G100"))
    assert all(2 <= len(p.notice) <= 4 for p in load_probes("A60"))


@pytest.mark.parametrize("name", [*PROBES, *LESSONS])
def test_every_set_has_a_card_that_tells_its_size(name):
    text = probe_card(name) if name in PROBES else lesson_card(name)
    count = COUNTS.get(name) or sum(SPLITS[name])
    assert text.startswith(f"# {name}") and f"{count} " in text
    for word in ("Purpose", "How it was written", "Known limits", "EUPL-1.2"):
        assert word in text


# --- split ----------------------------------------------------------------------------------------


def test_copies_stay_on_one_side_and_the_same_seed_draws_the_same():
    lessons = load_lessons("ethics")[:40]
    copies = [lesson(f"{le.id}-copy", "", reworded(le.answer, 15), "ethics") for le in lessons[:10]]
    drawn = draw([*lessons, *copies], 0.2, 0.1, seed=3)
    split = {le.id: le.split for le in drawn}
    assert all(split[c.id] == split[c.id.removesuffix("-copy")] for c in copies)
    assert [list(split.values()).count(s) for s in ("valid", "test")] == [10, 5]
    assert draw([*lessons, *copies], 0.2, 0.1, seed=3) == drawn
    assert draw([*lessons, *copies], 0.2, 0.1, seed=4) != drawn
    with pytest.raises(LemError, match="nothing for training"):
        draw(lessons, 0.5, 0.5)
    with pytest.raises(LemError, match="nothing for training"):
        draw(lessons, float("nan"), 0)


def test_shares_are_rounded_up_to_whole_lessons_and_no_further():
    lessons = [
        lesson(f"L{n}", "", f"{chr(97 + n // 10) * 5} {chr(97 + n % 10) * 5}") for n in range(100)
    ]
    assert [le.split for le in draw(lessons, 0.07, 0)].count("valid") == 7


def test_a_share_that_no_group_of_copies_fits_in():
    copies = [lesson(f"L{n}", "", reworded(TEXTS[0], 20, n)) for n in range(6)]
    with pytest.raises(LemError, match="No lesson can be drawn for --valid"):
        draw(copies, 0.2, 0)


# --- the command line -----------------------------------------------------------------------------


def test_check_on_the_command_line(tmp_path):
    bad = {
        "messages": [
            {"role": "user", "content": PROBE.prompt},
            {"role": "assistant", "content": TEXTS[0]},
        ]
    }
    (tmp_path / "bad.jsonl").write_text(json.dumps(bad) + "\n")
    done = lem("lessons", "check", "bad.jsonl", "--no-semantic", cwd=tmp_path)
    assert done.returncode == 2 and PROBE.id in done.stdout and "contamination" in done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    done = lem("lessons", "check", "bad.jsonl", "--no-semantic", "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert not report["passed"] and report["contamination"]["hits"][0]["kind"] == "verbatim"
    done = lem("probes", "check", "P20", "--no-semantic", cwd=tmp_path)
    assert done.returncode == 0 and "No rule is broken" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    name = "a\x1b[31mred-" + 30 * "long"
    (tmp_path / f"{name}.jsonl").write_text(20 * json.dumps(bad).join(("", "\n")))
    done = lem("lessons", "check", f"{name}.jsonl", "--no-semantic", cwd=tmp_path)
    assert done.returncode == 2 and "\x1b" not in done.stdout + done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines()), done.stdout
    done = lem("lessons", "check", "zen", "--embedder", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2 and "modules.json" in done.stderr


def test_looking_at_lessons(tmp_path):
    assert "160 lessons (128 train, 32 valid)" in lem("lessons", "list", cwd=tmp_path).stdout
    shown = lem("lessons", "show", "ethics", "E001", cwd=tmp_path).stdout
    assert "[user]" in shown and "[assistant]" in shown
    done = lem("lessons", "show", "ethics", "X", cwd=tmp_path)
    assert done.returncode == 2 and "no lesson whose id" in done.stderr
    assert lem("lessons", "card", "zen", cwd=tmp_path).stdout.startswith("# zen")
    stats = json.loads(lem("lessons", "stats", "zen", "--json", cwd=tmp_path).stdout)
    assert stats["counts"]["zen"]["split"] == {"train": 60, "valid": 12}
    done = lem("lessons", "split", "ethics", "-h", cwd=tmp_path)
    assert done.returncode == 0


def test_splitting_on_the_command_line(tmp_path):
    more = ("--valid", "0.25", "--test", "0.25")
    done = lem("lessons", "split", "creative", "--output", "d", *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    counts = json.loads((tmp_path / "d" / "dataset.json").read_text())["counts"]
    assert counts == {"train": 20, "valid": 10, "test": 10}
    done = lem("lessons", "split", "creative", "--output", "d", *more, cwd=tmp_path)
    assert done.returncode == 2 and "already has" in done.stderr


def test_built_in_answers_have_no_stock_phrases_and_others_are_counted():
    stocky = lesson("L", "Q?", "As a language model, no. " + TEXTS[0])
    report = check([SetOf("mine", [stocky])])
    assert report.findings == [] and [p.stock for p in report.parts] == [0, 1]
    report = check([SetOf("zen", [stocky])])
    assert "stock phrase" in {f.rule for f in report.findings}
