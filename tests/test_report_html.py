"""The report page as text: complete, linked, harmless, small, and the same on every build."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lem.analysis import analyse
from lem.report import answers, html, packing
from lem.report.answers import explorer
from lem.report.html import build_html
from lem.report.markdown import render_markdown
from lem.study import load_study
from report_fixtures import published, several, small, wide

EVIL = "</script><script>window.__pwned=1</script><img src=x onerror=window.__pwned=2>"


class Page(HTMLParser):
    """Ids, links, islands, and everything a browser would execute or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.islands: dict[str, str] = {}
        self.scripts: list[str] = []
        self.style = ""
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.labels: list[str] = []
        self.numbers: list[bool] = []
        self._at: tuple[str, dict[str, str | None]] | None = None
        self.text = text
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if told.get("id"):
            self.ids.append(told["id"])
        self.labels += (told.get("aria-labelledby") or "").split()
        self.handlers += [name for name in told if name.startswith("on") or name == "style"]
        self.loads += [told[name] for name in ("src", "data", "action") if told.get(name)]
        if "href" in told:
            (self.links if tag in ("a", "use") else self.loads).append(told["href"])
        if tag in ("script", "style"):
            self._at = tag, told

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._at = None

    def handle_data(self, data):
        if self._at is None:
            return
        tag, told = self._at
        if tag == "style":
            self.style += data
        elif told.get("type"):
            self.islands[told["id"]] = data
        else:
            self.scripts.append(data)


def unpacked(chunk: str):
    return json.loads(gzip.decompress(base64.b64decode(chunk)))


def answers_of(page: Page, number: int):
    """What the page's script makes of a chunk."""
    words = unpacked(page.islands["words"])
    raw = gzip.decompress(base64.b64decode(page.islands[f"a{number}"]))
    text, i = [], 0
    while i < len(raw):
        b = raw[i]
        if b == 10:
            text.append("\\n")
        elif b == 1:
            text.append(chr(int.from_bytes(raw[i + 1 : i + 4])))
            i += 3
        elif b < 128:
            text.append(chr(b))
        elif b < 192:
            text.append(words[b - 128])
        else:
            text.append(words[64 + ((b - 192) << 8) + raw[i + 1]])
            i += 1
        i += 1
    return json.loads("".join(text))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    study, analysis = small(tmp_path_factory.mktemp("one"))
    return study, analysis, build_html(study, analysis)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    study, analysis = several(tmp_path_factory.mktemp("many"))
    return study, analysis, build_html(study, analysis)


@pytest.mark.parametrize("which", ["one", "many"])
def test_every_link_leads_somewhere_and_no_id_comes_twice(which, request):
    page = Page(request.getfixturevalue(which)[2])
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert set(page.labels) <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page.text)) <= set(page.ids)


@pytest.mark.parametrize("which", ["one", "many"])
def test_every_number_in_a_table_leads_to_its_method_or_row(which, request):
    text = request.getfixturevalue(which)[2]
    fields = re.findall(r'<td class="n[^>]*>(.*?)</td>', text)
    assert len(fields) > 100
    told = [f for f in fields if re.search(r"\d", re.sub("<[^>]*>", "", f))]
    assert told and all(f.startswith('<a href="#') for f in told)


def test_the_page_says_what_the_analysis_says(one):
    _, analysis, text = one
    plain = text.replace("&#39;", "'")
    assert analysis.headline in plain
    assert all(sentence in plain for sentence in analysis.summary)
    assert all(f.sentence in plain for f in analysis.primary.findings)
    for part in analysis.scorers:
        assert part.caution in plain
        assert part.label in plain
    for heading in ("Effects", "Domains", "Missing and doubtful", "All probes", "How each number"):
        assert heading in text
    assert (
        text.index(analysis.headline[:20])
        < text.index('id="findings"')
        < text.index('id="effects"')
    )
    assert text.count("<svg") > 8


def test_both_intervals_and_both_effects_stand_side_by_side(one):
    _, analysis, text = one
    contrast = analysis.primary.contrasts[0]
    row = text[text.index(f'<tr id="{html.comparisons.contrast_anchor(contrast.id)}"') :]
    row = re.sub("<[^>]*>", " ", row[: row.index("</tr>")])
    e = contrast.effect
    for low, high in ((e.low, e.high), (e.boot_low, e.boot_high)):
        assert html.cells.span(low, high) in row
    assert (
        html.cells.estimate(contrast.length.effect, contrast.length.low, contrast.length.high)
        in row
    )


def test_many_findings_are_a_table_and_models_are_compared(many):
    _, analysis, text = many
    assert len(analysis.primary.findings) == html.CARDS  # the last number that has cards
    assert text.count('<article class="card') == 2 * html.CARDS
    assert 'id="models"' in text
    more = dataclasses.replace(
        analysis,
        scorers=(
            dataclasses.replace(
                analysis.primary, findings=analysis.primary.findings + analysis.primary.findings[:1]
            ),
        ),
    )
    crowded = build_html(many[0], more)
    assert "<article" not in crowded.split("<script")[0]
    assert "Every kernel on every model" in crowded


def test_the_same_analysis_gives_the_same_bytes(tmp_path, one):
    study, analysis, text = one
    assert build_html(study, analysis) == text
    again = load_study([published(tmp_path / "one.jsonl")])
    assert build_html(again, analyse(again)) == text  # though the file lies elsewhere


def test_nothing_is_loaded_and_the_policy_names_what_is_run(one):
    page = Page(one[2])
    assert not page.loads and not page.handlers
    assert len(page.scripts) == 1
    assert not re.search(r"https?://", one[2])
    for kind, content in (("script", page.scripts[0]), ("style", page.style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src &#39;sha256-{digest}&#39;" in one[2]
    assert "default-src &#39;none&#39;" in one[2]
    assert "innerHTML" not in page.scripts[0]


def test_islands_hold_every_row_and_every_answer(one):
    study, _, text = one
    page = Page(text)
    data = json.loads(page.islands["data"])
    assert len(data["rows"]) == 21 and data["chunks"] == 21
    first = answers_of(page, 0)
    assert first["prompt"] == study.probes["P01"].prompt
    for i, name in enumerate(data["conditions"]):
        marked, left, score, words, flags, sample = first["answers"]["0"][str(i)][0]
        answer = next(a for a in study.answers if (a.probe, a.condition) == ("P01", name))
        pieces = marked.split("\x7f")
        shown = "".join(p[1:] if k % 2 else p for k, p in enumerate(pieces))
        assert shown == answer.text
        assert (left, score, words, sample) == (0, answer.scores[0], answer.words, 0)
        assert flags == ["end unknown"]
    units = unpacked(page.islands["units"])
    contrast = one[1].primary.contrasts[0]
    rows = units[html.comparisons.units_anchor(contrast.id)]
    assert sum(r[2] - r[3] for r in rows) / len(rows) == pytest.approx(contrast.effect.mean)


def test_hostile_names_and_texts_stay_text(tmp_path):
    arms = {"baseline": 0, EVIL: 1, "json{{7*7}}{% raw %}": 1}
    file = published(
        tmp_path / "evil.jsonl",
        "\"'><svg onload=1>" + EVIL,
        arms=arms,
        probes=9,
        ids=(EVIL, "javascript:alert(1)", "\u202egnp.exe", "$x^2$ \\frac", "a\ud800b"),
        domains=(EVIL, "D\u2028\u2029\x1b[31m", "{{ x }}"),
        texts={(0, "baseline"): EVIL, (1, "baseline"): "\ud800 \u2028 \x00 \x7f </script>"},
    )
    study = load_study([file])
    text = build_html(study, analyse(study))
    page = Page(text)
    assert len(page.scripts) == 1 and not page.handlers and not page.loads
    assert "<img" not in text and "\u202e" not in text and "\x1b" not in text
    assert "javascript:alert(1)" in text  # as the text that it is
    assert all(link.startswith("#") for link in page.links)
    assert "<" not in page.islands["data"]
    assert json.loads(page.islands["data"])["probes"][0][0] == EVIL
    assert answers_of(page, 0)["answers"]["0"]["0"][0][0].replace("\x7f", "")
    assert "49" not in re.findall(r"json\{\{7\*7\}\}", text)
    text.encode("utf-8")
    assert "<script>" not in render_markdown(study, analyse(study))


def test_long_answers_are_shortened_where_the_page_would_be_too_large(one):
    study, _, _ = one
    whole = explorer(study, 10**9, True)
    size = sum(map(len, whole.chunks)) + len(packing.pack(whole.words))
    assert whole.shortened == 0
    less = explorer(study, int(size * 0.8), True)
    assert sum(map(len, less.chunks)) + len(packing.pack(less.words)) <= size * 0.8
    assert 0 < less.shortened < less.answers
    assert answers.SHORTEST <= less.limit < 2000


def test_a_shortened_page_says_so(one, monkeypatch):
    study, analysis, text = one
    monkeypatch.setattr(html, "BUDGET", len(text) - 15_000)
    short = build_html(study, analysis)
    assert len(short) < len(text)
    assert "answers are shortened to their first" in short


def test_answers_can_be_left_out(one):
    study, analysis, text = one
    page = build_html(study, analysis, answers="none")
    assert len(page) < len(text)
    assert "left out of this page on request" in page
    data = json.loads(Page(page).islands["data"])
    assert len(data["rows"]) == 21 and data["chunks"] == 0


def test_of_very_many_rows_the_largest_differences_are_kept(one, monkeypatch):
    study, analysis, _ = one
    monkeypatch.setattr(answers, "ROWS", 5)
    page = Page(build_html(study, analysis))
    rows = json.loads(page.islands["data"])["rows"]
    kept = [max(abs(d) for d in row[3]) for row in rows]
    every = [max(map(abs, row.differences.values())) for row in answers._rows(study)]
    assert sorted(kept, reverse=True) == pytest.approx(sorted(every, reverse=True)[:5], abs=1e-4)
    assert "Of 21 rows (probe × model) the 5 with the largest" in page.text


def test_packed_values_come_back(one):
    values = [
        {"a": "perhaps a \\n line\nand another é 漢 😀 \x7f perhaps perhaps", "n": [1, None, 2.5]},
        {"b": "line " * 50 + '\t"quoted" don\'t \\\\ 漢字 line'},
        {},
    ]
    chunks, words = packing.pack_all(values)
    page = Page("")
    page.islands = {"words": packing.pack(words)} | {f"a{i}": c for i, c in enumerate(chunks)}
    assert [answers_of(page, i) for i in range(3)] == values


def test_markdown_has_the_same_numbers(one):
    study, analysis, _ = one
    text = render_markdown(study, analysis)
    assert text == render_markdown(study, analysis)
    assert (
        analysis.headline.replace("_", "\\_") in text.replace("\\", "") or analysis.headline in text
    )
    e = analysis.primary.contrasts[0].effect
    assert html.cells.span(e.low, e.high).replace("[", "\\[").replace("]", "\\]") in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 40
    assert "Student 1908" in text


def test_a_study_without_pairs_still_has_a_page(tmp_path):
    file = Path(tmp_path / "lines.jsonl")
    lines = [{"id": f"q{i}", "prompt": "Why?", "response": "Because."} for i in range(3)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    study = load_study([file])
    page = Page(build_html(study, analyse(study)))
    assert len(json.loads(page.islands["data"])["rows"]) == 3
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_thousands_of_probes_are_thinned_where_they_are_drawn():
    study = wide(4000)
    text = build_html(study, analyse(study))
    page = Page(text)
    assert len(json.loads(page.islands["data"])["rows"]) == answers.ROWS
    assert "Of 4,000 units 400 evenly spaced ones are drawn." in text
    assert "1000 more units are in effects.json" in text
    assert len(text) < 1_500_000
    assert max(map(len, re.findall("<svg.*?</svg>", text, re.DOTALL))) < 60_000
