"""The views and their columns: the contract of `lem query` and of exported files.

Pure data. The page docs/query.md, ``lem query --schema`` and the field metadata of Parquet files
are made from it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "number", "whole", "flag", "time", "arms"]

SQL_TYPES: dict[Kind, str] = {
    "text": "VARCHAR",
    "number": "DOUBLE",
    "whole": "BIGINT",
    "flag": "BOOLEAN",
    "time": "TIMESTAMP",
    "arms": "STRUCT(name, role, control_of, kernel_sha256, placement)[]",
}


class Column(NamedTuple):
    """One column of a view; unknown is NULL."""

    name: str
    kind: Kind
    doc: str


class View(NamedTuple):
    """A table that SQL can name."""

    name: str
    doc: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its columns, in order."""
        return tuple(column.name for column in self.columns)


_MODEL = (
    Column("model", "text", "name of the model, unique among the inputs: joins all views"),
    Column("run", "text", "its run folder or file, as it was named"),
)
_ANSWER = (
    *_MODEL,
    Column("condition", "text", "the arm: baseline, json, txt, placebo-json, ..."),
    Column("role", "text", "of the arm: baseline, kernel, control, replicate"),
    Column("probe", "text", "id of the question"),
    Column("domain", "text", "of the question"),
    Column("cluster", "text", "the dilemma that the question is a wording of"),
    Column("sample", "whole", "number of the answer among those to one prompt, from 0"),
)
_MEASURES = (
    Column("words", "whole", "in the prose of the answer"),
    Column("empty", "flag", "nothing visible in it"),
    Column("truncated", "flag", "cut off at the token limit; NULL: nobody knows"),
    Column("malformed", "flag", "withheld by a server, or its form was broken"),
    Column("refused", "flag", "opens by declining"),
    Column("repetitive", "flag", "at least one run of four words in five was said before"),
    Column("foreign", "flag", "not in English, as far as can be told"),
    Column("leak", "flag", "recites a kernel"),
)
_STORED = (
    Column("stored_score", "number", "the score that a published file states for the answer"),
    Column("stored_version", "text", "its generation: v1 (8 signals), v2 (14), unknown"),
)

RUNS = View(
    "runs",
    "one row a model: a run folder, or a model in a file",
    (
        *_MODEL,
        Column("form", "text", "run (a run folder), published (an A/B file), lines"),
        Column("answers", "whole", "answers of it"),
        Column("probes", "whole", "questions that it answered"),
        Column("conditions", "arms", "its arms, in order"),
        Column("max_tokens", "whole", "limit of an answer"),
        Column("temperature", "number", "0 = greedy"),
        Column("top_p", "number", "share of the probability that is sampled from"),
        Column("seed", "whole", "of the run"),
        Column("samples", "whole", "answers a prompt"),
        Column("engine", "text", "what generated the answers"),
        Column("engine_version", "text", "its version"),
        Column("engine_model", "text", "the model as the engine calls it"),
        Column("fingerprint", "text", "what pins weights and template, as JSON"),
        Column("template_sha256", "text", "of the chat template"),
        Column("probe_sets", "text", "names of the probe sets, joined by +"),
        Column("probes_sha256", "text", "of ids, domains and texts of the questions"),
        Column("created", "time", "UTC"),
        Column("updated", "time", "UTC"),
        Column("lem", "text", "version of lem that made the run"),
        Column("git_revision", "text", "of the working folder the run was started in"),
        Column("platform", "text", "operating system and machine"),
        Column("cores", "whole", "of that machine"),
    ),
)

RESPONSES = View(
    "responses",
    "one row an answer",
    (
        *_ANSWER,
        Column("final", "text", "the answer"),
        Column("reasoning", "text", "what the model thought before it, where it is kept apart"),
        Column("finish_reason", "text", "stop, length (cut off), filtered, unknown"),
        *_MEASURES,
        *_STORED,
        Column("prompt_tokens", "whole", "of the prompt; run folders only, like all that follow"),
        Column("cached_tokens", "whole", "of these, taken from a shared prefix"),
        Column("completion_tokens", "whole", "of the answer"),
        Column("seconds", "number", "from the first own token of the prompt to the last"),
        Column("ts", "time", "when the answer was finished, UTC"),
        Column("seed", "whole", "of the request"),
        Column("prompt_sha256", "text", "of the rendered prompt"),
        Column("key", "text", "of the answer in the run's log"),
    ),
)

SCORES = View(
    "scores",
    "one row an answer and scorer",
    (
        *_ANSWER,
        Column("scorer", "text", "v2, reasoning, ... (--scorer)"),
        Column("version", "text", "of its rules"),
        Column("score", "number", "NULL: the scorer does not apply to this answer"),
        *_MEASURES,
        *_STORED,
    ),
)

PARTS = View(
    "parts",
    "one row an answer, scorer and part of the score",
    (
        *_ANSWER,
        Column("scorer", "text", "v2, reasoning, ... (--scorer)"),
        Column("version", "text", "of its rules"),
        Column("part", "text", "name of the part: compliance_markers, lek_score, ..."),
        Column("value", "number", "yes and no are 1 and 0; NULL: does not apply"),
    ),
)

_TEST = (
    Column("n", "whole", "units (dilemmas) in both arms"),
    Column("mean", "number", "mean paired difference, arm − reference"),
    Column("low", "number", "95 % t interval of the mean"),
    Column("high", "number", "its upper end"),
    Column("boot_low", "number", "95 % bootstrap interval of the mean"),
    Column("boot_high", "number", "its upper end"),
    Column("sd", "number", "of the differences"),
    Column("d_z", "number", "mean / sd"),
    Column("median", "number", "of the differences"),
    Column("median_low", "number", "95 % interval of the median"),
    Column("median_high", "number", "its upper end"),
    Column("better", "whole", "units more than half a point above the reference"),
    Column("same", "whole", "units within half a point"),
    Column("worse", "whole", "units more than half a point below"),
    Column("p", "number", "paired t test, two-sided, not adjusted"),
    Column("sign_p", "number", "sign test of better against worse"),
    Column("wilcoxon_p", "number", "signed-rank test"),
    Column("noisy_tail", "flag", "too few units for differences as skewed as these"),
)

EFFECTS = View(
    "effects",
    "one row a comparison of two arms (or models)",
    (
        *_MODEL,
        Column("id", "text", "scorer/model/arm−reference"),
        Column("scorer", "text", "v2, reasoning, ... (--scorer)"),
        Column("version", "text", "of its rules"),
        Column("primary", "flag", "whether it is the primary scorer, the first one named"),
        Column("kind", "text", "kernel, content (kernel − placebo), words, control, noise, ..."),
        Column("arm", "text", "what is compared"),
        Column("reference", "text", "what it is compared with"),
        *_TEST,
        Column("family", "text", "declared family of tests; NULL: exploratory"),
        Column("family_size", "whole", "tests in it, over all inputs of this call"),
        Column("p_adjusted", "number", "by Holm over the family"),
        Column("shown", "flag", "p_adjusted (or p, where exploratory) is below 0.05"),
        Column("detectable", "number", "smallest true difference found with 80 % power"),
        Column("needed", "whole", "units needed to find a difference as large as this one"),
        Column("noise", "number", "noise floor: the baseline asked twice; NULL: not measured"),
        Column("in_noise", "flag", "no larger than the noise floor"),
        Column("length_effect", "number", "the difference at equal length"),
        Column("length_low", "number", "its 95 % interval"),
        Column("length_high", "number", "its upper end"),
        Column("length_p", "number", "of it"),
        Column("length_slope", "number", "points a unit of log length"),
        Column("length_shift", "number", "mean log(words of the arm / of the reference)"),
        Column("length_extrapolated", "flag", "nearly all pairs differ in length one way"),
        Column("complete_n", "whole", "units without a cut answer; NULL: no answer was cut"),
        Column("complete_mean", "number", "mean difference over them"),
        Column("complete_low", "number", "its 95 % interval"),
        Column("complete_high", "number", "its upper end"),
        Column("worst_low", "number", "mean if every missing score were the worst for the arm"),
        Column("worst_high", "number", "mean if every missing score were the best for it"),
        Column("unmatched", "whole", "probes without a score in one of the two"),
        Column("finding", "text", "of a kernel: content, length, any prompt, not shown, ..."),
        Column("sentence", "text", "the finding in words"),
    ),
)

PROBES = View(
    "probes",
    "one row a question",
    (
        Column("probe", "text", "its id, unique among the inputs"),
        Column("domain", "text", "what it is about"),
        Column("cluster", "text", "the dilemma it is a wording of: the unit of all statistics"),
        Column("prompt", "text", "the question; NULL where a file does not say"),
    ),
)

VIEWS: dict[str, View] = {v.name: v for v in (RUNS, RESPONSES, SCORES, PARTS, EFFECTS, PROBES)}

EXPORTED = ("runs", "responses", "scores", "effects", "probes")
"""The views that `lem export` writes where nobody chooses; `parts` is long and costs a second
scoring."""


def listing(names: tuple[str, ...] = tuple(VIEWS), docs: bool = True) -> str:
    """The views and their columns as text.

    Args:
        names: of the views, in order.
        docs: one line a column with its type and meaning; else the names alone.
    """
    lines = []
    for view in (VIEWS[name] for name in names):
        if not docs:
            lines.append(f"{view.name}({', '.join(view.names)})")
            continue
        lines.append(f"{view.name}: {view.doc}")
        for column in view.columns:
            kind = "ARMS" if column.kind == "arms" else SQL_TYPES[column.kind]
            lines.append(f"  {column.name:19} {kind:9} {column.doc}")
        lines.append("")
    return "\n".join(lines).rstrip()
