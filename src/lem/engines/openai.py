"""Models behind OpenAI-compatible servers: llama.cpp's, vLLM, or any other; one, or several alike.

llama.cpp's server tells its chat template and its tokens, so its prompts are rendered and checked
like those of a local file. vLLM tells the tokens only. Any other renders out of sight, and what it
does with a system message is found out by counting tokens.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import functools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lem.engines._openai_answer import Fault, Rejected, Reply
from lem.engines._openai_fleet import Lane, Seat, Work
from lem.engines._openai_output import taken_apart
from lem.engines._openai_prompts import Prompts, switches
from lem.engines._openai_server import (
    SEEN_BY_IDS,
    UNSEEN,
    Server,
    agree,
    difference,
    identify,
    notes_on,
)
from lem.engines._openai_wire import Address, Stopped, Tally, Wire
from lem.engines.base import Meter, finished
from lem.errors import LemError
from lem.prompts import FROZEN_DATE, TemplateFacts
from lem.records import EngineInfo, Message, Request, Response, Sampling

#: Requests in flight at a server that does not say how many it works on.
DEFAULT_CONCURRENCY = 8
#: Seconds that a close waits for its threads.
CLOSE_WAIT = 1.0

#: Sampling fields beyond the common ones, with the values that turn them off: the server's own
#: defaults would apply otherwise. Other servers get no field that OpenAI does not have.
_EXTRA: dict[str, dict[str, Any]] = {
    "llama.cpp": {
        "samplers": ["temperature", "top_p"],
        "top_k": 0,
        "min_p": 0,
        "typical_p": 1,
        "top_n_sigma": -1,
        "xtc_probability": 0,
        "dry_multiplier": 0,
        "dynatemp_range": 0,
        "mirostat": 0,
        "repeat_penalty": 1,
        "cache_prompt": True,
    },
    "vLLM": {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "return_token_ids": True},
}
#: Fields that a server may do without; the answers stay what they are.
_DISPENSABLE = ("stream_options", "seed", "return_token_ids")
#: Server programs that hand ``chat_template_kwargs`` on to the template.
_SWITCHABLE = ("llama.cpp", "vLLM")

_STOPPED = "Nothing was run."


class OpenAIEngine:
    """A model behind one OpenAI-compatible server, or behind several that share the work.

    The key is taken from the environment (``LEM_API_KEY``, else ``OPENAI_API_KEY``).

    Args:
        name: the model, as the server calls it.
        base_urls: of the interface, for example ``http://127.0.0.1:8080/v1``; one or several.
        concurrency: requests in flight at each server; None: its slots, or 8 (vLLM: 32).
        thinking: what a chat template with a switch for reasoning is told; None: nothing.

    Raises:
        LemError: a bad address, no server there, no such model, the key is not accepted, servers
            that differ, or a switch that the server does not know.
    """

    def __init__(
        self,
        name: str,
        base_urls: str | Sequence[str],
        concurrency: int | None = None,
        thinking: bool | None = None,
    ) -> None:
        self.name, self.thinking = name, thinking
        urls = [base_urls] if isinstance(base_urls, str) else base_urls
        self.addresses = list({a.base: a for a in map(Address.read, urls)}.values())
        self._wires = [Wire(address) for address in self.addresses]
        try:
            self.servers = self._identified()
        except BaseException:
            self.close()
            raise
        #: The first, which stands for all.
        self.server = self.servers[0]
        self._seats = [max(1, concurrency or s.slots or DEFAULT_CONCURRENCY) for s in self.servers]
        self.concurrency = sum(self._seats)
        self._check_switch()
        told = switches(thinking)
        self.info = EngineInfo(
            engine="openai",
            engine_version=f"{self.server.kind} {self.server.version}".strip(),
            model=name,
            # Where a prompt is not seen, its key must tell what the template was told.
            fingerprint=self.server.fingerprint | ({} if self.server.template else told),
            context_length=self.server.context_length,
            notes=notes_on(self.servers),
        )
        self._extra = _EXTRA.get(self.server.kind, {}) | told
        self._prompts = Prompts(name, self._wires, self.server, thinking, self._ask_first)
        self._unsplit = False
        self._lock = threading.Lock()
        self._refused: set[str] = set()

    @property
    def facts(self) -> TemplateFacts:
        facts, self._unsplit = self._prompts.facts, self._prompts.unsplit
        if self._prompts.tells_ids and UNSEEN in self.info.notes:
            self._note(SEEN_BY_IDS, instead_of=UNSEEN)
        return facts

    def render(self, messages: Sequence[Message], date: datetime.date = FROZEN_DATE) -> str:
        """The server's own rendering; it cannot be told a date.

        Raises:
            TemplateRefused: its template does not accept these messages.
            LemError: the server is gone.
        """
        return self._prompts.render(messages, date)

    def tokenize(self, text: str) -> list[int] | None:
        return self._prompts.tokenize(text)

    def foreign_tokens(self, text: str) -> bool:
        return self._prompts.foreign_tokens(text)

    def chat_ids(self, messages: Sequence[Message]) -> list[int] | None:
        """See `lem.prompts.TellsIds`."""
        return self._prompts.chat_ids(messages)

    def text_ids(self, text: str) -> list[int]:
        """See `lem.prompts.TellsIds`."""
        return self._prompts.text_ids(text)

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        """See `lem.engines.Engine`. A request that fails does not stop the others, unless three
        fail with no success between them, and a server that fails does not stop the other servers.

        Raises:
            LemError: some failed; raised after everything that could be answered was yielded.
        """
        tally = Tally(meter)
        lanes = [
            Lane(Wire(address, connections=seats), server, seats)
            for address, server, most in zip(self.addresses, self.servers, self._seats)
            if (seats := max(1, min(most, len(requests))))
        ]
        work = Work(requests, lanes, tally)
        # In turn, so that a few requests are spread over all servers.
        order = sorted((i, n) for n, lane in enumerate(lanes) for i in range(lane.seats))
        pool = concurrent.futures.ThreadPoolExecutor(len(order), thread_name_prefix="lem-openai")
        workers: list[concurrent.futures.Future[None]] = []
        try:
            for _, n in order:
                workers.append(pool.submit(self._work_off, work, Seat(lanes[n]), tally))
            at_work = len(order)
            while at_work:
                done = work.done.get()
                if done is None:
                    at_work -= 1
                else:
                    yield done
            for worker in workers:
                worker.result()  # so that a fault of our own is not lost
        finally:
            # Also on Ctrl-C, or when whoever takes the answers has had enough.
            work.stop()
            for lane in lanes:
                lane.wire.abort()
            late = concurrent.futures.wait(workers, timeout=CLOSE_WAIT).not_done
            pool.shutdown(wait=not late, cancel_futures=True)
            for lane in lanes:
                lane.wire.close()
        self._note_lost(lanes)
        work.raise_failure()

    def close(self) -> None:
        for wire in self._wires:
            wire.close()

    def _identified(self) -> list[Server]:
        """What each server is, all of them being the same."""
        servers = []
        for wire in self._wires:
            try:
                servers.append(identify(wire, self.name))
            except LemError as e:
                if len(self._wires) == 1:
                    raise
                fix = f"{e.fix} Or leave this server out: the others do the work."
                raise LemError(e.cause, e.consequence, fix) from None
        agree(servers, [address.shown for address in self.addresses])
        return servers

    def _check_switch(self) -> None:
        if self.thinking is None or self.server.kind in _SWITCHABLE:
            return
        self.close()
        raise LemError(
            f"The server {self.addresses[0].shown} is not known to hand a switch for thinking on "
            "to its chat template.",
            f"The answers would not be what was asked for. {_STOPPED}",
            "Leave the switch out, and start the server with its own, if it has one.",
        )

    def _work_off(self, work: Work, seat: Seat, tally: Tally) -> None:
        """One thread: answer requests until there are no more."""
        lane = seat.lane
        try:
            while (task := work.next(seat)) is not None:
                if isinstance(task, Lane):
                    self._look(task, work)
                    continue
                try:
                    begun = functools.partial(work.begun, lane, task)
                    response = self._answer(task.request, lane.wire, tally, begun)
                except Fault as fault:
                    work.bounced(lane, task, fault)
                except LemError as e:
                    work.failed(lane, task, e)
                else:
                    work.succeeded(lane, task, response)
        except Stopped:
            pass
        except BaseException:
            work.stop()  # a fault of our own: nobody is to wait for this thread's request
            raise
        finally:
            work.done.put(None)

    def _look(self, lane: Lane, work: Work) -> None:
        """Find out whether a server that rested is back, and still what it was."""
        try:
            now = identify(lane.wire, self.name)
        except LemError:
            work.still_gone(lane)
            return
        differs = difference(lane.server, now)
        if differs is None:
            work.back(lane)
            return
        field, before, after = differs
        work.lose(
            lane,
            LemError(
                f"The server {lane.wire.address.shown} came back as another: its {field} was "
                f"{before} and is {after}.",
                "Its answers would not be of the model that the run began with.",
                "Start it as it was before.",
            ),
        )

    def _note_lost(self, lanes: Sequence[Lane]) -> None:
        """Say which of several servers did not stay to the end."""
        lost = [n for n, lane in enumerate(lanes, start=1) if lane.lost]
        if len(lost) < len(lanes):
            for n in lost:
                self._note(f"Server {n} of {len(lanes)} was lost; the others did its work.")

    def _note(self, text: str, instead_of: str | None = None) -> None:
        notes = [n for n in self.info.notes if n not in (text, instead_of)]
        self.info = self.info.model_copy(update={"notes": [*notes, text]})

    def _answer(
        self, request: Request, wire: Wire, tally: Tally, begun: Callable[[], None]
    ) -> Response:
        reply = self._ask(
            request.messages, request.sampling, request.seed, wire, tally, begun, patient=False
        )
        _check_prompt(request, reply)
        used = reply.prompt_tokens
        if used is None and request.token_ids is not None:
            used = len(request.token_ids)
        if used is not None:
            cached = min(reply.cached_tokens or 0, used)
            tally.add(prefilled=used - cached, shared=cached)
        reply, errors = taken_apart(
            reply,
            template=self.server.template,
            prompt=request.prompt if self.server.template else "",
            unsplit=self._unsplit,
        )
        return finished(
            request,
            final=reply.final,
            reasoning=reply.reasoning,
            finish_reason=reply.finish_reason,
            prompt_tokens=used,
            cached_tokens=reply.cached_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=reply.seconds,
            format_errors=errors,
        )

    def _ask(
        self,
        messages: Sequence[Message],
        s: Sampling,
        seed: int,
        wire: Wire,
        tally: Tally,
        begun: Callable[[], None] = lambda: None,
        patient: bool = True,
    ) -> Reply:
        """Send one request; if the server cannot take a field that it can do without, again
        without it. See `Wire.chat`."""
        body: dict[str, Any] = {
            "model": self.name,
            "messages": list(messages),
            "max_tokens": s.max_tokens,
            "temperature": s.temperature,
            "top_p": s.top_p,
            "seed": seed,
            "n": 1,
            "presence_penalty": s.presence_penalty,
            "frequency_penalty": s.frequency_penalty,
            "stream": True,
            "stream_options": {"include_usage": True},
            **self._extra,
        }
        while True:
            body = {name: v for name, v in body.items() if name not in self._refused}
            try:
                return wire.chat(body, tally, begun, patient)
            except Rejected as e:
                if not self._do_without(e, body):
                    raise

    def _do_without(self, rejected: Rejected, body: dict[str, Any]) -> bool:
        """Whether the rejection names a field that can be left out; from then on it is."""
        if rejected.status not in (400, 422):
            return False
        for name in _DISPENSABLE:
            if name in body and re.search(rf"\b{name}\b", rejected.said):
                with self._lock:
                    if name not in self._refused:
                        self._refused.add(name)
                        self._note(f"The server does not take {name!r}, which was left out.")
                return True
        return False

    def _ask_first(self, messages: Sequence[Message], tokens: int) -> Reply:
        """Ask the first server that answers, for so many tokens."""
        sampling = Sampling(max_tokens=tokens)
        for wire in self._wires[:-1]:
            try:
                return self._ask(messages, sampling, 0, wire, Tally(Meter()))
            except Rejected:
                raise
            except LemError:
                continue
        return self._ask(messages, sampling, 0, self._wires[-1], Tally(Meter()))


def _check_prompt(request: Request, reply: Reply) -> None:
    """Raise the error of an answer to another prompt than the one that was planned."""
    asked, used = request.token_ids, reply.prompt_tokens
    if reply.prompt_ids is not None:
        used = len(reply.prompt_ids)
    if asked is None or used is None:
        return
    here = f"the prompt of {request.probe} under {request.condition!r}"
    if used != len(asked):
        cause = (
            f"The server read {used} tokens as {here}, where its own template and tokenizer give "
            f"{len(asked)}."
        )
    elif reply.prompt_ids not in (None, asked):
        place = next(i for i, (a, b) in enumerate(zip(asked, reply.prompt_ids or [])) if a != b)
        cause = (
            f"The server read other tokens as {here} than its own template and tokenizer give, "
            f"from the {place + 1}th on."
        )
    else:
        return
    raise LemError(
        cause,
        "The answer is not one to the prompt that was checked; it was not kept.",
        "Restart the server with its standard chat template and without options that change "
        "prompts.",
    )
