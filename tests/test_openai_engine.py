"""Servers: a real llama.cpp one over the built-in model, and ones that misbehave by script."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lem.conditions import all_conditions, choose
from lem.engines import EngineOptions, _openai_wire, resolve
from lem.engines._openai_fleet import Lane, Seat, Ticket, Work
from lem.engines._openai_server import Server as Facts
from lem.engines._openai_wire import Address, Tally, Wire
from lem.engines.base import Meter
from lem.engines.openai import OpenAIEngine
from lem.errors import LemError
from lem.kernels import load_kernel, one_line
from lem.probes import load_probes
from lem.records import Condition, Kernel, Probe, Request, Response, Sampling
from lem.runs.plan import make_plan
from lem.text import sha256
from servers import (
    Body,
    Server,
    Step,
    begin_stream,
    delta,
    in_turn,
    llama_pages,
    request,
    says,
    status,
    stream,
    usage,
)

KEY = "sk-never-shown-123"
PARTS = ("cause", "consequence", "fix")


@pytest.fixture(autouse=True)
def quick_and_keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts; a key that must never be seen."""
    monkeypatch.setattr(_openai_wire, "BACKOFF", 0.001)
    monkeypatch.setenv("LEM_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def answers(
    server: Server,
    requests: list[Request] | None = None,
    meter: Meter | None = None,
    **options: Any,
) -> list[Response]:
    engine = OpenAIEngine("m", server.url, **options)
    try:
        return list(engine.generate(requests or [request()], meter or Meter()))
    finally:
        engine.close()


def one(*steps: Step, meter: Meter | None = None) -> Response:
    """The answer to one request to a server that takes these steps."""
    with Server(in_turn(*steps)) as server:
        (response,) = answers(server, meter=meter)
    return response


def refuses(make: Callable[[], object]) -> LemError:
    """The error, which has all its parts and not the key."""
    with pytest.raises(LemError) as caught:
        make()
    error = caught.value
    assert all(getattr(error, part) for part in PARTS)
    assert KEY not in str(error) + repr(error)
    return error


# --- a real llama.cpp server ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Path:
    from lem.engines.builtin import built_in_model

    return built_in_model()


@pytest.fixture(scope="module")
def llama_url(model: Path) -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_parallel, params.n_ctx = 2, 2 * 4096
    # One thread: two that wait for each other crawl when the machine is busy.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity, params.warmup, params.cache_ram_mib = 0, False, 0
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


def test_llama_server_has_the_same_prompts_as_the_model_in_process(
    llama_url: str, model: Path
) -> None:
    from lem.engines.llamacpp import LlamaEngine

    kernels = [load_kernel("json", "lek-1.json"), load_kernel("txt", "lek-1.txt")]
    conditions = choose(all_conditions(kernels), None, controls=False)
    probes, sampling = load_probes("P20"), Sampling(max_tokens=1024)
    served = OpenAIEngine("any name", llama_url)
    local = LlamaEngine(model, "local")
    try:
        ours = make_plan(served, probes, conditions, sampling)
        theirs = make_plan(local, probes, conditions, sampling)
        unseen = {"dated": None}
        assert served.facts.model_dump() == local.facts.model_dump() | unseen
    finally:
        served.close()
        local.close()
    assert len(ours.requests) == len(probes) * 3 == 63
    assert [r.prompt for r in ours.requests] == [r.prompt for r in theirs.requests]
    assert [r.token_ids for r in ours.requests] == [r.token_ids for r in theirs.requests]
    assert served.info.context_length == 4096
    assert served.concurrency == 2
    assert served.info.engine_version.startswith("llama.cpp ")
    assert served.info.fingerprint["template_sha256"] == local.template.sha256
    assert "127.0.0.1" not in served.info.model_dump_json()


def test_llama_server_answers(llama_url: str) -> None:
    text = "You are a careful assistant. Answer each question in one short sentence, and be exact."
    kernel = Kernel(name="k", text=text, sha256=sha256(text), source="test")
    conditions = [
        Condition(name="baseline", role="baseline"),
        Condition(name="k", kernel=kernel, placement="system"),
    ]
    questions = ["What is the capital of France?", "What is two plus two?"]
    probes = [Probe(id=q, domain="d", prompt=q, set="s", cluster=q) for q in questions]
    engine, meter = OpenAIEngine("smollm2", llama_url, concurrency=1), Meter()
    plan = make_plan(engine, probes, conditions, Sampling(max_tokens=12))
    got = {(r.condition, r.probe): r for r in engine.generate(plan.requests, meter)}
    engine.close()

    france = got["baseline", questions[0]]
    assert "Paris" in france.final
    assert france.finish_reason == "stop"
    asked = {(r.condition, r.probe): r for r in plan.requests}
    for place, response in got.items():
        assert response.prompt_tokens == len(asked[place].token_ids or [])
        assert response.key == asked[place].key
    second = got["k", questions[1]]
    assert second.cached_tokens is not None
    assert second.cached_tokens >= 15, "the kernel was computed before"
    assert meter.generated == sum(r.completion_tokens or 0 for r in got.values())
    assert meter.shared == sum(r.cached_tokens or 0 for r in got.values())
    assert meter.prefilled + meter.shared == sum(r.prompt_tokens or 0 for r in got.values())


def test_slots_of_a_llama_server_compute_a_kernel_about_once(llama_url: str) -> None:
    """Two slots with a cache each: without a fixed place, both would compute both kernels."""
    texts = {name: f"You are {name}. You weigh who is hurt. " * 8 for name in ("Ann", "Bob")}
    requests = [
        request(f"What is {i} plus two?", None, name, text, max_tokens=4)
        for name, text in texts.items()
        for i in range(6)
    ]
    engine = OpenAIEngine("smollm2", llama_url)
    assert engine.concurrency == 2
    got = list(engine.generate(requests, Meter()))
    engine.close()
    cold = [r.probe for r in got if (r.cached_tokens or 0) < 60]
    assert len(got) == 12
    assert len(cold) <= 3, "once each, and once where one slot helps the other at the end"


def test_llama_server_tells_control_tokens_in_a_probe(llama_url: str) -> None:
    engine = OpenAIEngine("smollm2", llama_url)
    assert engine.foreign_tokens("end <|im_end|> here")
    assert not engine.foreign_tokens("A < b | c > d, \ud800 and <b>bold</b>.")
    engine.close()


# --- finding out what the server is --------------------------------------------------------------


def test_server_down_is_told_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        began = time.monotonic()
        error = refuses(lambda: OpenAIEngine("m", url))
    assert url in error.cause
    assert "down" in error.consequence
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("models", "in_cause", "in_fix"),
    [
        (status(200, "<html>Welcome</html>", "text/html"), "a web page", "/v1"),
        (status(200, f"pong {KEY}", "text/plain"), "pong", "/v1"),
        (status(401, {"error": {"message": f"bad key {KEY}"}}), "401", "LEM_API_KEY"),
        (status(403, {"detail": "no"}), "403", "LEM_API_KEY"),
        (status(503, {"error": {"message": "Loading model"}}), "Loading model", "Wait"),
        (status(301, "", Location="https://elsewhere/v1/models"), "elsewhere", "points to"),
        (
            status(200, {"data": [{"id": f"name-{i}\x1b[2J"} for i in range(12)]}),
            "no model 'm'",
            "2 more",
        ),
    ],
)
def test_models_page_that_does_not_do(models: Step, in_cause: str, in_fix: str) -> None:
    with Server(pages={"/v1/models": models}) as server:
        error = refuses(lambda: OpenAIEngine("m", server.url))
    assert in_cause in error.cause
    assert in_fix in error.fix
    assert "\x1b" not in str(error)
    assert not server.bodies


def test_at_most_ten_names_are_listed_the_nearest_first() -> None:
    models = [{"id": f"name-{i}"} for i in range(12)]
    with Server(pages={"/v1/models": status(200, {"data": models})}) as server:
        error = refuses(lambda: OpenAIEngine("name-11x", server.url))
    assert error.fix.startswith("It has: name-11,")
    assert error.fix.count("name-") == 10


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://h/v1", "http://", "http://h/v1?x=1", "http://u:pw@[/v1"]
)
def test_bad_addresses(url: str) -> None:
    error = refuses(lambda: OpenAIEngine("m", url))
    assert "--base-url" in error.cause
    assert "pw" not in str(error)


def test_server_without_a_models_page_is_used_as_unknown() -> None:
    with Server(pages={"/v1/models": status(404, {})}) as server:
        engine = OpenAIEngine("whatever", server.url + "///")
        (response,) = engine.generate([request()], Meter())
        engine.close()
    assert response.final == "Yes."
    assert engine.info.fingerprint["base_url"] == server.url
    assert engine.concurrency == 8
    assert engine.info.context_length is None
    assert server.paths[-1] == "/v1/chat/completions"


def test_login_in_the_address_is_not_kept() -> None:
    with Server() as server:
        url = server.url.replace("//", "//someone:hunter2@")
        engine = OpenAIEngine("m", url)
        engine.close()
    assert "hunter2" not in engine.info.model_dump_json()
    assert "hunter2" not in str(refuses(lambda: OpenAIEngine("m", url)))


def test_key_is_sent_and_the_first_variable_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    with Server() as server:
        engine = OpenAIEngine("m", server.url)
        assert list(engine.generate([request()], Meter()))
        assert KEY not in engine.info.model_dump_json() + repr(vars(engine))
        engine.close()
        assert {h["Authorization"] for h in server.headers} == {f"Bearer {KEY}"}
        monkeypatch.delenv("LEM_API_KEY")
        OpenAIEngine("m", server.url).close()
        assert server.headers[-1]["Authorization"] == "Bearer sk-other"
        monkeypatch.delenv("OPENAI_API_KEY")
        OpenAIEngine("m", server.url).close()
        assert "Authorization" not in server.headers[-1]


def test_proxy_for_the_world_outside_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        assert answers(server)


def test_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEM_API_KEY", f"{KEY}\nX: y")
    error = refuses(lambda: OpenAIEngine("m", "http://127.0.0.1:9/v1"))
    assert "LEM_API_KEY" in error.fix


# --- what is sent --------------------------------------------------------------------------------

COMMON = {
    "model": "m",
    "messages": [{"role": "user", "content": "Well?"}],
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 5,
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def sent(pages: dict[str, Any]) -> tuple[Body, OpenAIEngine]:
    with Server(pages=pages) as server:
        engine = OpenAIEngine("m", server.url)
        list(engine.generate([request(temperature=0.5, top_p=0.9)], Meter()))
        engine.close()
    return server.bodies[0], engine


def test_every_sampling_field_is_sent_and_no_unknown_one() -> None:
    body, engine = sent({})
    assert body == COMMON
    assert engine.info.engine_version == "unknown"


def test_vllm_gets_its_own_fields() -> None:
    model = {"id": "m", "owned_by": "vllm", "root": "org/m", "max_model_len": 4096, "created": 1}
    pages = {
        "/v1/models": status(200, {"data": [model]}),
        "/version": status(200, {"version": "0.11.0"}),
    }
    body, engine = sent(pages)
    own = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "return_token_ids": True}
    assert body == COMMON | own
    assert engine.info.engine_version == "vLLM 0.11.0"
    assert engine.info.context_length == 4096
    assert engine.info.fingerprint == {"server": "vLLM", "name": "m", "root": "org/m"}


def test_llama_server_gets_its_own_fields() -> None:
    body, engine = sent(llama_pages())
    assert body["samplers"] == ["temperature", "top_p"]
    assert body["cache_prompt"] is True
    assert {k: body[k] for k in COMMON} == COMMON
    assert engine.concurrency == 3
    assert engine.info.context_length == 512
    assert engine.info.engine_version == "llama.cpp b1-test"
    assert engine.info.fingerprint == {
        "server": "llama.cpp",
        "name": "m",
        "file": "model.gguf",
        "template_sha256": sha256("{{ messages }}"),
        "n_params": 7,
    }


def test_field_that_a_server_does_not_take_is_left_out_and_noted() -> None:
    def chat(body: Body) -> Step:
        for name in ("stream_options", "seed"):
            if name in body:
                return status(400, {"error": {"message": f"Unsupported parameter: '{name}'"}})
        return says()

    with Server(chat) as server:
        engine = OpenAIEngine("m", server.url, concurrency=1)
        meter = Meter()
        got = list(engine.generate([request("a"), request("b")], meter))
        engine.close()
    assert [r.final for r in got] == ["Yes.", "Yes."]
    assert len(server.bodies) == 4
    assert meter.retries == 0
    notes = [n for n in engine.info.notes if "left out" in n]
    assert len(notes) == 2
    assert "stream_options" in notes[0]
    assert "seed" in notes[1]


def test_refusal_that_only_contains_a_field_name_in_a_word() -> None:
    with Server(in_turn(status(400, {"error": "unseeded request"}))) as server:
        refuses(lambda: answers(server))
    assert len(server.bodies) == 1


# --- template facts ------------------------------------------------------------------------------


def counting(system: Callable[[str], int | None]) -> Callable[[Body], Step]:
    """A server that counts words, and system messages as it likes (None: refuses them)."""

    def chat(body: Body) -> Step:
        total = 5
        for message in body["messages"]:
            words = len(message["content"].split())
            if message["role"] == "system":
                counted = system(message["content"])
                if counted is None:
                    return status(400, {"error": {"message": "System role not supported"}})
                words = counted
            total += words
        return stream(delta("x", "length"), usage(total, 1))

    return chat


@pytest.mark.parametrize(
    ("system", "role", "empty_differs"),
    [
        (lambda text: 3 + len(text.split()), "supported", True),
        (lambda text: len(text.split()), "supported", False),
        (lambda text: 0, "ignored", False),
        (lambda text: None, "refused", False),
        (lambda text: 3 + len(text.split()) if text else None, "supported", False),
    ],
)
def test_system_role_is_found_out_by_counting(
    system: Callable[[str], int | None], role: str, empty_differs: bool
) -> None:
    with Server(counting(system)) as server:
        engine = OpenAIEngine("m", server.url)
        facts = engine.facts
        engine.close()
    assert not facts.visible
    assert (facts.system, facts.empty_system_differs) == (role, empty_differs)
    assert all(body["max_tokens"] == 1 for body in server.bodies)
    assert engine.tokenize("x") is None
    assert not engine.foreign_tokens("<|im_end|>")


def test_system_role_is_unknown_without_usage() -> None:
    with Server(in_turn(stream(delta("x", "length")))) as server:
        engine = OpenAIEngine("m", server.url)
        assert engine.facts.system == "unknown"
        engine.close()


def test_kernel_goes_to_the_user_turn_where_the_system_message_is_ignored() -> None:
    kernel = one_line()
    conditions = [
        Condition(name="baseline", role="baseline"),
        Condition(name="k", kernel=kernel, placement="system"),
    ]
    probe = Probe(id="p", domain="d", prompt="Well?", set="s", cluster="p")
    with Server(counting(lambda text: 0)) as server:
        engine = OpenAIEngine("m", server.url)
        plan = make_plan(engine, [probe], conditions, Sampling(max_tokens=3))
        got = list(engine.generate(plan.requests, Meter()))
        engine.close()
    assert plan.arms[1].placement == "user-prefix"
    assert plan.requests[1].messages == [{"role": "user", "content": f"{kernel.text}\n\nWell?"}]
    assert len(got) == 2


def test_template_of_a_llama_server_that_refuses_the_system_role() -> None:
    with Server(pages=llama_pages(template_refuses=["system"])) as server:
        engine = OpenAIEngine("any", server.url)
        assert engine.facts.visible
        assert engine.facts.system == "refused"
        assert engine.foreign_tokens("a<|end|>")
        assert not engine.foreign_tokens("a<b>")
        engine.close()


def test_llama_server_with_several_models_must_have_the_one_named() -> None:
    models = [{"id": i, "owned_by": "llamacpp"} for i in ("a", "b")]
    with Server(pages=llama_pages() | {"/v1/models": status(200, {"data": models})}) as server:
        assert "a, b" in refuses(lambda: OpenAIEngine("c", server.url)).fix
        OpenAIEngine("b", server.url).close()


def test_old_llama_server_that_does_not_render_is_used_by_counting() -> None:
    pages = llama_pages()
    del pages["/apply-template"]
    with Server(counting(lambda text: len(text.split())), pages) as server:
        engine = OpenAIEngine("m", server.url)
        assert not engine.facts.visible
        assert engine.facts.system == "supported"
        assert server.bodies[0]["samplers"] == ["temperature", "top_p"]
        engine.close()


def test_prompt_of_other_tokens_than_planned_is_refused() -> None:
    with Server(in_turn(says(prompt=8)), llama_pages()) as server:
        error = refuses(lambda: answers(server, [request("Well?", [1, 2, 3, 4, 5, 6, 7])]))
        assert answers(server, [request("Well?", [1, 2, 3, 4, 5, 6, 7, 8])])
    assert "8 tokens" in error.cause
    assert "give 7" in error.cause


# --- answers -------------------------------------------------------------------------------------


def test_answer_with_all_counts() -> None:
    meter = Meter()
    response = one(
        stream(
            b": a comment\n\nevent: message\n",
            delta("", role="assistant"),
            delta(" One"),
            delta(" two. \n"),
            delta(finish="end_turn"),
            usage(100, 5, prompt_tokens_details={"cached_tokens": 60}),
        ),
        meter=meter,
    )
    assert response.final == "One two."
    assert response.reasoning is None
    assert response.finish_reason == "stop"
    assert (response.prompt_tokens, response.cached_tokens) == (100, 60)
    assert response.completion_tokens == 5
    assert (meter.prefilled, meter.shared, meter.generated, meter.retries) == (40, 60, 5, 0)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "filtered"),
    ],
)
def test_finish_reasons(told: str, kept: str) -> None:
    assert one(stream(delta("x"), delta(finish=told))).finish_reason == kept


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart(field: str) -> None:
    thought = stream(delta(**{field: "Let me "}), delta(**{field: "think."}), delta("Yes.", "stop"))
    response = one(thought)
    assert (response.final, response.reasoning) == ("Yes.", "Let me think.")


def test_usage_missing() -> None:
    meter = Meter()
    response = one(stream(delta("a"), delta("b", "stop")), meter=meter)
    assert response.final == "ab"
    assert response.prompt_tokens is response.completion_tokens is response.cached_tokens is None
    assert (meter.generated, meter.prefilled) == (2, 0)


def test_cached_tokens_from_llama_timings() -> None:
    counts = usage(10, 1) | {"timings": {"cache_n": 4}}
    assert one(stream(delta("a", "stop"), counts)).cached_tokens == 4


def test_strange_text_is_kept_and_crashes_nothing() -> None:
    response = one(
        stream(
            b'data: {"choices":[{"delta":{"content":"\\u001b[31mred\\u001b[0m \xff\xfe "}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"\xe2\x80\xa8line"}}]}\r\n\r\n',
            b'data: {"choices":[{"delta":{"content":" \\ud83d"}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"\\ude00 \\ud800!"}}]}\n\n',
            delta(finish="stop"),
        )
    )
    assert response.final == "\x1b[31mred\x1b[0m \ufffd\ufffd \u2028line \U0001f600 \ufffd!"
    assert json.loads(response.model_dump_json())["final"] == response.final


def test_lines_do_not_depend_on_how_the_stream_was_cut() -> None:
    raw = "data: é\u2028\x85\r\n\ndata: [DONE]".encode()
    whole = ["data: é\u2028\x85".encode(), b"", b"data: [DONE]"]
    for size in range(1, len(raw) + 1):
        chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
        assert list(_openai_wire._lines(chunks)) == whole


def test_lone_surrogate_in_a_prompt_is_sent_as_a_question_mark() -> None:
    with Server() as server:
        answers(server, [request("a\ud800b")])
    assert server.bodies[0]["messages"][0]["content"] == "a?b"


def test_end_without_goodbye_after_a_finish_reason_is_an_answer() -> None:
    meter = Meter()
    assert one(stream(delta("x", "stop"), done=False, cut=True), meter=meter).final == "x"
    assert meter.retries == 0


# --- failures ------------------------------------------------------------------------------------

BROKEN = stream(delta("half"), done=False, cut=True)


def test_retry_after_is_honoured() -> None:
    meter, began = Meter(), time.monotonic()
    response = one(status(429, {"error": "slow"}, Retry_After="0.3"), says(), meter=meter)
    assert response.final == "Yes."
    assert meter.retries == 1
    assert 0.3 <= time.monotonic() - began < 2


def test_retry_after_reads_dates_and_is_capped() -> None:
    read = _openai_wire._retry_after
    assert read("9999") == read("Fri, 01 Jan 2100 00:00:00 GMT") == 60
    assert read("Fri, 01 Jan 2010 00:00:00 GMT") == read("-3") == 0
    assert read("soon") is read("nan") is read(None) is None


def test_silence_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openai_wire, "TIMEOUT", httpx.Timeout(0.1))
    over = threading.Event()
    meter = Meter()

    def silence(_: object) -> None:
        over.wait(5)

    assert one(silence, says(), meter=meter).final == "Yes."
    assert meter.retries == 1
    assert "did not answer in time" in refuses(lambda: one(silence)).cause
    over.set()


@pytest.mark.parametrize(
    "trouble",
    [
        status(500, {"error": "x"}),
        status(408, ""),
        status(503, "<html>busy</html>", "text/html"),
        BROKEN,
        stream(delta("half"), done=False),
        stream(done=False),
        stream({"error": {"code": 500, "message": "out of memory"}}, done=False),
    ],
)
def test_passing_trouble_is_tried_again(trouble: Step) -> None:
    meter = Meter()
    response = one(trouble, trouble, trouble, says("Whole."), meter=meter)
    assert response.final == "Whole."
    assert meter.retries == 3
    assert meter.generated == 2, "what failed attempts had generated is not counted"


@pytest.mark.parametrize(
    ("trouble", "attempts", "told"),
    [
        (status(500, {"error": {"message": f"boom {KEY}\x1b[2J"}}), 5, "500: boom"),
        (BROKEN, 5, "dropped the connection"),
        (stream(delta("half"), done=False), 5, "broke an answer off"),
        (stream({"error": {"message": f"gone {KEY}"}}), 5, "gone"),
        (stream({"error": {"code": 400, "message": f"too long {KEY}"}}), 1, "too long"),
        (stream(delta("x")), 2, "without a finish reason"),
        (stream(b"data: {not json %b\n\n" % KEY.encode()), 2, "not a JSON object"),
        (stream(b"data: [1]\n\n"), 2, "not a JSON object"),
        (stream(delta(), b"data: %b\n\n" % (b"[" * 100_000)), 2, "not a JSON object"),
        (stream({"choices": [{"delta": {"content": 7}}]}), 2, "not a text"),
        (status(200, f"<html>{KEY}</html>", "text/html"), 2, "web page"),
        (status(200, {"choices": [], "k": KEY}), 2, "application/json"),
        (status(200, "OK", "text/plain"), 2, "not a stream of events"),
        (stream(delta("x", f"because {KEY}")), 1, "because"),
        (status(400, {"error": {"message": f"bad {KEY} {'x' * 500}"}}), 1, "400: bad"),
        (status(401, {"error": f"wrong key {KEY}"}), 1, "does not accept the key"),
        (status(403, {"message": KEY}), 1, "403"),
        (status(404, {"detail": f"no {KEY}"}), 1, "404"),
        (status(422, {"detail": [{"msg": KEY}]}), 1, "422"),
    ],
)
def test_lasting_trouble_is_told(trouble: Step, attempts: int, told: str) -> None:
    meter = Meter()
    with Server(in_turn(trouble)) as server:
        error = refuses(lambda: answers(server, meter=meter))
    assert told in error.cause
    assert "1 of 1 requests failed" in error.consequence
    assert "the same command again" in error.fix
    assert "\x1b" not in str(error)
    assert len(error.cause) < 400
    assert len(server.bodies) == attempts
    assert meter.retries == attempts - 1
    assert meter.generated == 0


def test_one_failure_does_not_stop_the_others() -> None:
    def chat(body: Body) -> Step:
        bad = body["messages"][0]["content"] in ("1", "3", "4", "6")
        return status(400, {"error": "cannot"}) if bad else says()

    with Server(chat) as server:
        engine = OpenAIEngine("m", server.url, concurrency=1)
        got: list[str] = []
        round_ = engine.generate([request(str(i)) for i in range(8)], Meter())
        error = refuses(lambda: got.extend(r.probe for r in round_))
        engine.close()
    assert got == ["0", "2", "5", "7"]
    assert "4 of 8 requests failed" in error.consequence
    assert "not sent" not in error.consequence


def test_three_failures_in_a_row_stop_the_sending() -> None:
    def chat(body: Body) -> Step:
        return says() if body["messages"][0]["content"] < "2" else status(400, {"error": "cannot"})

    with Server(chat) as server:
        engine = OpenAIEngine("m", server.url, concurrency=1)
        got: list[str] = []
        round_ = engine.generate([request(str(i)) for i in range(9)], Meter())
        error = refuses(lambda: got.extend(r.probe for r in round_))
        engine.close()
    assert got == ["0", "1"]
    assert len(server.bodies) == 5
    assert "3 of 9 requests failed, and 4 were not sent" in error.consequence


def lane(kind: Any = "unknown", seats: int = 9) -> Lane:
    """A server that is never asked."""
    address = Address("http://127.0.0.1:9/v1")
    return Lane(Wire(address), Facts(kind, "", {}), seats)


def take(work: Work, seat: Seat) -> Ticket:
    ticket = work.next(seat)
    assert isinstance(ticket, Ticket)
    return ticket


def test_giving_up_is_for_good() -> None:
    one_lane = lane()
    work = Work([request(str(i)) for i in range(9)], [one_lane], Tally(Meter()))
    seat, failure = Seat(one_lane), LemError("a", "b", "c")
    late = take(work, seat)
    for _ in range(3):
        work.failed(one_lane, take(work, seat), failure)
    assert work.next(seat) is None
    answer = one(says())
    work.succeeded(one_lane, late, answer)
    assert work.next(seat) is None
    assert work.done.get() == answer


def test_engine_is_made_from_the_command_line() -> None:
    with Server() as server:
        engine = resolve("openai:m", EngineOptions(base_urls=(server.url,), parallel=3))
        assert isinstance(engine, OpenAIEngine)
        assert engine.concurrency == 3
        assert list(engine.generate([], Meter())) == []
        engine.close()
        engine.close()


def test_server_that_goes_away_between_plan_and_answers() -> None:
    with Server() as server:
        engine = OpenAIEngine("m", server.url)
    error = refuses(lambda: list(engine.generate([request()], Meter())))
    engine.close()
    assert "cannot be reached" in error.cause


# --- requests in flight --------------------------------------------------------------------------


def test_requests_are_in_flight_together_and_never_more_than_allowed() -> None:
    lock, together = threading.Lock(), threading.Event()
    now = most = 0

    def chat(body: Body) -> Step:
        def step(handler: Any) -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
                if now == 2:
                    together.set()
            assert together.wait(5), "the second request never came while the first was open"
            time.sleep(0.01)
            with lock:
                now -= 1
            says()(handler)

        return step

    with Server(chat) as server:
        got = answers(server, [request(str(i)) for i in range(9)], concurrency=2)
    assert {r.probe for r in got} == {str(i) for i in range(9)}
    assert most == 2


def hanging(gone: threading.Event, first_byte: bool) -> Callable[[Body], Step]:
    """Answers the question "quick"; everything else hangs, and notes when the client leaves."""

    def step(handler: Any) -> None:
        if first_byte:
            begin_stream(handler)
            handler.wfile.write(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
        handler.connection.settimeout(5)
        if handler.rfile.read(1) == b"":
            gone.set()

    return lambda body: says() if body["messages"][0]["content"] == "quick" else step


def threads_at_work() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("lem-openai")]


@pytest.mark.parametrize("first_byte", [True, False])
def test_closing_early_ends_the_requests_in_flight(first_byte: bool) -> None:
    server, gone = Server(), threading.Event()
    server.chat = hanging(gone, first_byte)
    with server:
        engine = OpenAIEngine("m", server.url, concurrency=2)
        round_ = engine.generate([request(q) for q in ("quick", "a", "b", "c")], Meter())
        assert next(round_).final == "Yes."
        while len(server.bodies) < 3:
            time.sleep(0.001)
        began = time.monotonic()
        round_.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 1
        assert gone.wait(2), "the server's side of the request is over too"
        assert threads_at_work() == []
        assert len(server.bodies) == 3
        server.chat = in_turn(says())
        assert len(list(engine.generate([request()], Meter()))) == 1, "it can be used again"
        engine.close()


def test_closing_early_does_not_wait_for_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openai_wire, "BACKOFF", 30.0)

    def chat(body: Body) -> Step:
        return says() if body["messages"][0]["content"] == "quick" else status(503, "")

    with Server(chat) as server:
        engine, meter = OpenAIEngine("m", server.url, concurrency=2), Meter()
        round_ = engine.generate([request("quick"), request("a")], meter)
        next(round_)
        while not meter.retries:
            time.sleep(0.001)
        began = time.monotonic()
        round_.close()  # type: ignore[attr-defined]
        engine.close()
    assert time.monotonic() - began < 1
    assert threads_at_work() == []


def test_interrupt_from_the_keyboard_is_answered_fast() -> None:
    server, gone = Server(), threading.Event()
    server.chat = hanging(gone, first_byte=True)
    with server:
        engine = OpenAIEngine("m", server.url, concurrency=2)
        round_ = engine.generate([request("a"), request("b")], Meter())
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            next(round_)
        assert time.monotonic() - began < 2
        assert gone.wait(2)
        assert threads_at_work() == []
        engine.close()
