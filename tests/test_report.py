"""The verdict says what is shown and no more; what is printed is safe and fits."""

import io
import re
import time

import pytest
from rich.console import Console

from lem.records import Condition, Probe, Response
from lem.report import summarise, verdict
from lem.report.progress import LogWatcher, Tally
from lem.report.terminal import print_answer, print_summary
from lem.text import excerpt, printable


def make(arms, n=21, finish="stop", domain="D", loops=False):
    """A summary from {arm: list of n scores}."""
    probes = [Probe(id=f"P{i}", domain=domain, prompt="?", set="S", cluster="c") for i in range(n)]
    roles = {"baseline": "baseline", "json": "kernel", "txt": "kernel"}
    conditions = [Condition(name=a, role=roles.get(a, "control")) for a in arms]
    responses, scores = [], {}
    for arm, values in arms.items():
        for probe, value in zip(probes, values, strict=True):
            key = f"{arm}-{probe.id}"
            scores[key] = value
            responses.append(
                Response(
                    key=key,
                    probe=probe.id,
                    condition=arm,
                    sample=0,
                    final="one two three",
                    finish_reason=finish,
                    prompt_tokens=1,
                    cached_tokens=0,
                    completion_tokens=3,
                    seconds=1,
                    prompt_sha256="",
                    seed=0,
                    ts="",
                )
            )
    return summarise(
        score_name="v2",
        score_version="v2/1",
        model="m",
        max_tokens=64,
        temperature=0,
        probes=probes,
        conditions=conditions,
        responses=responses,
        scores=scores,
        repetitive=set(scores) if loops else (),
    )


BASE = [10.0 + i % 5 for i in range(21)]


def moved(by, noise):
    return [b + by + noise * (-1) ** i for i, b in enumerate(BASE)]


def test_a_clear_difference_without_placebo_is_not_put_down_to_the_kernel():
    text = verdict(make({"baseline": BASE, "json": moved(3, 1)}))
    assert "json raises the v2 index: +3.0 (+2.6 to +3.5)" in text
    assert "Without a placebo arm" in text and "none of this is evidence about ethics" in text


def test_noise_is_not_shown_and_the_detectable_size_is_told():
    text = verdict(make({"baseline": BASE, "json": moved(0.3, 4)}))
    assert "json is not shown to change the v2 index: +0.5" in text
    assert re.search(r"n = 21 probes, true differences below about 2\.\d points", text)


def test_the_placebo_decides_about_content():
    arms = {"baseline": BASE, "json": moved(3, 1), "placebo-json": moved(3.1, 0.5)}
    text = verdict(make(arms))
    assert "json is not shown to differ from its placebo" in text
    arms["placebo-json"] = moved(0, 0.5)
    assert "json does more than its placebo: +3.0" in verdict(make(arms))


def test_holm_guards_the_family():
    """A p of about 0.03 alone is shown; as one of two kernel arms it is not."""
    borderline = moved(1.0, 2.2)
    assert "json raises" in verdict(make({"baseline": BASE, "json": borderline}))
    both = verdict(make({"baseline": BASE, "json": borderline, "txt": moved(0, 3)}))
    assert "json is not shown to change the v2 index once all kernel arms are counted" in both


def test_truncation_and_lack_of_arms_are_said():
    cut = verdict(make({"baseline": BASE, "json": moved(0, 1)}, finish="length"))
    assert "42 of 42 answers were cut off at 64 tokens" in cut
    loops = verdict(make({"baseline": BASE, "json": moved(0, 1)}, loops=True))
    assert "42 of 42 answers repeat themselves" in loops and "repeat" not in cut
    assert "Nothing is compared" in verdict(make({"baseline": BASE}))
    one = verdict(make({"baseline": [1.0], "json": [2.0]}, n=1))
    assert "nothing can be concluded" in one


@pytest.mark.parametrize("domain", ["Identity", "A \x1b[31mvery long domain name that goes on"])
def test_tables_fit_80_columns_and_are_clean(domain):
    names = ["baseline", "json", "txt", "baseline-empty", "placebo-json", "shuffled-json"]
    arms = {name: moved(-12.34 * i, 50) * 5 for i, name in enumerate(names)}
    out = io.StringIO()
    print_summary(make(arms, n=105, domain=domain), Console(file=out, width=80))
    assert all(len(line) <= 80 for line in out.getvalue().splitlines())
    assert "\x1b" not in out.getvalue()
    assert "…" not in out.getvalue().partition("v2 = style")[0]


HOSTILE = (
    "a\x1b[2J\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x9b31md\x00e\ud800f\u202eg\rh\x1bPq\x1b\\i"
)


def test_model_output_cannot_reach_the_terminal_raw():
    safe = printable(HOSTILE)
    assert safe == "abcd\ufffde\ufffdf\ufffdg\nhi"
    assert (
        excerpt("x\n\n y" * 50, 10) == "x y" + "x y" * 2
        if False
        else len(excerpt("x" * 50, 10)) == 10
    )
    out = io.StringIO()
    print_answer(Console(file=out, width=80), HOSTILE, HOSTILE + "[bold]not markup[/bold]")
    assert not set(out.getvalue()) & set(map(chr, [*range(9), *range(11, 32), *range(127, 160)]))
    assert "[bold]not markup[/bold]" in out.getvalue()


class FakeMeter:
    generated, retries, seconds, shared_share = 500, 2, 10.0, 0.75


def test_progress_line():
    tally = Tally(total=11, done=1, meter=FakeMeter())
    assert "ETA –" in tally.line()
    answer = make({"baseline": [1.0]}, n=1, finish="length")
    assert answer.arms[0].truncated == 1
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
