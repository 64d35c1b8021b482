"""What is known of a server's prompts and made of its answers: vLLM's token ids, the switch for
thinking, reasoning left in the text. The servers speak vLLM's and llama.cpp's pages by script."""

from collections.abc import Callable
from typing import Any

import pytest

from lem.engines import _openai_wire
from lem.engines._openai_answer import Reply
from lem.engines._openai_output import taken_apart
from lem.engines.base import Meter
from lem.engines.openai import OpenAIEngine
from lem.errors import LemError
from lem.prompts import occurrences
from lem.records import Condition, Kernel, Probe, Response, Sampling
from lem.runs.plan import Plan, make_plan
from lem.text import sha256
from servers import VLLM, Body, Server, Step, delta, in_turn, llama_pages, says, status

TEXT = "Weigh who is hurt, who gains, and what cannot be undone, before you answer anyone."
KERNEL = Kernel(name="k", text=TEXT, sha256=sha256(TEXT), source="test")
CONDITIONS = [
    Condition(name="baseline", role="baseline"),
    Condition(name="k", kernel=KERNEL, placement="system"),
]
PROBES = [Probe(id=q, domain="d", prompt=q, set="s", cluster=q) for q in ("Why?", "How so?")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openai_wire, "BACKOFF", 0.001)


def asked(
    vllm: VLLM, max_tokens: int = 3, **options: Any
) -> tuple[Plan, list[Response], OpenAIEngine, Server]:
    """A whole run at one server."""
    with Server(vllm.chat, vllm.pages) as server:
        engine = OpenAIEngine("m", server.url, **options)
        try:
            plan = make_plan(engine, PROBES, CONDITIONS, Sampling(max_tokens=max_tokens))
            return plan, list(engine.generate(plan.requests, Meter())), engine, server
        finally:
            engine.close()


def error_of(make: Callable[[], object]) -> LemError:
    with pytest.raises(LemError) as caught:
        make()
    return caught.value


# --- the tokens of a prompt that is not seen -----------------------------------------------------


def test_token_ids_of_vllm_are_planned_and_compared() -> None:
    vllm = VLLM()
    plan, got, engine, server = asked(vllm)
    assert not engine.facts.visible
    assert engine.facts.system == "supported"
    assert engine.facts.empty_system_differs
    assert [r.token_ids for r in plan.requests] == [
        vllm.ids({"messages": r.messages}) for r in plan.requests
    ]
    assert len(got) == 4
    assert {r.prompt_tokens for r in got} == {len(r.token_ids or []) for r in plan.requests}
    assert all(body["return_token_ids"] is True for body in server.bodies)
    assert not any("not checked" in note for note in engine.info.notes)
    assert any("tells their tokens" in note for note in engine.info.notes)


def test_context_is_checked_before_the_run() -> None:
    vllm = VLLM(max_model_len=100)
    messages = [{"role": "system", "content": TEXT}, {"role": "user", "content": PROBES[0].prompt}]
    over = len(vllm.ids({"messages": messages})) + 3 - 100
    with Server(vllm.chat, vllm.pages) as server:
        engine = OpenAIEngine("m", server.url)
        with pytest.raises(LemError, match=f"is {over} more than the context of 100"):
            make_plan(engine, PROBES, CONDITIONS, Sampling(max_tokens=3))
        engine.close()
    assert all(body["max_tokens"] == 1 for body in server.bodies), "only the questions about it"


@pytest.mark.parametrize(
    ("system", "told"),
    [
        (lambda text: text, None),
        (lambda text: f"  {text.strip()}\n", None),
        (lambda text: text.replace("hurt", "HURT"), "0 times"),
        (lambda text: text[:40] if text == TEXT else text, "0 times"),
        (lambda text: text + text if text == TEXT else text, "2 times"),
    ],
)
def test_kernel_is_proven_by_the_ids(system: Callable[[str], str], told: str | None) -> None:
    vllm = VLLM(system=system)
    if told is None:
        assert len(asked(vllm)[1]) == 4
    else:
        assert told in error_of(lambda: asked(vllm)).cause


@pytest.mark.parametrize(
    ("system", "role"),
    [(lambda text: "", "ignored"), (lambda text: text * 2, "repeated")],
)
def test_system_role_is_found_out_by_the_ids(system: Callable[[str], str], role: str) -> None:
    plan, got, engine, _ = asked(VLLM(system=system))
    assert engine.facts.system == role
    assert plan.arms[1].placement == "user-prefix"
    assert len(got) == 4


def test_system_role_that_vllm_refuses() -> None:
    vllm = VLLM()

    def refusing(answer: Callable[[Body], Step]) -> Callable[[Body], Step]:
        def step(body: Body) -> Step:
            if any(m["role"] == "system" for m in body.get("messages", [])):
                return status(400, {"error": {"message": "System role not supported"}})
            return answer(body)

        return step

    vllm.pages["/tokenize"] = [refusing(vllm.tokenize)]
    vllm.chat = refusing(vllm.chat)  # type: ignore[method-assign]
    plan, got, engine, _ = asked(vllm)
    assert engine.facts.system == "refused"
    assert plan.arms[1].placement == "user-prefix"
    assert all(r.token_ids for r in plan.requests)
    assert len(got) == 4


def test_other_tokens_than_planned_are_refused() -> None:
    vllm, calls = VLLM(), 0

    def reads(ids: list[int]) -> list[int]:
        nonlocal calls
        calls += 1  # the first two are the questions about the server
        return ids if calls <= 2 else [*ids[:7], 0, *ids[8:]]

    vllm.reads = reads
    error = error_of(lambda: asked(vllm, concurrency=1))
    assert "other tokens as the prompt of Why? under 'baseline'" in error.cause
    assert "from the 8th on" in error.cause
    assert "3 of 4 requests failed" in error.consequence


def test_tokenize_that_knows_nothing_of_the_real_prompt_is_not_believed() -> None:
    """As for GPT-OSS, whose prompts vLLM writes by other means than its chat template."""
    plan, got, engine, _ = asked(VLLM(reads=lambda ids: [7, 7, *ids]))
    assert len(got) == 4
    assert all(r.token_ids is None for r in plan.requests)
    assert any("not checked" in note for note in engine.info.notes)


def test_vllm_without_a_tokenize_page() -> None:
    vllm = VLLM()
    del vllm.pages["/tokenize"]
    plan, got, engine, _ = asked(vllm)
    assert len(got) == 4
    assert all(r.token_ids is None for r in plan.requests)
    assert engine.facts.system == "supported", "by counting"


def test_old_vllm_that_returns_no_ids_is_believed_by_its_counts() -> None:
    vllm = VLLM()
    vllm.tells_ids = False
    plan, got, _, _ = asked(vllm)
    assert len(got) == 4
    assert all(r.token_ids for r in plan.requests)


def test_field_for_ids_that_is_not_taken_is_left_out() -> None:
    vllm = VLLM()
    inner = vllm.chat

    def chat(body: Body) -> Step:
        if "return_token_ids" in body:
            return status(400, {"error": {"message": "extra field 'return_token_ids' forbidden"}})
        return inner(body)

    vllm.chat = chat  # type: ignore[method-assign]
    _, got, engine, _ = asked(vllm)
    assert len(got) == 4
    assert any("return_token_ids" in note for note in engine.info.notes)


def test_nonsense_for_ids_is_no_ids() -> None:
    vllm = VLLM()
    vllm.pages["/tokenize"] = status(200, {"tokens": ["a", None]})
    assert "gave no tokens" in error_of(lambda: asked(vllm)).cause


@pytest.mark.parametrize(
    ("text", "prompt", "count"),
    [
        (range(20), [7, 7, *range(20), 7], 1),
        (range(20), [9, *range(4, 16), 9], 1),  # up to four at either end may be others
        (range(20), [9, *range(5, 16), 9], 0),
        (range(20), [*range(20), 7, *range(20)], 2),
        ([1, 2] * 10, [0, *[1, 2] * 10, 0], 1),
        ([5], [5, 5, 5], 1),
        ([5], [4], 0),
        ([1, 2, 3], [3, 2, 1], 1),
        ([], [1, 2], 0),
        (range(20), [], 0),
    ],
)
def test_occurrences(text: Any, prompt: list[int], count: int) -> None:
    assert occurrences(list(text), prompt) == count


# --- the switch for thinking ---------------------------------------------------------------------


def switched(variables: Body) -> str:
    return "<assistant>" + ("" if variables.get("enable_thinking", True) else "<think></think>")


def test_switch_for_thinking_reaches_every_prompt_of_vllm() -> None:
    plain, off = asked(VLLM(ending=switched)), asked(VLLM(ending=switched), thinking=False)
    told = {"enable_thinking": False, "thinking": False}
    assert all(body["chat_template_kwargs"] == told for body in off[3].bodies)
    assert not any("chat_template_kwargs" in body for body in plain[3].bodies)
    for one, other in zip(plain[0].requests, off[0].requests):
        assert other.token_ids == [*(one.token_ids or []), *b"<think></think>"]
    assert off[2].facts.thinking_switch
    assert off[2].info.fingerprint["chat_template_kwargs"] == told
    assert "chat_template_kwargs" not in plain[2].info.fingerprint


def test_switch_for_thinking_reaches_every_prompt_of_a_llama_server() -> None:
    pages = llama_pages(ending=switched)
    prompts = {}
    for thinking in (None, True, False):
        with Server(in_turn(says(prompt=0)), pages) as server:
            engine = OpenAIEngine("m", server.url, thinking=thinking)
            prompts[thinking] = engine.render([{"role": "user", "content": "x"}])
            assert engine.facts.thinking_switch
            plan = make_plan(engine, PROBES, CONDITIONS, Sampling(max_tokens=3))
            with pytest.raises(LemError, match="read 0 tokens"):
                list(engine.generate(plan.requests, Meter()))
            assert "chat_template_kwargs" not in engine.info.fingerprint, "the prompt tells it"
            engine.close()
        sent = {str(body.get("chat_template_kwargs")) for body in server.bodies}
        told = {"enable_thinking": thinking, "thinking": thinking}
        assert sent == {str(None if thinking is None else told)}
    assert prompts[None] == prompts[True] == "<user>x\n<assistant>"
    assert prompts[False] == "<user>x\n<assistant><think></think>"


@pytest.mark.parametrize("pages", [VLLM().pages, llama_pages()])
def test_template_without_the_switch(pages: dict[str, Any]) -> None:
    with Server(VLLM().chat, pages) as server:
        engine = OpenAIEngine("m", server.url, thinking=True)
        assert "no switch" in error_of(lambda: engine.facts).cause
        engine.close()


def test_server_that_is_not_known_to_have_the_switch() -> None:
    with Server() as server:
        error = error_of(lambda: OpenAIEngine("m", server.url, thinking=False))
    assert "switch for thinking" in error.cause
    assert not server.bodies


# --- reasoning left in the text ------------------------------------------------------------------

QWEN = "{{ m.content.split('</think>')[-1] }}"
HARMONY = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>"


def reply(text: str, finish: Any = "stop", reasoning: str | None = None) -> Reply:
    return Reply(text, reasoning, finish, 1, 0, 1, 0.0)


@pytest.mark.parametrize(
    ("text", "finish", "final", "reasoning", "ended", "errors"),
    [
        ("Yes.", "stop", "Yes.", None, "stop", 0),
        ("<think>\nHm.\n</think>\n\nYes.", "stop", "Yes.", "Hm.", "stop", 0),
        ("Hm.\n</think>\n\nYes.", "stop", "Yes.", "Hm.", "stop", 0),  # the prompt opened it
        ("Hm.\n</think>\n\nYes, bec", "length", "Yes, bec", "Hm.", "length", 0),
        ("<think>\nHm. Let me", "length", "", "Hm. Let me", "length", 0),
        ("<think>\nHm.", "stop", "", "Hm.", "length", 1),
        ("The tag <think> opens it.", "stop", "The tag <think> opens it.", None, "stop", 0),
        ("Write <think>x</think>.", "stop", "Write <think>x</think>.", None, "stop", 0),
        (HARMONY + "Yes.", "stop", "Yes.", "Hm.", "stop", 0),
        ("<|channel|>analysis<|message|>Hm. Let", "length", "", "Hm. Let", "length", 0),
        ("<think>x", "filtered", "<think>x", None, "filtered", 0),
    ],
)
def test_reasoning_in_the_text_of_a_server_of_which_nothing_is_known(
    text: str, finish: Any, final: str, reasoning: str | None, ended: str, errors: int
) -> None:
    changed, found = taken_apart(reply(text, finish), template=None, prompt="", unsplit=False)
    assert (changed.final, changed.reasoning, changed.finish_reason) == (final, reasoning, ended)
    assert found == errors


@pytest.mark.parametrize(
    ("came", "prompt", "unsplit", "final", "reasoning", "ended"),
    [
        (reply("Yes."), "<user>", False, "Yes.", None, "stop"),
        (reply("<think>Hm.</think>Yes."), "<user>", False, "Yes.", "Hm.", "stop"),
        (reply("Hm.</think>Yes."), "<think>\n", False, "Yes.", "Hm.", "stop"),
        # llama.cpp writes again what the prompt's end opened.
        (reply("<think>Hm.</think>Yes."), "<think>\n", False, "Yes.", "Hm.", "stop"),
        # The server has split it: the prompt's opening tag is not about what is left.
        (reply("Yes.", reasoning="Hm."), "<think>\n", False, "Yes.", "Hm.", "stop"),
        (reply("Yes."), "<think>\n", False, "Yes.", None, "stop"),
        # A server that splits nothing: the tag was never closed.
        (reply("Hm. Let", "length"), "<think>\n", True, "", "Hm. Let", "length"),
        (reply("Yes.", reasoning="Hm."), "<think>\n", True, "Yes.", "Hm.", "stop"),
    ],
)
def test_reasoning_in_the_text_of_a_server_with_a_known_template(
    came: Reply, prompt: str, unsplit: bool, final: str, reasoning: str | None, ended: str
) -> None:
    changed, errors = taken_apart(came, template=QWEN, prompt=prompt, unsplit=unsplit)
    assert (changed.final, changed.reasoning, changed.finish_reason) == (final, reasoning, ended)
    assert errors == 0


def test_tags_mean_nothing_to_a_template_that_has_none() -> None:
    came = reply("<think>Hm.</think>Yes.")
    assert taken_apart(came, template="{{ m }}", prompt="", unsplit=False) == (came, 0)


@pytest.mark.parametrize("splits", [True, False])
def test_vllm_whose_prompts_open_the_reasoning(splits: bool) -> None:
    """Started without a reasoning parser, it is told by one question; else half-finished
    reasoning would pass for an answer."""

    def text(_: Body) -> Body:
        return delta(reasoning="Hm. Let me") if splits else delta("Hm. Let me")

    vllm = VLLM(ending=lambda _: "<assistant><think>\n", text=text)
    _, got, engine, server = asked(vllm)
    assert engine.facts.reasoning_opened
    assert {(r.final, r.reasoning) for r in got} == {("", "Hm. Let me")}
    assert {r.finish_reason for r in got} == {"stop" if splits else "length"}
    assert sum(body["max_tokens"] == 16 for body in server.bodies) == 1


def test_answer_taken_apart_reaches_the_record() -> None:
    with Server(in_turn(says("<think>Hm.</think>Yes.<think>"))) as server:
        engine = OpenAIEngine("m", server.url)
        plan = make_plan(engine, PROBES[:1], CONDITIONS[:1], Sampling(max_tokens=3))
        (response,) = engine.generate(plan.requests, Meter())
        engine.close()
    assert response.reasoning == "Hm."
    assert response.format_errors > 0
