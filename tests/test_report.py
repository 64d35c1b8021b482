"""What is printed is safe and fits; progress is told."""

import io
import re
import time

import pytest
from rich.console import Console

from lem.analysis import Pair, analyse
from lem.records import Response
from lem.report.markdown import render_markdown
from lem.report.progress import LogWatcher, Tally
from lem.report.terminal import print_answer, print_report
from lem.study import Group, Problem
from lem.text import excerpt, printable
from studies import BASE, moved, study


def printed(made, width=80, **options):
    out = io.StringIO()
    print_report(made, analyse(made, **options), Console(file=out, width=width))
    return out.getvalue()


ARMS = ["baseline", "json", "txt", "placebo-json", "placebo-txt", "shuffled-json"]


@pytest.mark.parametrize("domain", ["Identity", "A \x1b[31mvery long domain name that goes on"])
def test_tables_fit_80_columns_and_are_clean(domain):
    arms = {name: moved(BASE, -12.34 * i, 20 - 3 * i) for i, name in enumerate(ARMS)}
    arms["baseline-replicate"] = moved(BASE, -10, 5)
    text = printed(study({"m": arms}, domains=(domain, "Other"), scorers=("v2", "reasoning")))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    head = text.partition("Brackets:")[0]
    assert "…" not in head.replace("baseline-repl…", "")
    assert ("txt − its placebo" in head and "A very long" in text) or domain == "Identity"


def test_what_is_exploratory_or_noise_is_marked_so():
    arms = {"baseline": BASE, "json": moved(BASE, 1, -0.5), "baseline-replicate": moved(BASE, 1, 4)}
    made = study({"m": arms}, scorers=("v2", "reasoning"), domains=("low", "mid"))
    text = printed(made)
    assert "] *" not in text  # shown, but no larger than the noise
    asked_twice = next(s for s in text.splitlines() if s.startswith("baseline asked twi"))
    assert asked_twice.rstrip().endswith("expl.")
    markdown = render_markdown(made, analyse(made))
    assert "## Other score (exploratory): " in markdown
    first, second = markdown.split("## Other score")
    assert "declared family “kernel effects”, 1 test, Holm" in first
    assert "declared family" not in second.partition("## Inputs")[0]
    assert first.index("| mid |") < first.index("| low |")  # the larger effect first


def test_many_models_have_a_line_for_each_kernel_and_a_ranking():
    models = {
        f"a-model-with-a-long-name-{i}": {
            "baseline": moved(BASE, i, 1),
            "json": moved(BASE, i + 2, 2),
        }
        for i in range(5)
    }
    text = printed(study(models))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.count("unattributed") == 5 and "rank [95 %]" in text
    assert "5 of 5 kernel effects are shown after Holm (5 up, 0 down)" in " ".join(text.split())


def test_comparisons_of_models_are_said():
    models = {"base": {"baseline": BASE, "json": moved(BASE, 2, 1)}}
    models["tuned"] = {"baseline": moved(BASE, 3, 1), "json": moved(BASE, 5, 0.5)}
    text = printed(study(models, groups={"tuned": Group(tuned_from="base")}))
    said = " ".join(text.split())
    assert "tuned:baseline − base:baseline: +3.0 (95 % +2.6…+3.5), n = 21: shown" in said
    assert "not shown that the kernel changes the two models' scores differently" in said


def test_problems_come_first():
    import dataclasses

    made = study({"m": {"baseline": BASE, "json": moved(BASE, 1, 1)}})
    problems = tuple(Problem("broken line", f"f, line {i}", "not JSON") for i in range(12))
    text = printed(dataclasses.replace(made, problems=problems))
    assert text.startswith("! 12 lines could not be read and are missing here.")
    assert "… and 2 more" in text


HOSTILE = (
    "a\x1b[2J\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x9b31md\x00e\ud800f\u202eg\rh\x1bPq\x1b\\i"
)


def test_model_output_cannot_reach_the_terminal_raw():
    safe = printable(HOSTILE)
    assert safe == "abcd\ufffde\ufffdf\ufffdg\nhi"
    assert excerpt("x\n\n y" * 50, 10) == "x yx yx y…" and len(excerpt("x" * 50, 10)) == 10
    out = io.StringIO()
    print_answer(Console(file=out, width=80), HOSTILE, HOSTILE + "[bold]not markup[/bold]")
    assert not set(out.getvalue()) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160)]))
    assert "[bold]not markup[/bold]" in out.getvalue()


class FakeMeter:
    generated, retries, seconds, shared_share = 500, 2, 10.0, 0.75


def test_progress_line():
    tally = Tally(total=11, done=1, meter=FakeMeter())
    assert "ETA –" in tally.line()
    for _ in range(5):
        tally.tick(
            Response(
                key="k",
                probe="p",
                condition="c",
                sample=0,
                final="",
                finish_reason="length",
                prompt_tokens=1,
                cached_tokens=1,
                completion_tokens=100,
                seconds=1,
                prompt_sha256="",
                seed=0,
                ts="",
            )
        )
    assert tally.line() == "50 tok/s · 75% of prompts shared · 5 cut · 2 retries · ETA 0:10"


def test_log_lines_without_a_terminal():
    out = io.StringIO()
    watcher = LogWatcher(out, every=0.01)
    watcher.start(3, 0, FakeMeter())
    time.sleep(0.1)
    watcher.stop()
    assert len(out.getvalue().splitlines()) >= 3
    assert "0/3 answers · 50 tok/s" in out.getvalue()


def test_models_that_are_compared_have_a_table_and_what_only_one_has_is_listed():
    models = {"a": {"baseline": BASE, "json": BASE}, "b": {"baseline": moved(BASE, 2, 1)[:-2]}}
    text = printed(study(models), compare=[Pair("b", "a")])
    assert all(len(line) <= 80 for line in text.splitlines())
    assert re.search(r"b − a +baseline +19 \+2\.\d \[.*\] +<\.001 +2\n", text)
    assert "On one side of b − a only: P019, P020." in text
    assert "On the v2 style and format index: b:baseline − a:baseline: +2." in text
