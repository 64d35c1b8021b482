"""How large, how fast: the report of 29 models × 3 conditions × 101 probes.

    python benchmarks/report_size.py [--models 29] [--probes 101] [--browser] [--keep FOLDER]

The answers are made up, of the sizes of real ones (1.8 to 4.5 KB, Markdown in a third of them). A
chain of word pairs learnt from benchmarks/data is mixed with words of the whole English lexicon, so
that they do not compress better than real answers do: the ratio of both is printed. The page is
compared with its answers as plain JSON (what an uncompressed page would carry) and with the answers
compressed one by one.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import gzip
import itertools
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lem.analysis import analyse
from lem.report.html import build_html
from lem.study import Group, load_study

DATA = Path(__file__).parent / "data"
CONDITIONS = ("baseline", "json", "txt")
DOMAINS = (
    "Identity", "Network", "Storage", "Compute", "Payment", "Hypnos", "Governance", "Education",
    "Health", "Culture", "Control",
)  # fmt: skip
FAMILIES = ("alder", "birch", "cedar", "dogwood", "elm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=29)
    parser.add_argument("--probes", type=int, default=101)
    parser.add_argument("--browser", action="store_true", help="time the filter in Chromium")
    parser.add_argument("--keep", type=Path, help="folder for the inputs and the page")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        files, groups, texts = write_inputs(folder, options.models, options.probes)
        print(f"answers        {len(texts):,}, {sum(map(len, texts)) / 1e6:.1f} MB")
        print(f"gzip ratio     {ratio(texts[:400]):.2f} made up, {ratio(real_texts()):.2f} real")
        page = folder / "report.html"
        before = sum(os.times()[:4])
        began = time.perf_counter()
        study = load_study(files, jobs=0)
        named = tuple(dataclasses.replace(m, group=groups[m.name]) for m in study.models)
        study = dataclasses.replace(study, models=named)
        loaded = time.perf_counter()
        analysis = analyse(study)
        analysed = time.perf_counter()
        page.write_text(build_html(study, analysis), encoding="utf-8")
        done = time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"load and score {loaded - began:.1f} s")
        print(f"analyse        {analysed - loaded:.1f} s")
        print(f"html           {done - analysed:.1f} s")
        cpu = sum(os.times()[:4]) - before
        print(
            f"in all         {done - began:.1f} s (target < 30), {cpu:.0f} s of processor time; "
            f"peak {peak:.0f} MB (target < 1000)"
        )
        size = page.stat().st_size
        plain = sum(len(json.dumps(t)) for t in texts)
        single = sum(len(base64.b64encode(gzip.compress(t.encode(), 9))) for t in texts)
        print(
            f"page           {size / 1e6:.1f} MB (target < 15): 1/{plain / size:.1f} of its "
            f"answers as plain JSON, 1/{single / size:.2f} of them compressed one by one"
        )
        if options.browser:
            time_filter(page)


def write_inputs(
    folder: Path, models: int, probes: int
) -> tuple[list[Path], dict[str, Group], list[str]]:
    """Published A/B files, one a model."""
    writer = Writer(random.Random(4))
    prompts = [writer.answer(random.Random(i), 260) for i in range(probes)]
    files, groups, texts = [], {}, []
    for k in range(models):
        rng = random.Random(1000 + k)
        family, step = FAMILIES[k % len(FAMILIES)], k // len(FAMILIES)
        name = f"{family}-{1 + step // 4}-{2 ** (step % 4)}b"
        groups[name] = Group(family, str(1 + step // 4), float(2 ** (step % 4)))
        lines = []
        for i, prompt in enumerate(prompts):
            told = {}
            for condition in CONDITIONS:
                text = writer.answer(rng, rng.randint(1800, 4500))
                told[condition] = {"response": text, "lek_score": 0.0, "heuristic": {}}
                texts.append(text)
            line = {
                "type": "probe", "id": f"P{i + 1:03d}", "category": DOMAINS[i % len(DOMAINS)],
                "prompt": prompt, "conditions": told, "model": name,
            }  # fmt: skip
            lines.append(json.dumps(line))
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files.append(path)
    return files, groups, texts


class Writer:
    """Makes up answers: word pairs as in real ones, every tenth word from the whole lexicon."""

    def __init__(self, rng: random.Random) -> None:
        self.next: dict[str, list[str]] = {}
        for text in real_texts():
            words = text.replace("\n", " ").split()
            for first, second in itertools.pairwise(words):
                self.next.setdefault(first, []).append(second)
        self.starts = sorted({w for w in self.next if w[:1].isupper() and w.isalpha()})
        self.rare = lexicon()
        rng.shuffle(self.rare)

    def answer(self, rng: random.Random, characters: int) -> str:
        """A text of about so many characters, in paragraphs, now and then in Markdown."""
        parts: list[str] = []
        markdown = rng.random() < 0.34
        while sum(map(len, parts)) < characters:
            paragraph = self._words(rng, rng.randint(40, 90))
            if markdown and rng.random() < 0.5:
                head = self._words(rng, 4).rstrip(".,:;")
                paragraph = rng.choice((f"### {head}\n\n{paragraph}", f"- **{head}**: {paragraph}"))
            parts.append(paragraph)
        return "\n\n".join(parts)[:characters]

    def _words(self, rng: random.Random, n: int) -> str:
        word = rng.choice(self.starts)
        found = [word]
        for _ in range(n - 1):
            if rng.random() < 0.1:
                found.append(self.rare[int(rng.paretovariate(0.6)) % len(self.rare)])
            word = rng.choice(self.next.get(word) or self.starts)
            found.append(word)
        return " ".join(found)


def real_texts() -> list[str]:
    """The answers that come with the repository, written by hand in the manner of models."""
    found = []
    for path in sorted(DATA.glob("validity_*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            text = record.get("response") or record.get("text") or ""
            if len(text) > 400:
                found.append(text)
    return found


def lexicon() -> list[str]:
    """Lower-case English words: nouns, verbs and adjectives of lemminflect's tables."""
    import lemminflect

    path = Path(lemminflect.__file__).parent / "resources" / "infl_lu.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        words = {line.split(",")[0] for line in file}
    return sorted(w for w in words if w.isalpha() and w.islower() and 3 < len(w) < 13)


def ratio(texts: list[str]) -> float:
    """How many times smaller gzip makes texts, in the chunks of three answers that share a page's
    probe."""
    chunks = ["\n".join(texts[i : i + 3]).encode() for i in range(0, len(texts) - 2, 3)]
    return statistics.fmean(len(c) / len(gzip.compress(c, 9)) for c in chunks)


def time_filter(page: Path) -> None:
    """Type into the search field of the page and read what the page measured."""
    from selenium.webdriver.common.by import By

    for name, driver in browsers():
        driver.get(page.resolve().as_uri())
        field = driver.find_element(By.ID, "q")
        driver.execute_script("performance.clearMeasures()")
        for key in "what is P0":
            field.send_keys(key)
        driver.find_element(By.ID, "beyond").click()
        taken = driver.execute_script(
            "return performance.getEntriesByName('lem-filter').map(e => e.duration)"
        )
        opened = driver.execute_async_script(
            "const done = arguments[0], t = performance.now();"
            "const b = document.querySelector('#rows button'); b.click();"
            "const watch = () => document.querySelector('tr.answers article')"
            " ? done(performance.now() - t) : setTimeout(watch, 1); watch();"
        )
        rows = driver.execute_script("return data.rows.length")
        print(
            f"filter         {max(taken):.0f} ms at most, {statistics.median(taken):.0f} ms median "
            f"of {len(taken)}, {rows:,} rows, {name} (target < 100)"
        )
        print(f"open answers   {opened:.0f} ms")
        driver.quit()


def browsers() -> Iterator[tuple[str, object]]:
    """Headless Chromium, where it is installed."""
    import shutil

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program = shutil.which("chromium") or shutil.which("google-chrome")
    chauffeur = shutil.which("chromedriver")
    if not program or not chauffeur:
        print("filter         not timed: no Chromium and chromedriver found")
        return
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tempfile.mkdtemp()}")
    yield "Chromium", webdriver.Chrome(options=options, service=Service(chauffeur))


if __name__ == "__main__":
    main()
