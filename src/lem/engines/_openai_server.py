"""Finding out what an OpenAI-compatible server is, and whether it has the model."""

from __future__ import annotations

import dataclasses
import difflib
import re
import urllib.parse
from collections.abc import Sequence
from typing import Any, Literal

import httpx

from lem.engines._openai_wire import Wire
from lem.errors import LemError
from lem.text import excerpt, sha256

#: What of llama.cpp's description of a model pins its weights.
_META = ("vocab_type", "n_vocab", "n_ctx_train", "n_embd", "n_params", "size", "ftype")
_STOPPED = "Nothing was run."
#: Requests that vLLM is given at a time: it batches hundreds, but does not say how many.
_VLLM_SLOTS = 32

#: Notes that an engine changes when it knows more.
UNSEEN = "The server renders prompts out of sight: they were not checked."
SEEN_BY_IDS = (
    "The server renders prompts out of sight but tells their tokens: the kernel was looked for in "
    "them, and each answer is to the tokens that were planned."
)

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


def agree(servers: Sequence[Server], addresses: Sequence[str]) -> None:
    """Check that several servers are the same.

    Raises:
        LemError: two differ; it names the field and the servers.
    """
    for server, address in zip(servers[1:], addresses[1:]):
        differs = difference(servers[0], server)
        if differs:
            field, one, other = differs
            raise LemError(
                f"The servers {addresses[0]} and {address} differ in their {field}: {one} and "
                f"{other}.",
                f"Their answers would not be of one model. {_STOPPED}",
                "Start them with the same program, model and options, or leave one out.",
            )


def difference(one: Server, other: Server) -> tuple[str, str, str] | None:
    """The first thing in which two servers differ: its name, and what each has."""
    for field in ("kind", "version", "fingerprint", "context_length", "template"):
        a, b = getattr(one, field), getattr(other, field)
        if field == "fingerprint":
            name = next((n for n in sorted(a.keys() | b.keys()) if _pin(a, n) != _pin(b, n)), None)
            if name is None:
                continue
            field, a, b = f"fingerprint ({name})", _pin(a, name), _pin(b, name)
        if a != b:
            return field.replace("_", " "), excerpt(repr(a), 60), excerpt(repr(b), 60)
    return None


def _pin(fingerprint: dict[str, Any], name: str) -> Any:
    """One entry of a fingerprint; where a server is, is no difference."""
    return None if name == "base_url" else fingerprint.get(name)


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
        props = json_object(wire.call(url))
    else:
        try:
            props = json_object(wire.get(url))
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
    told = json_object(wire.call(f"{wire.address.root}/version"))
    context = entry.get("max_model_len")
    told_of = {key: entry.get(key) for key in ("root", "parent")}
    pins = {key: excerpt(v, 200) for key, v in told_of.items() if isinstance(v, str)}
    return Server(
        kind="vLLM",
        version=excerpt(str(told.get("version", ""))),
        fingerprint={"server": "vLLM", "name": name, **pins},
        context_length=context if isinstance(context, int) else None,
        slots=_VLLM_SLOTS,
    )


def notes_on(servers: Sequence[Server]) -> list[str]:
    """What a reader of the run should know about its servers, which are the same."""
    server = servers[0]
    notes = [
        "The server does not tell its weights' hash: other weights under the same name would "
        "not be noticed."
    ]
    if not server.template:
        notes.append(UNSEEN)
    elif re.search(r"strftime_now|date_string", server.template):
        notes.append(
            "The chat template may write the server's date, which cannot be frozen: on another "
            "day the prompts are others."
        )
    if len(servers) > 1:
        notes.append(f"{len(servers)} servers shared the work.")
    if len(servers) > 1 and server.kind == "unknown":
        notes.append("The servers do not tell whether they have the same weights.")
    return notes


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a success; empty where it is none."""
    try:
        value = response.json() if response.is_success else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}
