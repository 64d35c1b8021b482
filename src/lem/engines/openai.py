"""Models behind an OpenAI-compatible server: llama.cpp's, vLLM, or any other.

llama.cpp's server tells its chat template and its tokens, so its prompts are rendered and checked
like those of a local file. Any other renders out of sight, and what it does with a system message
is found out by counting tokens.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import difflib
import queue
import re
import threading
import urllib.parse
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import httpx

from lem.engines._openai_stream import Address, Rejected, Reply, Stopped, Tally, Wire
from lem.engines.base import Meter, finished
from lem.errors import LemError
from lem.prompts import FROZEN_DATE, TemplateFacts, TemplateRefused, inspect_template
from lem.records import EngineInfo, Message, Request, Response, Sampling
from lem.text import excerpt, sha256

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
#: What of llama.cpp's description of a model pins its weights.
_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size", "ftype")

_SENTINEL_WORDS = 60
_STOPPED = "Nothing was run."

Kind = Literal["llama.cpp", "vLLM", "unknown"]


@dataclasses.dataclass(frozen=True)
class Server:
    """What a server tells about itself and its model."""

    kind: Kind
    version: str
    fingerprint: dict[str, Any]
    context_length: int | None = None
    slots: int | None = None
    template: str | None = None
    """Of a server that also renders and tokenizes for us; else None."""
    bos_token: str = ""


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
            notes=_notes(self.server),
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
        prompt = _object(response).get("prompt")
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
        if used is not None:
            cached = min(reply.cached_tokens or 0, used)
            tally.add(prefilled=used - cached, shared=cached)
        return finished(
            request,
            final=reply.final,
            reasoning=reply.reasoning,
            finish_reason=reply.finish_reason,
            prompt_tokens=used if asked is None else len(asked),
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
        ids = _object(response).get("tokens")
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
        self._in_a_row = 0
        self._lock = threading.Lock()

    def next(self) -> Request | None:
        with self._lock:
            if not self._waiting or self._in_a_row >= FAILURES_IN_A_ROW:
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


def identify(wire: Wire, name: str) -> Server:
    """Find out what a server is and whether it has the model.

    Raises:
        LemError: it cannot be reached, is no such server, or does not have the model.
    """
    entries = _listed_models(wire)
    owners = {entry.get("owned_by") for entry in entries}
    entry = next((e for e in entries if name in _names(e)), None)
    props = _props(wire, name, owners)
    is_llama = props is not None or "llamacpp" in owners
    if entry is None and is_llama and len(entries) < 2:
        entry = entries[0] if entries else {}  # it serves its one model under any name
    if entry is None and entries:
        _no_such_model(wire, name, [n for e in entries for n in _names(e)])
    if is_llama:
        return _llama_server(wire, name, entry or {}, props or {})
    if "vllm" in owners:
        return _vllm_server(wire, name, entry or {})
    pins = {"server": "unknown", "base_url": wire.address.shown, "name": name}
    context = (entry or {}).get("max_model_len") or (entry or {}).get("context_length")
    return Server("unknown", "", pins, context if isinstance(context, int) else None)


def _listed_models(wire: Wire) -> list[dict[str, Any]]:
    """What /models lists; nothing where the server has no such page."""
    response = wire.get(f"{wire.address.base}/models")
    shown, status = wire.address.shown, response.status_code
    if status in (404, 405, 501):
        return []
    said = wire.said(response)
    if status in (401, 403):
        raise wire.address.wants_key(status, said)
    if response.is_redirect:
        to = wire.address.quote(response.headers.get("location", "elsewhere"))
        raise LemError(
            f"The server {shown} sends its visitors to {to}.",
            _STOPPED,
            "Give the address it points to, as --base-url.",
        )
    if not response.is_success:
        raise LemError(
            f"The server {shown} answered {status} when asked for its models: {said}.",
            f"It is not ready. {_STOPPED}",
            "Wait until it has loaded the model, then run the same command again.",
        )
    try:
        value = response.json()
    except (ValueError, RecursionError):
        raise LemError(
            f"{shown}/models is not the model list of a server, but {said}.",
            f"It cannot be asked there. {_STOPPED}",
            f"The address probably lacks /v1: try --base-url {shown}/v1",
        ) from None
    listed = value.get("data") if isinstance(value, dict) else value
    return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []


def _props(wire: Wire, name: str, owners: set[Any]) -> dict[str, Any] | None:
    """llama.cpp's description of itself; None where the server has none."""
    if "vllm" in owners:
        return None
    # The model is named for a server that has several.
    url = f"{wire.address.root}/props?{urllib.parse.urlencode({'model': name})}"
    if "llamacpp" in owners:
        props = _object(wire.call(url))
    else:
        try:
            props = _object(wire.get(url))
        except LemError:
            return None
    return props if isinstance(props.get("default_generation_settings"), dict) else None


def _names(entry: dict[str, Any]) -> list[str]:
    aliases = entry.get("aliases")
    names = [entry.get("id"), *(aliases if isinstance(aliases, list) else [])]
    return [n for n in names if isinstance(n, str)]


def _no_such_model(wire: Wire, name: str, names: list[str]) -> None:
    def unlike(other: str) -> float:
        return -difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()

    names = sorted(dict.fromkeys(names), key=unlike)
    if not names:
        return
    more = f", and {len(names) - 10} more" if len(names) > 10 else ""
    raise LemError(
        f"The server {wire.address.shown} has no model {excerpt(name)!r}.",
        _STOPPED,
        f"It has: {', '.join(excerpt(n, 80) for n in names[:10])}{more}.",
    )


def _llama_server(wire: Wire, name: str, entry: dict[str, Any], props: dict[str, Any]) -> Server:
    meta = entry.get("meta") if isinstance(entry.get("meta"), dict) else {}
    template = props.get("chat_template")
    build, path = props.get("build_info"), props.get("model_path")
    context = props.get("default_generation_settings", {}).get("n_ctx") or (meta or {}).get("n_ctx")
    slots = props.get("total_slots")
    renders = isinstance(template, str) and template and _renders(wire, name)
    return Server(
        kind="llama.cpp",
        version=excerpt(build) if isinstance(build, str) else "",
        fingerprint={
            "server": "llama.cpp",
            "name": name,
            # The folder is the server's own affair.
            "file": excerpt(re.split(r"[/\\]", path)[-1], 200) if isinstance(path, str) else None,
            "template_sha256": sha256(template) if isinstance(template, str) else None,
            **{key: meta[key] for key in _META if meta and key in meta},
        },
        context_length=context if isinstance(context, int) and context > 0 else None,
        slots=slots if isinstance(slots, int) else None,
        template=template if renders else None,
        bos_token=props["bos_token"] if isinstance(props.get("bos_token"), str) else "",
    )


def _renders(wire: Wire, name: str) -> bool:
    """Whether the server is recent enough to render for us."""
    body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
    response = wire.call(f"{wire.address.root}/apply-template", body)
    return response.status_code not in (404, 405, 501)


def _vllm_server(wire: Wire, name: str, entry: dict[str, Any]) -> Server:
    told = _object(wire.call(f"{wire.address.root}/version"))
    context = entry.get("max_model_len")
    told_of = {key: entry.get(key) for key in ("root", "parent")}
    pins = {key: excerpt(v, 200) for key, v in told_of.items() if isinstance(v, str)}
    return Server(
        kind="vLLM",
        version=excerpt(str(told.get("version", ""))),
        fingerprint={"server": "vLLM", "name": name, **pins},
        context_length=context if isinstance(context, int) else None,
    )


def _notes(server: Server) -> list[str]:
    notes = [
        "The server does not tell its weights' hash: other weights under the same name would "
        "not be noticed."
    ]
    if not server.template:
        notes.append("The server renders prompts out of sight: they were not checked.")
    elif re.search(r"strftime_now|date_string", server.template):
        notes.append(
            "The chat template may write the server's date, which cannot be frozen: on another "
            "day the prompts are others."
        )
    return notes


def _object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a success; empty where it is none."""
    try:
        value = response.json() if response.is_success else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}
