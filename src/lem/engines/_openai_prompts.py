"""What prompts a server makes of messages, as far as it can be found out.

Three cases. llama.cpp's server renders and tokenizes for us: the text and the tokens are known.
vLLM does not show the text but tells the tokens (``/tokenize``), in which the kernel can be looked
for. Of any other server only the number of tokens is known, after they were read.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import httpx

from lem.engines._openai_answer import Rejected, Reply, is_ids
from lem.engines._openai_output import THINK
from lem.engines._openai_server import Server, json_object
from lem.engines._openai_wire import Wire
from lem.errors import LemError
from lem.prompts import (
    FROZEN_DATE,
    TemplateFacts,
    TemplateRefused,
    inspect_template,
    occurrences,
)
from lem.prompts.template import THINKING_SWITCHES
from lem.records import Message
from lem.text import sha256

_SENTINEL_WORDS = 60
_STOPPED = "Nothing was run."
_USER: Message = {"role": "user", "content": "LEMSENTINELUSER"}
_HARD: Message = {"role": "user", "content": "What is 17 times 23, minus 4, times 19?"}
_HARD_TOKENS = 16
#: Tokens at the end of a prompt that are looked at for an opening tag.
_TAIL = 16
#: No word twice, so that its tokens are found once where the message stands once.
_SYSTEM = (
    "Seven quiet herons crossed amber rivers before dawn while old painters counted silver bells "
    "under cloudy northern hills, and nobody asked why."
)


def switches(thinking: bool | None) -> dict[str, Any]:
    """The field that tells llama.cpp's server and vLLM what to tell a chat template."""
    if thinking is None:
        return {}
    return {"chat_template_kwargs": dict.fromkeys(THINKING_SWITCHES, thinking)}


class Prompts:
    """The prompts of one server, or of several that are the same.

    Args:
        name: the model, as the server calls it.
        wires: to each of them; the first that answers is asked.
        server: what they are.
        thinking: what the chat template is told of it.
        ask: sends messages as for a real answer, of so many tokens.
    """

    def __init__(
        self,
        name: str,
        wires: Sequence[Wire],
        server: Server,
        thinking: bool | None,
        ask: Callable[[Sequence[Message], int], Reply],
    ) -> None:
        self.name, self.server = name, server
        self._wires, self._switches, self._ask = list(wires), switches(thinking), ask
        self._known: dict[tuple[str, bool, bool], list[int]] = {}

    @cached_property
    def facts(self) -> TemplateFacts:
        if self.server.template:
            facts = self._facts_rendered()
        else:
            facts = self._facts_by_ids() if self.tells_ids else self._facts_counted()
        if self._switches and facts.thinking_switch is False:
            raise LemError(
                f"The chat template of {self.name} has no switch for reasoning.",
                f"Every answer would be the same as without the option. {_STOPPED}",
                "Leave out --thinking or --no-thinking.",
            )
        return facts

    @cached_property
    def unsplit(self) -> bool:
        """Whether prompts end by opening the reasoning, and the server leaves it in the answer's
        text: found out by a question that nobody answers without thinking."""
        if not self.facts.reasoning_opened:
            return False
        reply = self._ask([_HARD], _HARD_TOKENS)
        return reply.reasoning is None and bool(reply.final)

    @cached_property
    def tells_ids(self) -> bool:
        """Whether the server tells the tokens of a prompt that it does not show, and they are the
        ones that it reads: some models (GPT-OSS) are given prompts that /tokenize knows nothing
        of."""
        if self.server.kind != "vLLM":
            return False
        for messages in ([_USER], [{"role": "system", "content": _SYSTEM}, _USER]):
            try:
                told, read = self._chat_ids(messages), self._ask(messages, 1)
            except (TemplateRefused, Rejected):
                if messages == [_USER]:
                    return False
                continue  # no system role: that is found out below
            if told != read.prompt_ids and (read.prompt_ids or len(told) != read.prompt_tokens):
                return False
        return True

    def render(self, messages: Sequence[Message], date: datetime.date = FROZEN_DATE) -> str:
        """See `lem.engines.openai.OpenAIEngine.render`."""
        return self._rendered(messages, self._switches)

    def _rendered(self, messages: Sequence[Message], switches: dict[str, Any]) -> str:
        if not self.server.template:
            raise TemplateRefused("this server renders out of sight")
        body = {"model": self.name, "messages": list(messages), **switches}
        wire, response = self._post("/apply-template", body)
        prompt = json_object(response).get("prompt")
        if not isinstance(prompt, str):
            raise TemplateRefused(wire.said(response))
        return prompt

    def tokenize(self, text: str) -> list[int] | None:
        return self._ids(text, add=True, special=True) if self.server.template else None

    def foreign_tokens(self, text: str) -> bool:
        if not self.server.template:
            return False
        read = self._ids(text, add=False, special=True)
        return read != self._ids(text, add=False, special=False)

    def chat_ids(self, messages: Sequence[Message]) -> list[int] | None:
        """See `lem.prompts.TellsIds`."""
        return self._chat_ids(messages) if self.tells_ids else None

    def text_ids(self, text: str) -> list[int]:
        """See `lem.prompts.TellsIds`."""
        body = {"model": self.name, "prompt": text, "add_special_tokens": False}
        return self._tokens(*self._post("/tokenize", body))

    def _chat_ids(
        self, messages: Sequence[Message], told: dict[str, Any] | None = None
    ) -> list[int]:
        body = {
            "model": self.name,
            "messages": list(messages),
            "add_generation_prompt": True,
            **(self._switches if told is None else told),
        }
        wire, response = self._post("/tokenize", body)
        if not response.is_success:
            raise TemplateRefused(wire.said(response))
        return self._tokens(wire, response)

    def _text(self, ids: Sequence[int]) -> str:
        """Of some tokens; empty where the server cannot tell."""
        _, response = self._post("/detokenize", {"model": self.name, "tokens": list(ids)})
        text = json_object(response).get("prompt")
        return text if isinstance(text, str) else ""

    def _ids(self, text: str, *, add: bool, special: bool) -> list[int]:
        known = self._known.get((text, add, special))
        if known is not None:
            return known
        body = {"model": self.name, "content": text, "add_special": add, "parse_special": special}
        ids = self._tokens(*self._post("/tokenize", body))
        self._known[text, add, special] = ids
        return ids

    def _tokens(self, wire: Wire, response: httpx.Response) -> list[int]:
        ids = json_object(response).get("tokens")
        if not is_ids(ids):
            raise LemError(
                f"The server {wire.address.shown} gave no tokens: {wire.said(response)}.",
                _STOPPED,
                "Update the server: its /tokenize must return a list of ids.",
            )
        return list(ids or [])

    def _post(self, path: str, body: dict[str, Any]) -> tuple[Wire, httpx.Response]:
        """From the first server that answers; one that does not is not asked first again."""
        for _ in self._wires[1:]:
            wire = self._wires[0]
            try:
                return wire, wire.call(f"{wire.address.root}{path}", body)
            except Rejected:
                raise  # a wrong key is wrong everywhere
            except LemError:
                self._wires = [*self._wires[1:], wire]
        wire = self._wires[0]
        return wire, wire.call(f"{wire.address.root}{path}", body)

    def _facts_rendered(self) -> TemplateFacts:
        plain = self.tokenize(self.render([{"role": "user", "content": "x"}])) or []
        bos = self._ids(self.server.bos_token, add=False, special=True)
        wants_bos = len(bos) == 1 and self._ids("x", add=True, special=True)[:1] == bos
        leading = next((i for i, t in enumerate(plain) if [t] != bos), len(plain))
        facts = inspect_template(
            self.render,
            can_date=False,
            bos_tokens=leading if wants_bos else None,
            template_sha256=sha256(self.server.template or ""),
        )
        on, off = (self._rendered([_USER], switches(thinking)) for thinking in (True, False))
        return facts.model_copy(update={"thinking_switch": on != off})

    def _facts_by_ids(self) -> TemplateFacts:
        """What becomes of a system message, from the tokens of the prompt."""
        bare = self._chat_ids([_USER])
        on, off = (self._chat_ids([_USER], switches(thinking)) for thinking in (True, False))
        known = TemplateFacts(
            visible=False,
            system="unknown",
            thinking_switch=on != off,
            reasoning_opened=self._text(bare[-_TAIL:]).rstrip().endswith(THINK.open),
        )
        try:
            full = self._chat_ids([{"role": "system", "content": _SYSTEM}, _USER])
        except TemplateRefused:
            return known.model_copy(update={"system": "refused"})
        times = occurrences(self.text_ids(_SYSTEM), full)
        if times != 1:
            return known.model_copy(update={"system": "repeated" if times else "ignored"})
        try:
            differs = self._chat_ids([{"role": "system", "content": ""}, _USER]) != bare
        except TemplateRefused:
            differs = False
        return known.model_copy(update={"system": "supported", "empty_system_differs": differs})

    def _facts_counted(self) -> TemplateFacts:
        """What a server does with a system message, from how many tokens it says it read."""
        words = " ".join(["SENTINEL"] * _SENTINEL_WORDS)
        bare = self._ask([_USER], 1).prompt_tokens
        try:
            full = self._ask([{"role": "system", "content": words}, _USER], 1).prompt_tokens
        except Rejected as e:
            if e.status not in (400, 422):
                raise
            return TemplateFacts(visible=False, system="refused")
        if bare is None or full is None:
            return TemplateFacts(visible=False, system="unknown")
        if full - bare < _SENTINEL_WORDS / 2:
            return TemplateFacts(visible=False, system="ignored")
        try:
            empty = self._ask([{"role": "system", "content": ""}, _USER], 1).prompt_tokens
        except Rejected:
            empty = bare
        differs = empty is not None and empty != bare
        return TemplateFacts(visible=False, system="supported", empty_system_differs=differs)
