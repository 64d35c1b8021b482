"""Chat templates: rendering them, and finding out by sentinels what they do with messages.

Templates come with the weights, so they are untrusted code: they run in Jinja's immutable
sandbox. The environment has what the field's templates rely on (`raise_exception`,
`strftime_now`, a `tojson` that does not escape HTML, loop controls, `generation` blocks).
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lem.errors import LemError
from lem.prompts.reasoning import opens_reasoning
from lem.records import Message, Record
from lem.text import excerpt, sha256

#: The date every template is told. A template that writes today's date would make the same probe
#: another prompt tomorrow, and no run could be resumed.
FROZEN_DATE = datetime.date(2026, 1, 1)

#: Variables by which templates are told to reason or not (Qwen 3; Granite and DeepSeek 3.1).
THINKING_SWITCHES = ("enable_thinking", "thinking")

_OTHER_DATE = datetime.date(2019, 7, 14)
_SYSTEM, _USER = "LEMSENTINELSYSTEM", "LEMSENTINELUSER"

SystemRole = Literal["supported", "folded", "ignored", "refused", "repeated", "unknown"]


class TemplateRefused(Exception):
    """A chat template (or the server behind it) does not accept these messages."""


class TemplateFacts(Record):
    """What a chat template does, found by rendering sentinels."""

    visible: bool = True
    """False: a server renders out of sight, and only token counts could be looked at."""
    system: SystemRole
    """supported: in a block of its own; folded: put in front of the user's text, in the user
    turn; ignored: left out without a word; refused: an error; repeated: written more than once;
    unknown: could not be found out."""
    default_system: str | None = None
    """The system text that the template inserts when none is given, if it does."""
    empty_system_differs: bool = False
    """An explicit empty system message gives another prompt than none."""
    dated: bool | None = None
    """The template writes the date (which is then frozen); None: not known."""
    frozen_date: str | None = None
    bos_tokens: int | None = None
    """Beginning-of-sequence tokens at the start of a rendered prompt; None where the model does
    not use one or the ids are not known."""
    template_sha256: str | None = None
    thinking_switch: bool | None = None
    """The template writes another prompt when told to reason than when told not to; None: not
    known."""
    reasoning_opened: bool = False
    """The prompt ends with an opening reasoning tag, which the answer then does not repeat."""


class _GenerationBlock(Extension):
    """`{% generation %}…{% endgeneration %}` marks assistant text for training; here it is
    transparent."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: str) -> None:
    raise TemplateRefused(message)


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    options.setdefault("ensure_ascii", False)
    return json.dumps(value, indent=indent, **options)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment


class ChatTemplate:
    """A model's own chat template.

    Args:
        source: the Jinja text that came with the weights.
        bos_token, eos_token: their texts, for templates that write them.
        thinking: what a template with a switch for reasoning is told; None: its own default.
    """

    def __init__(
        self,
        source: str,
        bos_token: str = "",
        eos_token: str = "",
        thinking: bool | None = None,
    ) -> None:
        self.source, self.thinking = source, thinking
        self.sha256 = sha256(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = _environment().from_string(source)
        except (jinja2.TemplateError, RecursionError) as e:
            raise LemError(
                f"The model's chat template is not valid: {excerpt(str(e), 120)}.",
                "No prompt could be rendered; nothing was run.",
                "Use a model file with a working template, or serve it and use openai:NAME.",
            ) from None

    def render(
        self,
        messages: Sequence[Message],
        date: datetime.date = FROZEN_DATE,
        *,
        thinking: bool | None = None,
        answer: bool = True,
    ) -> str:
        """The prompt text, up to where the assistant's answer begins.

        Args:
            messages: of the conversation.
            date: that the template is told is today.
            thinking: instead of the template's own setting, unless None.
            answer: False: only the messages themselves, without the start of an answer.

        Raises:
            TemplateRefused: the template does not accept these messages.
        """

        def strftime_now(form: str) -> str:
            return date.strftime(form)

        thinking = self.thinking if thinking is None else thinking
        # Templates ask whether a variable is defined: what is not set must stay undefined.
        told = {} if thinking is None else dict.fromkeys(THINKING_SWITCHES, thinking)
        try:
            return self._template.render(
                messages=list(messages),
                add_generation_prompt=answer,
                tools=None,  # as transformers tells it: some templates ask whether it is none
                documents=None,
                strftime_now=strftime_now,
                date_string=date.strftime("%d %b %Y"),
                **told,
                **self._tokens,
            )
        except TemplateRefused:
            raise
        except Exception as e:  # it is code of the model's makers, and may do anything wrong
            raise TemplateRefused(str(e) or type(e).__name__) from None


def check_switch(template: ChatTemplate, name: str) -> None:
    """Refuse a setting for reasoning that the template would not heed.

    Args:
        template: with the setting.
        name: of the model.

    Raises:
        LemError: it is told to reason or not to, and writes the same prompt either way.
    """
    user = {"role": "user", "content": _USER}
    if template.thinking is None:
        return
    try:
        template.render([user])
    except TemplateRefused:
        return  # `inspect_template` says what is wrong
    if not _has_switch(template.render, user):
        raise LemError(
            f"The chat template of {name} has no switch for reasoning.",
            "Every answer would be the same as without the option; nothing was run.",
            "Leave out --thinking or --no-thinking.",
        )


def inspect_template(
    render: Callable[..., str],
    *,
    can_date: bool,
    bos_tokens: int | None = None,
    template_sha256: str | None = None,
) -> TemplateFacts:
    """Find out by sentinels what a template does.

    Args:
        render: messages -> text, and with ``can_date`` also keywords ``date`` and ``thinking``.
        can_date: whether the date and the switch for reasoning can be set (else ``dated`` and
            ``thinking_switch`` stay unknown).
        bos_tokens, template_sha256: passed on into the facts.

    Raises:
        LemError: not even a lone user message comes out once.
    """
    user = {"role": "user", "content": _USER}
    try:
        bare = render([user])
    except TemplateRefused as e:
        bare, why = "", excerpt(str(e), 120)
    else:
        why = "it leaves the user's text out"
    if bare.count(_USER) != 1:
        raise LemError(
            f"The model's chat template cannot render a plain user message: {why}.",
            "No probe can be put to this model; nothing was run.",
            "Use the instruction-tuned version of the model, which has a chat template.",
        )
    dated = bare != render([user], date=_OTHER_DATE) if can_date else None
    switch = _has_switch(render, user) if can_date else None

    default = None
    system, full = _system_role(render, user)
    if system == "supported":
        before, after = full.split(_SYSTEM)
        if bare.startswith(before) and bare.endswith(after):
            default = bare[len(before) : len(bare) - len(after)].strip() or None
    empty_differs = False
    if system != "refused":
        try:
            empty_differs = render([{"role": "system", "content": ""}, user]) != bare
        except TemplateRefused:
            empty_differs = False
    return TemplateFacts(
        system=system,
        default_system=default,
        empty_system_differs=empty_differs,
        dated=dated,
        frozen_date=FROZEN_DATE.isoformat() if dated else None,
        bos_tokens=bos_tokens,
        template_sha256=template_sha256,
        thinking_switch=switch,
        reasoning_opened=opens_reasoning(bare),
    )


def _has_switch(render: Callable[..., str], user: Message) -> bool:
    try:
        return render([user], thinking=True) != render([user], thinking=False)
    except TemplateRefused:
        return False


def _system_role(render: Callable[..., str], user: Message) -> tuple[SystemRole, str]:
    try:
        full = render([{"role": "system", "content": _SYSTEM}, user])
    except TemplateRefused:
        return "refused", ""
    count = full.count(_SYSTEM)
    if count == 0 or _USER not in full:
        return "ignored", full
    if count > 1:
        return "repeated", full
    between = full[full.index(_SYSTEM) + len(_SYSTEM) : full.index(_USER)]
    return ("folded" if not between.strip() else "supported"), full
