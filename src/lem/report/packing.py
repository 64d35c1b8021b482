"""Text small enough for a page: the words of all chunks get short codes, then each is compressed.

gzip looks back 32 KB only, so on its own it learns the same vocabulary again for every chunk. One
table of words for the whole page removes that: hand-written answers become 3.2 times smaller
instead of 2.7 (`benchmarks/report_size.py` prints both). A browser needs a dozen lines to read it.

A chunk is JSON whose bytes mean: 0x0A the two characters `\\n`; 0x01 and three bytes, a character
beyond ASCII; below 0x80 themselves; 0x80 to 0xBF one of the first 64 words; 0xC0 to 0xFF and one
byte, one of the next 16,384.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_WORD = re.compile(r"( ?[A-Za-z']+)")
_ESCAPED = re.compile(r"\\(.)")
_BEYOND = re.compile(r"[^\x00-\x7f]")
_SINGLE, _DOUBLE = 64, 64 * 256


def pack(value: Any) -> str:
    """JSON, compressed, as ASCII; the same for the same value."""
    return _ascii(_json(value).encode("utf-8"))


def pack_all(values: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Pack many values with one table of words.

    Returns:
        The chunks, and the table.
    """
    texts = [_ESCAPED.sub(_line_end, _json(value)) for value in values]
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(text))
    worth = [(n * (len(w) - 2) - len(w), w) for w, n in counts.items() if n > 1 and len(w) > 2]
    kept = sorted((gain, w) for gain, w in worth if gain > 0)[-(_SINGLE + _DOUBLE) :]
    words = sorted((w for _, w in kept), key=lambda w: (-counts[w], w))
    codes = {w: _code(i) for i, w in enumerate(words)}
    return [_ascii(_encode(text, codes)) for text in texts], words


def _encode(text: str, codes: Mapping[str, str]) -> bytes:
    pieces = _WORD.split(text)  # every second one is a word
    pieces[1::2] = [codes.get(word, word) for word in pieces[1::2]]
    if not text.isascii():
        pieces[::2] = [p if p.isascii() else _BEYOND.sub(_beyond, p) for p in pieces[::2]]
    return "".join(pieces).encode("latin-1")


def _code(place: int) -> str:
    if place < _SINGLE:
        return chr(0x80 + place)
    high, low = divmod(place - _SINGLE, 256)
    return chr(0xC0 + high) + chr(low)


def _line_end(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[0]


def _beyond(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\x01{chr(code >> 16)}{chr(code >> 8 & 255)}{chr(code & 255)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _ascii(raw: bytes) -> str:
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode()
