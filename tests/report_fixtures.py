"""Small studies for the tests of reports: answers are made up, everything else is worked out."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from lem.analysis import Analysis, analyse
from lem.scoring.work import describe
from lem.study import Answer, Group, Model, ProbeText, Study, load_study
from lem.study.inputs import arms_of_names

WORDS = [
    "perhaps",
    "the",
    "question",
    "turns",
    "on",
    "who",
    "carries",
    "the",
    "cost",
    "however",
    "careful",
    "consent",
    "matters",
    "when",
    "a",
    "clinic",
    "stores",
    "data",
    "about",
    "people",
    "who",
    "cannot",
    "refuse",
    "because",
    "trust",
    "grows",
    "slowly",
    "and",
    "breaks",
    "fast",
    "so",
    "ask",
    "them",
    "first",
    "then",
    "explain",
    "what",
    "is",
    "kept",
    "why",
    "it",
    "is",
    "kept",
    "and",
    "when",
    "it",
    "will",
    "be",
    "gone",
    "autonomy",
    "dignity",
    "harm",
    "balance",
    "context",
    "community",
    "honest",
    "limits",
    "sharing",
    "power",
    "network",
]

DOMAINS = ("Identity", "Network", "Storage", "Health", "Education")


def answer(rng: random.Random, words: int, lift: int = 0) -> str:
    """An answer of about so many words; `lift` adds marks that the v2 score counts."""
    parts = []
    for _ in range(max(1, words // 25)):
        sentence = " ".join(rng.choices(WORDS, k=25))
        parts.append(sentence.capitalize() + ".")
    parts += [f"## Consider\n\nOn the other hand, perhaps point {i}?" for i in range(lift)]
    return "\n\n".join(parts)


def published(
    path: Path,
    model: str = "demo-1b",
    *,
    arms: Mapping[str, int] | None = None,
    probes: int = 21,
    seed: int = 1,
    words: int = 100,
    ids: Sequence[str] = (),
    domains: Sequence[str] = DOMAINS,
    texts: Mapping[tuple[int, str], str] | None = None,
) -> Path:
    """Write a published A/B file.

    Args:
        arms: condition -> planted lift.
        ids: names of the first probes; the others are P01, ...
        texts: (number of the probe, condition) -> an answer of one's own.
    """
    rng = random.Random(seed)
    arms = arms or {"baseline": 0, "json": 2, "txt": 0, "placebo-json": 1, "placebo-txt": 0}
    lines = []
    for i in range(probes):
        conditions = {}
        for name, lift in arms.items():
            made = answer(
                rng, rng.randint(words // 2, words * 2), max(0, lift + rng.randint(-1, 1))
            )
            text = (texts or {}).get((i, name), made)
            conditions[name] = {"response": text, "lek_score": 0.0, "heuristic": {}}
        lines.append(
            {
                "type": "probe",
                "id": ids[i] if i < len(ids) else f"P{i + 1:02d}",
                "category": domains[i % len(domains)],
                "prompt": f"Question {i + 1}: what should the clinic do about its records?",
                "conditions": conditions,
                "model": model,
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def small(folder: Path, **options: object) -> tuple[Study, Analysis]:
    """One model, five conditions, 21 probes."""
    study = load_study([published(folder / "one.jsonl", **options)])  # type: ignore[arg-type]
    return study, analyse(study)


def several(folder: Path, models: int = 6, probes: int = 12) -> tuple[Study, Analysis]:
    """Models of two families in three sizes, the last one tuned."""
    files, groups = [], {}
    for k in range(models):
        family = ("alder", "birch")[k % 2]
        name = f"{family}-{k // 2 + 1}b"
        groups[name] = Group(family, "1", float(2 ** (k // 2)))
        if k == models - 1:
            name = f"{name}-lem"
            groups[name] = Group(family, "1", 1.0, tuned_from=f"{family}-1b")
        arms = {"baseline": k % 3, "json": k % 3 + 1, "txt": k % 3, "placebo-json": k % 3}
        files.append(published(folder / f"m{k}.jsonl", name, arms=arms, probes=probes, seed=k))
    study = load_study(files)
    named = tuple(dataclasses.replace(m, group=groups[m.name]) for m in study.models)
    study = dataclasses.replace(study, models=named)
    return study, analyse(study)


def wide(probes: int) -> Study:
    """One model with two conditions and very many probes, scores drawn, no file read."""
    rng = random.Random(5)
    texts = {f"q{i}": ProbeText(f"q{i}", f"d{i % 7}", f"q{i}", f"Why {i}?") for i in range(probes)}
    answers = []
    for arm, lift in (("baseline", 0.0), ("json", 0.3)):
        for name in texts:
            words = rng.randint(20, 400)
            scores = (round(rng.gauss(10 + lift, 3), 2),)
            facts = (False, None, False, False, False, False, False)
            text = f"Answer to {name}."
            answers.append(Answer("wide", arm, name, 0, text, words, *facts, scores, None))
    model = Model("wide", "wide.jsonl", "lines", arms_of_names(("baseline", "json")), {})
    return Study(
        models=(model,),
        probes=texts,
        answers=tuple(answers),
        scorers=(describe("v2"),),
        problems=(),
        texts=True,
    )
