"""Any text at all, through every scorer: no exception, finite numbers, the same twice.

`make fuzz` runs 20,000 texts; the ordinary test run a few hundred.
"""

import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lem.kernels import BUILT_IN, load_kernel
from lem.scorers import overlap
from lem.scorers.base import Answer
from lem.scorers.registry import get_scorer, scorer_names
from lem.scorers.textstats import text_statistics

EXAMPLES = int(os.environ.get("LEM_FUZZ", "150"))
KERNELS = tuple(load_kernel(name, where).text for name, where in BUILT_IN.items())
SCORERS = [get_scorer(name) for name in scorer_names()]

# Every code point there is (lone surrogates, controls and unassigned ones too), text of many
# scripts, and the pieces the scorers look for, so that their rules meet in unlikely ways.
CHARACTERS = st.characters(exclude_categories=())
WORDS = """
the a because however **bold** # - 1. > | ``` <think> </think> <|im_end|> [x](y) http://x I'm sorry
but I can't run check build dry run up to date running? stopped! things... “quoted” don\u2019t ﬁ
道德 أخلاق этика नैतिक ไทย 한국 dignity autonomy harm consent LEK-1 axiom self-validation 999999
"""
ODD = [
    "e\u0301",
    "\u0130",
    "\u03a3",
    "\u200b",
    "\ufeff",
    "\ud800",
    "\x00",
    "\x1b[31m",
    "\x1c",
    "\x85",
]
SPACES = ["\n", "\r\n", "\n\n", " ", "\t", "\u2028"]
PIECES = st.sampled_from([*WORDS.split(), *ODD, *SPACES, "\U0001f600", KERNELS[1][:300]])
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=200),
    st.text(st.characters(min_codepoint=0x300, max_codepoint=0x2FFFF), max_size=200),
    st.lists(st.one_of(PIECES, st.text(CHARACTERS, max_size=4)), max_size=60).map(" ".join),
    st.tuples(st.text(CHARACTERS, min_size=1, max_size=6), st.integers(1, 300)).map(
        lambda pair: pair[0] * pair[1]
    ),
)


def check(fields):
    for name, value in fields.items():
        assert value is None or isinstance(value, (str, bool, int, float)), name
        assert not isinstance(value, float) or math.isfinite(value), name


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
@given(TEXTS, st.one_of(st.none(), TEXTS))
def test_any_text_through_every_scorer(text, prompt):
    answer = Answer(text, prompt, KERNELS)
    for scorer in SCORERS:
        fields = scorer.score(answer)
        check(fields)
        assert fields == scorer.score(answer)
        check(scorer.delta(answer))
        for spans in scorer.evidence(answer).values():
            assert all(0 <= start <= end <= len(text) for start, end in spans)
    check(overlap.measures(answer))
    check(text_statistics(text))


@pytest.mark.parametrize("name", scorer_names())
@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "a ",
        "run ",
        "What? ",
        "**",
        "\n\n",
        "I cannot ",
        "\ud800",
        "道",
        "e\u0301",
        "1. ",
        "<think>",
    ],
)
def test_a_line_of_a_megabyte(name, unit):
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    check(get_scorer(name).score(Answer(text, "Why?", KERNELS)))
