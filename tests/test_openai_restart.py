"""Real llama.cpp servers, killed with SIGKILL in the middle of an A/B: nothing lost or doubled."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lem.ab import AbResult, Experiment, run_ab
from lem.engines import EngineOptions, _openai_fleet, _openai_wire
from lem.errors import LemError
from lem.records import Response
from lem.runs import read_responses

pytest.importorskip("xllamacpp")

#: One thread: two that wait for each other crawl when the machine is busy.
SERVE = """
import signal, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_parallel, params.n_ctx = 2, 2 * 2048
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity, params.warmup, params.cache_ram_mib = 0, False, 0
server = xllamacpp.Server(params)
signal.pause()
"""
KERNEL = "You weigh who is hurt and who gains before you answer."
QUESTIONS = [f"What is {one} plus two?" for one in ("one", "two", "three", "four", "five", "six")]
TOTAL = 2 * len(QUESTIONS)


class LlamaServer:
    """A server process on a port of its own, which keeps the port when it is started again."""

    def __init__(self, model: Path) -> None:
        self.model = model
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.model), str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/models").is_success:
                    return
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def servers(model_path: Path) -> Iterator[Callable[[int], list[LlamaServer]]]:
    started: list[LlamaServer] = []

    def start(count: int) -> list[LlamaServer]:
        started.extend(LlamaServer(model_path) for _ in range(count))
        for server in started:
            server.wait()
        return started

    yield start
    for server in started:
        server.kill()


class Watch:
    """Does something when so many answers are there."""

    def __init__(self, after: int, act: Callable[[], None]) -> None:
        self.after, self.act = after, act

    def start(self, total: int, done: int, meter: Any) -> None:
        self.meter = meter

    def tick(self, response: Response) -> None:
        self.after -= 1
        if self.after == 0:
            self.act()

    def stop(self) -> None:
        pass


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[[list[LlamaServer], Watch | None], AbResult]:
    (tmp_path / "k.txt").write_text(KERNEL)
    probes = [{"id": q, "domain": "d", "prompt": q} for q in QUESTIONS]
    (tmp_path / "probes.json").write_text(json.dumps(probes))
    plan = Experiment(
        model="openai:m",
        probes=str(tmp_path / "probes.json"),
        kernels=[("k", str(tmp_path / "k.txt"))],
        max_tokens=8,
    )

    def run(servers: list[LlamaServer], watch: Watch | None = None) -> AbResult:
        options = EngineOptions(base_urls=tuple(server.url for server in servers))
        return run_ab(plan, folder=tmp_path / "run", options=options, watcher=watch)

    return run


def check_whole(result: AbResult) -> None:
    """Every answer is there, once, in the file as in the result."""
    lines = (result.folder / "responses.jsonl").read_text().splitlines()
    keys = [json.loads(line)["key"] for line in lines]
    wanted = [request.key for request in result.plan.requests]
    assert sorted(keys) == sorted(wanted)
    assert len(set(keys)) == TOTAL
    assert {r.completion_tokens for r in result.responses} <= set(range(1, 9))


def test_server_that_is_killed_and_started_again_is_ridden_out(
    servers: Callable[[int], list[LlamaServer]], experiment: Callable[..., AbResult]
) -> None:
    (server,) = servers(1)

    def restart() -> None:
        server.kill()
        server.start()

    watch = Watch(5, restart)
    result = experiment([server], watch)
    check_whole(result)
    assert result.new_answers == TOTAL
    assert watch.meter.retries >= 1


def test_server_that_is_killed_stops_the_run_and_the_same_command_finishes_it(
    servers: Callable[[int], list[LlamaServer]],
    experiment: Callable[..., AbResult],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (server,) = servers(1)
    with monkeypatch.context() as hasty:
        hasty.setattr(_openai_wire, "BACKOFF", 0.01)
        hasty.setattr(_openai_fleet, "LOOKS", 3)
        with pytest.raises(LemError, match="has not come back") as e:
            experiment([server], Watch(5, server.kill))
    assert "same command again" in e.value.fix
    kept = {r.key: r for r in read_responses(tmp_path / "run")}
    assert 5 <= len(kept) < TOTAL
    server.start()
    server.wait()
    result = experiment([server])
    check_whole(result)
    assert result.new_answers == TOTAL - len(kept)
    assert kept.items() <= {r.key: r for r in result.responses}.items()


def test_run_of_two_servers_finishes_on_one(
    servers: Callable[[int], list[LlamaServer]], experiment: Callable[..., AbResult]
) -> None:
    first, second = servers(2)
    watch = Watch(5, first.kill)
    result = experiment([first, second], watch)
    check_whole(result)
    assert result.new_answers == TOTAL
    assert experiment([second]).new_answers == 0, "the keys are those of one server"
