"""GPT-OSS's harmony format.

An answer is a series of messages, each of the form

    <|start|>assistant<|channel|>NAME<|message|>TEXT<|end|>

of which the first one's start stands in the prompt, and the last ends with <|return|> or, before a
tool's turn, <|call|>. A role or a channel may be followed by a recipient (`to=functions.x`), and a
header by <|constrain|> and a format. The channels are analysis and commentary, which are reasoning
here, and final, which is the answer.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from lem.engines._pieces import join

_MARK = re.compile(r"<\|(start|end|message|channel|constrain|return|call)\|>")
MARKS = frozenset(
    f"<|{name}|>" for name in ("start", "end", "message", "channel", "constrain", "return", "call")
)
_CHANNELS = ("analysis", "commentary", "final")
_ROLE = "assistant"

_State = Literal["outside", "role", "channel", "format", "text"]


@dataclasses.dataclass(frozen=True)
class Harmony:
    """A generated text, taken apart."""

    final: str
    reasoning: str
    answered: bool
    """A message of the final channel was begun."""
    ended: bool
    """A mark of the text itself ended the answer."""
    torn: bool
    """The text stops within a header, as it may where it was cut off, and only there."""
    errors: int
    """Places that break the format."""


def read(text: str, prompt: str) -> Harmony:
    """Take a generated text apart.

    Text in no channel, in an unknown one, or outside all messages counts as an error and goes to
    the reasoning. A message of another role (a user's turn, a tool's result) is
    not the model's: the answer ends before it.

    Args:
        text: as generated, with the format's marks.
        prompt: the rendered prompt, which ends with the first message's start.
    """
    start = prompt.rfind("<|start|>")
    head = prompt[start:] if start >= 0 and "<|end|>" not in prompt[start:] else ""
    return _Reader().read((head or f"<|start|>{_ROLE}") + text)


class _Reader:
    """Walks from mark to mark, holding the message that is being read."""

    def __init__(self) -> None:
        self.state: _State = "outside"
        self.thoughts: list[str] = []
        self.answers: list[str] = []
        self.errors = 0
        self.answered = self.ended = False
        self._begin()

    def read(self, text: str) -> Harmony:
        at = 0
        for mark in _MARK.finditer(text):
            self._take(text[at : mark.start()])
            at = mark.end()
            self._mark(mark[1])
            if self.ended:
                self.errors += bool(text[at:].strip())
                break
        else:
            self._take(text[at:])
        torn = self._tear() if self.state in ("role", "channel", "format") else False
        self._finish()
        return Harmony(
            final="\n\n".join(self.answers),
            reasoning="\n\n".join(self.thoughts),
            answered=self.answered,
            ended=self.ended,
            torn=torn,
            errors=self.errors,
        )

    def _begin(self) -> None:
        self.role: list[str] = []
        self.channel: list[str] | None = None
        self.body: list[str] = []

    def _take(self, piece: str) -> None:
        """Text between two marks, into the part of the message that it belongs to."""
        if self.state == "outside" and piece.strip():
            self.errors += 1
            self.thoughts.append(piece.strip())
        elif self.state == "role":
            self.role.append(piece)
        elif self.state == "channel":
            assert self.channel is not None
            self.channel.append(piece)
        elif self.state == "text":
            self.body.append(piece)

    def _mark(self, name: str) -> None:
        if self.state == "role" and self._is_another():
            self.errors += 1
            self.ended, self.state = True, "outside"
            self._begin()
        elif name == "start":
            self.errors += self.state != "outside"  # the message before has no end
            self._finish()
            self.state = "role"
        elif name == "channel":
            if self.state != "role":
                self.errors += 1
                self._finish()
            self.channel, self.state = [], "channel"
        elif name == "message":
            self.errors += self.state == "text"
            self.state = "text"
        elif name == "constrain":
            fits = self.state in ("role", "channel")
            self.errors += not fits
            self.state = "format" if fits else self.state
        else:
            self.errors += self.state != "text"  # nothing to end, or a header without its text
            self._finish()
            self.state, self.ended = "outside", name == "return"

    def _is_another(self) -> bool:
        """Whether the message being read is not the model's."""
        said = "".join(self.role).strip()
        return bool(said) and not said.startswith(_ROLE)

    def _tear(self) -> bool:
        """Whether the text stops in a header that is sound so far; counts one that is not."""
        header = "".join(self.channel or []).strip()
        if any(c.startswith(header) for c in _CHANNELS):
            self.channel = [header] if header in _CHANNELS else []
            header = ""
        role = "".join(self.role).strip().removeprefix(_ROLE)
        whole = not self._is_another() and not _unaddressed(role)
        whole = whole and not (header and _unaddressed(_named(header)[1]))
        self.errors += not whole
        return whole

    def _finish(self) -> None:
        """Put the message being read where its channel belongs."""
        if self.state == "outside" or (self.state == "role" and self._is_another()):
            self._begin()
            return
        rest = _unaddressed("".join(self.role).strip().removeprefix(_ROLE))
        body = join(self.body)
        header = "".join(self.channel or []).strip()
        if self.state == "text":
            name, *more = header.split(None, 1) or [""]
            extra = _unaddressed("".join(more))
            self.errors += bool(extra) + bool(rest) + (name not in _CHANNELS)
            self._keep(rest, extra)
        else:  # a header without its text: what follows the channel's name is taken for it
            name, body = _named(header)
            body = _unaddressed(body)
            self._keep(rest)
        if name == "final":
            self.answered = True
            self.answers.extend([body] if body else [])
        else:
            self._keep(body)
        self._begin()

    def _keep(self, *texts: str) -> None:
        self.thoughts.extend(t for t in texts if t)


def _named(header: str) -> tuple[str, str]:
    """The known channel that a header begins with, if any, and the rest."""
    name = next((c for c in _CHANNELS if header.startswith(c)), "")
    return name, header.removeprefix(name).strip()


def _unaddressed(header: str) -> str:
    """A header's text without its recipient, and a format's name after that."""
    words = header.strip()
    return "" if words.startswith("to=") else words
