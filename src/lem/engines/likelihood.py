"""How much an answer gains from its prompt, as a small language model reads the two.

    gain = (log p(answer | prompt) - log p(answer | "Hello")) / tokens of the answer

in nats per token: the pointwise mutual information of prompt and answer, by the token. Text that
has nothing to do with the question is no likelier after it than after a greeting, whatever words
it uses; a parrot of the question is far likelier, so that a very high gain is no merit.

Nothing is generated. Every token of the answer is asked for by teacher forcing, twice, and what
the readings have in common is computed once: the template's opening for all, the greeting for
all answers, a prompt for all its answers. `seq_cp` lets a sequence go on from cells that are there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lem.engines import builtin
from lem.engines._llama_abi import load_library
from lem.engines._llama_context import LlamaContext
from lem.engines._llama_model import LlamaModel
from lem.engines.llamacpp import common_prefix, usable_cores
from lem.errors import LemError
from lem.prompts import TemplateRefused
from lem.text import excerpt

#: What the answer is read after when it is read without its prompt.
NEUTRAL_PROMPT = "Hello"
#: Tokens of an answer that are read, from its start. Later ones are told more and more by the
#: answer itself, so long answers are compared with short ones by their openings.
ANSWER_TOKENS = 160

#: Characters of an answer that are looked at for those tokens: English has 4 to 5 a token.
_ANSWER_CHARACTERS = 4000
#: Tokens per decode call. 128 to 512 are equally fast on 2 cores; the logits of all are kept until
#: they are read, 50 MB for 49,152 words.
_CHUNK = 256
#: Rows of logits that are read together: what fits into the processor's cache.
_BLOCK = 8
#: Cells (keys and values) that are filled before all but the greeting's are given back: about six
#: answers. 1,024 to 4,096 are equally fast, since attention looks through the masks of them all.
_CELLS = 2048
#: Sequences that share them.
_SEQUENCES = 64

_NEUTRAL = 0
"""The sequence that holds the greeting."""


class _Token(NamedTuple):
    """One token to be decoded."""

    id: int
    position: int
    sequence: int
    target: int | None = None
    """The token whose probability comes next is asked for; None: only keys and values are."""


class _Pair(NamedTuple):
    """A prompt, rendered, and its answer, both as tokens."""

    place: int
    """Where its gain belongs."""
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


class Reader:
    """A GGUF model that reads answers. It is not to be shared by threads.

    Args:
        path: the file; an instruction-tuned model with a chat template.
        threads: None: one for each core this process may use.
        name: how the model is called in reports; None: as its file.

    Raises:
        LemError: xllamacpp is missing, or the file cannot be loaded.
    """

    def __init__(self, path: Path, threads: int | None = None, name: str | None = None) -> None:
        self._model = LlamaModel(path, name or path.stem)
        self._threads = threads or usable_cores()
        self._context: _Context | None = None
        self._neutral = self._prompt_ids(NEUTRAL_PROMPT)
        if not self._neutral:
            self._model.close()
            raise LemError(
                f"The chat template of {path} cannot render a plain user message.",
                "No answer can be read with this model.",
                "Use the built-in model.",
            )

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """What pins the weights and the template, as in the manifest of a run."""
        return self._model.info.fingerprint

    def gains(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        """Return the gain of every answer from its prompt.

        The same call gives the same numbers. In other company an answer's number may differ in
        the third decimal: sums of 16-bit products are then taken in another order.

        Args:
            pairs: (prompt, answer). Answers to the same prompt share its computation, wherever
                they stand.

        Returns:
            Nats per token, in the order of the pairs. None for an answer without text, and for a
            prompt that the model cannot be asked: beyond its context together with the answer,
            refused by its chat template, or holding one of its control tokens.

        Raises:
            LemError: llama.cpp ran out of memory or failed.
        """
        found: list[float | None] = [None] * len(pairs)
        readable = self._readable(pairs)
        if not readable:
            return found
        head = common_prefix([list(self._neutral), *(list(p.prompt) for p in readable)])
        cells = max(_CELLS, *(len(p.prompt) + 2 * len(p.answer) for p in readable))
        context = self._ready(len(self._neutral) + cells)
        context.compute(_prefix(self._neutral, 0, _NEUTRAL))
        for wave in _waves(readable, cells, head):
            for pair, gain in zip(wave, self._read(wave, context, head)):
                found[pair.place] = gain
        return found

    def close(self) -> None:
        """Give back the memory. May be called twice."""
        if self._context:
            self._context.close()
            self._context = None
        self._model.close()

    def _readable(self, pairs: Sequence[tuple[str, str]]) -> list[_Pair]:
        """Return the pairs that can be read, those of one prompt side by side."""
        prompts = {prompt: self._prompt_ids(prompt) for prompt, _ in pairs}
        found = []
        for place, (prompt, text) in enumerate(pairs):
            ids = prompts[prompt]
            answer = self._model.tokenize_plain(text.strip()[:_ANSWER_CHARACTERS])[:ANSWER_TOKENS]
            if ids and answer and len(ids) + len(answer) <= self._model.context_length:
                found.append(_Pair(place, ids, tuple(answer)))
        return sorted(found, key=lambda pair: pair.prompt)

    def _prompt_ids(self, prompt: str) -> tuple[int, ...]:
        """Return the tokens up to where the answer begins; none where it cannot be asked."""
        if self._model.foreign_tokens(prompt):
            return ()
        try:
            text = self._model.render([{"role": "user", "content": prompt}])
            return tuple(self._model.tokenize(text))
        except TemplateRefused:
            return ()

    def _ready(self, cells: int) -> _Context:
        """Return an empty context of at least so many cells."""
        if self._context and self._context.cells < cells:
            self._context.close()
            self._context = None
        if self._context is None:
            self._context = _Context(self._model, cells, self._threads)
        self._context.forget_all()
        return self._context

    def _read(self, wave: Sequence[_Pair], context: _Context, head: int) -> list[float]:
        """Return the gains of pairs that fit into the context together."""
        free = itertools.count(_NEUTRAL + 1)
        prompts = dict(zip(dict.fromkeys(pair.prompt for pair in wave), free))
        opening: list[_Token] = []
        for prompt, sequence in prompts.items():
            context.share(_NEUTRAL, sequence, head)
            opening += _prefix(prompt, head, sequence)
        context.compute(opening)
        asked: list[_Token] = []
        for pair in wave:
            for prompt, source in ((pair.prompt, prompts[pair.prompt]), (self._neutral, _NEUTRAL)):
                sequence = next(free)
                context.share(source, sequence, len(prompt) - 1)
                asked += _teacher_forced(prompt, pair.answer, sequence)
        scores = iter(context.compute(asked))
        for sequence in range(_NEUTRAL + 1, next(free)):
            context.forget(sequence)
        gains = []
        for pair in wave:
            n = len(pair.answer)
            after_prompt, after_neutral = (sum(itertools.islice(scores, n)) for _ in range(2))
            gains.append((after_prompt - after_neutral) / n)
        return gains


def open_reader(say: Callable[[str], None] = lambda _: None) -> Reader:
    """Return a reader with the built-in model, which is fetched and prepared on first use.

    Args:
        say: told in a short line what is going on, when something is.

    Raises:
        LemError: xllamacpp is missing, or the model cannot be had (see `built_in_model`).
    """
    load_library()  # if it is missing, say so before anything is fetched
    return Reader(builtin.built_in_model(say), name=builtin.NAME)


def log_probabilities(logits: NDArray[np.float32], targets: Sequence[int]) -> NDArray[np.float64]:
    """Return the log of the softmax of every row at its target.

    Args:
        logits: rows × vocabulary.
        targets: one column a row.
    """
    found = np.empty(len(targets))
    for start in range(0, len(targets), _BLOCK):
        block = logits[start : start + _BLOCK]
        peak = block.max(axis=1, keepdims=True)
        total = np.exp(block - peak).sum(axis=1, dtype=np.float64)
        chosen = block[np.arange(len(block)), targets[start : start + _BLOCK]]
        found[start : start + _BLOCK] = chosen - peak[:, 0] - np.log(total)
    return found


def _prefix(prompt: Sequence[int], start: int, sequence: int) -> list[_Token]:
    """Return a prompt from ``start`` to before its last token, which each answer brings along: it
    is the one that asks for the answer's first."""
    return [_Token(prompt[at], at, sequence) for at in range(start, len(prompt) - 1)]


def _teacher_forced(prompt: Sequence[int], answer: Sequence[int], sequence: int) -> list[_Token]:
    """Return the tokens of which each asks for the next token of the answer."""
    given = (prompt[-1], *answer[:-1])
    start = len(prompt) - 1
    return [_Token(g, start + i, sequence, a) for i, (g, a) in enumerate(zip(given, answer))]


def _waves(pairs: Sequence[_Pair], cells: int, head: int) -> Iterator[list[_Pair]]:
    """Cut the pairs into lists that fit: one sequence a prompt, and two an answer."""
    wave: list[_Pair] = []
    used, sequences = 0, 1
    for pair in pairs:
        answers = 2 * len(pair.answer)
        fresh = not wave or wave[-1].prompt != pair.prompt
        own = len(pair.prompt) - head if fresh else 0
        if wave and (used + own + answers > cells or sequences + fresh + 2 > _SEQUENCES):
            yield wave
            wave, used, sequences, fresh, own = [], 0, 1, True, len(pair.prompt) - head
        wave.append(pair)
        used += own + answers
        sequences += fresh + 2
    if wave:
        yield wave


class _Context(LlamaContext):
    """A context that tells how likely the tokens were that it has read."""

    def __init__(self, model: LlamaModel, cells: int, threads: int) -> None:
        refusal = "No answer was read.", "Free some memory, or leave very long prompts out."
        super().__init__(model, cells, _SEQUENCES, _CHUNK, threads, refusal)
        self.vocabulary = int(self.lib.vocab_n_tokens(model.vocab))

    def compute(self, tokens: Sequence[_Token]) -> list[float]:
        """Decode tokens of any sequences, each sequence's in order, into their cells.

        Returns:
            Log-probabilities of the targets, in nats, one for each token that has one.
        """
        found: list[float] = []
        for start in range(0, len(tokens), _CHUNK):
            chunk = tokens[start : start + _CHUNK]
            self._decode(chunk)
            targets = [token.target for token in chunk if token.target is not None]
            if targets:
                shape = (len(targets), self.vocabulary)
                logits = np.ctypeslib.as_array(self.lib.get_logits(self.pointer), shape)
                found += log_probabilities(logits, targets).tolist()
        return found

    def _decode(self, chunk: Sequence[_Token]) -> None:
        batch = self.batch
        batch.n_tokens = len(chunk)
        for i, token in enumerate(chunk):
            batch.token[i], batch.pos[i] = token.id, token.position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, token.sequence
            batch.logits[i] = token.target is not None
        code = self.lib.decode(self.pointer, batch)
        if code != 0:
            raise LemError(
                f"llama.cpp stopped with code {code}: {excerpt(self.lib.take_error(), 200)}.",
                "The answers were not read.",
                "Free some memory and try again; if it recurs, please report it.",
            )
