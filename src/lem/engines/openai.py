"""Models behind an OpenAI-compatible server: llama.cpp's, vLLM, or any other.

llama.cpp's server tells its chat template and its tokens, so its prompts are rendered and checked
like those of a local file. Any other renders out of sight, and what it does with a system message
is found out by counting tokens.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import queue
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from lem.engines._openai_answer import Rejected, Reply
from lem.engines._openai_server import identify, json_object, notes_on
from lem.engines._openai_wire import Address, Stopped, Tally, Wire
from lem.engines.base import Meter, finished
from lem.errors import LemError
from lem.prompts import FROZEN_DATE, TemplateFacts, TemplateRefused, inspect_template
from lem.records import EngineInfo, Message, Request, Response, Sampling
from lem.text import sha256

#: Requests in flight where the server does not say how many it works on.
DEFAULT_CONCURRENCY = 8
#: Requests that may fail, with no success between them, before no new ones are sent.
FAILURES_IN_A_ROW = 3
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
    "vLLM": {"top_k": -1, "min_p": 0, "repetition_penalty": 1},
}
#: Fields that a server may do without; the answers stay what they are.
_DISPENSABLE = ("stream_options", "seed")

_SENTINEL_WORDS = 60
_STOPPED = "Nothing was run."


class OpenAIEngine:
    """A model behind an OpenAI-compatible server.

    The key is taken from the environment (``LEM_API_KEY``, else ``OPENAI_API_KEY``).

    Args:
        name: the model, as the server calls it.
        base_url: of the interface, for example ``http://127.0.0.1:8080/v1``.
        concurrency: requests in flight; None: the server's slots, or 8.

    Raises:
        LemError: a bad address, no server there, no such model, or the key is not accepted.
    """

    def __init__(self, name: str, base_url: str, concurrency: int | None = None) -> None:
        self.name = name
        self.address = Address.read(base_url)
        self._wire = Wire(self.address)
        try:
            self.server = identify(self._wire, name)
        except BaseException:
            self._wire.close()
            raise
        self.concurrency = max(1, concurrency or self.server.slots or DEFAULT_CONCURRENCY)
        self.info = EngineInfo(
            engine="openai",
            engine_version=f"{self.server.kind} {self.server.version}".strip(),
            model=name,
            fingerprint=self.server.fingerprint,
            context_length=self.server.context_length,
            notes=notes_on(self.server),
        )
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._known_ids: dict[tuple[str, bool, bool], list[int]] = {}

    @cached_property
    def facts(self) -> TemplateFacts:
        return self._facts_rendered() if self.server.template else self._facts_counted()

    def render(self, messages: Sequence[Message], date: datetime.date = FROZEN_DATE) -> str:
        """The server's own rendering; it cannot be told a date.

        Raises:
            TemplateRefused: its template does not accept these messages.
            LemError: the server is gone.
        """
        if not self.server.template:
            raise TemplateRefused("this server renders out of sight")
        body = {"model": self.name, "messages": list(messages)}
        response = self._wire.call(f"{self.address.root}/apply-template", body)
        prompt = json_object(response).get("prompt")
        if not isinstance(prompt, str):
            raise TemplateRefused(self._wire.said(response))
        return prompt

    def tokenize(self, text: str) -> list[int] | None:
        return self._ids(text, add=True, special=True) if self.server.template else None

    def foreign_tokens(self, text: str) -> bool:
        if not self.server.template:
            return False
        read = self._ids(text, add=False, special=True)
        return read != self._ids(text, add=False, special=False)

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        """See `lem.engines.Engine`. A request that fails does not stop the others, unless three
        fail with no success between them.

        Raises:
            LemError: some failed; raised after everything that could be answered was yielded.
        """
        work, tally = _Work(requests), Tally(meter)
        threads = max(1, min(self.concurrency, len(requests)))
        wire = Wire(self.address, connections=threads)
        pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="lem-openai")
        workers: list[concurrent.futures.Future[None]] = []
        try:
            for _ in range(threads):
                workers.append(pool.submit(self._work_off, work, wire, tally))
            at_work = threads
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
            wire.abort()
            late = concurrent.futures.wait(workers, timeout=CLOSE_WAIT).not_done
            pool.shutdown(wait=not late, cancel_futures=True)
            wire.close()
        work.raise_failure()

    def close(self) -> None:
        self._wire.close()

    def _work_off(self, work: _Work, wire: Wire, tally: Tally) -> None:
        """One thread: answer requests until there are no more."""
        try:
            while (request := work.next()) is not None:
                try:
                    work.succeeded(self._answer(request, wire, tally))
                except LemError as e:
                    work.failed(e)
        except Stopped:
            pass
        finally:
            work.done.put(None)

    def _answer(self, request: Request, wire: Wire, tally: Tally) -> Response:
        reply = self._ask(request.messages, request.sampling, request.seed, wire, tally)
        asked, used = request.token_ids, reply.prompt_tokens
        if asked is not None and used is not None and used != len(asked):
            raise LemError(
                f"The server read {used} tokens as the prompt of {request.probe} under "
                f"{request.condition!r}, where its own template and tokenizer give {len(asked)}.",
                "The answer is not one to the prompt that was checked; it was not kept.",
                "Restart the server with its standard chat template and without options that "
                "change prompts.",
            )
        if used is None and asked is not None:
            used = len(asked)
        if used is not None:
            cached = min(reply.cached_tokens or 0, used)
            tally.add(prefilled=used - cached, shared=cached)
        return finished(
            request,
            final=reply.final,
            reasoning=reply.reasoning,
            finish_reason=reply.finish_reason,
            prompt_tokens=used,
            cached_tokens=reply.cached_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=reply.seconds,
        )

    def _ask(
        self, messages: Sequence[Message], s: Sampling, seed: int, wire: Wire, tally: Tally
    ) -> Reply:
        """Send one request; if the server cannot take a field that it can do without, again
        without it."""
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
            **_EXTRA.get(self.server.kind, {}),
        }
        while True:
            body = {name: v for name, v in body.items() if name not in self._refused}
            try:
                return wire.chat(body, tally)
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
                        note = f"The server does not take {name!r}, which was left out."
                        notes = [*self.info.notes, note]
                        self.info = self.info.model_copy(update={"notes": notes})
                return True
        return False

    def _ids(self, text: str, *, add: bool, special: bool) -> list[int]:
        known = self._known_ids.get((text, add, special))
        if known is not None:
            return known
        body = {"model": self.name, "content": text, "add_special": add, "parse_special": special}
        response = self._wire.call(f"{self.address.root}/tokenize", body)
        ids = json_object(response).get("tokens")
        if not (isinstance(ids, list) and all(isinstance(i, int) for i in ids)):
            raise LemError(
                f"The server {self.address.shown} gave no tokens: {self._wire.said(response)}.",
                _STOPPED,
                "Update the server: its /tokenize must return a list of ids.",
            )
        self._known_ids[text, add, special] = ids
        return ids

    def _facts_rendered(self) -> TemplateFacts:
        plain = self.tokenize(self.render([{"role": "user", "content": "x"}])) or []
        bos = self._ids(self.server.bos_token, add=False, special=True)
        wants_bos = len(bos) == 1 and self._ids("x", add=True, special=True)[:1] == bos
        leading = next((i for i, t in enumerate(plain) if [t] != bos), len(plain))
        return inspect_template(
            self.render,
            can_date=False,
            bos_tokens=leading if wants_bos else None,
            template_sha256=sha256(self.server.template or ""),
        )

    def _facts_counted(self) -> TemplateFacts:
        """What a server does with a system message, from how many tokens it says it read."""
        user: Message = {"role": "user", "content": "LEMSENTINELUSER"}
        words = " ".join(["SENTINEL"] * _SENTINEL_WORDS)
        bare = self._prompt_tokens([user])
        try:
            full = self._prompt_tokens([{"role": "system", "content": words}, user])
        except Rejected as e:
            if e.status not in (400, 422):
                raise
            return TemplateFacts(visible=False, system="refused")
        if bare is None or full is None:
            return TemplateFacts(visible=False, system="unknown")
        if full - bare < _SENTINEL_WORDS / 2:
            return TemplateFacts(visible=False, system="ignored")
        try:
            empty = self._prompt_tokens([{"role": "system", "content": ""}, user])
        except Rejected:
            empty = bare
        differs = empty is not None and empty != bare
        return TemplateFacts(visible=False, system="supported", empty_system_differs=differs)

    def _prompt_tokens(self, messages: Sequence[Message]) -> int | None:
        sampling = Sampling(max_tokens=1)
        return self._ask(messages, sampling, 0, self._wire, Tally(Meter())).prompt_tokens


class _Work:
    """The requests of one round, shared by its threads."""

    def __init__(self, requests: Sequence[Request]) -> None:
        #: Answers as they finish, and a None from each thread that has ended.
        self.done: queue.SimpleQueue[Response | None] = queue.SimpleQueue()
        self._waiting, self._total = deque(requests), len(requests)
        self._failures: list[LemError] = []
        self._in_a_row, self._given_up = 0, False
        self._lock = threading.Lock()

    def next(self) -> Request | None:
        with self._lock:
            if not self._waiting or self._given_up:
                return None
            return self._waiting.popleft()

    def succeeded(self, response: Response) -> None:
        with self._lock:
            self._in_a_row = 0
        self.done.put(response)

    def failed(self, error: LemError) -> None:
        with self._lock:
            self._failures.append(error)
            self._in_a_row += 1
            if self._in_a_row >= FAILURES_IN_A_ROW:
                self._given_up = True  # for good, even if one in flight still succeeds

    def raise_failure(self) -> None:
        """The first error, with how many there were."""
        if not self._failures:
            return
        first, unsent = self._failures[0], len(self._waiting)
        missing = f"{len(self._failures)} of {self._total} requests failed"
        if unsent:
            missing += f", and {unsent} were not sent after {FAILURES_IN_A_ROW} failures in a row"
        raise LemError(
            first.cause,
            f"{missing}. {first.consequence} Every answer finished before is kept.",
            f"{first.fix} Then run the same command again: it makes only what is missing.",
        )
