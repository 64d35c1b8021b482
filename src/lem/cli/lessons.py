"""``lem lessons``: look at lesson sets, check them, write them as trainers read them."""

from __future__ import annotations

import math
from pathlib import Path

import click

from lem.cli.checking import check_options, run_check
from lem.cli.reading import show_text
from lem.errors import LemError
from lem.lessons import BUILT_IN, FORMATS, card, load_lessons, write_folder
from lem.records import Lesson
from lem.text import dump_json, excerpt


@click.group(name="lessons")
def command() -> None:
    """List, show, check and split lesson sets (training data)."""


@command.command("list")
def list_sets() -> None:
    """List the built-in lesson sets."""
    for name in BUILT_IN:
        lessons = load_lessons(name)
        splits = {s: sum(le.split == s for le in lessons) for s in ("train", "valid", "test")}
        parts = ", ".join(f"{n} {split}" for split, n in splits.items() if n)
        words = sorted(len(le.answer.split()) for le in lessons)
        click.echo(
            f"{name:10} {len(lessons):4} lessons ({parts}); answers of {words[0]} to "
            f"{words[-1]} words"
        )


@command.command(epilog="\b\nExamples:\n  lem lessons show zen\n  lem lessons show ethics E007")
@click.argument("lessons", metavar="SET|FILE|FOLDER")
@click.argument("lesson", required=False)
def show(lessons: str, lesson: str | None) -> None:
    """Print a lesson set, or the one LESSON whose id begins so."""
    loaded = load_lessons(lessons)
    if lesson is None:
        for le in loaded:
            click.echo(
                f"{excerpt(le.id, 16):16} {le.split:5} {excerpt(le.topic, 20):20} "
                f"{excerpt(le.question or le.answer, 34)}"
            )
        return
    found = [le for le in loaded if le.id.startswith(lesson)]
    if not found:
        raise LemError(
            f"{lessons} has no lesson whose id begins with {lesson!r}.",
            "Nothing was shown.",
            f"See all of them with: lem lessons show {lessons}",
        )
    for le in found:
        about = "; ".join(t for t in (le.topic, le.form, le.split, le.source) if t)
        turns = [f"[{m['role']}]\n{m['content']}" for m in le.messages]
        show_text(f"{le.id} ({about})\n\n" + "\n\n".join(turns) + "\n")


@command.command("card", epilog="\b\nExample:\n  lem lessons card ethics")
@click.argument("name", metavar="SET")
def show_card(name: str) -> None:
    """Print the card of a built-in set: purpose, making, counts, limits."""
    click.echo(card(name).rstrip())


@command.command(
    epilog="\b\nExamples:\n  lem lessons check\n  lem lessons check train.jsonl --against G100"
)
@click.argument("lessons", nargs=-1, metavar="[SET|FILE|FOLDER]...")
@click.option(
    "--against",
    multiple=True,
    metavar="SET|FILE",
    help="Probe sets that must not be in the lessons; repeatable. Default: the built-in ones.",
)
@check_options
def check(
    lessons: tuple[str, ...],
    against: tuple[str, ...],
    semantic: bool | None,
    embedder: Path | None,
    as_json: bool,
) -> None:
    """Check lesson sets, and that no probe is in them; without a name, the built-in ones.

    Format; exact, near and semantic duplicates within and across sets; contamination by probes,
    word for word and in other words; openings; word sequences in two answers; lengths; words that
    the old scores count; names of axioms and text of the kernel; stock phrases; reading level;
    balance. Exits with 2 if a rule is broken, with the place of each fault.
    """
    from lem.corpus import SetOf
    from lem.probes import BUILT_IN as PROBES
    from lem.probes import load_probes

    names = lessons or tuple(BUILT_IN)
    sets = [SetOf(_name(name), load_lessons(name)) for name in names]
    probes = [
        SetOf(n.upper() if n.upper() in PROBES else Path(n).stem, load_probes(n))
        for n in against or PROBES
    ]
    run_check(sets, probes, semantic, embedder, as_json)


@command.command(epilog="\b\nExample:\n  lem lessons stats ethics zen")
@click.argument("lessons", nargs=-1, metavar="[SET|FILE|FOLDER]...")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def stats(lessons: tuple[str, ...], as_json: bool) -> None:
    """Count lessons, turns, words; show balance, openings and reading level."""
    from lem.cli.checking import table
    from lem.corpus import SetOf, apart
    from lem.corpus import check as measure

    named = [SetOf(_name(name), load_lessons(name)) for name in lessons or BUILT_IN]
    sets, _ = apart(named, [])
    report = measure(sets)._replace(findings=[])
    if as_json:
        click.echo(dump_json({"counts": report.counts, "parts": report.to_json()["parts"]}, 1))
    else:
        lines = table(report, []).splitlines()
        click.echo("\n".join(li for li in lines if not li.startswith(("No rule", "Likeness"))))


@command.command(
    epilog="\b\nExamples:\n  lem lessons split ethics --output data\n"
    "  lem lessons split mine.jsonl more.jsonl --output data --valid 0.1 --test 0.1\n"
    "  lem lessons split ethics --output data --format prompt-completion --single-turn"
)
@click.argument("lessons", nargs=-1, required=True, metavar="SET|FILE|FOLDER...")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--valid", type=click.FloatRange(0, 1, max_open=True), help="Share for valid.jsonl.")
@click.option("--test", type=click.FloatRange(0, 1, max_open=True), help="Share for test.jsonl.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawing.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default="messages",
    show_default=True,
    help="What each line holds.",
)
@click.option("--single-turn", is_flag=True, help="Leave conversations of several turns out.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier folder.")
def split(
    lessons: tuple[str, ...],
    output: Path,
    valid: float | None,
    test: float | None,
    seed: int,
    format_name: str,
    single_turn: bool,
    overwrite: bool,
) -> None:
    """Write lessons as a folder of train.jsonl, valid.jsonl and test.jsonl.

    mlx-lm and TRL read such a folder. Lessons keep the split they say they have, unless --valid
    or --test asks for a new drawing; then near duplicates stay together, so that no validation
    text is a copy of a training text.
    """
    from lem.corpus.split import draw

    if math.isnan(valid or 0) or math.isnan(test or 0):
        raise LemError("A share of nan is no share.", "Nothing was written.", "Give 0 to under 1.")
    loaded = _apart([le for name in dict.fromkeys(lessons) for le in load_lessons(name)])
    drawn = valid is not None or test is not None
    if drawn:
        loaded = draw(loaded, valid or 0.0, test or 0.0, seed)
    left_out = 0
    if single_turn:
        kept = [le for le in loaded if [m["role"] for m in le.messages] == ["user", "assistant"]]
        left_out, loaded = len(loaded) - len(kept), kept
    notes = {"shares": {"valid": valid or 0.0, "test": test or 0.0, "seed": seed}} if drawn else {}
    counts = write_folder(loaded, output, format_name, notes=notes, overwrite=overwrite)
    for name, count in counts.items():
        click.echo(f"{output / name}.jsonl: {count} lessons")
    if left_out:
        click.echo(f"{left_out} lessons of several turns were left out (--single-turn).", err=True)


def _apart(lessons: list[Lesson]) -> list[Lesson]:
    """Lessons of which no two have the same set and id, as those of two files of one name can; the
    drawing would take them for one."""
    taken: set[tuple[str, str]] = set()
    apart = []
    for lesson in lessons:
        name, times = lesson.id, 1
        while (lesson.set, name) in taken:
            times += 1
            name = f"{lesson.id} ({times})"
        taken.add((lesson.set, name))
        apart.append(lesson.model_copy(update={"id": name}))
    return apart


def _name(where: str) -> str:
    """How a set is called in the report."""
    built_in = where.lower() in BUILT_IN and not Path(where).exists()
    return where.lower() if built_in else Path(where).stem
