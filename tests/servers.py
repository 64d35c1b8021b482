"""A server on this machine whose answers a test writes."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lem.records import Request, Sampling
from lem.text import dump_json, sha256

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


def request(
    question: str = "Well?",
    token_ids: list[int] | None = None,
    condition: str = "baseline",
    system: str | None = None,
    **more: Any,
) -> Request:
    """A request as the planner would make it."""
    messages = [{"role": "user", "content": question}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    text = dump_json(messages)
    return Request(
        key=sha256(condition + question),
        probe=question,
        condition=condition,
        sample=0,
        messages=messages,
        prompt=text,
        prompt_sha256=sha256(text),
        token_ids=token_ids,
        sampling=Sampling(**{"max_tokens": 9, **more}),
        seed=5,
    )


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
    template_refuses: Iterable[str] = (),
    extra_tokens: int = 0,
    marks: str = "<|end|>",
    template: str = "{{ messages }}",
    ending: Callable[[Body], str] = lambda _: "",
    **props: Any,
) -> dict[str, Any]:
    """Pages of something like llama.cpp's server, with bytes for tokens.

    Args:
        template_refuses: roles that its template raises an error for.
        extra_tokens: by which /tokenize is wrong.
        marks: a control token.
        template: as /props shows it.
        ending: what it writes last, from the template's variables.
        props: more of /props, or other.
    """

    def apply_template(body: Body) -> Step:
        for message in body["messages"]:
            if message["role"] in template_refuses:
                error = {"code": 500, "message": f"{message['role']} role not supported"}
                return status(500, {"error": error})
        prompt = "".join(f"<{m['role']}>{m['content']}\n" for m in body["messages"])
        return status(200, {"prompt": prompt + ending(body.get("chat_template_kwargs", {}))})

    def tokenize(body: Body) -> Step:
        text = body["content"]
        if body["parse_special"]:
            text = text.replace(marks, "\x00")
        return status(200, {"tokens": list(text.encode()) + [0] * extra_tokens})

    props = {
        "default_generation_settings": {"n_ctx": 512},
        "total_slots": 3,
        "chat_template": template,
        "build_info": "b1-test",
        "model_path": "/somewhere/model.gguf",
    } | props
    model = {"id": "m", "owned_by": "llamacpp", "meta": {"n_params": 7, "n_ctx": 512}}
    return {
        "/v1/models": status(200, {"data": [model]}),
        "/props": status(200, props),
        "/apply-template": page(apply_template),
        "/tokenize": page(tokenize),
    }


class VLLM:
    """Something like vLLM, with bytes for tokens: its pages, and its answers.

    It follows the fields of vLLM's own protocol: ``/tokenize`` takes messages or a prompt,
    ``/detokenize`` tokens, and with ``return_token_ids`` the first chunk of a streamed answer has
    the prompt's tokens, as ``prompt_token_ids`` beside ``choices``.

    Args:
        system: what the template does with a system message.
        ending: what it writes last, from the template's variables.
        reads: the tokens that are really read, from those that /tokenize tells.
        text: what is answered.
        fields: of the model's entry in /v1/models.
    """

    def __init__(
        self,
        system: Callable[[str], str] = lambda text: text,
        ending: Callable[[Body], str] = lambda _: "<assistant>",
        reads: Callable[[list[int]], list[int]] = lambda ids: ids,
        text: Callable[[Body], Body] = lambda _: delta("Yes."),
        **fields: Any,
    ) -> None:
        self.system, self.ending, self.reads, self.text = system, ending, reads, text
        self.version = "0.11.0"
        self.tells_ids = True
        model = {"id": "m", "owned_by": "vllm", "root": "org/m", "max_model_len": 4096} | fields
        self.pages: dict[str, Any] = {
            "/v1/models": status(200, {"data": [model]}),
            "/version": page(lambda _: status(200, {"version": self.version})),
            "/tokenize": page(self.tokenize),
            "/detokenize": page(
                lambda body: status(200, {"prompt": bytes(body["tokens"]).decode()})
            ),
        }

    def ids(self, body: Body) -> list[int]:
        said = [
            f"<{m['role']}>{self.system(m['content']) if m['role'] == 'system' else m['content']}"
            for m in body["messages"]
        ]
        ending = self.ending(body.get("chat_template_kwargs", {}))
        return list(("\n".join(said) + ending).encode())

    def tokenize(self, body: Body) -> Step:
        if "prompt" in body:
            assert body["add_special_tokens"] is False
            ids = list(body["prompt"].encode())
        else:
            assert body["add_generation_prompt"] is True
            ids = self.ids(body)
        return status(200, {"count": len(ids), "max_model_len": 4096, "tokens": ids})

    def chat(self, body: Body) -> Step:
        ids = self.reads(self.ids(body))
        first = delta("", role="assistant")
        if self.tells_ids and body.get("return_token_ids"):
            first["prompt_token_ids"] = ids
        answer = self.text(body)
        answer["choices"][0]["token_ids"] = [1, 2]
        return stream(first, answer, delta(finish="stop"), usage(len(ids), 2))
