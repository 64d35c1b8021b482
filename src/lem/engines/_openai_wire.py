"""The connection to one OpenAI-compatible server: address, key, requests, trying again."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import email.utils
import functools
import json
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpx

from lem.engines._openai_answer import (
    DOWN,
    PASSING,
    Collected,
    Fault,
    Rejected,
    Reply,
    message_of,
)
from lem.engines.base import Meter
from lem.errors import LemError
from lem.text import excerpt, printable

#: Seconds before the second attempt; doubled for each further one.
BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 60.0
#: A server on a processor may compute a long prompt for minutes before the first byte.
TIMEOUT = httpx.Timeout(600.0, connect=10.0)
#: For the first questions, which a living server answers at once.
SHORT_TIMEOUT = httpx.Timeout(10.0, connect=5.0)

KEY_VARIABLES = ("LEM_API_KEY", "OPENAI_API_KEY")

T = TypeVar("T")


class Stopped(Exception):
    """The requests under way were called off by our own side."""


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a server is, and the key to it, which nothing here prints."""

    base: str
    """Without a slash at its end."""
    key: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def read(cls, base_url: str) -> Address:
        """From what the user gave; the key is from the environment only.

        Raises:
            LemError: not an http address, or a key that no header can carry.
        """
        base = base_url.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")
        try:
            url, port = httpx.URL(base), urllib.parse.urlsplit(base).port
            good = url.scheme in ("http", "https") and url.host and not url.query and port != 0
        except (httpx.InvalidURL, ValueError):
            good = False
        if not good:
            raise LemError(
                f"--base-url {excerpt(_without_login(base_url))!r} is not the address of a server.",
                "No server was asked, and nothing was run.",
                "For example: --base-url http://127.0.0.1:8080/v1",
            )
        for variable in KEY_VARIABLES:
            if key := os.environ.get(variable, "").strip():
                if not (key.isascii() and key.isprintable()):
                    raise LemError(
                        f"The key in {variable} holds characters that no HTTP header can carry.",
                        "No server was asked, and nothing was run.",
                        f"Set {variable} again; it may have been copied with something around it.",
                    )
                return cls(base, key)
        return cls(base)

    @property
    def root(self) -> str:
        """Where the endpoints outside the OpenAI interface are."""
        return self.base.removesuffix("/v1")

    @property
    def shown(self) -> str:
        """Without a user name and password."""
        return _without_login(self.base)

    def quote(self, text: str, width: int = 200) -> str:
        """What a server said, as one safe line in which the key is not repeated."""
        text = printable(text)
        for secret in (self.key, urllib.parse.urlsplit(self.base).password):
            if secret:
                text = text.replace(secret, "(key)")
        return excerpt(text, width)

    def wants_key(self, status: int, said: str) -> Rejected:
        """The error for a missing or wrong key."""
        names = " or ".join(KEY_VARIABLES)
        what = "does not accept the key" if self.key else "wants a key"
        return Rejected(
            f"The server {self.shown} {what} ({status}: {said}).",
            f"Set the environment variable {names} to a key for this server.",
            status,
            said,
        )


class Tally:
    """A meter that many threads may count on."""

    def __init__(self, meter: Meter) -> None:
        self._meter, self._lock = meter, threading.Lock()

    def add(
        self, prefilled: int = 0, shared: int = 0, generated: int = 0, retries: int = 0
    ) -> None:
        with self._lock:
            self._meter.prefilled += prefilled
            self._meter.shared += shared
            self._meter.generated += generated
            self._meter.retries += retries


class Wire:
    """Connections to one server. Many threads may use it; one may call everything off."""

    def __init__(self, address: Address, connections: int = 2) -> None:
        self.address = address
        headers = {"Content-Type": "application/json"}
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        self._client = httpx.Client(
            headers=headers,
            timeout=TIMEOUT,
            verify=_certificates(),
            # Servers drop idle connections after 5 seconds and more: be the first to let go.
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=3.0),
            # A proxy named in the environment is for the world outside.
            mounts={f"all://{h}": None for h in ("localhost", "127.0.0.1", "[::1]")},
        )
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()

    def close(self) -> None:
        self._client.close()

    def abort(self) -> None:
        """End every request under way, also one that waits for the server's first byte. Each
        raises `Stopped` in its own thread."""
        self._stopped.set()
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            # Closing a socket does not wake a thread that reads from it; shutting it down does.
            with contextlib.suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def get(self, url: str) -> httpx.Response:
        """One short attempt.

        Raises:
            LemError: the server cannot be reached.
        """
        try:
            return self._client.get(url, timeout=SHORT_TIMEOUT, extensions={"trace": self._watch})
        except (httpx.TransportError, httpx.DecodingError) as e:
            raise LemError(
                f"No answer from {self.address.shown}: {self._why(e)}.",
                "The server is down or the address is wrong; nothing was run.",
                "Start the server and wait until it has loaded the model, or correct --base-url.",
            ) from None

    def call(self, url: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """POST the body, or GET where there is none, tried again where that may help.

        Returns:
            The response with any other status. 500 is one: it is how llama.cpp says that a
            template refused.

        Raises:
            LemError: still no answer after all attempts, or the key is not accepted.
        """

        def attempt() -> httpx.Response:
            with self._transport():
                response = self._client.request(
                    "GET" if body is None else "POST",
                    url,
                    content=None if body is None else _encode(body),
                    extensions={"trace": self._watch},
                )
            if response.status_code in PASSING - {500} or response.status_code in (401, 403):
                raise self._refusal(response)
            return response

        return self._again(attempt, Tally(Meter()))

    def chat(
        self,
        body: dict[str, Any],
        tally: Tally,
        begun: Callable[[], None] = lambda: None,
        patient: bool = True,
    ) -> Reply:
        """One streamed answer, tried again where that may help.

        Args:
            body: the JSON of the request.
            tally: counts tokens as they come and attempts as they fail.
            begun: called when the first text comes.
            patient: also try again where the server itself seems to be gone.

        Raises:
            Rejected: the server will not do it.
            LemError: it keeps failing, or says nothing that makes sense.
            Fault: not patient, and the server seems to be gone.
            Stopped: `abort` was called.
        """
        return self._again(lambda: self._chat_once(body, tally, begun), tally, patient)

    def _again(self, attempt: Callable[[], T], tally: Tally, patient: bool = True) -> T:
        number = 0
        while True:
            number += 1
            if self._stopped.is_set():
                raise Stopped
            try:
                return attempt()
            except Fault as fault:
                if fault.down and not patient:
                    raise
                if number >= fault.tries:
                    raise fault.lasting(number) from None
                pause = fault.wait
            tally.add(retries=1)
            self._stopped.wait(backoff(number) if pause is None else pause)

    def _chat_once(self, body: dict[str, Any], tally: Tally, begun: Callable[[], None]) -> Reply:
        got = Collected(self.address)
        began = time.monotonic()
        try:
            try:
                self._read_stream(body, got, tally, begun)
            except Fault:
                if got.finish is None:
                    raise  # else only the goodbye was lost
            reply = got.reply(time.monotonic() - began)
        except BaseException:
            tally.add(generated=-got.pieces)
            raise
        if reply.completion_tokens is not None:
            tally.add(generated=reply.completion_tokens - got.pieces)
        return reply

    def _read_stream(
        self, body: dict[str, Any], got: Collected, tally: Tally, begun: Callable[[], None]
    ) -> None:
        with (
            self._transport(),
            self._client.stream(
                "POST",
                f"{self.address.base}/chat/completions",
                content=_encode(body),
                extensions={"trace": self._watch},
            ) as response,
        ):
            if not response.is_success:
                response.read()
                raise self._refusal(response)
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            got.is_stream = kind == "text/event-stream"
            if kind.endswith(("html", "json")):
                response.read()
                raise got.nonsense(f"{kind} instead of a stream: {self.said(response)}")
            for line in _lines(response.iter_bytes()):
                if got.take(line):
                    tally.add(generated=1)
                    if got.pieces == 1:
                        begun()
                if got.done:
                    break

    @contextlib.contextmanager
    def _transport(self) -> Iterator[None]:
        """Turns what goes wrong on the way into a `Fault`, or into `Stopped` if we did it."""
        try:
            yield
        except (httpx.TransportError, httpx.DecodingError) as e:
            if self._stopped.is_set():
                raise Stopped from None
            what = "cannot be reached"
            if isinstance(e, httpx.ReadTimeout | httpx.WriteTimeout):
                what = "did not answer in time"
            elif isinstance(e, httpx.RemoteProtocolError | httpx.ReadError):
                what = "dropped the connection"
            raise Fault(
                f"The server {self.address.shown} {what}: {self._why(e)}",
                "See the server's own log; it may be out of memory or be restarting.",
                down=True,
            ) from None

    def _watch(self, event: str, info: dict[str, Any]) -> None:
        """Told by httpx what a connection is doing: keeps its socket at hand for `abort`."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._open.add(info["return_value"])
        if self._stopped.is_set():
            raise Stopped

    def _why(self, error: Exception) -> str:
        return self.address.quote(str(error) or type(error).__name__).rstrip(".")

    def said(self, response: httpx.Response) -> str:
        """The server's own message, on one line."""
        try:
            value = response.json()
        except (ValueError, RecursionError):
            if "<html" in response.text[:1000].lower():
                return "a web page"
            return self.address.quote(response.text) or "nothing"
        return self.address.quote(message_of(value))

    def _refusal(self, response: httpx.Response) -> Exception:
        """The exception for a status that is not a success."""
        status, said = response.status_code, self.said(response)
        shown = self.address.shown
        if status in PASSING:
            return Fault(
                f"The server {shown} answered {status}: {said}",
                "Wait for the server to recover, or lower --parallel.",
                wait=_retry_after(response.headers.get("retry-after")),
                down=status in DOWN,
            )
        if status in (401, 403):
            return self.address.wants_key(status, said)
        fix = "Change what the message names: the model, a setting, or the length of a prompt."
        if status in (404, 405):
            fix = "Check the model's name, and whether the address must end in /v1."
        return Rejected(f"The server {shown} answered {status}: {said}.", fix, status, said)


def backoff(number: int) -> float:
    """Seconds to wait after a number of failed attempts."""
    doubled: float = BACKOFF * 2.0 ** min(number - 1, 20)
    return min(LONGEST_BACKOFF, doubled * random.uniform(0.75, 1.25))


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: that takes longer than asking a server its first questions."""
    return httpx.create_ssl_context()


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of an event stream. (Text tools also break lines at U+2028, which JSON may hold.)"""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")
    yield rest.rstrip(b"\r")


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait: the header has a number of them, or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            then = email.utils.parsedate_to_datetime(header)
            seconds = (then - datetime.datetime.now(datetime.UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None


def _encode(body: dict[str, Any]) -> bytes:
    """JSON in which lone surrogates, which no server accepts, are question marks."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _without_login(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else url
