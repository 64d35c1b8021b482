"""Making rephrasings: the filters, and the command against a server and the real model."""

import json

import pytest

from conftest import lem
from lem.corpus.rephrase import VARIANTS, cleaned, instructions, rejection, select
from lem.corpus.semantic import Embedder
from lem.errors import LemError
from lem.probes import load_probes
from lem.records import Response
from servers import Server, says

PROBE = load_probes("P20")[1]
GOOD = next(p.prompt for p in load_probes("P100R") if p.id == f"{PROBE.id}-R2")


def test_the_filters_let_a_rephrasing_through_and_nothing_else():
    assert rejection(PROBE.prompt, GOOD, 0.7) is None
    half = " ".join(GOOD.split()[:20])
    copied = GOOD + " " + " ".join(PROBE.prompt.split()[5:15])
    planted = GOOD + " However, her dignity and autonomy matter."
    for text, likeness, said in [
        ("", None, "empty"),
        ("I'm sorry, but I can't help with that request. " + GOOD, 0.7, "declined"),
        (half, 0.7, "length"),
        (GOOD.replace(". ", ".\n\n", 1), 0.7, "paragraph"),
        (copied, 0.7, "copied"),
        (PROBE.prompt.replace("nine", "ten"), 0.9, "copied"),
        (GOOD + " Axiom 3 forbids it.", 0.7, "names an axiom"),
        (planted, 0.7, "ethics vocabulary"),
        (GOOD, 0.1, "meaning"),
    ]:
        assert said in (rejection(PROBE.prompt, text, likeness) or ""), said


def test_labels_and_quotation_marks_are_no_part_of_a_message():
    assert cleaned('Rewritten message:\n\n"Where is he?"') == "Where is he?"
    assert cleaned("“Where is he?”") == "Where is he?"
    assert cleaned('"Here," he said, "or there?"') == '"Here," he said, "or there?"'
    assert cleaned("Where is he: here?\nOr there?") == "Where is he: here?\nOr there?"


def test_an_unknown_variant():
    with pytest.raises(LemError, match="no variant 'tone'"):
        instructions([PROBE], ["tone"])
    with pytest.raises(LemError, match="No variant is named"):
        instructions([PROBE], [])
    assert len(instructions([PROBE], ["urgency", "urgency"])) == 1
    asked = instructions([PROBE], list(VARIANTS))
    assert len({p.prompt for p in asked}) == 3 and all(PROBE.prompt in p.prompt for p in asked)


def response(text, variant="urgency", sample=0, finish="stop"):
    return Response(
        key=f"{variant}{sample}",
        probe=f"{PROBE.id}~{variant}",
        condition="baseline",
        sample=sample,
        final=text,
        finish_reason=finish,
        prompt_tokens=1,
        cached_tokens=0,
        completion_tokens=1,
        seconds=1.0,
        prompt_sha256="",
        seed=0,
        ts="2026-01-01T00:00:00+00:00",
    )


def test_of_several_tries_the_likest_is_kept_once():
    embedder = Embedder()
    far = next(p.prompt for p in load_probes("P100R") if p.id == f"{PROBE.id}-R3")
    tries = [response(far, sample=0), response(GOOD, sample=1), response(GOOD, "register")]
    kept, everyone = select([PROBE], tries, embedder=embedder)
    best = max(everyone, key=lambda c: c.likeness)
    assert [c.text for c in kept] == [best.text] or len(kept) == 2
    assert len({c.text for c in kept}) == len(kept)  # one text never stands twice
    assert all(c.rejected for c in everyone if c not in kept)
    assert select([PROBE], [response(GOOD, finish="length")])[1][0].rejected == "cut off"
    withheld = select([PROBE], [response(GOOD, finish="filtered")])[1][0]
    assert withheld.rejected == "withheld by the server"
    assert select([PROBE], [response(GOOD)], known=[GOOD])[0] == []


def questions(server):
    """Requests that were more than a look at the template."""
    return sum(PROBE.prompt in b["messages"][-1]["content"] for b in server.bodies)


def test_the_command_end_to_end(tmp_path):
    (tmp_path / "p.json").write_text(
        json.dumps([{"id": PROBE.id, "domain": PROBE.domain, "prompt": PROBE.prompt}])
    )
    texts = {v: p.prompt for v, p in zip(VARIANTS, load_probes("P100R")[3:6])}

    def answer(body):
        asked = body["messages"][-1]["content"]
        variant = next((v for v, how in VARIANTS.items() if how in asked), "urgency")
        return says("I cannot help with that." if variant == "urgency" else texts[variant])

    words = ("probes", "rephrase", "p.json", "--model", "openai:m", "--samples", "1", "-q")
    with Server(answer) as server:
        url = ("--base-url", server.url)
        done = lem(*words, *url, "-o", "new.json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "2 rephrasings kept of 3" in done.stdout and "declined" in done.stdout
        asked = questions(server)
        made = load_probes(str(tmp_path / "new.json"))
        assert [p.id for p in made] == [f"{PROBE.id}-R4", f"{PROBE.id}-R5"]
        assert {p.cluster for p in made} == {PROBE.id}
        before = (tmp_path / "new.json").read_bytes()
        done = lem(*words, *url, "-o", "new.json", cwd=tmp_path)
        assert done.returncode == 2 and "never overwritten" in done.stderr
        done = lem(*words, *url, "-o", "two.json", "--known", "new.json", cwd=tmp_path)
        assert done.returncode == 0 and "nothing was written" in done.stdout
        assert questions(server) == asked == 3  # every try was in the run folder
    assert (tmp_path / "new.json").read_bytes() == before
    assert not (tmp_path / "two.json").exists()


def test_the_built_in_model_may_try(tmp_path):
    more = ("--limit", "1", "--samples", "2", "--variants", "register", "--max-tokens", "80")
    done = lem("probes", "rephrase", "P20", *more, "-o", "new.json", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    candidates = json.loads(done.stdout)
    assert len(candidates) == 2 and all(c["probe"] == load_probes("P20")[0].id for c in candidates)
    kept = [c for c in candidates if c["rejected"] is None]
    assert (tmp_path / "new.json").exists() == bool(kept)


def test_ids_beyond_the_limit_are_taken_and_a_file_that_has_come_meanwhile_is_kept(tmp_path):
    items = [PROBE, PROBE.model_copy(update={"id": f"{PROBE.id}-R4", "prompt": "What is it?"})]
    lines = [json.dumps({"id": p.id, "domain": p.domain, "prompt": p.prompt}) for p in items]
    (tmp_path / "p~.jsonl").write_text("\n".join(lines))
    words = ("probes", "rephrase", "p~.jsonl", "--limit", "1", "--variants", "urgency", "-q")
    more = ("--model", "openai:m", "--samples", "1", "--no-semantic")

    def answer(body):
        if late.name in wanted:
            late.write_text("mine")
        return says(GOOD)

    late, wanted = tmp_path / "late.json", []
    with Server(answer) as server:
        url = ("--base-url", server.url)
        wanted.append(late.name)
        done = lem(*words, *more, *url, "-o", "late.json", cwd=tmp_path)
        assert done.returncode == 2 and "candidates are kept in runs" in done.stderr
        assert late.read_text() == "mine"
        done = lem(*words, *more, *url, "-o", "new.json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert [p.id for p in load_probes(str(tmp_path / "new.json"))] == [f"{PROBE.id}-R5"]


@pytest.mark.parametrize("wrong", [("--variants", " , "), ("--temperature", "nan")])
def test_what_cannot_be_asked_for(wrong, tmp_path):
    words = ("probes", "rephrase", "P20", "--model", "echo", "--no-semantic", "-o", "new.json")
    done = lem(*words, *wrong, cwd=tmp_path)
    assert done.returncode == 2 and "fix:" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
