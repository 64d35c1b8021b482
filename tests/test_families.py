"""Families of models: recognised by their templates, and checked against what these do.

The templates here are written for these tests. Each has the habits of its family, and as few marks
of it as will do.
"""

from __future__ import annotations

import json
import re

import pytest

from conftest import REPOSITORY
from lem.conditions import all_conditions, choose
from lem.engines.llamacpp import LlamaEngine
from lem.engines.outputs import Answer, parse, style_of
from lem.engines.replay import EchoEngine
from lem.errors import LemError
from lem.probes import load_probes
from lem.prompts import FROZEN_DATE, ChatTemplate, TemplateFacts, TemplateRefused, inspect_template
from lem.prompts.families import check, end_of_turn, families, family_notes, recognise
from lem.prompts.template import check_switch
from lem.records import Sampling
from lem.runs import make_plan
from lem.runs.manifest import read_manifest, write_manifest
from lem.runs.store import ResponseStore

FIRST = "{% set first = messages[0] %}{% set given = first.role == 'system' %}"
REST = "{% set rest = messages[1:] if given else messages %}"


def turns(start: str, middle: str, end: str, answer: str, assistant: str = "assistant") -> str:
    """Every message between marks, then the start of an answer."""
    return (
        "{% for m in rest %}{% set role = '" + assistant + "' if m.role == 'assistant' else m.role"
        " %}" + start + "{{ role }}" + middle + "{{ m.content }}" + end + "{% endfor %}"
        "{% if add_generation_prompt %}" + answer + "{% endif %}"
    )


CHATML = turns("<|im_start|>", "\n", "<|im_end|>\n", "<|im_start|>assistant\n")
SYSTEM_BLOCK = "{% if given %}<|im_start|>system\n{{ first.content }}<|im_end|>\n{% endif %}"
HEADERS = turns(
    "<|start_header_id|>",
    "<|end_header_id|>\n\n",
    "<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
)
GEMMA = turns(
    "<start_of_turn>", "\n", "<end_of_turn>\n", "<start_of_turn>model\n", assistant="model"
)
INST = (
    "{% for m in rest %}{% if m.role == 'user' %}[INST] {{ 'WHERE' }}{{ m.content }} [/INST]"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
PHI = turns("<|", "|>\n", "<|end|>\n", "<|assistant|>\n")


def defaulting(text: str) -> str:
    return (
        FIRST + REST + "<|im_start|>system\n{{ first.content if given else '" + text + "' }}"
        "<|im_end|>\n" + CHATML
    )


SWITCHED = (
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% else %}TAIL{% endif %}"
)

TEMPLATES: dict[str, str] = {
    "GPT-OSS": (
        FIRST
        + REST
        + "<|start|>system<|message|>A model.\nCurrent date: {{ strftime_now('%Y-%m-%d') }}\n"
        "Reasoning: {{ reasoning_effort | default('medium') }}<|end|>"
        "{% if given and first.content %}<|start|>developer<|message|># Instructions\n\n"
        "{{ first.content }}\n\n<|end|>{% endif %}"
        "{% for m in rest %}{% if m.role == 'user' %}<|start|>user<|message|>{{ m.content }}<|end|>"
        "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
        "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    ),
    "Gemma 4": (
        FIRST + REST + "{{ bos_token }}{% if enable_thinking or given %}<|turn>system\n"
        "{{ '<|think|>' if enable_thinking }}{{ first.content | trim if given }}<turn|>\n"
        "{% endif %}"
        + turns("<|turn>", "\n", "<turn|>\n", "<|turn>model\n", assistant="model")
        + "{% if add_generation_prompt and not enable_thinking %}"
        "<|channel>thought\n<channel|>{% endif %}"
    ),
    "Gemma 3": (
        "{{ bos_token }}"
        + FIRST
        + REST
        + "{% set first_user_prefix = first.content ~ '\n\n' if given else '' %}"
        + GEMMA.replace("{{ m.content }}", "{{ first_user_prefix if loop.first }}{{ m.content }}")
    ),
    "Gemma 1 and 2": (
        "{{ bos_token }}"
        + FIRST
        + "{% if given %}{{ raise_exception('System role not supported') }}{% endif %}"
        + REST
        + GEMMA
    ),
    "Llama 3": "{{ bos_token }}{% set rest = messages %}" + HEADERS,
    "Llama 3.1, 3.2 and 3.3": (
        "{{ bos_token }}"
        + FIRST
        + REST
        + "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
        "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: {{ date_string }}\n\n{{ first.content | trim if given }}<|eot_id|>" + HEADERS
    ),
    "Llama 2": (
        FIRST
        + REST
        + "{{ bos_token }}"
        + INST.replace(
            "{{ 'WHERE' }}",
            "{% if loop.first and given %}<<SYS>>\n{{ first.content }}\n<</SYS>>\n\n{% endif %}",
        )
    ),
    "DeepSeek-R1 and distills": (
        FIRST
        + REST
        + "{{ bos_token }}{{ first.content if given }}{% for m in rest %}{% if m.role == 'user' %}"
        "<｜User｜>{{ m.content }}{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}"
        "<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
    ),
    "SmolLM3": (
        FIRST
        + REST
        + "{% set mode = '/no_think' if enable_thinking is defined and not enable_thinking"
        " else '/think' %}<|im_start|>system\nToday: {{ strftime_now('%d %B %Y') }}\n"
        "Reasoning Mode: {{ mode }}\n\n"
        "{{ first.content if given else 'You are SmolLM.' }}<|im_end|>\n"
        + CHATML
        + "{% if add_generation_prompt and mode == '/no_think' %}<think>\n\n</think>\n{% endif %}"
    ),
    "Qwen 3": (
        FIRST
        + REST
        + SYSTEM_BLOCK
        + CHATML
        + "{% if add_generation_prompt %}"
        + SWITCHED.replace("TAIL", "")
        + "{% endif %}"
    ),
    "Qwen 3.5": (
        FIRST
        + REST
        + SYSTEM_BLOCK
        + "{% if false %}<|vision_start|>{% endif %}"
        + CHATML
        + "{% if add_generation_prompt %}"
        + SWITCHED.replace("TAIL", "<think>\n")
        + "{% endif %}"
    ),
    "QwQ and Qwen 3 Thinking": (
        FIRST
        + REST
        + SYSTEM_BLOCK
        + CHATML.replace("<|im_start|>assistant\n", "{{ '<|im_start|>assistant\\n<think>\\n' }}")
        + "{# cuts off what is before </think> #}"
    ),
    "Qwen 2.5": defaulting("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "Qwen 1.5 and 2": defaulting("You are a helpful assistant"),
    "SmolLM2": defaulting("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    "Phi-4": "{% set rest = messages %}" + CHATML.replace("\n{{ m", "<|im_sep|>{{ m"),
    "Phi-3 and Phi-4 mini": "{% set rest = messages %}" + PHI,
    "Mistral Small 3 and later, Magistral": (
        FIRST + REST + "{{ bos_token }}[SYSTEM_PROMPT]{% if given %}{{ first.content }}{% else %}"
        "Today is {{ strftime_now('%Y-%m-%d') }}. Think first: [THINK]…[/THINK]{% endif %}"
        "[/SYSTEM_PROMPT]" + INST.replace("{{ 'WHERE' }}", "")
    ),
    "Mistral 0.3, Nemo and Small 2409": (
        FIRST
        + REST
        + "{{ bos_token }}{% if tools %}[AVAILABLE_TOOLS]{% endif %}"
        + INST.replace("{{ 'WHERE' }}", "{{ first.content ~ '\n\n' if given and loop.last }}")
    ),
    "Mistral 0.1 and 0.2": (
        "{{ bos_token }}{% set rest = messages %}"
        "{% for m in messages if m.role not in ['user', 'assistant'] %}"
        "{{ raise_exception('no such role') }}{% endfor %}" + INST.replace("{{ 'WHERE' }}", "")
    ),
    "ChatML": "{% set rest = messages %}" + CHATML,
}
ALSO = {  # other templates of the same families
    "Mistral 0.2, later": (
        "Mistral 0.1 and 0.2",
        FIRST
        + REST
        + "{{ bos_token }}"
        + INST.replace("{{ 'WHERE' }}", "{{ first.content ~ '\n\n' if given and loop.first }}"),
    ),
    "DeepSeek-R1, first": (
        "DeepSeek-R1 and distills",
        TEMPLATES["DeepSeek-R1 and distills"].replace("<think>\n", ""),
    ),
    "Phi-3, first": (
        "Phi-3 and Phi-4 mini",
        TEMPLATES["Phi-3 and Phi-4 mini"].replace(
            "rest = messages", "rest = messages | rejectattr('role', 'equalto', 'system')"
        ),
    ),
}
EVERY = {name: (name, source) for name, source in TEMPLATES.items()} | ALSO


def made(source: str, thinking: bool | None = None) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>", thinking=thinking)


def facts_of(source: str) -> TemplateFacts:
    return inspect_template(made(source).render, can_date=True)


def test_every_family_has_a_template_here_and_a_row_in_the_docs():
    names = [f.name for f in families()]
    assert len(set(names)) == len(names) == len(TEMPLATES)
    assert set(names) == set(TEMPLATES)
    page = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)
    assert [row for row in rows if row in names] == names


@pytest.mark.parametrize(("name", "source"), EVERY.values(), ids=EVERY)
def test_a_template_is_recognised_and_nothing_is_odd_about_it(name, source):
    family = recognise(source)
    assert family is not None and family.name == name
    for kind in family.model_types:  # where it is known as well
        found = recognise(source, kind)
        assert found is not None
        assert found.name == name or kind == "llama" or name == "ChatML"
    style = style_of(source, [])
    mark = end_of_turn(made(source).render)
    assert mark in family.end_of_turn
    assert check(family, facts_of(source), style=style.kind, end_of_turn=mark) == []
    assert family_notes(source, facts_of(source), style=style.kind, end_of_turn=mark) == []


def test_facts_of_the_families():
    """The facts that the engines act on, one by one."""
    found = {name: facts_of(source) for name, source in TEMPLATES.items()}
    assert {n for n, f in found.items() if f.system == "refused"} == {
        "Gemma 1 and 2",
        "Mistral 0.1 and 0.2",
    }
    assert {n for n, f in found.items() if f.system == "folded"} == {
        "Gemma 3",
        "Mistral 0.3, Nemo and Small 2409",
    }
    assert {n for n, f in found.items() if f.default_system} == {
        *("Qwen 2.5", "Qwen 1.5 and 2", "SmolLM2", "SmolLM3"),
        "Mistral Small 3 and later, Magistral",
    }
    dated = {n for n, f in found.items() if f.dated}
    assert dated == {
        *("GPT-OSS", "Llama 3.1, 3.2 and 3.3", "SmolLM3"),
        "Mistral Small 3 and later, Magistral",
    }
    assert all(found[n].frozen_date == FROZEN_DATE.isoformat() for n in dated)
    assert {n for n, f in found.items() if f.thinking_switch} == {
        *("Qwen 3", "Qwen 3.5", "SmolLM3", "Gemma 4")
    }
    assert {n for n, f in found.items() if f.reasoning_opened} == {
        *("DeepSeek-R1 and distills", "Qwen 3.5", "QwQ and Qwen 3 Thinking")
    }


def test_the_switch_for_reasoning():
    asked = [{"role": "user", "content": "Why?"}]
    source = TEMPLATES["Qwen 3"]
    off, on, unset = (made(source, t).render(asked) for t in (False, True, None))
    assert off.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert on == unset == off.removesuffix("<think>\n\n</think>\n\n")
    assert made(source).render(asked, thinking=False) == off
    assert made(source, thinking=False).render(asked, thinking=True) == on
    style = style_of(source, [])
    assert parse("Yes.", style, prompt=off, ended=True) == Answer("Yes.", None, "stop", 0)
    granite = (
        "{% set rest = messages %}" + CHATML + "{{ '<think>' if thinking is defined and thinking }}"
    )
    assert facts_of(granite).thinking_switch  # the other name of the variable
    # Facts are those of the template as it is used, and the switch is found either way.
    closed = inspect_template(made(TEMPLATES["Qwen 3.5"], False).render, can_date=True)
    assert closed.thinking_switch and not closed.reasoning_opened


def test_a_template_without_a_switch_is_not_told_of_one():
    source = (
        "{% set rest = messages %}" + CHATML + "{{ 'x' if enable_thinking is defined else 'y' }}"
    )
    assert made(source).render([{"role": "user", "content": "?"}]).endswith("y")


def test_the_date_is_the_frozen_one_however_a_template_asks_for_it():
    asked = [{"role": "user", "content": "?"}]
    for name, date in (
        ("Llama 3.1, 3.2 and 3.3", "Today Date: 01 Jan 2026"),
        ("GPT-OSS", "Current date: 2026-01-01"),
        ("SmolLM3", "Today: 01 January 2026"),
    ):
        assert date in made(TEMPLATES[name]).render(asked)


CHANGED = [
    ("Gemma 3", ("{{ first_user_prefix if loop.first }}", ""), "leaves a system message out"),
    ("Gemma 1 and 2", ("{{ raise_exception", "{{ 0 and raise_exception"), "leaves a system"),
    ("Qwen 2.5", ("else 'You are Qwen", "else '' and 'You are Qwen"), "inserts none, where"),
    ("Llama 3", ("{{ bos_token }}", "{{ strftime_now('%Y') }}"), "writes the date, where"),
    ("Llama 3.1, 3.2 and 3.3", ("{{ date_string }}", "never"), "does not write the date"),
    ("Qwen 3.5", ("{% else %}<think>\n", "{% else %}"), "does not open the reasoning"),
    ("Qwen 3", ("is false", "is none"), "has no switch for reasoning"),
    ("Mistral 0.3, Nemo and Small 2409", ("~ '\n\n'", "~ '[/INST] [INST]'"), "block of its own"),
    ("Llama 3", ("{{ m.content }}<|eot_id|>", "{{ m.content }}<|eom|><|eot_id|>"), "with <|eom|>"),
    ("SmolLM2", ("{% set rest", "{# </think> #}{% set rest"), "style think, where SmolLM2 writes"),
]


@pytest.mark.parametrize(("name", "change", "expected"), CHANGED)
def test_a_template_that_was_changed_is_noted(name, change, expected):
    source = TEMPLATES[name].replace(*change)
    assert source != TEMPLATES[name]
    kind = {"Qwen 3": "qwen3", "Qwen 3.5": "qwen3_5", "Gemma 3": "gemma3_text"}.get(name)
    mark = end_of_turn(made(source).render)
    notes = family_notes(
        source, facts_of(source), model_type=kind, style=style_of(source, []).kind, end_of_turn=mark
    )
    assert len(notes) == 1 and expected in notes[0] and name in notes[0]
    assert notes[0].endswith("it may have been changed.")


def test_the_model_type_decides_between_families_with_the_same_marks():
    gemma2 = TEMPLATES["Gemma 1 and 2"].replace("System role not supported", "no")
    assert recognise(gemma2, "gemma2").name == "Gemma 1 and 2"
    swapped = family_notes(TEMPLATES["Gemma 1 and 2"], facts_of(gemma2), model_type="gemma3_text")
    assert len(swapped) == 1 and "refuses a system message, where a Gemma 3" in swapped[0]
    # but no further: a distill has its base's model type and another template
    assert recognise(TEMPLATES["DeepSeek-R1 and distills"], "qwen2").name.startswith("DeepSeek")
    assert recognise("{{ messages[0].content }}", "qwen2") is None
    assert recognise(TEMPLATES["GPT-OSS"], "gpt-oss").name == "GPT-OSS"  # as GGUF spells it


def test_what_is_not_known_is_not_held_against_a_template():
    hidden = TemplateFacts(visible=False, system="unknown")
    assert all(check(family, hidden) == [] for family in families())
    refused = TemplateFacts(visible=False, system="ignored")
    assert len(check(recognise(TEMPLATES["Llama 3"]), refused)) == 1


def test_end_of_turn():
    assert end_of_turn(made(TEMPLATES["GPT-OSS"]).render) == "<|return|>"
    assert end_of_turn(made(TEMPLATES["Llama 2"]).render) == "</s>"
    only_between = (
        "{% for m in messages %}{{ m.content }}{{ '<|x|>' if not loop.last }}{% endfor %}"
    )
    assert end_of_turn(made(only_between).render) == "<|x|>"
    assert end_of_turn(made("{{ messages[0].content }}").render) is None
    assert end_of_turn(made("{% for m in messages %}{{ m.content }} {% endfor %}").render) is None
    with pytest.raises(TemplateRefused):
        made("{{ raise_exception('no') }}").render([])
    assert end_of_turn(made("{{ raise_exception('no') }}").render) is None


def test_the_built_in_model_is_what_its_family_is(engine: LlamaEngine):
    source = engine.template.source
    mark = end_of_turn(engine.template.render)
    assert mark == "<|im_end|>"
    for kind in (None, engine.architecture):
        family = recognise(source, kind)
        assert family is not None and family.name == "SmolLM2"
        assert check(family, engine.facts, style=engine.style.kind, end_of_turn=mark) == []
    assert engine.info.notes == []


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 / 0 }}",
        "{{ 2 ** 'x' }}",
        "{% for i in range(999999999) %}x{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ messages[0].content.__class__.__mro__ }}",
        "{{ none + messages }}",
        "{{ messages[0].content[999] | first | int | upper | tojson(indent=messages) }}",
        "{{ raise_exception() }}",
    ],
)
def test_a_template_that_goes_wrong_is_named(source):
    template = made(source)
    with pytest.raises(LemError, match="cannot render a plain user message"):
        inspect_template(template.render, can_date=True)
    assert end_of_turn(template.render) is None


def test_a_setting_that_a_template_does_not_heed_is_refused():
    for thinking in (True, False):
        with pytest.raises(LemError, match="ChatML has no switch for reasoning"):
            check_switch(made(TEMPLATES["ChatML"], thinking), "ChatML")
        check_switch(made(TEMPLATES["Qwen 3"], thinking), "Qwen 3")
    check_switch(made(TEMPLATES["ChatML"]), "ChatML")
    check_switch(made("{{ raise_exception('no') }}", True), "named elsewhere")


def test_the_manifest_of_an_earlier_run_is_accepted(tmp_path):
    """It lacks the facts that were added since; and facts that come later do no harm either."""
    plan, engine = plan_of(TEMPLATES["Qwen 3"])
    with ResponseStore(tmp_path) as store:
        write_manifest(store, engine.info, engine.facts, plan)
        manifest = read_manifest(tmp_path)
        assert manifest["template"]["thinking_switch"] is True
        for name in ("thinking_switch", "reasoning_opened"):
            del manifest["template"][name]
        manifest["template"]["yet_unknown"] = 1
        (tmp_path / "run.json").write_text(json.dumps(manifest))
        write_manifest(store, engine.info, engine.facts, plan)
    assert read_manifest(tmp_path)["template"] == engine.facts.model_dump()
    assert TemplateFacts(system="supported").reasoning_opened is False  # as of old ones


def plan_of(source):
    engine = EchoEngine(template=source)
    conditions = choose(all_conditions([]), ["baseline"], controls=False)
    return make_plan(engine, load_probes("P20")[:1], conditions, Sampling(max_tokens=8)), engine
