"""The report as one HTML file: no network, nothing executed but its own script.

Everything that came from a model, a server or a file is escaped by the template or written as text
by the script; the content-security policy allows one style sheet and one script, by their hashes.
The same study and analysis give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Literal

from jinja2 import Environment
from markupsafe import Markup, escape

from lem.analysis import Analysis, Finding, ScorerAnalysis
from lem.analysis.contrasts import TIE
from lem.report import across, cells, comparisons, figures, tables
from lem.report.answers import ROWS, Explorer, explorer
from lem.report.cells import Cell, Column, Table
from lem.report.figures_across import across as across_figures
from lem.report.methods import methods, score_anchor
from lem.report.packing import pack
from lem.report.svg import Sheet, drawing
from lem.study import Study
from lem.text import printable

BUDGET = 14_000_000
"""Bytes of a page; longer answers are shortened to excerpts above it."""

CARDS = 12
"""Findings up to this many are cards; more are a table."""

TEXTS = 400_000
"""Characters of manifests, kernels and recipes that are shown in all."""


def build_html(
    study: Study, analysis: Analysis, *, answers: Literal["auto", "none"] = "auto"
) -> str:
    """The page as text.

    Args:
        answers: "none" leaves the models' texts out, and says so.
    """
    sheet = Sheet()
    with drawing():
        views = [
            _view(study, part, f"s{i}-" if i else "", sheet, i == 0)
            for i, part in enumerate(analysis.scorers)
        ]
    chunks = [(f"{v['id']}units", comparisons.packed_units(v["part"])) for v in views]
    script, css = _file("report.js"), f"{_file('report.css')}{sheet.css()}\n"
    context: dict[str, Any] = {
        "analysis": analysis,
        "study": study,
        "many": len(study.models) > 1,
        "primary": views[0],
        "others": views[1:],
        "facts": _facts(study, analysis),
        "contents": _contents(views),
        "tie": TIE,
        "settings": across.settings_table(study),
        "conditions": across.conditions_table(study),
        "stored": tables.stored_table(analysis) if analysis.stored else None,
        "problems": across.problems_table(study) if study.problems else None,
        "methods": methods(study, analysis),
        "css": Markup(css),
        "script": Markup(script),
        "policy": policy(css, script),
        **_material(study, analysis),
    }
    template = _environment().from_string(_file("report.html.jinja"))
    # \0 is in no text of the page: what goes there depends on what room the rest leaves
    page = template.render(context, probe_notes=Markup("\0"), islands=Markup("\0"))
    head, middle, tail = page.split("\0")
    data_size = 150 * min(len(study.answers), ROWS) + 400 * min(len(study.probes), ROWS)
    room = BUDGET - data_size - len(page.encode()) - sum(len(chunk) for _, chunk in chunks)
    found = explorer(study, max(room, 0), answers == "auto")
    if found.chunks:
        chunks.append(("words", pack(found.words)))
    chunks += [(f"a{i}", chunk) for i, chunk in enumerate(found.chunks)]
    data = found.data | {
        "tie": TIE,
        "method": score_anchor(analysis.primary.scorer),
        "chunks": len(found.chunks),
    }
    notes = "\n".join(
        f'<p class="note">{escape(printable(note))}</p>'
        for note in _probe_notes(study, found, answers)
    )
    islands = [f'<script type="application/json" id="data">{island(data)}</script>']
    islands += [f'<script type="text/plain" id="{name}">{chunk}</script>' for name, chunk in chunks]
    return "".join((head, notes, middle, "\n".join(islands), tail))


def policy(css: str, script: str) -> str:
    """The content-security policy: this style sheet, this script, nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{digest(css)}'; script-src "
        f"'sha256-{digest(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def island(value: Any) -> Markup:
    """JSON for a script element: nothing in it can end the element or be read as HTML."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _environment() -> Environment:
    made = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters["say"] = printable
    made.filters["name"] = lambda value: Markup(f"<bdi>{escape(printable(value))}</bdi>")
    made.filters["field"] = _field
    return made


def _field(cell: Cell, column: Column) -> Markup:
    """One table field; every number leads to how it was made."""
    shown: Markup | str = escape(printable(cell.text))
    link = cell.link or (column.method if column.numeric and cell.text != cells.NONE else None)
    if not column.numeric:
        shown = Markup(f"<bdi>{shown}</bdi>")
    if link:
        stop = "" if cell.link else ' tabindex="-1"'  # the column's own link is a stop already
        shown = Markup(f'<a href="#{link}"{stop}>{shown}</a>')
    kind = " ".join(c for c, on in (("n", column.numeric), ("faint", cell.faint)) if on)
    told = f' class="{kind}"' if kind else ""
    if column.numeric and isinstance(cell.sort, int | float):
        told += f' data-v="{cell.sort:.6g}"'
    if cell.hint:
        told += f' title="{escape(printable(cell.hint))}"'
    return Markup(f"<td{told}>{shown}</td>")


def _file(name: str) -> str:
    return (resources.files("lem.report") / "data" / name).read_text("utf-8")


def _view(
    study: Study, part: ScorerAnalysis, prefix: str, sheet: Sheet, primary: bool
) -> dict[str, Any]:
    """Everything of one scorer, as the template wants it."""
    board = figures.Board(study, part, f"{prefix}f", sheet, details=primary)
    domains = [tables.domain_table(study, part, d) for d in part.domains]
    few, limit = len(part.findings) <= CARDS, comparisons.unit_limit(part)
    return {
        "id": prefix,
        "part": part,
        "primary": primary,
        "method": score_anchor(part.scorer),
        "cards": [_card(part, f) for f in part.findings] if few else [],
        "findings": comparisons.findings_table(part) if not few else None,
        "forest": list(figures.forest(board)),
        "effects": _effects(study, part, comparisons.WITHIN),
        "units": [
            {
                "id": comparisons.units_anchor(c.id),
                "title": f"{comparisons.title_of(c, len(study.models) > 1)}, n = {len(c.units)}",
                "left": max(0, len(c.units) - limit),
            }
            for c in part.contrasts
            if c.units
        ],
        "unmatched": comparisons.unmatched(study, part),
        "differences": list(figures.differences(board)),
        "distributions": list(figures.distributions(board)),
        "arms": tables.arms_table(study, part),
        "variance": across.variance_table(part) if part.variance else None,
        "lengths": list(figures.lengths(board)),
        "missing": tables.missing_table(study, part),
        "validity": tables.validity_table(part) if part.validity else None,
        "domains": domains,
        "domain_figures": list(figures.domains(board)) if primary else [],
        "across": across_tables(study, part),
        "across_figures": list(across_figures(board)) if len(study.models) > 1 else [],
    }


def _effects(study: Study, part: ScorerAnalysis, kinds: Mapping[str, str]) -> list[Table]:
    if not comparisons.of_kinds(part, kinds):
        return []
    return [
        comparisons.effect_table(study, part, kinds),
        comparisons.robust_table(study, part, kinds),
    ]


def across_tables(study: Study, part: ScorerAnalysis) -> list[Table]:
    """Tables that compare models."""
    found = _effects(study, part, comparisons.BETWEEN)
    if part.families:
        found.append(across.families_table(part))
    found += [across.ranking_table(part, i) for i in range(len(part.rankings))]
    if part.scales:
        found.append(across.scales_table(part))
    return found


def _card(part: ScorerAnalysis, finding: Finding) -> dict[str, Any]:
    own = part.by_id(finding.kernel_contrast)
    other = part.by_id(finding.content_contrast) if finding.content_contrast else None
    numbers = [(f"− {own.reference}", comparisons.effect_cell(own), "m-diff")]
    if other:
        numbers.append(("− placebo", comparisons.effect_cell(other), "m-diff"))
    if length := (other or own).length:
        against = "placebo" if other else own.reference
        told = cells.estimated(length.effect, length.low, length.high)
        numbers.append((f"− {against}, equal length", told, "m-length"))
    return {
        "finding": finding,
        "chip": comparisons.CODES.get(finding.code, finding.code),
        "shown": finding.code in ("content", "length", "any prompt", "unattributed", "mixed"),
        "numbers": [(printable(label), cell, method) for label, cell, method in numbers],
    }


def _facts(study: Study, analysis: Analysis) -> str:
    def several(n: int, what: str) -> str:
        return f"{n:,} {what}" + ("" if n == 1 else "s")

    clusters = len({p.cluster for p in study.probes.values()})
    parts = [
        several(len(study.models), "model"),
        several(len(study.probes), "probe")
        + (f" of {several(clusters, 'dilemma')}" if clusters < len(study.probes) else ""),
        several(len(study.answers), "answer"),
        "scores: " + ", ".join(f"{p.scorer} ({p.version})" for p in analysis.scorers),
        f"seed {analysis.seed}",
    ]
    if analysis.recipe:
        parts.append(f"recipe sha256 {str(analysis.recipe.get('sha256', '?'))[:16]}")
    return " · ".join(parts)


def _contents(views: list[dict[str, Any]]) -> list[tuple[str, str]]:
    first = views[0]
    wanted: list[tuple[str, str, Callable[[], Any]]] = [
        ("findings", "Findings", lambda: first["cards"] or first["findings"]),
        ("effects", "Effects", lambda: first["forest"] or first["effects"]),
        ("differences", "Probe by probe", lambda: first["differences"]),
        ("conditions", "Conditions", lambda: True),
        ("length", "Length", lambda: first["lengths"]),
        ("missing", "Missing", lambda: True),
        ("domains", "Domains", lambda: first["domains"]),
        ("models", "Across models", lambda: first["across"]),
        ("probes-all", "All probes", lambda: True),
        ("others", "Other scores", lambda: len(views) > 1),
        ("inputs", "Inputs", lambda: True),
        ("methods", "Methods", lambda: True),
    ]
    return [(anchor, label) for anchor, label, there in wanted if there()]


def _probe_notes(study: Study, found: Explorer, answers: str) -> list[str]:
    told = []
    shown = len(found.data["rows"])
    if shown < found.rows:
        told.append(
            f"Of {found.rows:,} rows (probe × model) the {shown:,} with the largest absolute "
            "differences are in this table; all of them are in the statistics."
        )
    if answers == "none":
        told.append("The answers were left out of this page on request.")
    elif not study.texts:
        told.append("The answers’ texts were not kept, so they are not on this page.")
    else:
        told.append(
            "Open a probe to read its answers side by side; what the primary score counted is "
            "marked in them."
        )
    if found.shortened:
        told.append(
            f"{found.shortened:,} of {found.answers:,} answers are shortened to their first "
            f"{found.limit:,} characters, to hold the size of this page; each says so."
        )
    return told


def _material(study: Study, analysis: Analysis) -> dict[str, Any]:
    """Manifests, kernels and the recipe, as far as there is room."""
    room = TEXTS

    def cut(text: str) -> str:
        nonlocal room
        kept = text[: max(0, room)]
        room -= len(kept)
        left = len(text) - len(kept)
        return kept + (f"\n… {left:,} more characters" if left else "")

    recipe: Mapping[str, Any] = analysis.recipe or {}
    used = {a.kernel_sha256 for m in study.models for a in m.arms}
    return {
        "recipe_line": f"{recipe.get('name', '')} · sha256 {recipe.get('sha256', '')}",
        "recipe_text": cut(str(recipe.get("text", ""))),
        "kernels": [(sha, cut(text)) for sha, text in sorted(study.kernels.items()) if sha in used],
        "manifests": [
            (m.name, cut(json.dumps(m.manifest, ensure_ascii=False, indent=1, default=str)))
            for m in study.models
            if m.manifest is not None
        ],
    }
