"""Several processes that answer the requests of one run, on several GPUs or on shares of the cores.

The parent alone holds the plan and the store. Each worker is a process with the whole engine in it
(`lem.engines.worker`), and answers come back one by one over a pipe of JSON lines.

Every worker gets a share of every condition, all samples of a prompt together, and is sent it at
once: its engine then computes each kernel once and never runs out of rows to fill. Sending small
portions instead would keep more to hand around, but at the end of each portion the rows fall idle
one after the other, and a kernel that is cut in two is computed twice. So work changes hands only
when a worker has nothing left to do: it takes what another was not sent yet; else it is asked what
stands last on another's list *as well*. The first answer counts, and the other worker is told, so
that a slow, stopped or hung worker cannot hold up the end of a run.

When a worker ends, what it had not answered is put back, for it or for others, and it is started
again. One of these requests may be what ended it, so they are sent in smaller portions: 32 at a
time, and alone if a worker ends again. One that was there when a third ended is given up and named.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import queue
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from lem import __version__
from lem.engines import _worker_lists as lists
from lem.engines import machine
from lem.engines._worker_process import Inbox, Message, WorkerProcess, stop
from lem.engines.base import Meter
from lem.engines.resolve import EngineOptions, resolve
from lem.engines.worker import COUNTS
from lem.errors import LemError
from lem.prompts import FROZEN_DATE, TemplateFacts
from lem.records import EngineInfo, Request, Response
from lem.records import Message as ChatMessage
from lem.text import excerpt

COMMAND = (sys.executable, "-P", "-m", "lem.engines.worker")
#: Times that a worker is started again.
MOST_RESTARTS = 3

#: Seconds between two looks at who has nothing to do.
_TICK = 0.25
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_KEPT = "The run stopped; every answer finished before is kept."
_AGAIN = "then run the same command again: it makes only what is missing."


class _Worker:
    """One of the workers: its list, and its process while it has one."""

    def __init__(self, number: int) -> None:
        self.number, self.name = number, f"Worker {number + 1}"
        self.work = lists.WorkList()
        self.process: WorkerProcess | None = None
        self.ready = False
        self.starts = 0
        self.ending = ""
        """How its process ended the last time."""

    @property
    def is_out(self) -> bool:
        """It ended too often to be started again."""
        return self.process is None and self.starts > MOST_RESTARTS

    def drop(self, keys: Sequence[str]) -> None:
        """Tell it that these are answered, or not wanted any more."""
        mine = self.work.drop(keys)
        if mine and self.process:
            self.process.send({"drop": mine})


@dataclasses.dataclass
class _Round:
    """One call of `generate`."""

    wanted: dict[str, Request]
    """What has no answer yet."""
    meter: Meter
    workers: list[_Worker] = dataclasses.field(default_factory=list)
    deaths: Counter[str] = dataclasses.field(default_factory=Counter)
    """How many workers have ended while they were asked a request."""
    given_up: list[tuple[Request, str]] = dataclasses.field(default_factory=list)
    """Requests that ended too many, and how."""
    failure: LemError | None = None


class WorkersEngine:
    """A model that answers in several processes.

    Args:
        model: as for `lem.engines.resolve.resolve`.
        options: ``workers`` says how many; ``parallel`` and ``threads`` are of each. Without
            ``threads`` they share the cores. On several CUDA devices they go round them.

    Raises:
        LemError: as `resolve`, or the model is behind a server.
    """

    def __init__(self, model: str, options: EngineOptions) -> None:
        if options.base_urls or model.startswith("openai:"):
            raise LemError(
                "--workers is for models that run on this machine, not for servers.",
                "Nothing was run.",
                "Leave --workers out; --parallel says how many requests are in flight, and several "
                "--base-url share them.",
            )
        self.model, self.options = model, options
        self._planner = resolve(model, dataclasses.replace(options, workers=1))
        self._workers = [_Worker(number) for number in range(options.workers)]
        self._inbox: Inbox = queue.SimpleQueue()

    @property
    def info(self) -> EngineInfo:
        return self._planner.info

    @property
    def facts(self) -> TemplateFacts:
        return self._planner.facts

    def render(self, messages: Sequence[ChatMessage], date: datetime.date = FROZEN_DATE) -> str:
        return self._planner.render(messages, date)

    def tokenize(self, text: str) -> list[int] | None:
        return self._planner.tokenize(text)

    def foreign_tokens(self, text: str) -> bool:
        return self._planner.foreign_tokens(text)

    @property
    def pids(self) -> list[int]:
        """Of the processes that are there now."""
        return [worker.process.pid for worker in self._workers if worker.process]

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        """See `lem.engines.Engine`. The processes stay, ready for the next call, until `close`.

        Raises:
            LemError: a worker met one; all workers ended too often; or, after everything else was
                answered, a request ended every worker that was asked it.
        """
        now = _Round({request.key: request for request in requests}, meter)
        while not self._inbox.empty():
            yield from self._receive(now, 0)  # who has ended or finished since the last call
        self._deal(now)
        try:
            while now.wanted and not now.failure:
                self._feed(now)
                yield from self._receive(now, _TICK)
            while now.failure and not self._inbox.empty():
                yield from self._receive(now, 0)  # what was finished in the same moment
        finally:
            for worker in self._workers:
                worker.work.queue.clear()
                worker.drop(list(worker.work.asked))
        if now.failure:
            raise now.failure
        if now.given_up:
            raise _poison(now)

    def close(self) -> None:
        stop([worker.process for worker in self._workers if worker.process])
        for worker in self._workers:
            worker.process, worker.ready, worker.work = None, False, lists.WorkList()
        self._planner.close()

    def _deal(self, now: _Round) -> None:
        """Give every worker its share, those first that have nothing left from an earlier call."""
        there = [worker for worker in self._workers if not worker.is_out]
        there.sort(key=lambda w: (w.work.under_way, w.process is None))
        for worker, share in zip(there, lists.shares(list(now.wanted.values()), len(there))):
            worker.work.queue.extend(share)
            now.workers.append(worker)
        if now.workers and not any(worker.starts for worker in self._workers):
            self.options.say(
                f"{len(now.workers)} worker processes, each with {self._threads} "
                f"thread{'s' if self._threads > 1 else ''}"
            )

    def _feed(self, now: _Round) -> None:
        """Start who is not there, and send a portion to everyone who has none."""
        if all(worker.is_out for worker in now.workers):
            now.failure = _all_out(now, self._workers)
            return
        for worker in now.workers:
            if worker.process is None and not worker.is_out:
                self._start(worker)
            elif worker.ready and not worker.work.under_way:
                portion = self._portion(worker, now)
                if portion and worker.process:
                    worker.work.send(portion)
                    worker.process.send({"ask": [r.model_dump() for r in portion]})

    def _portion(self, worker: _Worker, now: _Round) -> list[Request]:
        others = [other.work for other in now.workers if other is not worker]
        portion = worker.work.next_portion(now.deaths, now.wanted)
        if not portion:
            lists.take_over(worker.work, others)
            portion = worker.work.next_portion(now.deaths, now.wanted)
        return portion or lists.double(worker.work, others, now.deaths)

    def _start(self, worker: _Worker) -> None:
        first = worker.starts == 0
        worker.starts += 1
        worker.process = WorkerProcess(COMMAND, self._environment(worker), self._inbox)
        worker.process.send({"model": self.model, "options": self._options_of(worker)})
        worker.work.start(patiently=first)

    def _options_of(self, worker: _Worker) -> dict[str, Any]:
        options = {
            field.name: getattr(self.options, field.name)
            for field in dataclasses.fields(self.options)
            if field.name not in ("say", "workers")
        }
        options["threads"] = self._threads
        if self._devices:
            options["device"] = self._devices[worker.number % len(self._devices)]
        return options

    @property
    def _threads(self) -> int:
        return self.options.threads or max(1, machine.usable_cores() // len(self._workers))

    @cached_property
    def _devices(self) -> list[str]:
        """Names of the devices that workers are spread over; empty: they all use the same."""
        if self.info.engine != "transformers" or self.options.device not in (None, "cuda"):
            return []
        import torch

        count = torch.cuda.device_count()
        return [f"cuda:{number}" for number in range(count)] if count > 1 else []

    def _environment(self, worker: _Worker) -> dict[str, str]:
        """What is set before the libraries of a worker load. One that was ended, perhaps for its
        memory, gets half as much of it."""
        environment = dict(os.environ)
        for name in _THREADS:
            if self.options.threads or name not in environment:
                environment[name] = str(self._threads)
        here, again = len(self._workers), 0.5 ** (worker.starts - 1)
        on_device = -(-here // max(1, len(self._devices)))
        environment[machine.MEMORY_SHARE] = str(machine.memory_share() / here * again)
        environment[machine.DEVICE_MEMORY_SHARE] = str(
            machine.device_memory_share() / on_device * again
        )
        return environment

    def _receive(self, now: _Round, wait: float) -> Iterator[Response]:
        """Take in one message, if there is one; it may be an answer."""
        try:
            process, message = self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait()
        except queue.Empty:
            return
        worker = next((w for w in self._workers if w.process is process), None)
        if worker is None:
            return  # of a process that was ended
        if message is None:
            self._ended(worker, now)
            return
        try:
            response = self._take(worker, message, now)
        except LemError as e:
            now.failure = now.failure or e
            return
        if response:
            yield response

    def _take(self, worker: _Worker, message: Message, now: _Round) -> Response | None:
        """Act on a message.

        Raises:
            LemError: the worker met an error, runs something else, or wrote nonsense.
        """
        try:
            for name in COUNTS:
                total = getattr(now.meter, name) + int(message["meter"][name])
                setattr(now.meter, name, total)
            if "answer" in message:
                return self._answered(worker, Response.model_validate(message["answer"]), now)
            if "ready" in message:
                self._check_same(worker, message["ready"], message["version"])
                worker.ready = True
            elif "done" in message:
                left = worker.work.finish()
                if left:
                    raise ValueError(f"{left[0].probe} left out")
            elif "error" in message:
                cause, consequence, fix = map(str, message["error"])
                if worker.ready and not worker.work.asked:
                    return None  # about something that is not wanted any more
                worker.drop(list(worker.work.asked))
                raise LemError(cause, consequence, fix)
            elif message.keys() != {"meter"}:
                raise ValueError("unknown")
        except (KeyError, TypeError, ValueError, ValidationError, AttributeError):
            self._end(worker)
            said = message.get("garbage") or json.dumps(message)
            raise LemError(
                f"{worker.name} wrote something that is no answer to what it was asked: "
                f"{excerpt(said, 200)}",
                _KEPT,
                f"If a library was changed meanwhile, change it back; {_AGAIN}",
            ) from None
        return None

    def _answered(self, worker: _Worker, response: Response, now: _Round) -> Response | None:
        """Keep the first answer to a request that is wanted."""
        if response.key in worker.work.dropped:
            return None
        if not worker.work.answer(response.key, response.seconds):
            raise ValueError("not asked")
        del now.wanted[response.key]
        for other in self._workers:
            other.drop([response.key])
        return response

    def _check_same(self, worker: _Worker, theirs: dict[str, Any], version: str) -> None:
        """Raise the error of a worker that would not give the answers that were planned."""
        ours = json.loads(json.dumps(self.info.model_dump()))  # as it comes over a pipe
        pairs = [(name, ours[name], theirs[name]) for name in _IDENTITY]
        for name, mine, other in [("version of lem", __version__, version), *pairs]:
            if mine != other:
                self._end(worker)
                raise LemError(
                    f"{worker.name} runs another {name} ({excerpt(str(other), 200)}) than the "
                    f"process that started it ({excerpt(str(mine), 200)}).",
                    f"Answers of two kinds would be mixed. {_KEPT}",
                    "Use one installation of lem and its libraries, and leave it and the model "
                    f"unchanged while it runs; {_AGAIN}",
                )

    def _ended(self, worker: _Worker, now: _Round) -> None:
        """Put back what a worker had not answered when it ended."""
        assert worker.process
        worker.ending = worker.process.how_it_ended()
        worker.process, worker.ready = None, False
        lost = [request for request in worker.work.finish() if request.key in now.wanted]
        held = {key for other in self._workers for key in other.work.asked}
        for request in reversed(lost):
            now.deaths[request.key] += 1
            if request.key in held:
                continue
            if now.deaths[request.key] < len(lists.PORTIONS):
                worker.work.queue.appendleft(request)
            else:
                del now.wanted[request.key]
                now.given_up.append((request, worker.ending))
        what = "it is given up" if worker.is_out else "it is started again"
        self.options.say(f"{worker.name} {worker.ending}; {what}")

    def _end(self, worker: _Worker) -> None:
        """End a process that is not to be trusted."""
        if worker.process:
            stop([worker.process])
        worker.process, worker.ready, worker.work = None, False, lists.WorkList()


#: What of an engine must be the same in all processes.
_IDENTITY = ("engine", "engine_version", "fingerprint")


def _poison(now: _Round) -> LemError:
    """The error of requests that ended every worker that was asked them."""
    request, ending = now.given_up[0]
    more = len(now.given_up) - 1
    others = f" So did {more} other{'s' if more > 1 else ''}." if more else ""
    return LemError(
        f"{request.probe} under {request.condition!r} (sample {request.sample}) ended "
        f"{len(lists.PORTIONS)} worker processes: the last {ending}.{others}",
        f"{'They have' if more else 'It has'} no answer. Every other answer is kept.",
        f"If memory ran out, use fewer --workers, a smaller --parallel or --max-tokens; {_AGAIN}",
    )


def _all_out(now: _Round, workers: Sequence[_Worker]) -> LemError:
    """The error of a run that has no workers left."""
    last = max(workers, key=lambda worker: (bool(worker.ending), worker.starts))
    return LemError(
        f"Every worker process ended, and {MOST_RESTARTS} more in its place. {last.name} "
        f"{last.ending}.",
        f"{len(now.wanted)} requests have no answer. Every answer finished before is kept.",
        f"If memory ran out, use fewer --workers, a smaller --parallel or --max-tokens; {_AGAIN}",
    )
