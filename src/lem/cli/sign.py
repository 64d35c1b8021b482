"""``lem sign`` and ``lem unsign``: put a kernel around prompts, and take it off again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel, parse_kernel_option
from lem.lessons.sign import Signature, signature
from lem.lessons.sign import sign as sign_text
from lem.lessons.sign import unsign as unsign_text
from lem.lessons.signing import (
    Signed,
    change_text,
    provenance,
    read_provenance,
    sidecar_of,
    sign_file,
    unsign_file,
)
from lem.records import Kernel
from lem.text import is_there, read_text, write_all

_KERNEL = click.option(
    "--kernel",
    metavar="json|txt|NAME=PATH",
    help="What stands before the prompt: a built-in kernel or a file.  [default: txt]",
)
_STYLE = click.option(
    "--style",
    type=click.Choice(["sandwich", "prefix"]),
    help="sandwich: kernel, prompt, signature; prefix: kernel, prompt.  [default: sandwich]",
)
_CLOSING = click.option(
    "--signature", "closing", metavar="TEXT|@FILE", help="The line after the prompt."
)
_OUTPUT = click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: print.")
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace an earlier output.")


@click.command(
    epilog="\b\nExamples:\n  lem sign ethics --output signed.jsonl\n"
    "  lem sign prompts.jsonl --kernel mine=kernel.txt --style prefix -o signed.jsonl\n"
    "  echo 'Who should get the flat?' | lem sign - --kernel json"
)
@click.argument("source", metavar="SET|FILE|-")
@_KERNEL
@_STYLE
@_CLOSING
@_OUTPUT
@_OVERWRITE
def sign(
    source: str,
    kernel: str | None,
    style: str | None,
    closing: str | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Sign the prompts of SET or FILE: kernel, blank line, prompt, blank line, signature.

    A JSON or JSONL file of probes or lessons keeps its shape; of a conversation the first user
    turn is signed. Any other file is one prompt. With --output, a sidecar OUTPUT.sign.json keeps
    the kernel with its hash, the signature and the licence note, for lem unsign.

    Signing is free; what is trained with LEK data is copyleft (EUPL-1.2).
    """
    if output is not None and not overwrite:
        _refuse_loss(output, sidecar_of(output))
    chosen = _signature(kernel, style, closing)
    if source == "-":
        done = Signed(change_text(_stdin(), lambda text: sign_text(text, chosen)), 1)
    else:
        done = sign_file(source, chosen)
    if output is None:
        _print(done)
    else:  # together, since one is of no use without the other
        write_all({output: done.text, sidecar_of(output): provenance(chosen, source, done)})
        click.echo(f"{output}: {done.prompts} signed; how: {sidecar_of(output)}", err=True)


@click.command(
    epilog="\b\nExamples:\n  lem unsign signed.jsonl --output prompts.jsonl\n"
    "  lem unsign old.jsonl --kernel mine=kernel.txt --signature 'Signed: me' -o prompts.jsonl"
)
@click.argument("source", metavar="FILE|-")
@_KERNEL
@_STYLE
@_CLOSING
@click.option("--sidecar", type=click.Path(path_type=Path), help="Default: FILE.sign.json.")
@_OUTPUT
@_OVERWRITE
def unsign(
    source: str,
    kernel: str | None,
    style: str | None,
    closing: str | None,
    sidecar: Path | None,
    output: Path | None,
    overwrite: bool,
) -> None:
    """Recover the prompts of a signed FILE exactly.

    How it was signed is read from its sidecar, or told by --kernel, --style and --signature.
    """
    if output is not None and not overwrite:
        _refuse_loss(output)
    told = kernel is not None or style is not None or closing is not None
    beside = None if source == "-" else sidecar_of(Path(source))
    if sidecar is not None and told:
        raise LemError(
            "--sidecar and --kernel, --style or --signature say the same thing twice.",
            "Nothing was written.",
            "Give the sidecar, or the others.",
        )
    if not told and (sidecar or (beside and is_there(beside))):
        chosen = read_provenance(sidecar or beside)  # type: ignore[arg-type]
    else:
        chosen = _signature(kernel, style, closing)
    if source == "-":
        done = Signed(change_text(_stdin(), lambda text: unsign_text(text, chosen)), 1)
    else:
        done = unsign_file(source, chosen)
    if output is None:
        _print(done)
    else:
        write_all({output: done.text})
        click.echo(f"{output}: {done.prompts} unsigned", err=True)


def _signature(kernel: str | None, style: str | None, closing: str | None) -> Signature:
    if closing is not None and closing.startswith("@"):
        closing = read_text(Path(closing[1:]), "signature")
    return signature(_kernel(kernel or "txt"), style or "sandwich", closing)  # type: ignore[arg-type]


def _kernel(option: str) -> Kernel:
    if option in BUILT_IN:
        return load_kernel(option, BUILT_IN[option])
    return load_kernel(*parse_kernel_option(option))


def _stdin() -> str:
    raw = sys.stdin.buffer.read() if sys.stdin else b""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise LemError(
            f"Standard input is not UTF-8: byte 0x{raw[e.start]:02x} at offset {e.start}.",
            "The prompt could not be kept as it is; nothing was written.",
            "Convert it, for example: iconv -f WINDOWS-1252 -t UTF-8",
        ) from None
    if not text.strip():
        raise LemError("Standard input is empty.", "Nothing was written.", "Pipe a prompt in.")
    return text


def _refuse_loss(*outputs: Path) -> None:
    there = [path for path in outputs if is_there(path)]
    if there:
        raise LemError(
            f"{there[0]} is already there.",
            "It would be lost; nothing was written.",
            "Name another --output, or add --overwrite.",
        )


def _print(done: Signed) -> None:
    click.echo(
        done.text.encode("utf-8"), nl=False
    )  # as a file has it, whatever the terminal's code
