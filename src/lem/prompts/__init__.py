"""From (probe, condition, template) to messages, text, token ids and hash."""

from lem.prompts.render import Arm, Rendered, Renderer, plan_arms, render
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
    "TemplateFacts",
    "TemplateRefused",
    "inspect_template",
    "plan_arms",
    "render",
]
