"""A model hub on this machine: the addresses that huggingface_hub asks, with a test's files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories by name: files, or the code of an error that the hub answers with."""

    def __init__(self) -> None:
        self.repositories: dict[str, Path] = {}
        self.errors: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.url = ""


def _is_lfs(file: Path) -> bool:
    return file.suffix in (".safetensors", ".gguf")


def _entry(file: Path, root: Path) -> dict[str, Any]:
    data = file.read_bytes()
    sha1 = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    made: dict[str, Any] = {
        "type": "file",
        "path": str(file.relative_to(root)),
        "size": len(data),
        "oid": sha1,
    }
    if _is_lfs(file):
        digest = hashlib.sha256(data).hexdigest()
        made["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
    return made


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """Run one until the block ends."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = urlparse(self.path).path.strip("/")
            hub.asked.append(f"{self.command} {path}")
            parts = path.split("/")
            if path.startswith("api/models/"):
                parts = parts[2:]
            repo = "/".join(parts[:2])
            if repo in hub.errors:
                status, code = hub.errors[repo]
                return self._send(status, b"{}", {"X-Error-Code": code})
            if repo not in hub.repositories:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            root, rest = hub.repositories[repo], parts[2:]
            if rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            entries = [_entry(f, root) for f in sorted(root.rglob("*")) if f.is_file()]
            if path.startswith("api/models/") and rest[:1] == ["tree"]:
                return self._send(200, json.dumps(entries).encode())
            if path.startswith("api/models/"):
                siblings = [
                    {
                        "rfilename": e["path"],
                        "size": e["size"],
                        "blobId": e["oid"],
                        **({"lfs": {**e["lfs"], "sha256": e["lfs"]["oid"]}} if "lfs" in e else {}),
                    }
                    for e in entries
                ]
                about = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings}
                return self._send(200, json.dumps(about).encode())
            file = root / "/".join(rest[2:])
            if rest[:1] != ["resolve"] or not file.is_file():
                return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            entry = _entry(file, root)
            tag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
            if "lfs" in entry:
                headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(entry["size"])}
            return self._send(200, file.read_bytes(), headers, body=body)

        def _send(
            self, status: int, data: bytes, headers: dict[str, str] | None = None, body: bool = True
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body and self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
