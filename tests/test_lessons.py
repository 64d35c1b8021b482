"""Lessons: the shapes they come in, the files trainers read, signing."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import lem
from lem.errors import LemError
from lem.kernels import BUILT_IN as KERNELS
from lem.kernels import load_kernel
from lem.kernels.load import make_kernel
from lem.lessons import load_lessons, sign, signature, unsign, write_folder
from lem.lessons.sign import LICENCE_NOTE, default_closing
from lem.probes import load_probes

CHAT = {
    "messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
}


def write(folder, text, name="lessons.jsonl"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def lines(*items):
    return "".join(json.dumps(item) + "\n" for item in items)


SHAPES = [
    CHAT,
    {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]},
    {"prompt": "Why?", "completion": "Because."},
    {"prompt": "Why?", "response": "Because."},
    {"prompt": CHAT["messages"][:1], "completion": CHAT["messages"][1:]},
    {"instruction": "Why?", "output": "Because."},
]


@pytest.mark.parametrize("item", SHAPES, ids=lambda i: "+".join(i))
def test_every_shape_of_training_data_is_the_same_lesson(tmp_path, item):
    (lesson,) = load_lessons(write(tmp_path, lines(item)))
    assert (lesson.question, lesson.answer, lesson.split) == ("Why?", "Because.", "train")
    (listed,) = load_lessons(write(tmp_path, json.dumps([item]), "list.json"))
    assert listed.messages == lesson.messages


def test_an_instruction_with_input_and_a_bare_text(tmp_path):
    items = [{"instruction": "Add.", "input": "1 and 2", "output": "3"}, {"text": "A tale."}]
    first, second = load_lessons(write(tmp_path, lines(*items)))
    assert first.question == "Add.\n\n1 and 2"
    assert (second.question, second.answer) == ("", "A tale.")


def test_a_folder_knows_its_splits(tmp_path):
    for name in ("train.jsonl", "validation.jsonl", "test.jsonl"):
        write(tmp_path, lines(CHAT), name)
    assert [le.split for le in load_lessons(str(tmp_path))] == ["train", "valid", "test"]


BAD = [
    ("", "is empty"),
    ("[]", "holds no lessons"),
    ("[1]", r"line 1 \(lesson 1\).*not a number"),
    (lines({"a": 1}), "no lesson in it"),
    (lines({"messages": []}), "list of turns"),
    (lines({"messages": [{"role": "robot", "content": "x"}]}), "has the role 'robot'"),
    (lines({"messages": [{"role": "user", "content": "x"}]}), "it has no answer"),
    (lines({"messages": [{"role": "assistant", "content": " "}]}), "turn 1 has no text"),
    (lines({"prompt": "x", "completion": None}), "must be a text, not null"),
    (lines({"prompt": "", "completion": "y"}), "it is empty"),
    (lines({**CHAT, "split": "dev"}), "field 'split'"),
    (lines({**CHAT, "axioms": [6]}), "field 'axioms'"),
    (lines({**CHAT, "topic": 3}), "'topic' must be a text"),
    (lines({**CHAT, "id": "A"}, {**CHAT, "id": "A"}), "was used before"),
    ('{"messages": [}\n{}', "line 1, column"),
    (lines({**CHAT, "split": ["train"]}), "field 'split'"),
    ("[" * 100_000, "nested too deeply"),
    (lines(CHAT) + '{"messages": ' + "[" * 100_000, "line 2.*nested too deeply"),
    ('{"messages": ' + "9" * 5000 + "}", "thousands of digits"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_bad_files_are_refused_with_their_place(tmp_path, text, said):
    with pytest.raises(LemError, match=said) as caught:
        load_lessons(write(tmp_path, text))
    assert caught.value.fix and "lessons.jsonl" in caught.value.cause


def test_missing_sets_and_folders(tmp_path):
    with pytest.raises(LemError, match="No such lesson set"):
        load_lessons(str(tmp_path / "none.jsonl"))
    with pytest.raises(LemError, match=r"folder without train\.jsonl"):
        load_lessons(str(tmp_path))


def test_names_that_no_file_can_have(tmp_path):
    for words in (("lessons", "show"), ("sign",), ("unsign",), ("probes", "show")):
        done = lem(*words, "x" * 300, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr, words


def test_an_instruction_of_several_turns_keeps_them_all(tmp_path):
    turns = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    (lesson,) = load_lessons(
        write(tmp_path, lines({"instruction": turns, "input": "Three.", "output": "Done."}))
    )
    assert lesson.question == "One.\n\nTwo.\n\nThree."


# --- files for trainers ---------------------------------------------------------------------------


def test_the_chat_folder_is_what_trainers_read(tmp_path):
    lessons = load_lessons("ethics")
    counts = write_folder(lessons, tmp_path / "data")
    assert counts == {"train": 128, "valid": 32}
    for name, count in counts.items():
        rows = [json.loads(li) for li in (tmp_path / "data" / f"{name}.jsonl").open()]
        assert len(rows) == count and all(list(row) == ["messages"] for row in rows)
        assert all(set(m) == {"role", "content"} for row in rows for m in row["messages"])
        assert all(row["messages"][-1]["role"] == "assistant" for row in rows)
    about = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert about["sets"] == ["ethics"] and about["counts"] == counts
    again = load_lessons(str(tmp_path / "data"))
    assert [le.messages for le in again if le.split == "valid"] == [
        le.messages for le in lessons if le.split == "valid"
    ]


def test_an_earlier_folder_is_not_lost(tmp_path):
    lessons = load_lessons("zen")
    write_folder(lessons, tmp_path)
    before = (tmp_path / "train.jsonl").read_text()
    with pytest.raises(LemError, match="already has"):
        write_folder(load_lessons("creative"), tmp_path)
    assert (tmp_path / "train.jsonl").read_text() == before
    write_folder(load_lessons("creative"), tmp_path, overwrite=True)
    assert not (tmp_path / "valid.jsonl").exists()  # creative has none, and zen's must not stay


def test_a_completion_holds_one_turn(tmp_path):
    done = lem(
        *("lessons", "split", "zen", "--output", "d", "--format", "prompt-completion"), cwd=tmp_path
    )
    assert done.returncode == 2 and "--single-turn" in done.stderr
    assert not (tmp_path / "d").exists()
    more = ("--format", "prompt-completion", "--single-turn")
    done = lem("lessons", "split", "zen", "--output", "d", *more, cwd=tmp_path)
    assert done.returncode == 0 and "left out" in done.stderr
    rows = [json.loads(li) for li in (tmp_path / "d" / "train.jsonl").open()]
    assert rows and all(list(r) == ["prompt", "completion"] for r in rows)
    assert all(isinstance(r["prompt"], str) and isinstance(r["completion"], str) for r in rows)


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    write_folder(load_lessons("creative"), tmp_path)
    before = (tmp_path / "train.jsonl").read_text()
    (tmp_path / "valid.jsonl").mkdir()
    with pytest.raises(LemError, match="Is a directory"):
        write_folder(load_lessons("zen"), tmp_path, overwrite=True)
    assert (tmp_path / "train.jsonl").read_text() == before
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        *("dataset.json", "train.jsonl", "valid.jsonl")
    ]
    write_folder(load_lessons("creative"), tmp_path, overwrite=True)  # which has no valid lessons


def test_a_lone_surrogate_is_written_as_utf8_can_hold_it(tmp_path):
    name = write(tmp_path, json.dumps({"prompt": "a\ud800é", "completion": "b"}) + "\n")
    write_folder(load_lessons(name), tmp_path / "data")
    assert load_lessons(str(tmp_path / "data"))[0].question == "a\ud800é"


def test_lessons_of_two_files_of_one_name_are_drawn_apart(tmp_path):
    for name in "ab":
        texts = [{"prompt": f"{name}{i}", "completion": f"{name}{i} " * 3} for i in range(10)]
        (tmp_path / name).mkdir()
        write(tmp_path / name, lines(*texts), "train.jsonl")
    done = lem(
        *("lessons", "split", "a/train.jsonl", "b/train.jsonl", "--output", "d", "--valid", ".5"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    drawn = load_lessons(str(tmp_path / "d"))
    valid = {le.question for le in drawn if le.split == "valid"}
    assert len(drawn) == 20 and len(valid) == 10
    # taken for one, a0 and b0 would always be drawn together
    assert {q[1] for q in valid if q[0] == "a"} != {q[1] for q in valid if q[0] == "b"}


def test_a_share_is_a_number(tmp_path):
    done = lem("lessons", "split", "zen", "--output", "d", "--valid", "nan", cwd=tmp_path)
    assert done.returncode == 2 and "no share" in done.stderr
    assert not (tmp_path / "d").exists()


# --- signing --------------------------------------------------------------------------------------

LEK = load_kernel("txt", KERNELS["txt"])


@given(st.text(), st.sampled_from(["sandwich", "prefix"]), st.sampled_from([None, "Signed: me."]))
def test_any_prompt_is_recovered_exactly(prompt, style, closing):
    mark = signature(LEK, style, closing if style == "sandwich" else None)
    signed = sign(prompt, mark)
    assert unsign(signed, mark) == prompt


def test_the_sandwich_is_kernel_prompt_signature():
    signed = sign("Who gets the flat?", signature(LEK))
    assert signed == f"{LEK.text}\n\nWho gets the flat?\n\n{default_closing()}"
    assert sign("Q", signature(LEK, "prefix")) == f"{LEK.text}\n\nQ"


def test_what_was_not_signed_is_not_unsigned():
    mark = signature(make_kernel("k", "Be good.", "here"), closing="End.")
    for text in ("Q", "Be good.\n\nQ", "Q\n\nEnd.", "Be good.\n\nEnd.", "Be bad.\n\nQ\n\nEnd."):
        with pytest.raises(LemError, match="lacks"):
            unsign(text, mark)
    with pytest.raises(LemError, match="blank"):
        signature(LEK, closing="  ")
    with pytest.raises(LemError, match="no closing"):
        signature(LEK, "prefix", "End.")


@pytest.mark.parametrize("kernel", ["json", "txt"])
@pytest.mark.parametrize("style", ["sandwich", "prefix"])
def test_files_keep_their_shape_and_come_back(tmp_path, kernel, style):
    items = [
        {"id": 1, "messages": [*CHAT["messages"], *CHAT["messages"]], "note": {"deep": [1, 2]}},
        {"prompt": " padded\r\n", "completion": "é"},
        {"conversations": SHAPES[1]["conversations"]},
        {"instruction": "Do.", "output": "Done."},
    ]
    original = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    write(tmp_path, original, "a.jsonl")
    more = ("--kernel", kernel, "--style", style)
    done = lem("sign", "a.jsonl", "-o", "b.jsonl", *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    signed = [json.loads(line) for line in (tmp_path / "b.jsonl").open()]
    text = load_kernel(kernel, KERNELS[kernel]).text
    assert signed[0]["messages"][0]["content"].startswith(text)
    assert signed[0]["messages"][2]["content"] == "Why?"  # a kernel belongs once into a talk
    about = json.loads((tmp_path / "b.jsonl.sign.json").read_text())
    assert about["licence"] == LICENCE_NOTE and len(about["signature"]["kernel"]["sha256"]) == 64
    done = lem("unsign", "b.jsonl", "-o", "c.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c.jsonl").read_bytes() == original.encode()


def test_built_in_sets_and_plain_text_can_be_signed(tmp_path):
    for name in ("ethics", "P20"):
        assert lem("sign", name, "-o", f"{name}.json", cwd=tmp_path).returncode == 0
        assert lem("unsign", f"{name}.json", cwd=tmp_path).returncode == 0
    done = lem("sign", "-", "--kernel", "json", cwd=tmp_path, input="Who?\n")
    back = lem("unsign", "-", "--kernel", "json", cwd=tmp_path, input=done.stdout)
    assert back.stdout == "Who?\n"


def test_signing_refuses_what_it_cannot_do(tmp_path):
    write(tmp_path, lines(CHAT), "a.jsonl")
    assert lem("sign", "a.jsonl", "-o", "b.jsonl", cwd=tmp_path).returncode == 0
    before = (tmp_path / "b.jsonl").read_bytes()
    for words, said in [
        (("sign", "a.jsonl", "-o", "b.jsonl"), "already there"),
        (("sign", "none.jsonl", "-o", "x"), "No such text file"),
        (("sign", "a.jsonl", "-o", "x", "--style", "prefix", "--signature", "S"), "no closing"),
        (("sign", "a.jsonl", "-o", "x", "--kernel", "gone"), "is not NAME=PATH"),
        (("unsign", "a.jsonl", "-o", "x"), "lacks the kernel"),
        (("unsign", "b.jsonl", "-o", "x", "--kernel", "json"), "lacks the kernel"),
        (("unsign", "b.jsonl", "-o", "x", "--signature", "Other"), "lacks its closing line"),
    ]:
        done = lem(*words, cwd=tmp_path)
        assert done.returncode == 2 and said in done.stderr, (words, done.stderr)
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "b.jsonl").read_bytes() == before
    side = tmp_path / "b.jsonl.sign.json"
    side.write_text(side.read_text().replace("axioms", "maxims"))
    done = lem("unsign", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and "hash" in done.stderr


def test_built_in_probes_keep_their_fields(tmp_path):
    for name in ("A60", "R200", "P100R"):
        assert lem("sign", name, "-o", f"{name}.json", cwd=tmp_path).returncode == 0
        done = lem("unsign", f"{name}.json", "-o", f"plain-{name}.json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        again, first = load_probes(str(tmp_path / f"plain-{name}.json")), load_probes(name)
        apart = {"set", "source"}
        assert [p.model_dump(exclude=apart) for p in again] == [
            p.model_dump(exclude=apart) for p in first
        ]


def test_every_prompt_comes_back_from_a_file(tmp_path):
    (tmp_path / "k.txt").write_text("Be good.\n\nBe kind.\n\n\n")
    prompts = [
        "Be good.\n\nBe kind.",
        "Be good.\n\nx\n\nEnd.",
        "End.",
        "\u2028\x00\x85 ",
        "\ud800é",
    ]
    items = [{"prompt": p} for p in prompts]
    items.append({"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]})
    (tmp_path / "a.jsonl").write_bytes(
        b"\xef\xbb\xbf" + lines(*items).replace("\n", "\r\n").encode()
    )
    more = ("--kernel", "k=k.txt", "--signature", "End.")
    assert lem("sign", "a.jsonl", "-o", "b.jsonl", *more, cwd=tmp_path).returncode == 0
    assert lem("unsign", "b.jsonl", "-o", "c.jsonl", cwd=tmp_path).returncode == 0
    back = (tmp_path / "c.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in back.split("\n")[:-1]] == items
    assert lem("sign", "a.jsonl", *more, cwd=tmp_path).returncode == 0  # printed, too


def test_standard_input_is_taken_as_a_file_would_be(tmp_path):
    def piped(verb, raw):
        words = [sys.executable, "-m", "lem", verb, "-"]
        return subprocess.run(words, cwd=tmp_path, input=raw, capture_output=True)

    done = piped("sign", b"\xef\xbb\xbfWho?\r\n")
    assert b"\n\nWho?\n\n" in done.stdout and done.stdout.endswith(b".\r\n")
    assert piped("unsign", done.stdout).stdout == b"Who?\r\n"
    done = piped("sign", b"caf\xe9\n")
    assert done.returncode == 2 and b"not UTF-8: byte 0xe9" in done.stderr and not done.stdout


def test_what_cannot_be_kept_is_refused(tmp_path):
    talk = [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, *CHAT["messages"]]
    for text, said in [
        ('{"prompt": "a", "x": NaN}', "line 1: a number in it is NaN"),
        ('{"prompt": "a", "x": 1e999}', "line 1: a number in it is NaN"),
        ("[]", "holds no items"),
        (json.dumps({"messages": talk}), "first user turn has no text"),
    ]:
        write(tmp_path, text, "a.jsonl")
        done = lem("sign", "a.jsonl", "-o", "x", cwd=tmp_path)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert not (tmp_path / "x").exists()
    with pytest.raises(LemError, match="not UTF-8"):
        signature(LEK, closing="a\udcff")


def test_a_signed_file_and_its_sidecar_are_written_together(tmp_path):
    write(tmp_path, "before", "b.jsonl")
    (tmp_path / "b.jsonl.sign.json").mkdir()
    done = lem("sign", "P20", "-o", "b.jsonl", "--overwrite", cwd=tmp_path)
    assert done.returncode == 2 and "Is a directory" in done.stderr
    assert (tmp_path / "b.jsonl").read_text() == "before"
    for words in (("sign", "P20", "-o", "."), ("unsign", ".")):
        done = lem(*words, cwd=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr, words
    assert sorted(f.name for f in tmp_path.iterdir()) == ["b.jsonl", "b.jsonl.sign.json"]


def test_unsigning_replaces_no_sidecar(tmp_path):
    assert lem("sign", "P20", "-o", "b.json", cwd=tmp_path).returncode == 0
    write(tmp_path, "{}", "c.json.sign.json")  # of an earlier c.json; nothing would touch it
    assert lem("unsign", "b.json", "-o", "c.json", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", "[1]", None])
def test_a_sidecar_that_is_none(tmp_path, text):
    assert lem("sign", "P20", "-o", "b.json", cwd=tmp_path).returncode == 0
    side = tmp_path / "b.json.sign.json"
    about = json.loads(side.read_text())
    about["signature"]["closing"] = None  # a sandwich without its end, which would stay in prompts
    side.write_text(text or json.dumps(about))
    done = lem("unsign", "b.json", cwd=tmp_path)
    assert done.returncode == 2 and "is no sidecar" in done.stderr


def test_a_prompt_in_two_fields_is_not_signed_in_the_middle(tmp_path):
    write(tmp_path, lines({"instruction": "Add.", "input": "1 and 2", "output": "3"}), "a.jsonl")
    done = lem("sign", "a.jsonl", "-o", "b.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and "in two fields" in done.stderr
    assert not (tmp_path / "b.jsonl").exists()
