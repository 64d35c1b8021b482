"""transformers in process: any causal language model in a Hugging Face folder, on CPU or GPU.

The kernel of a condition is computed once and attended to by all rows (`shared_prefix`). Models
whose attention does not go through transformers' interface as that needs are answered with a cache
that is copied for every row (`plain_cache`), and it is said so.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lem.engines._folder_files import quantisation
from lem.engines.base import Meter, finished
from lem.engines.folder import ModelFolder
from lem.engines.llamacpp import common_prefix
from lem.engines.machine import usable_cores
from lem.engines.outputs import parse
from lem.errors import LemError, missing_extra
from lem.records import EngineInfo, Request, Response
from lem.text import excerpt

if TYPE_CHECKING:
    from lem.engines.shared_prefix import Done, Job

#: Rows generated together, where memory allows. Measured on 2 cores: docs/experiments.md.
DEFAULT_ROWS, DEFAULT_ROWS_GPU = 96, 256


class TransformersEngine(ModelFolder):
    """A model folder that answers requests with transformers.

    Args:
        path, name, adapter, thinking: as for `ModelFolder`.
        device: cpu, cuda, cuda:1, mps; None: the best there is.
        dtype: float32, bfloat16 or float16; None: see `_torch_load.choose_dtype`.
        quantise: nf4 or int8 (bitsandbytes); None: weights as they are stored.
        rows: answers generated together at most; None: as many as are useful and fit in memory.
        threads: None: one for each core this process may use.
        say: told in a short line what is going on, when something is.

    Raises:
        LemError: torch or transformers is not installed, or the folder cannot be run.
    """

    engine_name = "transformers"

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        adapter: Path | None = None,
        thinking: bool | None = None,
        device: str | None = None,
        dtype: str | None = None,
        quantise: str | None = None,
        rows: int | None = None,
        threads: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not all(importlib.util.find_spec(package) for package in ("torch", "transformers")):
            raise missing_extra("transformers (with torch)", "torch")
        super().__init__(path, name, adapter=adapter, thinking=thinking)
        from lem.engines._torch_load import check_quantise, choose_device, choose_dtype

        if quantise is not None:
            check_quantise(quantise, name, quantisation(self.config))
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.quantise, self.max_rows, self.say = quantise, rows, say
        self.threads = threads or usable_cores()
        self._model: Any = None
        self._obstacle: str | None = None
        if "int8" in (quantise, self.quantisation.removeprefix("bitsandbytes ")):
            self.notes.append(
                "bitsandbytes int8 rounds by what is computed together, so that an answer may "
                "depend a little on --parallel and on the other answers."
            )

    @property
    def info(self) -> EngineInfo:
        torch, transformers = (importlib.metadata.version(p) for p in ("torch", "transformers"))
        return EngineInfo(
            engine="transformers",
            # Builds of one version for different GPUs are one version.
            engine_version=f"transformers {transformers} torch {torch.partition('+')[0]}",
            model=self.name,
            fingerprint=self._fingerprint,
            context_length=self.context_length,
            notes=list(self.notes),
        )

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        made = {**self.fingerprint(), "dtype": self.dtype}
        if self.quantise:
            made["quantisation"] = f"{made['quantisation']}, loaded as {self.quantise}"
        return made

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        if not requests:
            return
        from lem.engines import plain_cache, shared_prefix
        from lem.engines.shared_prefix.hooks import NotServed

        jobs = [
            shared_prefix.Job(
                ids=r.token_ids or [],
                group=r.condition,
                max_tokens=r.sampling.max_tokens,
                temperature=r.sampling.temperature,
                top_p=r.sampling.top_p,
                seed=r.seed,
            )
            for r in requests
        ]
        try:
            model = self._loaded()
            run = plain_cache.generate if self._obstacle else shared_prefix.generate
            rows = self._plan_rows(jobs)
            for done in run(model, jobs, rows=rows, stop_ids=self.stop_ids, meter=meter):
                yield self._response(requests[done.job], done)
        except (RuntimeError, MemoryError, FloatingPointError, NotServed) as e:
            raise _stopped(e, self.device, self.dtype) from e

    def close(self) -> None:
        if self._model is not None:
            from lem.engines._torch_load import give_back_memory

            self._model = None
            give_back_memory(self.device.partition(":")[0])
        super().close()

    def _loaded(self) -> Any:
        """The model, loaded, checked and packed on first use."""
        if self._model is None:
            import torch

            from lem.engines._torch_load import keep_freed_memory, load_model
            from lem.engines.shared_prefix import obstacle
            from lem.engines.shared_prefix.packing import pack

            self.say(f"loading {self.name} ({self.quantise or self.dtype} on {self.device})")
            torch.set_num_threads(self.threads)
            if self.device == "cpu":
                keep_freed_memory()
            model = load_model(
                self.path, self.name, self.device, self.dtype, self.quantise, self.adapter_files
            )
            self._obstacle = obstacle(model)
            if self._obstacle:
                note = (
                    "Shared-prefix attention does not serve this model "
                    f"({excerpt(self._obstacle, 120)}): each row copies its prefix, which is "
                    "slower and gives the same answers."
                )
                if note not in self.notes:
                    self.notes.append(note)
                self.say(f"note: {note}")
                if getattr(model, "_supports_sdpa", False):  # needs less memory than eager
                    model.set_attn_implementation("sdpa")
            else:
                pack(model)
            self._model = model
        return self._model

    def _plan_rows(self, jobs: Sequence[Job]) -> int:
        """Rows that are useful and whose keys and values fit into memory."""
        from lem.engines._torch_load import kv_bytes_per_token, memory_for_rows

        if self.max_rows is not None:
            return self.max_rows
        prefixes = own = 0
        for _, same in itertools.groupby(jobs, key=lambda job: job.group):
            group = list(same)
            prefix = 0 if self._obstacle else common_prefix([list(job.ids) for job in group])
            prefixes += prefix
            own = max(own, *(len(job.ids) - prefix + job.max_tokens for job in group))
        cells = memory_for_rows(self.device) / kv_bytes_per_token(self._model)
        most = DEFAULT_ROWS if self.device == "cpu" else DEFAULT_ROWS_GPU
        return max(1, min(most, len(jobs), int((cells - prefixes) // own)))

    def _response(self, request: Request, done: Done) -> Response:
        text = self.decode(done.tokens)
        answer = parse(text, self.style, prompt=request.prompt, ended=done.ended)
        return finished(
            request,
            final=answer.final,
            reasoning=answer.reasoning,
            finish_reason=answer.finish_reason,
            format_errors=answer.format_errors,
            prompt_tokens=len(request.token_ids or []),
            cached_tokens=done.cached,
            completion_tokens=len(done.tokens),
            seconds=done.seconds,
        )


def _stopped(error: BaseException, device: str, dtype: str) -> LemError:
    from lem.engines.shared_prefix.schedule import out_of_memory

    if isinstance(error, FloatingPointError):
        return LemError(
            f"The model's numbers do not fit into {dtype}: it computes no answers, only NaN.",
            "The answers in progress were dropped; every finished one is kept.",
            "Use --dtype float32, or bfloat16 if the model was trained in it; if it recurs, check "
            "the weights (lem models verify).",
        )
    if out_of_memory(error):
        return LemError(
            f"The memory of {device} does not hold even one answer of this length.",
            "The answers in progress were dropped; every finished one is kept.",
            "Lower --max-tokens, use --quantise nf4, or free memory; then run the same command "
            "again.",
        )
    return LemError(
        f"torch stopped: {excerpt(str(error), 300)}",
        "The answers in progress were dropped; every finished one is kept.",
        "Run the same command again; if it recurs, try --device cpu and report it.",
    )
