"""A server on this machine whose answers a test writes."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
#: Writes one response.
Step = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, value: Any, kind: str = "application/json", **headers: str) -> Step:
    """A whole body: JSON, or the text itself for another kind."""
    raw = (value if isinstance(value, str) else json.dumps(value)).encode()

    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(raw)))
        handler.send_header("Connection", "close")
        for name, text in headers.items():
            handler.send_header(name.replace("_", "-"), text)
        handler.end_headers()
        handler.wfile.write(raw)

    return step


def stream(*events: Any, done: bool = True, cut: bool = False) -> Step:
    """An event stream. Bytes are sent as they are, everything else as JSON.

    Args:
        done: end with [DONE].
        cut: promise more than is sent, so that the end looks like a broken connection.
    """
    lines = [
        e if isinstance(e, bytes) else b"data: %b\n\n" % json.dumps(e).encode() for e in events
    ]
    raw = b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")

    def step(handler: BaseHTTPRequestHandler) -> None:
        begin_stream(handler, len(raw) + 100 if cut else len(raw))
        handler.wfile.write(raw)

    return step


def begin_stream(handler: BaseHTTPRequestHandler, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Connection", "close")
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def delta(text: str | None = None, finish: str | None = None, **fields: Any) -> Body:
    """One chunk of an answer."""
    content = {} if text is None else {"content": text}
    return {"choices": [{"index": 0, "delta": content | fields, "finish_reason": finish}]}


def usage(prompt: int, completion: int, **more: Any) -> Body:
    """The chunk with the counts."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"choices": [], "usage": counts | more}


def says(text: str = "Yes.", prompt: int = 7, completion: int = 2) -> Step:
    """A good answer."""
    return stream(delta(text), delta(finish="stop"), usage(prompt, completion))


def in_turn(*steps: Step) -> Callable[[Body], Step]:
    """One step a request; the last one for all that follow."""
    rest = list(steps)
    return lambda _: rest.pop(0) if len(rest) > 1 else rest[0]


class Server:
    """Listens on a free port of 127.0.0.1 while it is a context.

    Args:
        chat: what to answer to a request for a chat completion.
        pages: what to answer at other paths; "/v1/models" lists the model "m" if not given.
    """

    def __init__(
        self, chat: Callable[[Body], Step] | None = None, pages: dict[str, Any] | None = None
    ) -> None:
        self.chat = chat or in_turn(says())
        self.pages = {"/v1/models": status(200, {"data": [{"id": "m"}]})} | (pages or {})
        self.bodies: list[Body] = []
        """Of the requests for chat completions."""
        self.headers: list[dict[str, str]] = []
        """Of all requests."""
        self.paths: list[str] = []
        self.over = threading.Event()
        """Set when the server is shut down, for steps that hang."""

    def __enter__(self) -> "Server":
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self, {})

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                server.answer(self, json.loads(self.rfile.read(length)))

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.block_on_close = False
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def answer(self, handler: BaseHTTPRequestHandler, body: Body) -> None:
        path = handler.path.partition("?")[0]
        self.paths.append(path)
        self.headers.append(dict(handler.headers))
        if path == "/v1/chat/completions":
            self.bodies.append(body)
            step: Any = self.chat(body)
        else:
            step = self.pages.get(path, status(404, {"error": {"message": "no such page"}}))
            if not callable(step):
                step = step[0](body)
        with contextlib.suppress(OSError):  # the other side has gone
            step(handler)


def page(answer: Callable[[Body], Step]) -> list[Callable[[Body], Step]]:
    """For `Server.pages`: an answer that depends on the body."""
    return [answer]


def llama_pages(
    template_refuses: Iterable[str] = (), extra_tokens: int = 0, marks: str = "<|end|>"
) -> dict[str, Any]:
    """Pages of something like llama.cpp's server, with bytes for tokens.

    Args:
        template_refuses: roles that its template raises an error for.
        extra_tokens: by which /tokenize is wrong.
        marks: a control token.
    """

    def apply_template(body: Body) -> Step:
        for message in body["messages"]:
            if message["role"] in template_refuses:
                error = {"code": 500, "message": f"{message['role']} role not supported"}
                return status(500, {"error": error})
        prompt = "".join(f"<{m['role']}>{m['content']}\n" for m in body["messages"])
        return status(200, {"prompt": prompt})

    def tokenize(body: Body) -> Step:
        text = body["content"]
        if body["parse_special"]:
            text = text.replace(marks, "\x00")
        return status(200, {"tokens": list(text.encode()) + [0] * extra_tokens})

    props = {
        "default_generation_settings": {"n_ctx": 512},
        "total_slots": 3,
        "chat_template": "{{ messages }}",
        "build_info": "b1-test",
        "model_path": "/somewhere/model.gguf",
    }
    model = {"id": "m", "owned_by": "llamacpp", "meta": {"n_params": 7, "n_ctx": 512}}
    return {
        "/v1/models": status(200, {"data": [model]}),
        "/props": status(200, props),
        "/apply-template": page(apply_template),
        "/tokenize": page(tokenize),
    }
