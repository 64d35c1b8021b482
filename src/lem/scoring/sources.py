"""The answers in any number of inputs, one after the other, in memory that does not grow.

An input is a run folder, a JSON Lines file, a plain text file (one answer), or standard input.
Lines that cannot be scored are yielded too, as `Broken`, in their place.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, Literal, NamedTuple

from lem.errors import LemError
from lem.kernels import load_kernel
from lem.runs.manifest import read_manifest
from lem.scoring.shapes import PUBLISHED, RUN_LOG, BrokenLine, Item, kind_of, parse_line
from lem.text import excerpt, sha256

MAX_LINE = 64 * 2**20
"""Bytes; a longer line is reported as broken and skipped without being held."""

MAX_TEXT = 256 * 2**20
"""Bytes; a longer plain text file is refused."""

STDIN = "-"
LOG = "responses.jsonl"
_JSON_NAMES = (".jsonl", ".ndjson", ".json")
_JSON_START = re.compile(rb"\s*(?:\{\s*[\"}]|\[\s*\{)")
_BOM = b"\xef\xbb\xbf"
_PACKED = {
    b"\x1f\x8b": ("compressed (gzip)", "gzip -dc {}"),
    b"\x28\xb5\x2f\xfd": ("compressed (zstd)", "zstd -dc {}"),
    b"\xfd7zXZ\x00": ("compressed (xz)", "xz -dc {}"),
    b"PK\x03\x04": ("a zip archive", "unzip -p {}"),
    b"\xff\xfe": ("UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8 {}"),
    b"\xfe\xff": ("UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8 {}"),
    b"PAR1\x15": ("Parquet", ""),
}
"""How files begin that hold answers in a form that is not read, and what to do with them."""
_HEAD, _TAIL = 2**16, 2**20  # bytes looked at to tell the format, and to find the summary line

Format = Literal["auto", "jsonl", "text"]


class Broken(NamedTuple):
    """A line, or a whole text file, that could not be scored."""

    place: str
    cause: str


class RunFacts(NamedTuple):
    """What a run's manifest says of its answers."""

    model: str | None
    probes: dict[str, tuple[str, str]]
    """Probe id -> (its question, its domain)."""
    checks: dict[str, dict[str, Any]]
    """Probe id -> how to tell a right answer, for those that say so."""
    kernels: tuple[str, ...]
    """Texts of its kernels, as far as they could be found."""
    notes: tuple[str, ...]


class Source(NamedTuple):
    """One input, checked to be there."""

    path: Path | None
    """The file; None for standard input."""
    name: str
    """How it is called in messages and records."""
    size: int | None
    """In bytes; None where it cannot be known."""
    run: RunFacts | None


class Meter:
    """How many bytes have been read, for a progress display."""

    def __init__(self) -> None:
        self.read = 0


def open_inputs(inputs: tuple[str, ...]) -> list[Source]:
    """Check all inputs and read the manifests of runs, before anything is scored.

    Args:
        inputs: paths, and `-` for standard input. None at all means standard input.

    Raises:
        LemError: an input is missing or is a folder without answers, or there is none.
    """
    if sys.stdin is None and (not inputs or STDIN in inputs):
        raise LemError("Standard input is closed.", "Nothing was scored.", "Name a file.")
    if not inputs and sys.stdin.isatty():
        raise LemError(
            "No input was named.",
            "Nothing was scored.",
            "Name a run folder or a file, or pipe answers in: lem score answers.jsonl",
        )
    if inputs.count(STDIN) > 1:
        raise LemError(
            "Standard input (-) was named twice.", "Nothing was scored.", "Name it once."
        )
    sources = []
    for name in inputs or (STDIN,):
        try:
            sources.append(_open(name))
        except OSError as e:
            raise _unreadable(name, e, "Nothing was scored.") from None
    return sources


def _open(name: str) -> Source:
    if name == STDIN:
        return Source(None, "stdin", None, None)
    path = Path(name)
    stopped = "Nothing was scored."
    if not path.exists():
        raise LemError(f"No such file or folder: {name}", stopped, "Check the path.")
    if path.is_dir():
        if not (path / LOG).is_file():
            raise LemError(
                f"{name} is a folder without {LOG}, so it is no run.",
                stopped,
                f"Name the files in it: lem score {name}/*.txt",
            )
        path = path / LOG
    if path.is_file():  # to find out now, not after hours of scoring what stands before it
        with path.open("rb") as file:
            _refuse_packed(name, file.read(16))
    manifest = path.parent / "run.json"
    run = read_run(path.parent) if path.name == LOG and manifest.is_file() else None
    return Source(path, str(path), path.stat().st_size if path.is_file() else None, run)


def _refuse_packed(name: str, head: bytes) -> None:
    for start, (what, unpack) in _PACKED.items():
        if head.startswith(start):
            command = unpack.format("FILE" if name == "stdin" else shlex.quote(name))
            raise LemError(
                f"{name} is {what}.",
                "It cannot be read; nothing was scored of it.",
                f"Unpack it and name what comes out, for example: {command} > answers.jsonl"
                if command
                else "Write it as JSON Lines or as text first.",
            )


def _unreadable(name: str, error: OSError, so: str) -> LemError:
    return LemError(
        f"Cannot read {name}: {error.strerror or error}.", so, "Check the file and its permissions."
    )


def read_run(folder: Path) -> RunFacts:
    """The questions, the model and the kernels of a run.

    The manifest holds the hash of a kernel and where it came from. A text is used only if it has
    that hash; built-in kernels are left out, because they are looked for in every answer.

    Raises:
        LemError: the manifest is damaged.
    """
    manifest = read_manifest(folder)
    try:
        _check_kinds(manifest)
        probes = {p["id"]: (p["prompt"], p["domain"]) for p in manifest["probes"]["items"]}
        checks = {p["id"]: p["check"] for p in manifest["probes"]["items"] if p.get("check")}
        model = manifest["engine"]["model"]
        arms = [c for c in manifest["conditions"] if c["role"] == "kernel" and c["kernel"]]
        found = [(arm["name"], _kernel_text(arm)) for arm in arms if not _is_built_in(arm)]
    except (KeyError, TypeError, AttributeError) as e:
        why = f"it has no {e}" if isinstance(e, KeyError) else str(e)
        raise LemError(
            f"{folder / 'run.json'} is no manifest of a run ({why}).",
            "The questions of its answers are not known; nothing was scored.",
            f"Move it away to score {LOG} without questions.",
        ) from None
    notes = [
        f"the text of kernel {name!r} is not where the run found it, so it is not looked for "
        f"(--kernel FILE adds it)"
        for name, text in found
        if text is None
    ]
    return RunFacts(
        model, probes, checks, tuple(t for _, t in found if t is not None), tuple(notes)
    )


def _check_kinds(manifest: Any) -> None:
    """Raise a TypeError where a manifest holds something of another kind than runs write; parts
    that runs did not always write may be missing."""

    def check(value: Any, kind: type | tuple[type, ...], where: str) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"{where} is {kind_of(value)}")
        return value

    check(manifest, dict, "it")
    check(check(manifest["engine"], dict, "engine")["model"], str, "engine.model")
    check(manifest["engine"].get("fingerprint", {}), dict, "engine.fingerprint")
    check(manifest.get("sampling", {}), dict, "sampling")
    check(manifest.get("samples", 1), int, "samples")
    for arm in check(manifest["conditions"], list, "conditions"):
        check(check(arm, dict, "a condition")["name"], str, "the name of a condition")
        if arm["role"] not in ("baseline", "kernel", "control", "replicate"):
            raise TypeError(f"a condition has the role {excerpt(str(arm['role']))}")
        if check(arm.get("kernel"), (dict, NoneType), "a kernel"):
            check(arm["kernel"]["sha256"], str, "the sha256 of a kernel")
    for probe in check(check(manifest["probes"], dict, "probes")["items"], list, "probes.items"):
        for field in ("id", "domain", "prompt"):
            check(check(probe, dict, "a probe")[field], str, f"the {field} of a probe")
        check(probe.get("check"), (dict, NoneType), "the check of a probe")
    for key in check(manifest.get("superseded", []), list, "superseded"):
        check(key, str, "a superseded key")


def _is_built_in(arm: dict[str, Any]) -> bool:
    return str(arm["kernel"]["source"]).startswith("built-in ")


def _kernel_text(arm: dict[str, Any]) -> str | None:
    wanted = arm["kernel"]["sha256"]
    try:
        kernel = load_kernel("k", arm["kernel"]["source"])
        if kernel.sha256 == wanted:
            return kernel.text
    except LemError:
        pass  # moved or changed since; the prompt may still show it
    try:
        messages = json.loads(arm["example_prompt"])  # servers are sent messages, not one text
        return next((m["content"] for m in messages if sha256(m["content"]) == wanted), None)
    except (ValueError, TypeError, KeyError):
        return None


def read_source(source: Source, form: Format, meter: Meter) -> Iterator[Item | Broken]:
    """The answers and the broken lines of one input, in order.

    Args:
        form: `auto` takes files named .jsonl, .ndjson or .json for JSON Lines, and others by
            whether their first line that is not blank begins like a JSON object or list.

    Raises:
        LemError: it cannot be read.
    """
    try:
        if source.path is None:
            yield from _read(source, sys.stdin.buffer, form, meter)
        else:
            with source.path.open("rb") as stream:
                yield from _read(source, stream, form, meter)
    except OSError as e:
        raise _unreadable(source.name, e, "Scoring stopped there.") from None


def _read(source: Source, stream: BinaryIO, form: Format, meter: Meter) -> Iterator[Item | Broken]:
    head = _head(stream)
    meter.read += len(head)
    _refuse_packed(source.name, head)
    head = head.removeprefix(_BOM)
    if form == "auto":
        named = source.path is not None and source.path.suffix.lower() in _JSON_NAMES
        form = "jsonl" if named or _JSON_START.match(head) else "text"
    if form == "jsonl":
        yield from _read_lines(source, _lines(stream, head, meter))
    elif head or source.path is not None:  # nothing at all on standard input is no answer
        yield _read_text(source, stream, head, meter)


def _head(stream: BinaryIO) -> bytes:
    """The beginning of a stream, up to its first line that is not blank or at least 64 KiB of
    that line."""
    head = b""
    while len(head) < _HEAD and not head.removeprefix(_BOM).strip():
        piece = stream.readline(_HEAD)
        if not piece:
            break
        head += piece
    return head


def _lines(stream: BinaryIO, head: bytes, meter: Meter) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, line) for all lines; None for one that is longer than `MAX_LINE`."""
    *whole, begun = head.split(b"\n")
    yield from enumerate(whole, 1)
    number = len(whole)
    while True:
        line = stream.readline(MAX_LINE + 1 - len(begun))
        meter.read += len(line)
        line, begun = begun + line, b""
        if not line:
            return
        number += 1
        too_long = len(line.rstrip(b"\r\n")) > MAX_LINE or (
            len(line) > MAX_LINE and not line.endswith(b"\n")
        )
        while too_long and line and not line.endswith(b"\n"):
            line = stream.readline(2**20)
            meter.read += len(line)
        yield number, None if too_long else line


def _read_lines(
    source: Source, lines: Iterator[tuple[int, bytes | None]]
) -> Iterator[Item | Broken]:
    shape: str | None = None
    model = source.run.model if source.run else None
    for number, line in lines:
        if line is not None and not line.strip():
            continue
        try:
            if line is None:
                raise BrokenLine(f"longer than {MAX_LINE // 2**20} MiB")
            own, items = parse_line(line, shape)
        except BrokenLine as e:
            yield Broken(f"{source.name}, line {number}", str(e))
            continue
        if shape is None and own == PUBLISHED and source.path is not None:
            model = _last_model(source.path)
        shape = own
        for item in items:
            yield _place(item, source, number, model, source.run if own == RUN_LOG else None)


def _place(
    item: Item, source: Source, number: int, model: str | None, run: RunFacts | None
) -> Item:
    """Add what the file knows of an answer and its line does not say."""
    prompt, category, check = item.prompt, item.category, item.check
    if run is not None and str(item.id) in run.probes:
        prompt, category = run.probes[str(item.id)]
        check = run.checks.get(str(item.id))
    return item._replace(
        id=item.id if item.id is not None else f"{Path(source.name).name}:{number}",
        numbered=item.id is None,
        prompt=prompt,
        category=category,
        check=check,
        model=item.model if item.model is not None else model,
        file=source.name,
    )


def last_record(path: Path) -> dict[str, Any]:
    """The last line of an A/B file, its summary; empty where it cannot be read."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        last = file.read().rstrip().rpartition(b"\n")[2]
    try:
        record = json.loads(last)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("type") == "summary" else {}


def _last_model(path: Path) -> str | None:
    """The model that the summary line of an A/B file names."""
    model = last_record(path).get("model")
    return model if isinstance(model, str) else None


def _read_text(source: Source, stream: BinaryIO, head: bytes, meter: Meter) -> Item | Broken:
    raw = head + stream.read(MAX_TEXT + 1 - len(head))
    meter.read += len(raw) - len(head)
    if len(raw) > MAX_TEXT:
        return Broken(source.name, f"a plain text of more than {MAX_TEXT // 2**20} MiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        cause = f"not UTF-8: byte 0x{raw[e.start]:02x} at offset {e.start} (line {line})"
        return Broken(source.name, cause)
    return Item(text=text, id=Path(source.name).name, file=source.name)
