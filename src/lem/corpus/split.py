"""Drawing training, validation and test lessons so that copies stay together."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence

from lem.corpus.duplicates import duplicates, groups
from lem.corpus.texts import of_lessons
from lem.errors import LemError
from lem.records import Lesson


def draw(lessons: Sequence[Lesson], valid: float, test: float, seed: int = 0) -> list[Lesson]:
    """Give every lesson a split by lot.

    Exact and near duplicates, of the question or of the answer, are drawn together. Each set
    gives its own share, so that a small one is not left out of the validation by chance.

    Args:
        lessons: of one or several sets.
        valid: share for validation, 0 to under 1; rounded up to whole lessons of each set.
        test: share for testing, likewise.
        seed: the same one draws the same lessons.

    Returns:
        The lessons in their order, each with its split.

    Raises:
        LemError: nothing would be left for training; or a share is asked for and every group of
            duplicates is larger than it.
    """
    if not valid + test < 1:  # so that nan is refused, too
        raise LemError(
            f"--valid {valid:g} and --test {test:g} leave nothing for training.",
            "Nothing was written.",
            "Choose shares that add up to less than 1.",
        )
    exact, near = duplicates(of_lessons(lessons))
    same = groups([*exact, *near])
    by_set: dict[str, dict[tuple[str, str], list[Lesson]]] = defaultdict(lambda: defaultdict(list))
    for lesson in lessons:
        group = same.get((lesson.set, lesson.id), (lesson.set, lesson.id))
        by_set[group[0]][group].append(lesson)
    shares = {"test": test, "valid": valid}
    chosen: dict[tuple[str, str], str] = {}
    for name in sorted(by_set):
        bundles = [by_set[name][key] for key in sorted(by_set[name])]
        random.Random(f"{seed}:{name}").shuffle(bundles)
        total = sum(len(b) for b in bundles)
        # Rounded first, for 0.07 * 100 is a little over 7.
        wanted = {s: math.ceil(round(share * total, 9)) for s, share in shares.items()}
        for bundle in bundles:
            split = next((s for s, left in wanted.items() if left >= len(bundle)), "train")
            if split != "train":
                wanted[split] -= len(bundle)
            chosen |= {(le.set, le.id): split for le in bundle}
    for name, share in shares.items():
        if share and name not in chosen.values():
            raise LemError(
                f"No lesson can be drawn for --{name} {share:g}: every group of near duplicates is "
                "larger than that share.",
                "A copy of a training text would measure nothing; nothing was written.",
                f"Choose a greater --{name} or leave it out; lem lessons check shows the copies.",
            )
    return [le.model_copy(update={"split": chosen[le.set, le.id]}) for le in lessons]
