"""From (probe, condition, template) to messages, text, token ids and hash."""

from lem.prompts.render import (
    Arm,
    Rendered,
    Renderer,
    TellsIds,
    occurrences,
    plan_arms,
    render,
)
from lem.prompts.template import (
    FROZEN_DATE,
    ChatTemplate,
    TemplateFacts,
    TemplateRefused,
    inspect_template,
)

__all__ = [
    "FROZEN_DATE",
    "Arm",
    "ChatTemplate",
    "Rendered",
    "Renderer",
    "TellsIds",
    "TemplateFacts",
    "TemplateRefused",
    "inspect_template",
    "occurrences",
    "plan_arms",
    "render",
]
