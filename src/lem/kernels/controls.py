"""Control prompts made from a kernel, deterministically, from data and a seed.

A kernel's effect is only its own if texts without its content do not have it too:

- ``placebo``: the kernel's layout and length, filled with sentences of craft handbooks;
- ``shuffled``: the kernel's words in random order (its vocabulary without its meaning);
- ``one-line``: a single plain sentence that asks for ethics.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable

from lem.kernels.load import data_text, make_kernel
from lem.records import Kernel

_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?')
# A text line: indentation and list or heading marks stay, the rest is replaced.
_TEXT_LINE = re.compile(r"^([^\S\n]*(?:[-*+#>]+[^\S\n]+|\d+[.)][^\S\n]+)?)(\S.*?)([^\S\n]*)$", re.M)
_SENTENCE_END = re.compile(r"""[.!?:;]["')\]]*$""")
_PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


def pieces(text: str) -> int:
    """Words, digits and marks of a text: a stand-in for its tokens that needs no model.

    Under the built-in model's tokenizer it is 0.95 to 0.98 of the token count for the kernels and
    for the filler alike, where characters a token differ by 5 % (4.6 against 4.3).
    """
    return len(_PIECE.findall(text))


@functools.cache
def _bank() -> dict[str, list[tuple[int, str]]]:
    """Kind -> (pieces, text), sorted."""
    bank: dict[str, list[str]] = json.loads(data_text("neutral.json"))
    return {kind: sorted((pieces(t), t) for t in texts) for kind, texts in bank.items()}


@functools.cache
def _ethics_pattern() -> re.Pattern[str]:
    stems = json.loads(data_text("ethics_vocabulary.json"))["stems"]
    return re.compile(rf"(?<![^\W\d_])(?:{'|'.join(map(re.escape, stems))})[^\W\d_]*", re.I)


def ethics_words(text: str) -> list[str]:
    """The words of a text that belong to the vocabulary of ethics and mind (by stem)."""
    return _ethics_pattern().findall(text)


class _Filler:
    """Hands out neutral texts of wanted sizes, each once before any is used again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._left: dict[str, list[tuple[int, str]]] = {}
        self._keys: dict[str, str] = {}

    def nearest(self, kind: str, size: int) -> str:
        """An unused text of that kind of the nearest size in pieces; the seed breaks ties."""
        if not self._left.get(kind):
            self._left[kind] = list(_bank()[kind])
        left = self._left[kind]
        best = min(abs(n - size) for n, _ in left)
        at = self._random.choice([i for i, (n, _) in enumerate(left) if abs(n - size) == best])
        return left.pop(at)[1]

    def sentences(self, size: int) -> str:
        """Whole sentences of about ``size`` pieces in all, joined by spaces."""
        parts: list[str] = []
        while size > 30 or not parts:  # the longest sentences of the bank have a few more
            parts.append(
                self.nearest("sentences", size if size <= 38 else self._random.randint(8, 30))
            )
            size -= pieces(parts[-1])
        if size >= 5:
            parts.append(self.nearest("sentences", size))
        return " ".join(parts)

    def text(self, original: str) -> str:
        """A replacement for one run of text: a sentence for sentences, a phrase for a title."""
        if len(original) > 60 or _SENTENCE_END.search(original):
            return self.sentences(pieces(original))
        return self.nearest("phrases", pieces(original))

    def key(self, original: str) -> str:
        """A replacement for a JSON key; the same key always gets the same one."""
        if original not in self._keys:
            self._keys[original] = self.nearest("keys", pieces(original))
        return self._keys[original]


def _map_json(text: str, key: Callable[[str], str], value: Callable[[str], str]) -> str:
    """Rewrite the strings of a JSON text and leave its layout as it is, to the blank."""

    def rewrite(match: re.Match[str]) -> str:
        literal = match.group(0)
        if match.group(1):
            literal = literal[: -len(match.group(1))]
            return json.dumps(key(json.loads(literal)), ensure_ascii=False) + match.group(1)
        return json.dumps(value(json.loads(literal)), ensure_ascii=False)

    return _JSON_STRING.sub(rewrite, text)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except json.JSONDecodeError:
        return False


def placebo(kernel: Kernel, seed: int = 0) -> Kernel:
    """A prompt of the kernel's layout and length that says nothing about ethics.

    JSON keeps its structure and numbers and gets neutral keys and strings; text keeps its lines,
    indentation and list marks. Sizes are matched without a tokenizer, which keeps the text the
    same for every model; ``lem kernel check`` and every run report the difference in tokens.
    """
    fill = _Filler(seed)
    if _is_json(kernel.text):
        text = _map_json(kernel.text, fill.key, fill.text)
    else:
        text = _TEXT_LINE.sub(
            lambda m: m.group(1) + fill.text(m.group(2)) + m.group(3), kernel.text
        )
    return make_kernel(
        f"placebo-{kernel.name}", text, f"placebo of {kernel.name} ({kernel.source}), seed {seed}"
    )


def shuffled(kernel: Kernel, seed: int = 0) -> Kernel:
    """The kernel's words in random order, in the kernel's own layout.

    In JSON the words of all string values change places and the structure stays valid.
    """
    rng = random.Random(seed)
    if _is_json(kernel.text):
        words: list[str] = []
        _map_json(kernel.text, str, lambda v: words.extend(v.split()) or v)  # type: ignore[func-returns-value]
        rng.shuffle(words)
        queue = iter(words)
        text = _map_json(kernel.text, str, lambda v: re.sub(r"\S+", lambda _: next(queue), v))
    else:
        words = kernel.text.split()
        rng.shuffle(words)
        queue = iter(words)
        text = re.sub(r"\S+", lambda _: next(queue), kernel.text)
    return make_kernel(
        f"shuffled-{kernel.name}", text, f"shuffled {kernel.name} ({kernel.source}), seed {seed}"
    )


def one_line() -> Kernel:
    """The shortest plain request for ethics."""
    return make_kernel("one-line", data_text("one-line.txt"), "built-in one-line.txt")
