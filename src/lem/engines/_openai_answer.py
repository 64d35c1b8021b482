"""One streamed answer: its events put together, and what can be wrong with them."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from lem.errors import LemError
from lem.records import FinishReason

if TYPE_CHECKING:  # the wire imports this module
    from lem.engines._openai_wire import Address

#: Attempts at one request, and at one that the server answered with nonsense.
TRIES, TRIES_NONSENSE = 5, 2
#: Statuses that may pass by themselves, and those that speak of the server, not of a request.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
DOWN = frozenset({502, 503, 504})

_FINISH: dict[str, FinishReason] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
    "content_filter": "filtered",
}
UNANSWERED = "The request was not answered."


class Rejected(LemError):
    """The server understood a request and will not do it; asking again would not help."""

    def __init__(self, cause: str, fix: str, status: int, said: str) -> None:
        super().__init__(cause, UNANSWERED, fix)
        self.status, self.said = status, said


class Fault(Exception):
    """Trouble that another attempt may mend.

    Args:
        cause: a sentence without its full stop.
        fix: for when it does not mend.
        tries: attempts in all.
        wait: seconds that the server asked for.
        down: the server itself seems to be gone, not only this request to have gone wrong.
    """

    def __init__(
        self,
        cause: str,
        fix: str,
        tries: int = TRIES,
        wait: float | None = None,
        down: bool = False,
    ) -> None:
        super().__init__(cause)
        self.cause, self.fix, self.tries, self.wait = cause, fix, tries, wait
        self.down = down

    def lasting(self, attempts: int) -> LemError:
        """The error it becomes when no attempt is left."""
        return LemError(f"{self.cause} ({attempts} attempts).", UNANSWERED, self.fix)


@dataclasses.dataclass(frozen=True)
class Reply:
    """What one streamed answer came to."""

    final: str
    reasoning: str | None
    finish_reason: FinishReason
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    seconds: float
    """Of the attempt that succeeded."""
    prompt_ids: list[int] | None = None
    """Tokens of the prompt, from a server that tells them (vLLM)."""


class Collected:
    """What has come of one answer so far."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.finish: str | None = None
        self.done = self.is_stream = False
        self.pieces = 0
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}
        self._events = 0
        self._prompt_ids: list[int] | None = None

    def take(self, line: bytes) -> bool:
        """Take in one line of the stream; says whether text came with it.

        Raises:
            Fault: the server tells of an error, or the line makes no sense.
            Rejected: an error that will come again.
        """
        field, _, value = line.partition(b":")
        value = value.strip()
        if field not in (b"data", b"error") or not value:
            return False  # a comment that keeps the connection alive, an event's name, its end
        self._events += 1
        if value == b"[DONE]":
            self.done = True
            return False
        try:
            chunk = json.loads(value.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            shown = self.address.quote(value.decode("utf-8", "replace"), 60)
            raise self.nonsense(f"an event that is not a JSON object: {shown!r}")
        if field == b"error" or chunk.get("error"):
            raise self._told_error(chunk.get("error") or chunk)
        return self._take_chunk(chunk)

    def _take_chunk(self, chunk: dict[str, Any]) -> bool:
        for name in ("usage", "timings"):
            if isinstance(chunk.get(name), dict):
                setattr(self, f"_{name}", chunk[name])
        if is_ids(chunk.get("prompt_token_ids")):
            self._prompt_ids = chunk["prompt_token_ids"]
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or choice.get("index") not in (0, None):
            return False
        if isinstance(choice.get("finish_reason"), str) and choice["finish_reason"]:
            self.finish = choice["finish_reason"]
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return False
        text, thought = delta.get("content"), delta.get("reasoning_content")
        if thought is None:
            thought = delta.get("reasoning")
        for piece, pieces in ((text, self._content), (thought, self._reasoning)):
            if isinstance(piece, str):
                pieces.append(piece)
            elif piece is not None:
                raise self.nonsense("a piece of the answer that is not a text")
        if text or thought:
            self.pieces += 1
        return bool(text or thought)

    def reply(self, seconds: float) -> Reply:
        """The answer, if it is complete.

        Raises:
            Fault: it is not.
            LemError: it ended for a reason that is not known.
        """
        if self.finish is None:
            raise self._unfinished()
        if self.finish not in _FINISH:
            raise LemError(
                f"The server {self.address.shown} ended an answer for the reason "
                f"{self.address.quote(self.finish, 40)!r}, which is not known.",
                "It cannot be told whether the answer is complete; it was not kept.",
                "Please report this with the name and version of the server.",
            )
        cached = _count(self._usage, "prompt_tokens_details", "cached_tokens")
        return Reply(
            final=_text(self._content),
            reasoning=_text(self._reasoning) or None,
            finish_reason=_FINISH[self.finish],
            prompt_tokens=_count(self._usage, "prompt_tokens"),
            cached_tokens=_count(self._timings, "cache_n") if cached is None else cached,
            completion_tokens=_count(self._usage, "completion_tokens"),
            seconds=seconds,
            prompt_ids=self._prompt_ids,
        )

    def nonsense(self, what: str) -> Fault:
        return Fault(
            f"The server {self.address.shown} sent {what}",
            "Check with its documentation that it streams chat completions at this address.",
            tries=TRIES_NONSENSE,
        )

    def _unfinished(self) -> Fault:
        if self.done:
            return self.nonsense("an answer that ends without a finish reason")
        if self._events or self.is_stream:
            return Fault(
                f"The server {self.address.shown} broke an answer off",
                "See the server's own log; it may be out of memory or be restarting.",
                down=True,
            )
        return self.nonsense("a body that is not a stream of events")

    def _told_error(self, error: Any) -> Exception:
        said = self.address.quote(message_of({"error": error}))
        status = error.get("code") if isinstance(error, dict) else None
        cause = f"The server {self.address.shown} broke an answer off: {said}"
        if isinstance(status, int) and 400 <= status < 500 and status not in PASSING:
            fix = "Change what the message names: a setting, or the length of a prompt."
            return Rejected(f"{cause}.", fix, status, said)
        return Fault(cause, "See the server's own log.")


def _text(pieces: list[str]) -> str:
    """Joined and stripped; halves of a UTF-16 pair sent apart are put together, lone ones become
    U+FFFD."""
    joined = "".join(pieces)
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _count(value: Any, *path: str) -> int | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def is_ids(value: Any) -> bool:
    """Whether a value from a server is a list of token ids."""
    return isinstance(value, list) and all(type(i) is int for i in value)


def message_of(value: Any) -> str:
    """The sentence in a server's JSON error, in the shapes that are about."""
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
