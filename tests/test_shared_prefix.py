"""Shared-prefix attention against plain transformers `generate`, token by token, in fp32.

The reference asks for one prompt at a time, with transformers' own cache, masks and eager
attention. Greedy answers must be equal, not nearly equal: the reference also says how far ahead
the chosen token was at each step, and a run whose margins are too thin to demand that is refused.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from scipy import stats
from transformers import AutoConfig, AutoModelForCausalLM

from lem.engines import Meter, plain_cache, shared_prefix
from lem.engines.sampling import draw, uniform
from lem.engines.shared_prefix import Done, Job, hooks, obstacle, schedule, store
from lem.engines.shared_prefix.hooks import forward
from lem.engines.shared_prefix.packing import PackedLinear
from lem.engines.shared_prefix.sampling import pick
from tiny_models import NAMED, NAMES, NOT_SERVED, SERVED, VOCAB, WINDOWED, tiny

WINDOW = 16
#: Of every greedy answer; the reference is made once, to this length.
LONGEST = 12
#: A greedy choice by less than this could fall either way in fp32.
MARGIN = 1e-4

#: One at a time, some at a time, all at a time.
ROWS = (1, 3, 64)

Generate = Callable[..., Iterator[Done]]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny matrices are slower on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def subject(name: str) -> Any:
    """The model under test; the same for all tests, as an engine keeps its model."""
    return tiny(name, window=WINDOW)


@functools.cache
def plain(name: str) -> Any:
    """Its twin, which only transformers touches."""
    return tiny(name, window=WINDOW)


@functools.cache
def reference(name: str, ids: tuple[int, ...]) -> list[int]:
    """What transformers answers to one prompt, greedily, with nothing shared."""
    prompt = torch.tensor([ids])
    made = plain(name).generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=LONGEST,
        do_sample=False,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    best = torch.cat(made.logits).topk(2).values
    assert (best[:, 0] - best[:, 1]).min() > MARGIN, "draw other prompts: this choice is a tie"
    return made.sequences[0, len(ids) :].tolist()


def expected(name: str, job: Job, stops: Sequence[int] = ()) -> tuple[list[int], bool]:
    """The reference's answer to a job, cut as the job says, and whether it ended by itself."""
    tokens = reference(name, tuple(job.ids))[: job.max_tokens]
    end = next((i for i, token in enumerate(tokens) if token in stops), None)
    return (tokens, False) if end is None else (tokens[:end], True)


def mixed_jobs(prefixes: Sequence[int] = (0, 5, 16, 40), seed: int = 0) -> list[Job]:
    """One group for each prefix length, with ragged suffixes and answers of unequal length; then
    a group of one, and one of two that are the same to the last token.

    No two suffixes of a group begin with the same token, so that the prefix is as long as it says.
    """
    draw = random.Random(seed)
    jobs = []
    for length in prefixes:
        prefix = [draw.randrange(VOCAB) for _ in range(length)]
        sizes = [1, 20, *(draw.randint(2, 19) for _ in range(2))]
        draw.shuffle(sizes)
        for i, size in enumerate(sizes):
            suffix = [(10 * i + length) % VOCAB, *(draw.randrange(VOCAB) for _ in range(size - 1))]
            jobs.append(Job(prefix + suffix, f"prefix {length}", draw.randint(3, LONGEST)))
    jobs.append(Job([draw.randrange(VOCAB) for _ in range(23)], "alone", LONGEST))
    twin = [draw.randrange(VOCAB) for _ in range(19)]
    return [*jobs, Job(twin, "twins", LONGEST), Job(twin, "twins", 5)]


def answers(
    model: Any, jobs: Sequence[Job], how: Generate = shared_prefix.generate, **options: Any
) -> list[Done]:
    """All answers in the order of their jobs, each there exactly once."""
    done = list(how(model, jobs, **options))
    assert sorted(d.job for d in done) == list(range(len(jobs)))
    return sorted(done, key=lambda d: d.job)


def assert_as_reference(
    name: str, jobs: Sequence[Job], done: Sequence[Done], stops: Sequence[int] = ()
) -> None:
    for job, answer in zip(jobs, done, strict=True):
        where = f"{name}, {job.group}, {len(job.ids)} tokens"
        assert (answer.tokens, answer.ended) == expected(name, job, stops), where


# --- the models themselves: each has what it is there for, and the test would notice its loss


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_depends_on_the_whole_prefix(name: str) -> None:
    """Were the prefix not read, or read at the wrong place, the logits would differ."""
    ids = mixed_jobs()[-4].ids[:20]
    with torch.no_grad():
        true, other, moved = (
            plain(name)(torch.tensor([some])).logits[0, -1]
            for some in (ids, [*range(3), *ids[3:]], [*ids[9::-1], *ids[10:]])
        )
    for wrong in (other, moved):
        assert (wrong - true).abs().max() > 0.1


@pytest.mark.parametrize("name", WINDOWED)
def test_the_window_matters(name: str) -> None:
    wide = tiny(name, window=1000)
    ids = torch.tensor([mixed_jobs()[-4].ids])
    for length, same in ((WINDOW // 2, True), (ids.shape[1], False)):
        cut = ids[:, :length]
        near, far = plain(name)(cut).logits[0, -1], wide(cut).logits[0, -1]
        assert torch.allclose(near, far, atol=1e-4) == same, (name, length)


@pytest.mark.parametrize(
    ("name", "part"),
    [("gemma2", "softcap"), ("gpt-oss", "sinks"), ("gemma3", "rope")],
)
def test_the_special_parts_matter(name: str, part: str) -> None:
    changed = tiny(name, window=WINDOW)
    for layer in changed.model.layers:
        if part == "softcap":
            layer.self_attn.attn_logit_softcapping = None
        elif part == "sinks":
            layer.self_attn.sinks.data.fill_(-1e4)
    if part == "rope":
        rope = changed.model.rotary_emb
        rope.full_attention_inv_freq.copy_(rope.sliding_attention_inv_freq)
    ids = torch.tensor([mixed_jobs()[-4].ids])
    difference = (changed(ids).logits - plain(name)(ids).logits).abs().max()
    assert difference > 0.3


# --- exactness


@pytest.mark.parametrize(
    ("name", "rows"),
    [(n, r) for n in NAMED for r in ROWS] + [(n, 5) for n in SERVED if n not in NAMED],
)
def test_greedy_answers_are_those_of_plain_generate(name: str, rows: int) -> None:
    jobs = mixed_jobs()[:: 1 if rows > 1 else 3]
    assert_as_reference(name, jobs, answers(subject(name), jobs, rows=rows))


@pytest.mark.parametrize("name", NAMES)
def test_the_fallback_answers_as_plain_generate(name: str) -> None:
    jobs = mixed_jobs()[:: 1 if name in ("llama", "gemma3", "gpt-oss", *NOT_SERVED) else 3]
    done = answers(subject(name), jobs, plain_cache.generate, rows=3)
    assert_as_reference(name, jobs, done)


@pytest.mark.parametrize("name", [n for n in WINDOWED if n in NAMED])
def test_prefixes_around_the_window(name: str) -> None:
    """The window's edge falls into the prefix, onto its end, into the suffix, into the answer."""
    jobs = mixed_jobs((1, 14, 15, 17, 31, 33), seed=1)
    assert_as_reference(name, jobs, answers(subject(name), jobs, rows=5))


@pytest.mark.parametrize("name", NAMED)
def test_early_stops_make_room_for_the_next(name: str) -> None:
    """Some answers end at a stop token, others run on; the freed rows are filled again."""
    jobs = mixed_jobs(seed=2)
    jobs = [Job(job.ids, job.group, LONGEST) for job in jobs]
    # a token from early in one answer, one from late in another, and one that nobody says
    stops = (reference(name, tuple(jobs[3].ids))[2], reference(name, tuple(jobs[9].ids))[8], 255)
    ended = [expected(name, job, stops)[1] for job in jobs]
    assert any(ended) and not all(ended)
    for how, rows in ((shared_prefix.generate, 2), (plain_cache.generate, 64)):
        done = answers(subject(name), jobs, how, rows=rows, stop_ids=stops)
        assert_as_reference(name, jobs, done, stops)


def test_stopping_is_what_transformers_does_with_the_same_stop_token() -> None:
    """The reference is cut by hand everywhere else; once, transformers cuts it itself."""
    job = mixed_jobs()[-1]
    ids = torch.tensor([job.ids])
    stop = reference("llama", tuple(job.ids))[3]
    made = plain("llama").generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, eos_token_id=stop
    )
    job = Job(job.ids, job.group, 9)
    (done,) = answers(subject("llama"), [job], rows=1, stop_ids=[stop])
    assert [*done.tokens, stop] == made[0, ids.shape[1] :].tolist() and done.ended


def test_an_answer_may_be_one_token_or_the_stop_itself() -> None:
    jobs = [Job(job.ids, job.group, 1) for job in mixed_jobs()]
    assert_as_reference("qwen3", jobs, answers(subject("qwen3"), jobs, rows=3))
    stops = [reference("qwen3", tuple(job.ids))[0] for job in jobs]
    done = answers(subject("qwen3"), jobs, rows=3, stop_ids=stops)
    assert [(d.tokens, d.ended) for d in done] == [([], True)] * len(jobs)


@pytest.mark.parametrize(("tokens", "block"), [(64, 512), (32, 8)])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3", "gpt-oss", "llama4"])
def test_long_prompts_are_computed_in_pieces(
    name: str, tokens: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel of many windows, suffixes and a single prompt, each longer than a pass and than
    the queries that are attended for at a time."""
    monkeypatch.setattr(schedule, "PASS_TOKENS", tokens)
    monkeypatch.setattr(hooks, "BLOCK", block)
    draw = random.Random(3)

    def some(count: int) -> list[int]:
        return [draw.randrange(VOCAB) for _ in range(count)]

    kernel = some(300)
    jobs = [Job([*kernel, i, *some(size)], "long", 6) for i, size in enumerate((0, 40, 99, 200))]
    jobs.append(Job(some(200), "alone", 6))
    assert_as_reference(name, jobs, answers(subject(name), jobs, rows=3))


@pytest.mark.parametrize("name", ["llama", "gemma3n"])
@pytest.mark.parametrize("at", [(1,), (2, 3), (9, 14, 30), (15, 20)])
def test_running_out_of_memory_changes_no_answer(
    name: str, at: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passes fail where memory might, on prompts, prefixes that are half computed and steps; the
    passes are shorter and the rows fewer after it, and the answers the same."""
    passes = 0

    def scarce(*args: Any) -> torch.Tensor:
        nonlocal passes
        passes += 1
        logits = forward(*args)  # the pass has left its keys behind when it fails
        if passes in at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return logits

    monkeypatch.setattr(schedule, "forward", scarce)
    monkeypatch.setattr(schedule, "PASS_TOKENS", 64)
    monkeypatch.setattr(schedule, "_FEWEST_PASS_TOKENS", 16)
    jobs, meter = mixed_jobs((5, 300, 40)), Meter()
    assert_as_reference(name, jobs, answers(subject(name), jobs, rows=8, meter=meter))
    assert passes > max(at)
    assert meter.generated == sum(job.max_tokens for job in jobs)
    assert meter.prefilled + meter.shared >= sum(len(job.ids) for job in jobs)


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> torch.Tensor:
        raise RuntimeError("shape '[4]' is invalid for input of size 3")

    monkeypatch.setattr(schedule, "forward", broken)
    with pytest.raises(RuntimeError, match="is invalid"):
        answers(subject("llama"), mixed_jobs(), rows=8)


@pytest.mark.parametrize("name", ["mistral-window", "gemma2"])
def test_groups_need_not_stand_together(name: str) -> None:
    jobs = mixed_jobs()
    random.Random(4).shuffle(jobs)
    assert_as_reference(name, jobs, answers(subject(name), jobs, rows=3))


def test_one_prompt_may_begin_another() -> None:
    """Then the shorter one leaves the common prefix nothing but its last token."""
    ids = mixed_jobs()[-4].ids
    jobs = [Job(ids[:length], "nested", 8) for length in (1, 2, 30, len(ids))]
    assert_as_reference("gemma2", jobs, answers(subject("gemma2"), jobs, rows=2))


def test_it_starts_again_after_it_was_left() -> None:
    """Ctrl-C, then the same engine again: nothing of the dropped rows is left over."""
    jobs = mixed_jobs()
    left = shared_prefix.generate(subject("gemma3"), jobs, rows=4)
    next(left)
    left.close()
    assert_as_reference("gemma3", jobs, answers(subject("gemma3"), jobs, rows=4))


@pytest.mark.parametrize("how", [shared_prefix.generate, plain_cache.generate])
def test_nothing_to_do(how: Generate) -> None:
    assert answers(subject("llama"), [], how, rows=4) == []


# --- sampling


def sampled_jobs() -> list[Job]:
    """The mixed jobs, drawn at random; every fifth stays greedy."""
    return [
        Job(j.ids, j.group, LONGEST, 0.0 if i % 5 == 0 else 0.9, 0.8, seed=i)
        for i, j in enumerate(mixed_jobs())
    ]


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss"])
def test_a_sampled_answer_does_not_depend_on_its_company(name: str) -> None:
    jobs = sampled_jobs()
    alone = answers(subject(name), jobs, rows=1)
    assert [d.tokens for d in answers(subject(name), jobs, rows=64)] == [d.tokens for d in alone]
    order = list(range(len(jobs)))
    random.Random(5).shuffle(order)
    shuffled = answers(subject(name), [jobs[i] for i in order], rows=3)
    assert [d.tokens for d in shuffled] == [alone[i].tokens for i in order]
    fallback = answers(subject(name), jobs, plain_cache.generate, rows=3)
    assert [d.tokens for d in fallback] == [d.tokens for d in alone]


def test_sampled_tokens_come_from_the_nucleus() -> None:
    """Every drawn token is one of the likeliest that make up 0.8, as the reference sees it."""
    jobs = sampled_jobs()
    for job, done in zip(jobs, answers(subject("llama"), jobs, rows=64), strict=True):
        logits = plain("llama")(torch.tensor([[*job.ids, *done.tokens]])).logits[0]
        odds = torch.softmax(logits[len(job.ids) - 1 : -1] / max(job.temperature, 1e-4), -1)
        chosen = odds.gather(1, torch.tensor(done.tokens)[:, None])
        before = torch.where(odds > chosen, odds, 0.0).sum(-1)
        assert before.max() < job.top_p + 1e-4


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.6)])
@pytest.mark.parametrize("how", [shared_prefix.generate, plain_cache.generate])
def test_seeds_draw_from_the_distribution(how: Generate, temperature: float, top_p: float) -> None:
    ids = [7, 3, 200]
    jobs = [Job(ids, "draws", 1, temperature, top_p, seed) for seed in range(500)]
    done = answers(subject("llama"), jobs, how, rows=100)
    with torch.no_grad():
        logits = plain("llama")(torch.tensor([ids])).logits[0, -1]
    odds = torch.softmax(logits / temperature, -1)
    likeliest = odds.argsort(descending=True)
    kept = likeliest[: int((odds[likeliest].cumsum(0) < top_p).sum()) + 1]
    share = odds[kept] / odds[kept].sum()
    drawn = torch.bincount(torch.tensor([d.tokens[0] for d in done]), minlength=VOCAB)[kept]
    assert int(drawn.sum()) == len(jobs)
    often = share * len(jobs) >= 5  # chi-square wants no rare classes: those are put together
    seen = [*drawn[often].tolist(), int(drawn[~often].sum())]
    meant = [*(share[often] * len(jobs)).tolist(), float(share[~often].sum()) * len(jobs)]
    if meant[-1] < 5:
        seen, meant = [*seen[:-2], sum(seen[-2:])], [*meant[:-2], sum(meant[-2:])]
    scaled = [m * sum(seen) / sum(meant) for m in meant]
    assert stats.chisquare(seen, scaled).pvalue > 1e-3


def test_the_seed_is_what_differs() -> None:
    ids = mixed_jobs()[-4].ids
    jobs = [Job(ids, "same", LONGEST, 1.0, 1.0, seed) for seed in (1, 2, 1)]
    one, two, again = (d.tokens for d in answers(subject("llama"), jobs, rows=3))
    assert one == again != two


# --- what it saves, and what it says of itself


def distinct(jobs: Sequence[Job]) -> int:
    """Prompt tokens that no sharing within groups could avoid: nodes of each group's tree."""
    nodes = {(j.group, tuple(j.ids[: i + 1])) for j in jobs for i in range(len(j.ids))}
    return len(nodes)


@pytest.mark.parametrize("rows", ROWS)
def test_the_counts_add_up_to_what_sharing_saves(rows: int) -> None:
    jobs = mixed_jobs()
    meter = Meter()
    done = answers(subject("llama"), jobs, rows=rows, meter=meter)
    prompts = sum(len(job.ids) for job in jobs)
    assert meter.prefilled + meter.shared == prompts
    assert sum(d.cached for d in done) == meter.shared
    assert meter.generated == sum(len(d.tokens) for d in done)
    # 4 in each group: the prefix is computed once and saved three times. The twins differ in
    # nothing: all but the last token, at least, is saved.
    saved = 3 * (5 + 16 + 40) + 18
    assert saved <= meter.shared <= prompts - distinct(jobs)
    assert all(0 <= d.cached <= len(job.ids) for job, d in zip(jobs, done, strict=True))
    assert all(d.seconds > 0 for d in done)


def test_the_fallback_counts_what_it_computes() -> None:
    jobs = mixed_jobs()
    meter = Meter()
    done = answers(subject("bloom"), jobs, plain_cache.generate, rows=3, meter=meter)
    assert meter.prefilled + meter.shared == sum(len(job.ids) for job in jobs)
    assert sum(d.cached for d in done) == meter.shared
    assert meter.generated == sum(len(d.tokens) for d in done)


@pytest.mark.parametrize("name", NAMES)
def test_obstacle_names_those_it_cannot_serve(name: str) -> None:
    reason = obstacle(subject(name))
    assert bool(reason) == (name in NOT_SERVED), reason


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_obstacle_knows_rotations_that_depend_on_the_longest_row(kind: str) -> None:
    model = tiny("llama")
    model.config.rope_parameters["rope_type"] = kind
    assert "rotary" in (obstacle(model) or "")


def test_obstacle_finds_a_model_that_takes_part_and_is_wrong() -> None:
    """A layer that changes its scores behind the interface's back: only comparing logits shows."""
    model = tiny("llama")
    attention = model.model.layers[1].self_attn
    forward = attention.forward

    def shifted(*args: Any, **kwargs: Any) -> Any:
        eager = attention.config._attn_implementation == "eager"
        attention.scaling = 0.25 if eager else 0.2
        return forward(*args, **kwargs)

    attention.forward = shifted
    assert obstacle(model)


@pytest.mark.parametrize("name", ["llama", "gemma2", "falcon"])
def test_the_model_is_left_as_it_was(name: str) -> None:
    """After all that, transformers itself still gets its answers from the same object."""
    job = mixed_jobs()[0]
    if name in SERVED:
        answers(subject(name), [job], rows=1)
    obstacle(subject(name))
    ids = torch.tensor([job.ids])
    made = subject(name).generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=LONGEST)
    assert made[0, ids.shape[1] :].tolist() == reference(name, tuple(job.ids))


# --- what a reader of the code found


@pytest.mark.parametrize("sharp", [1.0, 0.02])
def test_draws_are_those_of_the_other_engines(sharp: float) -> None:
    """The same logits, seed and step give the same token as `sampling.draw`, whatever the other
    rows ask for; ``sharp`` small: the nucleus is wider than what is looked at first."""
    logits = torch.randn(60, 3000, generator=torch.Generator().manual_seed(0)) * 2 * sharp
    settings = [(0.8, 0.9), (1.3, 1.0), (0.0, 1.0), (0.7, 0.5), (1.0, 0.999)]
    jobs = [Job([1], "draws", 9, *settings[i % 5], seed=i) for i in range(len(logits))]
    meant = [
        draw(row.numpy(), job.temperature, job.top_p, uniform(job.seed, 3))
        for row, job in zip(logits, jobs, strict=True)
    ]
    assert pick(logits, jobs, [3] * len(jobs)) == meant
    assert [pick(logits[i : i + 1], jobs[i : i + 1], [3])[0] for i in range(60)] == meant
    assert len(set(meant)) > 20


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(1e-39, 1.0), (1e-320, 0.9), (1.0, 1e-8), (1.0, 1e-60)]
)
def test_hardly_any_chance_is_the_likeliest_token(temperature: float, top_p: float) -> None:
    logits = torch.randn(4, VOCAB, generator=torch.Generator().manual_seed(0)) * 20
    jobs = [Job([1], "cold", 9, temperature, top_p, seed) for seed in range(4)]
    assert pick(logits, jobs, [0] * 4) == logits.argmax(-1).tolist()


def test_an_infinite_logit_is_no_answer() -> None:
    logits = torch.zeros(2, VOCAB)
    logits[1, 3] = torch.inf
    with pytest.raises(FloatingPointError, match="finite"):
        pick(logits, [Job([1], "g", 1)] * 2, [0, 0])


@pytest.mark.parametrize("first_closed", ["outer", "inner"])
def test_one_generator_may_begin_before_another_ends(first_closed: str) -> None:
    """The one that was left is closed late (a traceback may hold it): the model must not be
    switched back under the other, and must be in the end."""
    model, jobs = tiny("gemma2", window=WINDOW), mixed_jobs()
    outer = shared_prefix.generate(model, jobs, rows=3)
    next(outer)
    inner = shared_prefix.generate(model, jobs, rows=4)
    some = [next(inner)]
    (outer if first_closed == "outer" else inner).close()
    rest = inner if first_closed == "outer" else outer
    some = [*some, *rest] if rest is inner else list(rest)
    for done in some:
        assert done.tokens == expected("gemma2", jobs[done.job])[0]
    assert model.config._attn_implementation == "eager"
    assert_as_reference("gemma2", jobs, answers(model, jobs, rows=64))


def test_two_threads_may_use_one_model() -> None:
    model, jobs = tiny("gpt-oss", window=WINDOW), mixed_jobs()
    with ThreadPoolExecutor(3) as pool:
        all_done = list(pool.map(lambda rows: answers(model, jobs, rows=rows), (2, 3, 64)))
    for done in all_done:
        assert_as_reference("gpt-oss", jobs, done)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("name", ["gemma3n", "gpt-oss", "llama4"])
def test_blocks_passes_and_strips_may_have_any_size(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "BLOCK", 5)
    monkeypatch.setattr(schedule, "PASS_TOKENS", 9)
    monkeypatch.setattr(store, "GROWTH", 1)
    jobs = mixed_jobs((1, 17, 40), seed=6)
    assert_as_reference(name, jobs, answers(subject(name), jobs, rows=3))


def test_packed_layers_still_show_their_weights() -> None:
    """Hunyuan's router looks at the type of its layer's weight."""
    linear = torch.nn.Linear(24, 40).requires_grad_(False)
    plain = linear.weight.clone()
    with torch.inference_mode():
        packed = PackedLinear(linear)
        assert torch.equal(packed.weight, plain)


def test_obstacle_names_a_model_that_takes_no_positions() -> None:
    """It counts the packed tokens instead. In 16 bits the difference is close to rounding."""
    config = AutoConfig.for_model(
        "plbart",
        vocab_size=VOCAB,
        d_model=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=96,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert "positions" in (obstacle(model.to(torch.bfloat16).eval()) or "")


def test_obstacle_says_it_where_the_check_itself_is_too_long() -> None:
    config = AutoConfig.for_model(
        "gpt2", vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=2, n_positions=16
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert "IndexError" in (obstacle(model.eval()) or "")


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_the_fallback_is_exact_where_rotations_depend_on_the_length(kind: str) -> None:
    """Prompts and answers below, across and beyond the length at which they change; a longer batch
    before must not show in a shorter one after."""
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 2.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
        rope |= {"original_max_position_embeddings": 32}
    made = copy.deepcopy(plain("llama").config)
    made.rope_parameters, made.max_position_embeddings = rope, 32
    model, twin = (
        AutoModelForCausalLM.from_config(made, attn_implementation="eager") for _ in "ab"
    )
    for each in (model, twin):
        each.load_state_dict(plain("llama").state_dict())
        each.eval()
    jobs = mixed_jobs((40, 5, 16))
    for job, done in zip(jobs, answers(model, jobs, plain_cache.generate, rows=3), strict=True):
        fresh = copy.deepcopy(twin)
        ids = torch.tensor([job.ids])
        whole = fresh.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=job.max_tokens, pad_token_id=0
        )
        assert done.tokens == whole[0, len(job.ids) :].tolist(), len(job.ids)


def test_the_fallback_computes_no_logits_of_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all its tokens they can take more memory than the weights."""
    model, tokens = tiny("deepseek-v3"), []
    model.lm_head.register_forward_pre_hook(lambda _, args: tokens.append(args[0].shape[1]))
    answers(model, mixed_jobs((40,)), plain_cache.generate, rows=3)
    assert set(tokens) == {1}
