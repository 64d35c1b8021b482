"""What a model generated, taken apart into reasoning and answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lem.engines.llamacpp import LlamaEngine, _group, _Row
from lem.engines.outputs import Answer, OutputStyle, parse, style_of
from lem.errors import LemError
from lem.records import Request, Response, Sampling

CHATML = frozenset({"<|im_start|>", "<|im_end|>", "<|endoftext|>"})
PLAIN = OutputStyle("plain", control=CHATML)
THINK = OutputStyle("think", "<think>", "</think>", CHATML)
HARMONY = OutputStyle("harmony", control=frozenset({"<|endoftext|>", "<|startoftext|>"}))

ASKED = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
OPENED = ASKED + "<think>\n"
SWITCHED_OFF = ASKED + "<think>\n\n</think>\n\n"
GPT = "<|start|>user<|message|>Why?<|end|><|start|>assistant"


def read(text: str, style: OutputStyle, prompt: str = ASKED, *, ended: bool = True) -> Answer:
    return parse(text, style, prompt=prompt, ended=ended)


# --- think ----------------------------------------------------------------------------------------

THOUGHT: list[tuple[str, str, str, bool, Answer]] = [
    # what, generated, prompt, ended, expected
    ("both tags", "<think>\nhm\n</think>\n\nYes.", ASKED, True, Answer("Yes.", "hm", "stop", 0)),
    ("no reasoning", "Yes.", ASKED, True, Answer("Yes.", None, "stop", 0)),
    ("cut answer", "<think>hm</think>Ye", ASKED, False, Answer("Ye", "hm", "length", 0)),
    ("opened by prompt", "hm\n</think>\n\nYes.", OPENED, True, Answer("Yes.", "hm", "stop", 0)),
    ("no opening tag", "hm\n</think>\n\nYes.", ASKED, True, Answer("Yes.", "hm", "stop", 1)),
    ("unclosed", "<think>\nhm, so", ASKED, False, Answer("", "hm, so", "length", 0)),
    ("unclosed by prompt", "hm, so", OPENED, False, Answer("", "hm, so", "length", 0)),
    ("ended unclosed", "<think>\nhm.", ASKED, True, Answer("", "hm.", "length", 1)),
    ("ended, never closed", "The answer.", OPENED, True, Answer("", "The answer.", "length", 1)),
    ("empty block", "<think>\n\n</think>\n\nYes.", ASKED, True, Answer("Yes.", None, "stop", 0)),
    ("empty in prompt", "Yes.", SWITCHED_OFF, True, Answer("Yes.", None, "stop", 0)),
    ("closed at once", "</think>Yes.", OPENED, True, Answer("Yes.", None, "stop", 0)),
    ("nothing", "", OPENED, False, Answer("", None, "length", 0)),
    (
        "several blocks",
        "<think>a</think>\nOne.\n<think>b</think>\nTwo.",
        ASKED,
        True,
        Answer("One.\n\nTwo.", "a\n\nb", "stop", 0),
    ),
    (
        "block amid a line",
        "It is 5. <think>no</think> It is 6.",
        ASKED,
        True,
        Answer("It is 5. It is 6.", "no", "stop", 0),
    ),
    (
        "second block unclosed",
        "<think>a</think>One.\n<think>b",
        ASKED,
        False,
        Answer("One.", "a\n\nb", "length", 0),
    ),
    (
        "opened twice, closed once",
        "<think>\nhm</think>Yes.",
        OPENED,
        True,
        Answer("Yes.", "hm", "stop", 1),
    ),
    (
        "nested",
        "<think>a<think>b</think>c</think>Yes.",
        ASKED,
        True,
        Answer("Yes.", "abc", "stop", 1),
    ),
    (
        "closed twice",
        "<think>a</think>Yes.</think> Really.",
        ASKED,
        True,
        Answer("Yes. Really.", "a", "stop", 1),
    ),
    (
        "reasons although switched off",
        "hm\n</think>\nYes.",
        SWITCHED_OFF,
        True,
        Answer("Yes.", "hm", "stop", 1),
    ),
    (
        "stray tag after an answer without reasoning",
        "Yes.\n</think>",
        SWITCHED_OFF,
        True,
        Answer("Yes.", None, "stop", 1),
    ),
    (
        "quoted tags are text",
        '<think>is `</think>` a tag?</think>Write `<think>` or "</think>".',
        ASKED,
        True,
        Answer('Write `<think>` or "</think>".', "is `</think>` a tag?", "stop", 0),
    ),
    (
        "a mention in the answer",
        "<think>a</think>Qwen writes <think> first. Then it answers.",
        ASKED,
        True,
        Answer("Qwen writes <think> first. Then it answers.", "a", "stop", 1),
    ),
    (
        "the next turn",
        "<think>a</think>Yes.<|im_end|>\n<|im_start|>user\n<think>",
        ASKED,
        False,
        Answer("Yes.", "a", "stop", 1),
    ),
    (
        "ends its turn while reasoning",
        "<think>a<|im_end|>\nmore</think>Yes.",
        ASKED,
        False,
        Answer("", "a", "length", 2),
    ),
]


@pytest.mark.parametrize(
    ("text", "prompt", "ended", "expected"), [t[1:] for t in THOUGHT], ids=[t[0] for t in THOUGHT]
)
def test_reasoning_between_tags(text: str, prompt: str, ended: bool, expected: Answer) -> None:
    assert read(text, THINK, prompt, ended=ended) == expected


def test_only_the_end_of_the_prompt_opens_the_reasoning() -> None:
    asked_about_tags = "<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n"
    assert read("A tag.", THINK, asked_about_tags) == Answer("A tag.", None, "stop", 0)


def test_a_frame_round_the_answer_is_dropped_without_an_error() -> None:
    cohere = style_of(
        "<|START_THINKING|>…<|END_THINKING|><|START_RESPONSE|>…<|END_RESPONSE|>",
        ["<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"],
    )
    text = "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>"
    assert read(text, cohere) == Answer("Yes.", "hm", "stop", 0)
    assert read(text.removesuffix("<|END_RESPONSE|>"), cohere, ended=False).final == "Yes."


# --- harmony --------------------------------------------------------------------------------------

A, C, F = (f"<|channel|>{name}<|message|>" for name in ("analysis", "commentary", "final"))
NEXT = "<|end|><|start|>assistant"

SPOKEN: list[tuple[str, str, bool, Answer]] = [
    ("both", f"{A}hm{NEXT}{F}Yes.", True, Answer("Yes.", "hm", "stop", 0)),
    ("only final", f"{F}Yes.", True, Answer("Yes.", None, "stop", 0)),
    ("return left in", f"{F}Yes.<|return|>", False, Answer("Yes.", None, "stop", 0)),
    ("text after return", f"{F}Yes.<|return|>No.", True, Answer("Yes.", None, "stop", 1)),
    ("cut in the answer", f"{A}hm{NEXT}{F}Ye", False, Answer("Ye", "hm", "length", 0)),
    ("cut in the analysis", f"{A}hm, so", False, Answer("", "hm, so", "length", 0)),
    ("no final channel", f"{A}hm.", True, Answer("", "hm.", "length", 0)),
    ("cut between", f"{A}hm<|end|>", False, Answer("", "hm", "length", 0)),
    ("cut in a header", f"{A}hm{NEXT}<|channel|>fi", False, Answer("", "hm", "length", 0)),
    ("ended in a header", f"{A}hm{NEXT}<|channel|>final", True, Answer("", "hm", "stop", 1)),
    (
        "commentary with a recipient and a format",
        f"{A}a{NEXT}<|channel|>commentary to=functions.x <|constrain|>json<|message|>{{}}"
        f"<|call|><|start|>assistant{F}Yes.",
        True,
        Answer("Yes.", "a\n\n{}", "stop", 0),
    ),
    (
        "recipient in the role",
        f" to=functions.x<|channel|>commentary<|message|>{{}}{NEXT}{F}Yes.",
        True,
        Answer("Yes.", "{}", "stop", 0),
    ),
    (
        "format of the final channel",
        "<|channel|>final <|constrain|>json<|message|>{}",
        True,
        Answer("{}", None, "stop", 0),
    ),
    ("two answers", f"{F}One.{NEXT}{F}Two.", True, Answer("One.\n\nTwo.", None, "stop", 0)),
    (
        "unknown channel",
        f"<|channel|>finale<|message|>x{NEXT}{F}Yes.",
        True,
        Answer("Yes.", "x", "stop", 1),
    ),
    ("no channel", f"<|message|>x{NEXT}{F}Yes.", True, Answer("Yes.", "x", "stop", 1)),
    ("no message mark", "<|channel|>final Yes.<|return|>", True, Answer("Yes.", None, "stop", 1)),
    ("no message mark, cut", "<|channel|>final Ye", False, Answer("Ye", None, "length", 1)),
    ("no marks at all", "Yes.", True, Answer("", "Yes.", "length", 1)),
    ("no marks, cut", "Ye", False, Answer("", "Ye", "length", 1)),
    ("no end between", f"{A}hm{F}Yes.", True, Answer("Yes.", "hm", "stop", 1)),
    ("no start", f"{A}hm<|end|>{F}Yes.", True, Answer("Yes.", "hm", "stop", 1)),
    ("text between", f"{A}hm<|end|>oops<|start|>assistant{F}Yes.", True,
     Answer("Yes.", "hm\n\noops", "stop", 1)),
    ("message twice", f"{F}Yes.<|message|> No.", True, Answer("Yes. No.", None, "stop", 1)),
    (
        "the user's turn",
        f"{F}Yes.<|end|><|start|>user<|message|>And?{NEXT}{F}No.",
        False,
        Answer("Yes.", None, "stop", 1 + 1),
    ),
    ("another text", f"{F}Yes.<|endoftext|>{F}No.", False, Answer("Yes.", None, "stop", 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ended", "expected"), [t[1:] for t in SPOKEN], ids=[t[0] for t in SPOKEN]
)
def test_harmony(text: str, ended: bool, expected: Answer) -> None:
    assert read(text, HARMONY, GPT, ended=ended) == expected


def test_a_prompt_may_open_the_final_channel() -> None:
    assert read("Yes.", HARMONY, GPT + F) == Answer("Yes.", None, "stop", 0)
    assert read(f"hm{NEXT}{F}Yes.", HARMONY, GPT + A) == Answer("Yes.", "hm", "stop", 0)


# --- plain ----------------------------------------------------------------------------------------

SAID: list[tuple[str, str, bool, Answer]] = [
    ("text", "  Yes.\n", True, Answer("Yes.", None, "stop", 0)),
    ("cut", "Ye", False, Answer("Ye", None, "length", 0)),
    ("talks of tags", "Write <think>a</think> <|channel|>.", True,
     Answer("Write <think>a</think> <|channel|>.", None, "stop", 0)),
    ("at the end", "Yes.<|im_end|>", False, Answer("Yes.", None, "stop", 1)),
    ("the next turn", "Yes.<|im_end|>\n<|im_start|>user\nAnd?", False,
     Answer("Yes.", None, "stop", 1)),
    ("next turn without an end", "Yes.<|im_start|>user\nAnd?", False,
     Answer("Yes.", None, "stop", 1)),
    ("another text", "Yes.<|endoftext|>Chapter 1", False, Answer("Yes.", None, "stop", 1)),
    ("own header again", "<|im_start|>assistant\nYes.", True, Answer("Yes.", None, "stop", 1)),
    ("header of the user", "<|im_start|>user\nWhy?", False, Answer("", None, "stop", 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ended", "expected"), [t[1:] for t in SAID], ids=[t[0] for t in SAID]
)
def test_plain(text: str, ended: bool, expected: Answer) -> None:
    assert read(text, PLAIN, ended=ended) == expected


def test_control_tokens_that_end_nothing_are_taken_out() -> None:
    style = style_of("", ["<unused1>", "<unused12>", "<pad>", "<|vision_start|>", "", " ", "word"])
    got = read("<pad>a <unused12>word<unused1> b<|vision_start|>", style)
    assert got == Answer("a word b", None, "stop", 4)


def test_control_tokens_that_are_html_too_are_only_taken_off_the_ends() -> None:
    style = style_of("[INST]", ["<s>", "</s>", "<unk>"])
    got = read("<s> Write <s>old</s> for struck text.</s> </s>", style)
    assert got == Answer("Write <s>old</s> for struck text.", None, "stop", 3)


@pytest.mark.parametrize(
    ("ends", "starts"),
    [
        ("<|eot_id|>", "<|start_header_id|>user<|end_header_id|>"),
        ("<end_of_turn>", "<start_of_turn>user"),
        ("<turn|>", "<|turn>user"),
        ("<|end|>", "<|user|>"),
        ("<｜end▁of▁sentence｜>", "<｜User｜>"),
        ("<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>"),
        ("<eos>", "<bos>"),
        ("[|endofturn|]", "[|user|]"),
        ("</s>", "[INST]"),
    ],
)
def test_turn_marks_of_many_families(ends: str, starts: str) -> None:
    marks = [ends, starts.removesuffix("user<|end_header_id|>").removesuffix("user")]
    style = OutputStyle("plain", control=frozenset(marks))
    assert read(f"Yes.{ends}", style, ended=False).final == "Yes."
    after_end = read(f"Yes.{ends}\nMore.", style, ended=False)
    if ends != "</s>":  # HTML too: stays
        assert after_end == Answer("Yes.", None, "stop", 1)
    assert read(f"Yes. {starts}\nMore.", style, ended=False) == Answer("Yes.", None, "stop", 1)


# --- style ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "control", "expected"),
    [
        ("{{ '<|im_start|>assistant\n<think>\n\n</think>' }}", [], ("think", "<think>")),
        ("{% set c = c.split('</think>')[-1] %}", [], ("think", "<think>")),
        ("{{ '<｜Assistant｜><think>\n' }}…</think>", [], ("think", "<think>")),
        ("[SYSTEM_PROMPT]…[THINK]…[/THINK]", [], ("think", "[THINK]")),
        ("[INST]", ["[THINK]", "[/THINK]", "[INST]"], ("think", "[THINK]")),
        ("<seed:think>…</seed:think>", [], ("think", "<seed:think>")),
        ("<thinking>…</thinking>", [], ("think", "<thinking>")),
        ("<|turn>model\n<|channel>thought\n<channel|>", [], ("think", "<|channel>thought")),
        ("<|start|>assistant<|channel|>final<|message|>", [], ("harmony", "")),
        ("<|im_start|>", ["<|channel|>", "<|message|>"], ("harmony", "")),
        ("<start_of_turn>model\n", ["<start_of_turn>"], ("plain", "")),
        ("[INST] … [/INST]", ["<s>", "</s>"], ("plain", "")),
        ("never <think> aloud", [], ("plain", "")),
        ("</think", [], ("plain", "")),
    ],
)
def test_style(template: str, control: list[str], expected: tuple[str, str]) -> None:
    style = style_of(template, control)
    assert (style.kind, style.open) == expected
    assert style.open not in style.control and style.close not in style.control


def test_reasoning_of_gemma_4_and_magistral() -> None:
    gemma = style_of("<|channel>thought\n<channel|>", ["<|channel>", "<channel|>", "<turn|>"])
    text = "<|channel>thought\nhm<channel|>Yes.<turn|>"
    assert read(text, gemma) == Answer("Yes.", "hm", "stop", 1)
    off = "<|turn>model\n<|channel>thought\n<channel|>"
    assert read("Yes.", gemma, off) == Answer("Yes.", None, "stop", 0)
    magistral = style_of("[SYSTEM_PROMPT][THINK]x[/THINK]", ["[THINK]", "[/THINK]", "[INST]"])
    assert read("[THINK]hm[/THINK]Yes.", magistral) == Answer("Yes.", "hm", "stop", 0)


# --- untrusted ------------------------------------------------------------------------------------

STYLES = [
    PLAIN,
    THINK,
    HARMONY,
    style_of("[INST]", ["<s>", "</s>", "<unk>", "[INST]"]),
    style_of("<|channel>thought <channel|>", ["<|channel>", "<|turn>"]),
    style_of("", [f"<unused{i}>" for i in range(3000)] + ["<|eot|>", "<|e|>"]),
    style_of("<think></think><answer></answer>", CHATML),
    OutputStyle("think"),
]
FRAGMENTS = st.sampled_from(
    [
        *(
            "<think>",
            "</think>",
            "\n",
            " ",
            "a",
            "Ünï",
            "`",
            "<",
            "|",
            "<|im_end|>",
            "<|im_start|>",
        ),
        *("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>"),
        *("<|call|>", "final", "analysis", "assistant", "user", " to=x", "<s>", "</s>", "[INST]"),
        *("<|channel>thought", "<channel|>", "<unused7>", "<answer>", "</answer>", "\ud800"),
    ]
)
TEXTS = st.lists(FRAGMENTS | st.text(max_size=5), max_size=30).map("".join)


@settings(max_examples=600, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(STYLES), st.booleans())
@example("", "", THINK, True)
@example("<|start|>", "<|start|>", HARMONY, True)
def test_any_text_is_taken_apart(text: str, prompt: str, style: OutputStyle, ended: bool) -> None:
    got = parse(text, style, prompt=prompt, ended=ended)
    assert got == parse(text, style, prompt=prompt, ended=ended)
    assert got.final == got.final.strip() and got.format_errors >= 0
    assert got.reasoning is None or got.reasoning.strip()
    assert got.finish_reason in ("stop", "length")
    # Nothing is made up, and nothing is in both.
    letters = sum(c.isalnum() for c in text + prompt)
    assert sum(c.isalnum() for c in got.final + (got.reasoning or "")) <= letters
    if style.kind == "plain":
        assert got.reasoning is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_text_without_marks_is_the_answer(text: str) -> None:
    for style in (PLAIN, THINK):
        if not any(mark in text for mark in ("<think>", "</think>", *CHATML)):
            assert read(text, style) == Answer(text.strip(), None, "stop", 0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.text("abc .\n", max_size=8), st.text("xyz .\n", max_size=8)), max_size=6)
)
def test_well_formed_blocks_are_split_exactly(blocks: list[tuple[str, str]]) -> None:
    """Letters of the reasoning and of the answer are told apart, in order."""
    text = "".join(f"\n<think>{thought}</think>{said}" for thought, said in blocks)
    got = read(text, THINK)
    letters = {"final": got.final, "reasoning": got.reasoning or ""}
    for name, index in (("reasoning", 0), ("final", 1)):
        want = "".join("".join(b[index].split()) for b in blocks)
        assert "".join(letters[name].split()) == want
    assert got.format_errors == 0 and got.finish_reason == "stop"


def _hostile() -> Iterator[str]:
    size = 1_000_000
    for piece in (
        *("<think>", "</think>", "a<think>", "a <think> ", "<think>a</think>", "`<think>`"),
        *("\n<think>", " ", "<", "<|", "<|e", "<unused", "<unused299", "</s> ", "<s>a"),
        *("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|channel|>final<|message|>a"),
        *("<|start|>assistant", "<|constrain|>", "<|call|>", "<|im_start|>assistant"),
        *("<|channel>thought", "<channel|>", "<pad>"),
    ):
        yield piece * (size // len(piece))
    shuffled = random.Random(0)
    marks = ["<think>", "</think>", "<|channel|>", "<|message|>", "<unused7>", " ", "a", "\n", "`"]
    yield "".join(shuffled.choices(marks, k=size // 6))


@pytest.mark.parametrize("style", STYLES, ids=[f"{i}-{s.kind}" for i, s in enumerate(STYLES)])
def test_a_megabyte_of_marks_is_read_to_its_end(style: OutputStyle) -> None:
    """Anything quadratic would take hours here."""
    for text in _hostile():
        for prompt in (ASKED, OPENED):
            got = parse(text, style, prompt=prompt, ended=True)
            assert len(got.final) + len(got.reasoning or "") <= len(text)


# --- in the engine --------------------------------------------------------------------------------


def answered(engine: LlamaEngine, text: str, style: OutputStyle, prompt: str) -> Response:
    """The response that the engine makes of these tokens."""
    request = Request(
        key="k",
        probe="p",
        condition="c",
        sample=0,
        messages=[],
        prompt=prompt,
        prompt_sha256="",
        token_ids=[1],
        sampling=Sampling(max_tokens=99),
        seed=0,
    )
    row = _Row(
        request=request,
        group=_group([request]),
        sequence=0,
        sampler=0,
        position=1,
        started=0.0,
        cached=0,
        tokens=engine._ids(text, special=True),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "style", style)
        return engine._response(row, "stop")


def test_the_engine_passes_reasoning_and_errors_on(engine: LlamaEngine) -> None:
    assert engine.style.kind == "plain"
    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} <= engine.style.control
    got = answered(engine, " Yes.<|im_end|>\n<|im_start|>user\nAnd?", engine.style, ASKED)
    assert (got.final, got.reasoning, got.finish_reason) == ("Yes.", None, "stop")
    assert got.format_errors == 1 and got.completion_tokens and got.completion_tokens > 4
    text = "hm\n</think>\n\nYes.<file_sep>"
    got = answered(engine, text, style_of("</think>", engine.style.control), OPENED)
    assert (got.final, got.reasoning, got.finish_reason) == ("Yes.", "hm", "stop")
    assert got.format_errors == 1
    got = answered(engine, "hm", style_of("</think>", engine.style.control), OPENED)
    assert (got.final, got.reasoning, got.finish_reason) == ("", "hm", "length")


def test_the_engine_refuses_a_switch_that_the_template_lacks(model_path: Path) -> None:
    with pytest.raises(LemError, match="no switch for reasoning"):
        LlamaEngine(model_path, "built-in", thinking=False)


def test_the_end_of_turn_token_is_added_where_the_file_does_not_list_it(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = LlamaEngine(model_path, "built-in")
    assert complete.missing_stop is None and complete.info.notes == []
    (end,) = complete._ids("<|im_end|>", special=True)
    assert complete.ends_answer(end)
    complete.close()
    engine = LlamaEngine(model_path, "built-in")
    ends = engine.lib.vocab_is_eog
    monkeypatch.setattr(engine.lib, "vocab_is_eog", lambda v, t: t != end and ends(v, t), False)
    assert engine.missing_stop == end and engine.ends_answer(end)
    assert not engine.ends_answer(end + 100)
    assert len(engine.info.notes) == 1 and "<|im_end|> is not in the file's" in engine.info.notes[0]
    engine.close()
