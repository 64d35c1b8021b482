"""Several servers that share a run, the order of requests, and servers that fail half-way."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lem.engines import _openai_wire
from lem.engines._openai_fleet import Lane, Seat, Ticket, Work
from lem.engines._openai_server import Server as Facts
from lem.engines._openai_wire import Address, Tally, Wire
from lem.engines.base import Meter
from lem.engines.openai import OpenAIEngine
from lem.errors import LemError
from lem.records import Request, Response, request_key
from servers import (
    VLLM,
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
)

KERNEL = "Weigh who is hurt, who gains, and what cannot be undone. " * 12


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openai_wire, "BACKOFF", 0.001)


def many(count: int, condition: str = "baseline", system: str | None = None) -> list[Request]:
    return [request(f"{condition}{i}", condition=condition, system=system) for i in range(count)]


def question(body: Body) -> str:
    return str(body["messages"][-1]["content"])


def answered(
    servers: list[Server], requests: list[Request], meter: Meter | None = None, **options: Any
) -> tuple[list[Response], OpenAIEngine]:
    engine = OpenAIEngine("m", [server.url for server in servers], **options)
    try:
        return list(engine.generate(requests, meter or Meter())), engine
    finally:
        engine.close()


# --- several servers as one ----------------------------------------------------------------------


@pytest.mark.parametrize("pages", [llama_pages(), VLLM().pages])
def test_fleet_has_the_keys_of_one_server(pages: dict[str, Any]) -> None:
    with Server(pages=pages) as one, Server(pages=pages) as other:
        alone, fleet = OpenAIEngine("m", one.url), OpenAIEngine("m", [other.url, one.url])
        keys = [request_key(e.info, "x", None, request().sampling, 0, 0) for e in (alone, fleet)]
        alone.close()
        fleet.close()
    assert keys[0] == keys[1]
    assert fleet.concurrency == 2 * alone.concurrency
    assert "2 servers shared the work." in fleet.info.notes
    assert "127.0.0.1" not in fleet.info.model_dump_json()


def test_first_address_stands_for_unknown_servers() -> None:
    with Server() as one, Server() as other:
        alone, fleet = OpenAIEngine("m", one.url), OpenAIEngine("m", [one.url, other.url])
        alone.close()
        fleet.close()
    assert fleet.info.fingerprint == alone.info.fingerprint
    assert fleet.info.fingerprint["base_url"] == one.url
    assert any("same weights" in note for note in fleet.info.notes)


def test_one_server_named_twice_is_one_server() -> None:
    with Server() as server:
        engine = OpenAIEngine("m", [server.url, server.url + "/"])
        engine.close()
    assert engine.concurrency == 8


def vllm_version(version: str) -> dict[str, Any]:
    vllm = VLLM()
    vllm.version = version
    return vllm.pages


@pytest.mark.parametrize(
    ("pages", "other", "told"),
    [
        (llama_pages(), VLLM().pages, "kind: 'llama.cpp' and 'vLLM'"),
        (llama_pages(), llama_pages(build_info="b2"), "version: 'b1-test' and 'b2'"),
        (llama_pages(), llama_pages(model_path="/x/y.gguf"), "(file): 'model.gguf' and 'y.gguf'"),
        (llama_pages(), llama_pages(template="{{ x }}"), "fingerprint (template sha256)"),
        (llama_pages(), llama_pages(default_generation_settings={"n_ctx": 99}), "context length"),
        (VLLM().pages, VLLM(root="org/n").pages, "(root): 'org/m' and 'org/n'"),
        (VLLM().pages, vllm_version("0.9.0"), "version: '0.11.0' and '0.9.0'"),
        (VLLM().pages, VLLM(max_model_len=99).pages, "context length: 4096 and 99"),
    ],
)
def test_servers_must_be_the_same(pages: Any, other: Any, told: str) -> None:
    servers = Server(pages=pages), Server(pages=pages), Server(pages=other)
    one, two, three = servers
    with one, two, three, pytest.raises(LemError) as e:
        OpenAIEngine("m", [server.url for server in servers])
    assert told in e.value.cause
    assert one.url in e.value.cause
    assert three.url in e.value.cause
    assert two.url not in e.value.cause
    assert e.value.consequence and e.value.fix


def test_server_that_is_not_there_at_the_start_is_named() -> None:
    with Server() as gone:
        pass
    with Server() as server, pytest.raises(LemError, match="No answer from") as e:
        OpenAIEngine("m", [server.url, gone.url])
    assert gone.url in e.value.cause
    assert "leave this server out" in e.value.fix


def test_work_is_shared_and_no_server_gets_more_than_its_own_number() -> None:
    lock = threading.Lock()
    now, most = {"a": 0, "b": 0}, {"a": 0, "b": 0}

    def counted(name: str, pause: float) -> Callable[[Body], Step]:
        def step(handler: Any) -> None:
            with lock:
                now[name] += 1
                most[name] = max(most[name], now[name])
            time.sleep(pause)
            with lock:
                now[name] -= 1
            says()(handler)

        return lambda _: step

    with Server(counted("a", 0.01)) as a, Server(counted("b", 0.04)) as b:
        got, _ = answered([a, b], many(40), concurrency=2)
    assert sorted(r.probe for r in got) == sorted(r.probe for r in many(40))
    assert most == {"a": 2, "b": 2}
    assert len(a.bodies) > len(b.bodies) > 0
    assert len(a.bodies) + len(b.bodies) == 40


def test_few_requests_are_spread() -> None:
    barrier = threading.Barrier(2, timeout=5)

    def chat(_: Body) -> Step:
        barrier.wait()  # passed only if both servers have a request at a time
        return says()

    with Server(chat) as a, Server(chat) as b:
        assert len(answered([a, b], many(2))[0]) == 2
    assert (len(a.bodies), len(b.bodies)) == (1, 1)


def test_server_that_dies_while_prompts_are_made_is_asked_once() -> None:
    with Server(pages=llama_pages()) as first, Server(pages=llama_pages()) as second:
        engine = OpenAIEngine("m", [first.url, second.url])
        first.pages["/apply-template"] = status(503, "")
        asked = len(first.paths)
        for text in "abc":
            assert engine.render([{"role": "user", "content": text}]) == f"<user>{text}\n"
        engine.close()
    assert first.paths[asked:] == ["/apply-template"] * 5, "five attempts at the first prompt"


# --- warming -------------------------------------------------------------------------------------


class Gate:
    """A server whose answers wait: each begins, and each ends, when the test says so."""

    def __init__(self) -> None:
        self.first: dict[str, threading.Event] = {}
        self.end: dict[str, threading.Event] = {}
        self.came: list[str] = []

    def chat(self, body: Body) -> Step:
        name = question(body)
        begin = self.first.setdefault(name, threading.Event())
        end = self.end.setdefault(name, threading.Event())
        self.came.append(name)

        def step(handler: Any) -> None:
            begin_stream(handler)
            assert begin.wait(5)
            handler.wfile.write(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n')
            handler.wfile.flush()
            assert end.wait(5)
            handler.wfile.write(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n')
            handler.wfile.write(b"data: [DONE]\n\n")

        return step

    def begin(self, *names: str) -> None:
        for name in names:
            self.first[name].set()

    def finish(self, *names: str) -> None:
        for name in names:
            self.first[name].set()
            self.end[name].set()

    def wait_for(self, *names: str) -> None:
        """Until exactly these are there, and no more come."""
        until = time.monotonic() + 5
        while set(self.came) != set(names) and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(0.05)
        assert sorted(self.came) == sorted(names)


@pytest.fixture
def gated() -> Iterator[Callable[..., Gate]]:
    """Starts a round at one gated server; ends it with the test."""
    started: list[tuple[Server, OpenAIEngine, threading.Thread, list[Response]]] = []

    def start(requests: list[Request], concurrency: int) -> Gate:
        gate = Gate()
        server = Server(gate.chat).__enter__()
        engine, got = OpenAIEngine("m", server.url, concurrency=concurrency), []
        thread = threading.Thread(
            target=lambda: got.extend(engine.generate(requests, Meter())), daemon=True
        )
        thread.start()
        started.append((server, engine, thread, got))
        return gate

    yield start
    for server, engine, thread, got in started:
        thread.join(5)
        assert not thread.is_alive()
        assert got
        engine.close()
        server.__exit__()


def test_first_request_of_a_kernel_goes_alone_until_its_first_token(
    gated: Callable[..., Gate],
) -> None:
    gate = gated(many(3, "k", KERNEL), 8)
    gate.wait_for("k0")
    gate.begin("k0")
    gate.wait_for("k0", "k1", "k2")
    gate.finish("k0", "k1", "k2")


def test_without_a_kernel_nothing_is_waited_for(gated: Callable[..., Gate]) -> None:
    gate = gated(many(3), 8)
    gate.wait_for("baseline0", "baseline1", "baseline2")
    gate.finish(*gate.came)


def test_next_condition_is_warmed_while_the_last_answers_run(gated: Callable[..., Gate]) -> None:
    gate = gated(many(2, "a") + many(3, "b", KERNEL) + many(3, "c", KERNEL + "!"), 3)
    gate.wait_for("a0", "a1", "b0")
    gate.finish("a0")
    gate.wait_for("a0", "a1", "b0", "c0")  # two conditions at a time, one of them is being warmed
    gate.finish("a1")
    gate.wait_for("a0", "a1", "b0", "c0")
    gate.begin("b0")
    gate.wait_for("a0", "a1", "b0", "c0", "b1")
    gate.finish("b0", "b1")
    gate.wait_for("a0", "a1", "b0", "c0", "b1", "b2")  # c is cold still
    gate.begin("c0")
    gate.wait_for("a0", "a1", "b0", "c0", "b1", "b2", "c1")
    gate.finish("c0", "b2", "c1")
    gate.wait_for("a0", "a1", "b0", "c0", "b1", "b2", "c1", "c2")
    gate.finish("c2")


def test_each_server_is_warmed() -> None:
    """The first answers wait until both servers have one, which no second one may join."""
    lock, both = threading.Lock(), threading.Event()
    first: dict[str, int] = {"a": 0, "b": 0}

    def chat(name: str) -> Callable[[Body], Step]:
        def step(handler: Any) -> None:
            with lock:
                first[name] += not both.is_set()
                if all(first.values()):
                    both.set()
            assert both.wait(5)
            says()(handler)

        return lambda _: step

    with Server(chat("a")) as a, Server(chat("b")) as b:
        got, _ = answered([a, b], many(9, "k", KERNEL), concurrency=4)
    assert len(got) == 9
    assert first == {"a": 1, "b": 1}


def test_warming_that_fails_holds_nobody_up() -> None:
    def chat(body: Body) -> Step:
        return status(400, {"error": "no"}) if question(body) in ("k0", "k1") else says()

    with Server(chat) as server:
        engine, got = OpenAIEngine("m", server.url), []
        with pytest.raises(LemError, match="400") as e:
            for response in engine.generate(many(6, "k", KERNEL), Meter()):
                got.append(response.probe)
        engine.close()
    assert sorted(got) == ["k2", "k3", "k4", "k5"]
    assert "2 of 6 requests failed" in e.value.consequence


def test_slot_with_a_cache_of_its_own_stays_with_a_condition() -> None:
    """llama.cpp: each slot computes a kernel anew, so no two take turns with the same one."""
    lane = Lane(Wire(Address("http://127.0.0.1:9/v1")), Facts("llama.cpp", "", {}), 2)
    work = Work(many(5, "a", KERNEL) + many(5, "b", KERNEL), [lane], Tally(Meter()))
    one, two = Seat(lane), Seat(lane)
    order = []
    for seat in (one, two, one, two, one, one, one, two, one, one):  # the first is the faster
        ticket = work.next(seat)
        assert isinstance(ticket, Ticket)
        order.append((seat is one, ticket.request.probe))
    assert [name for mine, name in order if mine] == ["a0", "a1", "a2", "a3", "a4", "b3", "b4"]
    assert [name for mine, name in order if not mine] == ["b0", "b1", "b2"]


# --- servers that fail ---------------------------------------------------------------------------


def test_server_that_fails_for_good_leaves_its_work_to_the_other() -> None:
    dead = threading.Event()

    def dies(body: Body) -> Step:
        if len(first.bodies) > 3:
            dead.set()
            first.pages["/v1/models"] = status(503, "")
        return status(503, {"error": "gone"}) if dead.is_set() else says()

    meter = Meter()
    with Server(dies) as first, Server(lambda _: slow(0.01)) as second:
        got, engine = answered([first, second], many(60), meter, concurrency=2)
    assert sorted(r.probe for r in got) == sorted(r.probe for r in many(60))
    assert meter.retries >= 1
    assert "Server 1 of 2 was lost; the others did its work." in engine.info.notes
    assert len(second.bodies) >= 56


def slow(seconds: float) -> Step:
    def step(handler: Any) -> None:
        time.sleep(seconds)
        says()(handler)

    return step


def test_server_that_comes_back_works_again() -> None:
    def stumbles(body: Body) -> Step:
        return status(502, "") if len(first.bodies) in (2, 3) else slow(0.005)

    meter = Meter()
    with Server(stumbles) as first, Server(lambda _: slow(0.005)) as second:
        got, engine = answered([first, second], many(60), meter, concurrency=1)
    assert len({r.probe for r in got}) == len(got) == 60
    assert meter.retries == 2
    assert len(first.bodies) > 10
    assert not any("lost" in note for note in engine.info.notes)


def test_request_is_not_given_again_to_the_server_that_failed_on_it() -> None:
    """A server that answers questions about itself but no request must not use up the attempts
    of requests that another would answer."""
    with Server(in_turn(status(503, ""))) as broken, Server(lambda _: slow(0.02)) as good:
        got, _ = answered([broken, good], many(30), concurrency=3)
    assert len({r.probe for r in got}) == len(got) == 30
    asked = [question(body) for body in broken.bodies]
    assert len(asked) == len(set(asked)), "none of them twice"


def test_request_that_no_server_can_answer_fails_alone() -> None:
    def chat(body: Body) -> Step:
        return stream(delta("x"), cut=True, done=False) if question(body) == "baseline4" else says()

    with Server(chat) as a, Server(chat) as b:
        engine, got = OpenAIEngine("m", [a.url, b.url]), []
        with pytest.raises(LemError, match=r"dropped the connection.*5 attempts") as e:
            for response in engine.generate(many(20), Meter()):
                got.append(response.probe)
        engine.close()
    assert len(got) == 19
    assert "1 of 20 requests failed. " in e.value.consequence


def test_run_fails_when_no_server_is_left() -> None:
    def dies(server: list[Server]) -> Callable[[Body], Step]:
        def chat(_: Body) -> Step:
            if len(server[0].bodies) < 4:
                return says()
            server[0].pages["/v1/models"] = status(500, "")
            return status(503, "")

        return chat

    holds: list[list[Server]] = [[], []]
    with Server(dies(holds[0])) as a, Server(dies(holds[1])) as b:
        holds[0].append(a)
        holds[1].append(b)
        engine, got = OpenAIEngine("m", [a.url, b.url], concurrency=1), []
        with pytest.raises(LemError, match="it has not come back") as e:
            for response in engine.generate(many(20), Meter()):
                got.append(response.probe)
        engine.close()
    assert len(got) == len(set(got)) == 6
    # The request that the first fell down on may have been the second's last, too.
    told = r"(1 of 20 requests failed, and 13|2 of 20 requests failed, and 12) were not sent bec"
    assert re.search(told, e.value.consequence)
    assert "same command again" in e.value.fix


def test_server_that_comes_back_as_another_is_not_used() -> None:
    def restarts(body: Body) -> Step:
        if len(server.bodies) == 3:
            server.pages |= llama_pages(model_path="/other.gguf")
            return status(503, "")
        return says()

    with Server(restarts, llama_pages()) as server:
        engine, got = OpenAIEngine("m", server.url, concurrency=1), []
        with pytest.raises(LemError, match=r"came back as another: .*'other.gguf'") as e:
            for response in engine.generate(many(9), Meter()):
                got.append(response.probe)
        engine.close()
    assert len(got) == 2
    assert len(server.bodies) == 3
    assert "1 of 9 requests failed, and 6 were not sent" in e.value.consequence


def test_cache_of_a_restarted_server_is_cold() -> None:
    """After a restart the kernel is computed once again before the others follow."""
    lane = Lane(Wire(Address("http://127.0.0.1:9/v1")), Facts("vLLM", "", {}), 8)
    work, seat = Work(many(6, "k", KERNEL), [lane], Tally(Meter())), Seat(lane)

    def take() -> Ticket:
        ticket = work.next(seat)
        assert isinstance(ticket, Ticket)
        return ticket

    first = take()
    work.begun(lane, first)
    second, third = take(), take()
    fault = _openai_wire.Fault("gone", "wait", down=True)
    work.bounced(lane, second, fault)
    work.bounced(lane, third, fault)  # the same trouble
    assert lane.strikes == 1
    assert work.next(seat) is lane
    work.back(lane)
    again = take()
    assert again.request.probe == third.request.probe
    group = again.group
    assert group.warming == {lane} and not group.warm
    work.begun(lane, first)  # from before the restart: says nothing about the cache
    assert not group.warm
    work.begun(lane, again)
    assert group.warm == {lane}


def test_fault_of_our_own_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("lem.engines.openai.taken_apart", broken)
    with Server() as server, pytest.raises(ZeroDivisionError):
        answered([server], many(9), concurrency=2)
