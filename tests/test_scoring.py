"""Reading answers from lines and files, running sums, cutting texts, writing files."""

import gzip
import io
import json
import math
import re
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from conftest import lem
from lem.errors import LemError
from lem.scoring import explain, sources
from lem.scoring.explain import segments
from lem.scoring.gains import needs_gains, with_gains
from lem.scoring.shapes import MESSAGES, PAIRS, PUBLISHED, RUN_LOG, BrokenLine, Item, parse_line
from lem.scoring.sinks import csv_cell, json_line, new_file
from lem.scoring.sources import Broken, Meter, open_inputs, read_source
from lem.scoring.summary import Running, Share
from lem.scoring.work import Job, Worker, describe


def line(**fields):
    return json.dumps(fields).encode()


# --- one line -----------------------------------------------------------------------------------


def test_pairs_under_any_name():
    for question in ("prompt", "question", "instruction", "input"):
        for answer in ("response", "answer", "output", "completion", "text"):
            shape, (item,) = parse_line(line(**{question: "Q", answer: "A"}), None)
            assert (shape, item.prompt, item.text) == (PAIRS, "Q", "A")
    shape, (item,) = parse_line(line(instruction="Sum up.", input="The text.", output="A"), None)
    assert item.prompt == "Sum up.\n\nThe text."
    _, (item,) = parse_line(line(instruction="Sum up.", input="", output="A"), None)
    assert item.prompt == "Sum up."
    _, (item,) = parse_line(line(text="only an answer"), None)
    assert item.prompt is None and item.text == "only an answer"


def test_facts_beside_a_pair_are_kept():
    raw = line(
        prompt="Q",
        response="",
        id=7,
        domain="Health",
        model="m",
        condition="json",
        sample=2,
        finish_reason="length",
        lek_score=3.5,
    )
    _, (item,) = parse_line(raw, PAIRS)
    assert item == Item("", 7, "Q", None, "m", "json", 2, "Health", "length")


def test_the_last_assistant_message_is_the_answer():
    turns = [
        ("system", "Be good."),
        ("user", "First?"),
        ("assistant", "One."),
        ("user", "Second?"),
        ("assistant", "Two."),
        ("user", "Third?"),
    ]
    shape, (item,) = parse_line(line(messages=[{"role": r, "content": c} for r, c in turns]), None)
    assert shape == MESSAGES
    assert (item.text, item.prompt, item.system) == ("Two.", "Second?", "Be good.")


def test_tool_turns_are_no_answers():
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": "It rains."},
    ]
    _, (item,) = parse_line(line(messages=messages), None)
    assert (item.text, item.prompt) == ("It rains.", "Weather?")


def test_published_and_run_log_lines():
    raw = line(
        type="probe",
        id="P1",
        category="D",
        prompt="Q?",
        conditions={"baseline": {"response": "a", "lek_score": 1.0}, "json": {"response": "b"}},
    )
    shape, items = parse_line(raw, None)
    assert shape == PUBLISHED
    assert [(i.id, i.condition, i.text, i.prompt, i.category) for i in items] == [
        ("P1", "baseline", "a", "Q?", "D"),
        ("P1", "json", "b", "Q?", "D"),
    ]
    assert parse_line(line(type="summary", model="m"), PUBLISHED) == (PUBLISHED, [])
    shape, (item,) = parse_line(
        line(key="k", probe="P1", condition="txt", sample=1, final="c", finish_reason="length"),
        None,
    )
    assert (shape, item.condition, item.sample, item.finish_reason) == (RUN_LOG, "txt", 1, "length")


BROKEN = [
    (b"{", "not JSON: "),
    (b'{"prompt": "a", "response": "b"', "not JSON: "),
    (b'"text"', "a text, not an object"),
    (b"[1, 2]", "a JSON list?"),
    (b"[", "jq -c"),
    (b"{}", "fields: none"),
    (b'{"foo": 1, "bar": 2}', "fields: 'foo', 'bar'"),
    (b'{"prompt": "Q"}', "no answer in it"),
    (b'{"prompt": "Q", "response": null}', "field 'response' is null, not a text"),
    (b'{"prompt": "Q", "response": 3}', "field 'response' is a number"),
    (b'{"prompt": ["Q"], "response": "A"}', "field 'prompt' is a list"),
    (b'{"response": "A", "id": {}}', "field 'id' is an object"),
    (b'{"response": "A", "id": true}', "not a text or a number"),
    (b'{"response": "A", "id": NaN}', "field 'id' is nan"),
    (b'{"response": "A", "id": 1e400}', "field 'id' is inf"),
    (b'{"response": "A', "Unterminated string starting at column 14"),
    (b"{\n", "spread over several lines"),
    (b'{"id": ' + b"9" * 5000 + b"}", "thousands of digits"),
    (b'{"response": "A", "sample": "x"}', "not a whole number"),
    (b'{"response": "A", "sample": true}', "true or false, not a whole number"),
    (b'{"messages": {}}', "'messages' is an object, not a list"),
    (b'{"messages": []}', "no assistant message"),
    (b'{"messages": ["hi"]}', "message 1 is a text, not an object"),
    (b'{"messages": [{"role": "assistant"}]}', "field 'content' is missing in message 1"),
    (b'{"messages": [{"content": "x"}]}', "field 'role' is missing in message 1"),
    (b'{"type": "probe", "id": "P"}', "'conditions' is null"),
    (b'{"type": "probe", "conditions": {"a": {}}}', "'response' is missing in condition 'a'"),
    (b'{"type": "probe", "conditions": {"a": 1}}', "condition 'a' is a number"),
    (b'{"probe": "P", "condition": "c", "final": null}', "field 'final' is null"),
    (b'{"response": "caf\xe9"}', "not UTF-8: byte 0xe9"),
    (b"[" * 100_000, "not usable JSON: lists or objects nested too deeply"),
]


@pytest.mark.parametrize(("raw", "why"), BROKEN, ids=[str(b[0][:40]) for b in BROKEN])
def test_broken_lines_say_why(raw, why):
    with pytest.raises(BrokenLine) as e:
        parse_line(raw, None)
    assert why in str(e.value)


def test_another_shape_in_the_same_file_is_named():
    with pytest.raises(BrokenLine, match="a line of 'chat messages' in a file of 'pairs'"):
        parse_line(line(messages=[{"role": "assistant", "content": "x"}]), PAIRS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "messages",
                        "role",
                        "content",
                        "type",
                        "conditions",
                        "response",
                        "prompt",
                        "text",
                        "id",
                        "probe",
                        "condition",
                        "final",
                        "sample",
                        "x",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_any_json_is_answers_or_a_broken_line(value):
    try:
        _, items = parse_line(json.dumps(value).encode(), None)
    except BrokenLine:
        return
    for item in items:
        assert isinstance(item.text, str)
        assert item.prompt is None or isinstance(item.prompt, str)


@given(st.binary())
def test_any_bytes_are_answers_or_a_broken_line(raw):
    try:
        parse_line(raw, None)
    except BrokenLine as e:
        assert str(e)


# --- one input ----------------------------------------------------------------------------------


def read(path, form="auto"):
    (source,) = open_inputs((str(path),))
    return list(read_source(source, form, Meter()))


def test_byte_order_mark_carriage_returns_and_blank_lines(tmp_path):
    file = tmp_path / "a.txt"  # the name does not say JSON Lines, the first line does
    file.write_bytes(
        b"\xef\xbb\xbf\r\n \r\n" + line(response="A") + b"\r\n\r\n" + line(response="B")
    )
    assert [(i.text, i.id) for i in read(file)] == [("A", "a.txt:3"), ("B", "a.txt:5")]


def test_a_plain_text_is_one_answer_as_it_stands(tmp_path):
    file = tmp_path / "answer.md"
    file.write_bytes(b"\xef\xbb\xbf\n{braces} are no JSON.\r\nSecond line.\n")
    (item,) = read(file)
    assert item.text == "\n{braces} are no JSON.\r\nSecond line.\n" and item.id == "answer.md"
    file.write_bytes(b'{\n  "a": 1\n}\n')
    assert read(file)[0].text == '{\n  "a": 1\n}\n'  # a JSON document is not JSON Lines
    file.write_bytes(b"")
    assert read(file)[0].text == ""
    file.write_bytes(b"caf\xe9\n")
    assert read(file) == [Broken(str(file), "not UTF-8: byte 0xe9 at offset 3 (line 1)")]


def test_the_format_can_be_forced(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(line(response="A"))
    assert read(file, "text")[0].text == '{"response": "A"}'
    file = tmp_path / "a.txt"
    file.write_text("prose\n")
    assert isinstance(read(file, "jsonl")[0], Broken)


def test_a_line_or_text_that_is_too_long_is_skipped_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_LINE", 100_000)
    monkeypatch.setattr(sources, "MAX_TEXT", 100_000)
    file = tmp_path / "a.jsonl"
    fits = line(response="x" * (100_000 - len(line(response=""))))
    assert len(fits) == 100_000
    for long in (line(response="x" * 100_000), line(response="x" * 3_000_000)):
        file.write_bytes(b"\n".join([line(response="A"), long, fits, long, line(response="B")]))
        found = read(file)
        assert [f.place.rpartition(" ")[2] for f in found if isinstance(f, Broken)] == ["2", "4"]
        assert [len(f.text) for f in found if not isinstance(f, Broken)] == [1, 99_984, 1]
        file.write_bytes(long)  # as the first and only line
        assert isinstance(read(file)[0], Broken) and len(read(file)) == 1
    file = tmp_path / "a.txt"
    file.write_text("x" * 100_001)
    assert "more than" in read(file)[0].cause
    file.write_text("x" * 100_000)
    assert len(read(file)[0].text) == 100_000


def test_json_over_several_lines_is_told_how_to_become_json_lines(tmp_path):
    for value in ({"response": "A"}, [{"response": "A"}]):
        file = tmp_path / "a.json"
        file.write_text(json.dumps(value, indent=1))
        found = list(read_source(open_inputs((str(file),))[0], "auto", Meter()))
        assert found and all(isinstance(one, Broken) for one in found)
        assert "one object a line: jq -c" in found[0].cause


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        (gzip.compress(b'{"response": "A"}'), "gzip -dc"),
        (b"\x28\xb5\x2f\xfd....", "zstd -dc"),
        ('{"response": "A"}'.encode("utf-16"), "iconv -f UTF-16"),
        (b"PAR1\x15\x04", "is Parquet"),
    ],
)
def test_a_packed_file_is_named_as_one_before_anything_is_scored(tmp_path, begins, told):
    (tmp_path / "a.jsonl").write_bytes(begins)
    with pytest.raises(LemError) as e:
        open_inputs((str(tmp_path / "a.jsonl"),))
    assert told in str(e.value)


def test_the_first_good_line_fixes_the_format(tmp_path):
    chat = line(messages=[{"role": "assistant", "content": "x"}])
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\n".join([b"torn {", line(response="A"), chat, line(response="B")]))
    found = read(file)
    assert [isinstance(f, Broken) for f in found] == [True, False, True, False]
    assert "'chat messages' in a file of 'pairs'" in found[2].cause


def test_the_model_of_a_published_file_comes_from_its_last_line(tmp_path):
    file = tmp_path / "ab.jsonl"
    probe = line(type="probe", id="P", conditions={"baseline": {"response": "A"}})
    file.write_bytes(probe + b"\n" + line(type="summary", model="echo") + b"\n")
    assert read(file)[0].model == "echo"
    file.write_bytes(probe + b"\n")
    assert read(file)[0].model is None


@pytest.fixture(scope="session")
def echo_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo")
    (folder / "mine.txt").write_text("Weigh what others want before what you want yourself.")
    done = lem(
        *("ab", "--model", "echo", "--limit", "3", "-q", "--run", "run", "--output", "ab.jsonl"),
        *("--kernel", "mine=mine.txt", "--kernel", "json=lek-1.json"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_gives_questions_domains_model_and_kernels(echo_run, monkeypatch):
    monkeypatch.chdir(echo_run)
    (source,) = open_inputs(("run",))
    assert source.run.model == "echo" and not source.run.notes
    assert source.run.kernels == ((echo_run / "mine.txt").read_text(),)
    items = list(read_source(source, "auto", Meter()))
    assert len(items) == 9 and {i.condition for i in items} == {"baseline", "mine", "json"}
    manifest = json.loads((echo_run / "run" / "run.json").read_text())
    prompts = {p["id"]: (p["prompt"], p["domain"]) for p in manifest["probes"]["items"]}
    assert all((i.prompt, i.category) == prompts[i.id] for i in items)
    assert items == list(read_source(open_inputs(("run/responses.jsonl",))[0], "auto", Meter()))


def test_a_kernel_that_changed_since_is_not_mistaken_for_the_one_used(
    echo_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # its relative path leads nowhere from here
    (source,) = open_inputs((str(echo_run / "run"),))
    assert source.run.kernels == () and "kernel 'mine'" in source.run.notes[0]
    (tmp_path / "mine.txt").write_text("Another text.")
    (source,) = open_inputs((str(echo_run / "run"),))
    assert source.run.kernels == ()


# --- sums and shows -----------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_running_sums_are_the_textbook_ones(values):
    running = Running()
    for value in values:
        running.add(value)
    assert running.n == len(values)
    assert math.isclose(running.mean, statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(running.sd, statistics.stdev(values), rel_tol=1e-6, abs_tol=1e-4)


def test_interval_of_a_mean():
    running = Running()
    assert running.interval() is None
    running.add(1.0)
    assert running.interval() is None and running.sd is None
    for value in (2.0, 3.0, 4.0, 5.0):
        running.add(value)
    low, high = running.interval()  # t(4; 0.975) = 2.7764, sd/√n = 0.70711
    assert low == pytest.approx(3 - 2.776445 * math.sqrt(0.5), abs=1e-5)
    assert high == pytest.approx(3 + 2.776445 * math.sqrt(0.5), abs=1e-5)


def test_a_share_counts_only_what_can_be_told():
    share = Share()
    assert share.share is None
    for value in (True, None, False, None):
        share.add(value)
    assert share.to_json() == {"count": 1, "of": 2, "share": 0.5}


_SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted).map(tuple))


@given(st.text(min_size=20, max_size=20), st.dictionaries(st.sampled_from("abcd"), _SPANS))
def test_segments_cut_the_text_and_lose_nothing(text, spans):
    pieces = list(segments(text, spans))
    assert "".join(piece for piece, _ in pieces) == text
    at = 0
    for piece, parts in pieces:
        for offset in range(at, at + len(piece)):
            covering = {n for n, found in spans.items() if any(s <= offset < e for s, e in found)}
            assert set(parts) == covering and list(parts) == [n for n in spans if n in parts]
        at += len(piece)


def test_an_answer_that_is_too_long_to_look_at_is_cut(monkeypatch):
    monkeypatch.setattr(explain, "SHOWN", 25)
    console = Console(file=io.StringIO(), width=80)
    item, worker = Item("However, " * 10, id=0), Worker(Job(("v2",)))
    evidence, infos = worker.evidence(item), [describe("v2")]
    explain.print_evidence(item, worker.score(item), evidence, infos, console)
    shown = console.file.getvalue()
    assert shown.startswith("══ 0\n")
    assert shown.count(": However]") == 3 and "65 more characters" in shown


def test_json_lines_hold_nothing_a_terminal_obeys():
    value = {"id": "a\x1b[2J\x9b2J\x7f\u202e\u2028\ud800é"}
    raw = json_line(value)
    assert json.loads(raw) == value and "é" in raw.decode()
    assert len(raw.decode().splitlines()) == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", raw.decode())


def test_csv_cells():
    assert [csv_cell(v) for v in ("=SUM(A1)", "+1", "-x", "@a", "\t=1", "P-1")] == [
        "'=SUM(A1)",
        "'+1",
        "'-x",
        "'@a",
        "'\t=1",
        "P-1",
    ]
    assert [csv_cell(v) for v in (-1.5, 3, None, True, False)] == ["-1.5", "3", "", "true", "false"]


def test_a_new_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "out.jsonl"
    with pytest.raises(RuntimeError), new_file(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_file(target) as file:
        file.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole" and len(list(target.parent.iterdir())) == 1
    with pytest.raises(LemError, match="Cannot write"), new_file(target / "below"):
        pass


def test_gains_are_asked_for_in_batches_and_only_where_there_is_a_prompt():
    asked = []

    def gains(pairs):
        asked.append(len(pairs))
        return [float(len(answer)) for _, answer in pairs]

    items = [Item("x" * i, prompt=None if i % 3 == 0 else "why?") for i in range(70)]
    found = list(with_gains(iter(items), gains))
    assert [item._replace(gain=None) for item in found] == items
    assert [item.gain for item in found] == [None if i % 3 == 0 else float(i) for i in range(70)]
    assert len(asked) == 3 and max(asked) <= 32
    assert needs_gains(("v2", "reasoning:likelihood")) and not needs_gains(("v2", "reasoning"))


def test_a_message_may_come_in_parts():
    parts = [{"type": "text", "text": "Tell"}, {"type": "image"}, {"type": "text", "text": "her."}]
    turns = [{"role": "user", "content": "Do I?"}, {"role": "assistant", "content": parts}]
    _, (item,) = parse_line(line(messages=turns), None)
    assert (item.prompt, item.text) == ("Do I?", "Tell\nher.")
    with pytest.raises(BrokenLine, match="no object in message 1"):
        parse_line(line(messages=[{"role": "assistant", "content": ["Tell her."]}]), None)
