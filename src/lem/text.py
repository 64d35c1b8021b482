"""Reading user files, showing untrusted text, writing numbers."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lem.errors import LemError

# Terminal control: CSI, OSC/DCS/APC/PM/SOS strings, two-byte escapes; then what is left of C0 and
# C1 except tab and line feed; then the invisible characters that reorder text (bidi controls).
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def printable(text: str) -> str:
    """Text from a model, a server or a file, made safe for a terminal.

    Escape sequences are removed, other control characters and lone surrogates are replaced by
    U+FFFD, carriage returns become line feeds.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _CONTROLS.sub("\ufffd", text)
    return storable(text)


def storable(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def excerpt(text: str, width: int = 60) -> str:
    """One safe line of at most ``width`` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def sha256(data: str | bytes) -> str:
    """Hex digest; text is hashed as UTF-8 (lone surrogates kept, so that any string has a hash)."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return hashlib.sha256(raw).hexdigest()


def is_there(path: Path) -> bool:
    """Whether something has this name; False too where nothing can (a name that is too long)."""
    return os.path.lexists(path)


def read_text(path: Path, what: str) -> str:
    """A user's UTF-8 file (a leading byte-order mark is dropped).

    Args:
        path: the file.
        what: its role in the sentence of an error, for example "kernel".

    Raises:
        LemError: missing, unreadable, a folder, empty, or not UTF-8 (naming the byte and line).
    """
    stopped = f"The {what} could not be read, and nothing was run."
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise LemError(f"No such {what} file: {path}", stopped, "Check the path.") from None
    except IsADirectoryError:
        raise LemError(
            f"The {what} {path} is a folder.", stopped, "Name a file inside it."
        ) from None
    except OSError as e:
        raise LemError(
            f"Cannot read the {what} {path}: {e.strerror}.", stopped, "Check its permissions."
        ) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        raise LemError(
            f"{path} is not UTF-8: byte 0x{raw[e.start]:02x} at offset {e.start} (line {line}).",
            stopped,
            f"Convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 {path} > utf8.txt",
        ) from None
    if not text.strip():
        raise LemError(f"The {what} file {path} is empty.", stopped, "Name a file with content.")
    return text


def json_items(text: str, source: str, what: str, example: str) -> list[tuple[str, Any]]:
    """The items of a JSON list or of JSON Lines, each with where it stands.

    Args:
        text: of the file.
        source: how the file is called in messages.
        what: an item's name, for example "probe".
        example: an item as it should be written, for the fix of an error.

    Returns:
        ("line 3", item) or ("line 3 (probe 2)", item) in order.

    Raises:
        LemError: it is neither.
    """

    def malformed(where: str, why: str) -> LemError:
        return LemError(
            f"{source}, {where}: not valid JSON or JSONL: {why}.",
            f"The {what}s were refused as a whole, and nothing was run.",
            f"Write a list [{example}], or one such object a line.",
        )

    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        if not text.lstrip().startswith("{") or len(lines) < 2:
            raise malformed(f"line {error.lineno}, column {error.colno}", error.msg) from None
        items = []
        for number, line in lines:
            try:
                items.append((f"line {number}", json.loads(line)))
            except json.JSONDecodeError as e:
                raise malformed(f"line {number}, column {e.colno}", e.msg) from None
            except (ValueError, RecursionError) as e:
                raise malformed(f"line {number}", _unusable(e)) from None
        return items
    except (ValueError, RecursionError) as error:
        raise malformed("from line 1 on", _unusable(error)) from None
    if isinstance(whole, dict):
        return [("line 1", whole)]  # JSONL of one line
    if not isinstance(whole, list):
        raise malformed("line 1", f"a list of {what}s was expected, not {json_kind(whole)}")
    return _numbered(text, whole, what)


def _unusable(error: ValueError | RecursionError) -> str:
    """Why Python does not take what JSON would allow."""
    if isinstance(error, RecursionError):
        return "lists or objects nested too deeply"
    return "a whole number of thousands of digits"


def _numbered(text: str, whole: list[Any], what: str) -> list[tuple[str, Any]]:
    """Find the line each item of a JSON list starts on, by decoding the list item by item."""
    decoder = json.JSONDecoder()
    at, line, counted = text.index("[") + 1, 1, 0
    placed = []
    for number, item in enumerate(whole, 1):
        while text[at] in " \t\r\n,":
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        placed.append((f"line {line} ({what} {number})", item))
        _, at = decoder.raw_decode(text, at)
    return placed


def json_kind(value: Any) -> str:
    """What a value read from JSON is, in words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true/false"}
    return "null" if value is None else names.get(type(value), "a number")


def write_atomic(path: Path, text: str) -> None:
    """Replace a file in one step, durably: after a crash it is the old one or the new one.

    Raises:
        LemError: the folder cannot be written or the disk is full.
    """
    try:
        with replacing(path) as file:
            file.write(text.encode("utf-8", "surrogatepass"))
    except OSError as e:
        raise write_error(path, e) from None


def write_all(files: Mapping[Path, str]) -> None:
    """Replace several files, each in one step; if one cannot be written, none is replaced.

    Raises:
        LemError: a folder cannot be written, a path is a folder, or the disk is full.
    """
    path = Path()
    try:
        with ExitStack() as stack:
            for path, text in files.items():
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                file = stack.enter_context(replacing(path))
                file.write(text.encode("utf-8", "surrogatepass"))
                file.flush()  # a full disk shows here, before any file has taken its place
    except OSError as e:
        raise LemError(
            f"Cannot write {path}: {e.strerror or e}.",
            "Nothing was written; what was there before is as it was.",
            "Free some space or choose a writable folder, then run the same command again.",
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of another in one step, once all is written and synced.
    If writing fails, the old one stays and nothing is left behind.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp makes private files
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_error(path: Path, error: OSError) -> LemError:
    """The error for a file that could not be written."""
    return LemError(
        f"Cannot write {path}: {error.strerror or error}.",
        "The run stopped; every answer finished before this one is kept.",
        "Free some space or choose a writable folder, then run the same command again.",
    )


def dump_json(value: Any, indent: int | None = None) -> str:
    """JSON as this project writes it: readable UTF-8 (a lone surrogate, which it cannot hold, is
    written as an escape), stable order, no NaN."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return text if text.isascii() else _SURROGATES.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def number(value: float, sign: str = "") -> str:
    """One decimal, a true minus sign, no negative zero; ``sign="+"`` marks positive ones too."""
    text = f"{value:{sign}.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", "−")
