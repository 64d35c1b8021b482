"""The report as Markdown: the page's sentences, tables, warnings and methods, without plots and
answers. It goes into a pull request, an issue or a paper's supplement."""

from __future__ import annotations

import re

from lem.analysis import Analysis, ScorerAnalysis
from lem.report import across, comparisons, tables
from lem.report.cells import Table
from lem.report.html import across_tables
from lem.report.methods import methods
from lem.study import Study
from lem.text import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&!])")


def render_markdown(study: Study, analysis: Analysis) -> str:
    """The report as one Markdown text; the same for the same study and analysis."""
    parts = [f"# {_text(analysis.title)}"]
    parts += [f"> **Warning:** {_text(w)}" for w in analysis.warnings]
    parts.append(f"**{_text(analysis.headline)}**")
    if analysis.summary:
        parts.append(" ".join(_text(s) for s in analysis.summary))
    if analysis.exploratory:
        parts.append(f"> **Exploratory.** {_text(analysis.exploratory)}")
    for part in analysis.scorers:
        parts += _scorer(study, part)
    parts.append("## Inputs")
    parts.append(_table(across.settings_table(study)))
    parts.append(_table(across.conditions_table(study)))
    if analysis.stored:
        parts.append(_table(tables.stored_table(analysis)))
    if study.problems:
        parts.append(_table(across.problems_table(study)))
    if analysis.recipe:
        sha = _text(str(analysis.recipe.get("sha256", "")))
        parts.append(f"Recipe {_text(str(analysis.recipe.get('name', '')))}, sha256 {sha}.")
    parts.append("## How each number was computed")
    for m in methods(study, analysis):
        more = "".join(f" {_text(extra)}." for extra in (m.formula, m.source) if extra)
        parts.append(f"**{_text(m.title)}.** {_text(m.text)}{more}")
    return "\n\n".join(parts) + "\n"


def _scorer(study: Study, part: ScorerAnalysis) -> list[str]:
    heading = part.label if part.primary else f"Other score (exploratory): {part.label}"
    found = [f"## {_text(heading)}", f"*{_text(part.caution)}*"]
    if part.findings:
        where = "**{}:** " if len(study.models) > 1 else ""
        said = (f"- {where.format(_text(f.model))}{_text(f.sentence)}" for f in part.findings)
        found.append("\n".join(said))
    if comparisons.of_kinds(part, comparisons.WITHIN):
        found.append(_table(comparisons.effect_table(study, part, comparisons.WITHIN)))
        found.append(_table(comparisons.robust_table(study, part, comparisons.WITHIN)))
    unmatched = comparisons.unmatched(study, part)
    if unmatched:
        told = (f"- Unmatched in {_text(name)}: {_names(probes)}" for name, probes in unmatched)
        found.append("\n".join(told))
    found.append(_table(tables.arms_table(study, part)))
    found.append(_table(tables.missing_table(study, part)))
    if part.validity:
        found.append(_table(tables.validity_table(part)))
    found += [_table(tables.domain_table(study, part, d)) for d in part.domains]
    if part.variance:
        found.append(_table(across.variance_table(part)))
    found += [_text(sentence) for sentence in part.across]
    found += [_table(table) for table in across_tables(study, part)]
    return found


def _names(probes: tuple[str, ...], most: int = 60) -> str:
    told = ", ".join(_text(p) for p in probes[:most])
    return told + (f" and {len(probes) - most} more" if len(probes) > most else "")


def _table(table: Table) -> str:
    lines = [f"**{_text(table.caption)}**", ""]
    lines.append("| " + " | ".join(_text(c.label) for c in table.columns) + " |")
    lines.append("|" + "|".join("--:" if c.numeric else ":--" for c in table.columns) + "|")
    for group in table.groups:
        if group.heading:
            empty = " |" * (len(table.columns) - 1)
            lines.append(f"| **{_text(group.heading)}** |{empty}")
        for row in group.rows:
            lines.append("| " + " | ".join(_text(cell.text) for cell in row) + " |")
    lines += [line for note in table.notes for line in ("", _text(note))]
    return "\n".join(lines)


def _text(value: str) -> str:
    """A text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(value).split()))
