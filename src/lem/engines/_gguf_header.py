"""The header of a GGUF file: metadata and tensor sizes, without the gguf package.

Its own reader makes an array of every token's text, which takes seconds; this takes a fraction of
one, so that a list of models can be shown.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import struct
from pathlib import Path
from typing import Any

from lem.errors import LemError
from lem.text import excerpt

_STRING, _ARRAY = 8, 9
#: Kinds of metadata values, as struct has them.
_PLAIN = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
#: Names of `general.file_type` (llama.cpp's, where they are not plain).
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
#: More of anything than a real file has.
_MOST = 50_000_000
_DEEPEST = 3


@dataclasses.dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    fields: dict[str, Any]
    numbers: int
    """Stored numbers of all tensors."""

    @property
    def architecture(self) -> str:
        return str(self.fields.get("general.architecture", "unknown"))

    @property
    def file_type(self) -> str:
        """Q4_K_M, F16, …"""
        return _FILE_TYPES.get(self.fields.get("general.file_type", -1), "of mixed types")

    @property
    def licence(self) -> str | None:
        value = self.fields.get("general.license")
        return value if isinstance(value, str) and value else None

    @property
    def context_length(self) -> int | None:
        value = self.fields.get(f"{self.architecture}.context_length")
        return value if isinstance(value, int) else None


class _Cursor:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 4

    def number(self, form: str) -> Any:
        size = struct.calcsize("<" + form)
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += size
        return value

    def text(self) -> str:
        length = self.number("Q")
        if length > len(self.data) - self.at:
            raise ValueError("a text that is longer than the file")
        raw = self.data[self.at : self.at + length]
        self.at += length
        return raw.decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_PLAIN[kind])
        inner, count = self.number("I"), self.number("Q")
        if count > _MOST or depth > _DEEPEST:
            raise ValueError("a list that is too long or too deep")
        if inner in _PLAIN:
            values = list(struct.unpack_from(f"<{count}{_PLAIN[inner]}", self.data, self.at))
            self.at += count * struct.calcsize("<" + _PLAIN[inner])
            return values
        return [self.value(inner, depth + 1) for _ in range(count)]


def read_header(path: Path) -> GgufHeader:
    """Read a file's header.

    Raises:
        LemError: it is not a GGUF file, or its header is damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] != b"GGUF":
                raise ValueError("it does not begin as one")
            cursor = _Cursor(data)
            version = cursor.number("I")
            if version not in (2, 3):
                raise ValueError(f"version {version}")
            tensors, count = cursor.number("Q"), cursor.number("Q")
            if max(tensors, count) > _MOST:
                raise ValueError("more entries than any model has")
            fields = {}
            for _ in range(count):
                name = cursor.text()
                fields[name] = cursor.value(cursor.number("I"))
            numbers = 0
            for _ in range(tensors):
                cursor.text()
                shape = [cursor.number("Q") for _ in range(min(cursor.number("I"), 8))]
                numbers += math.prod(shape)
                cursor.number("I")
                cursor.number("Q")
    except OSError as e:
        raise LemError(
            f"Cannot read the model {path}: {e.strerror}.", "Nothing was run.", "Check the path."
        ) from None
    except (ValueError, KeyError, struct.error) as e:
        raise LemError(
            f"{path} cannot be read as a GGUF file: {excerpt(str(e), 80)}.",
            "Nothing was run.",
            "Download it again and compare its size with the original's.",
        ) from None
    return GgufHeader(fields, numbers)
