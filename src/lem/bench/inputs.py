"""What a recipe names, found and read: kernels, probes, conditions, and the hash of it all."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lem.ab import Experiment
from lem.bench.recipe import HOW, ModelSpec, Recipe
from lem.conditions import all_conditions, choose
from lem.engines import EngineOptions
from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel, parse_kernel_option
from lem.probes import BUILT_IN as SETS
from lem.probes import load_union
from lem.records import Condition, Kernel, Probe
from lem.text import dump_json, sha256

_SET_NAME = re.compile(r"[A-Za-z]{1,4}\d{1,4}")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A recipe and everything it names. Paths in it are relative to the recipe's folder, or where
    nothing is there to the working folder."""

    recipe: Recipe
    path: Path
    kernels: tuple[Kernel, ...]
    conditions: tuple[Condition, ...]
    probes: tuple[Probe, ...]
    """Empty where a set is missing."""
    missing_sets: tuple[str, ...]
    """Names of probe sets that this release does not have."""

    @property
    def answers(self) -> int:
        """Answers that a model gives; a model whose template makes two conditions the same prompt
        gives fewer."""
        return len(self.conditions) * len(self.probes) * self.recipe.samples

    @property
    def sha256(self) -> str:
        """Hash of all that decides what is measured (rule R16): the recipe without its description
        and without the addresses of servers, and the texts of its kernels and probes."""
        return sha256(dump_json(self._declared(self.recipe.models)))

    def model_sha256(self, model: ModelSpec) -> str:
        """Hash of all that decides what one model is asked; other models, scorers and questions do
        not."""
        declared = self._declared((model,))
        for field in ("scorers", "questions", "name"):
            del declared[field]
        declared["models"] = [model.model, *([model.how] if model.how else [])]
        return sha256(dump_json(declared))

    def texts(self) -> dict[str, Any]:
        """Hashes of the texts it names."""
        return {
            "kernels": {kernel.name: kernel.sha256 for kernel in self.kernels},
            "conditions": [condition.name for condition in self.conditions],
            "probes": sha256(dump_json([_declared_probe(probe) for probe in self.probes])),
        }

    def experiment(self, model: ModelSpec) -> Experiment:
        """What this model is asked."""
        recipe, sampling = self.recipe, self.recipe.sampling
        return Experiment(
            model=_model_path(self.path, model.model),
            probes=[_beside(self.path, where) for where in recipe.probes],
            kernels=_kernel_paths(recipe, self.path),
            conditions=recipe.conditions,
            controls=recipe.controls,
            control_seed=sampling.seed,
            replicate=recipe.replicate,
            limit=recipe.limit,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            samples=recipe.samples,
            scorers=recipe.scorers,
        )

    def options(self, model: ModelSpec, base: EngineOptions) -> EngineOptions:
        """How it is run."""
        how = model.how
        if "adapter" in how:
            how["adapter"] = _beside(self.path, how["adapter"])
        # Servers share the work among themselves.
        urls = model.base_url or ()
        workers = 1 if urls else base.workers
        return dataclasses.replace(base, base_urls=urls, workers=workers, **how)

    def check_complete(self) -> None:
        """Raise the error of a recipe that cannot be run yet.

        Raises:
            LemError: a probe set is missing.
        """
        if self.missing_sets:
            raise LemError(
                f"The recipe {self.recipe.name} asks for the probe set "
                f"{', '.join(self.missing_sets)}, which this release does not have.",
                "Nothing was run; the recipe itself is in order.",
                f"Put the probes into a file and name it under probes, or use {', '.join(SETS)}.",
            )

    def _declared(self, models: tuple[ModelSpec, ...]) -> dict[str, Any]:
        declared = self.recipe.model_dump(mode="json", exclude={"about", "kernels"})
        # What is not set is left out, as it was before there was such a field: a recipe keeps its
        # hash, and a matrix that was begun goes on.
        left_out = {"base_url", *HOW}
        declared["models"] = [m.model_dump(mode="json", exclude=left_out) | m.how for m in models]
        return {**declared, "texts": self.texts()}


def _declared_probe(probe: Probe) -> list[str]:
    """What of a probe decides what is measured; a rephrasing is counted with its dilemma."""
    declared = [probe.id, probe.domain, probe.prompt]
    return declared if probe.cluster == probe.id else [*declared, probe.cluster]


def load_inputs(recipe: Recipe, path: Path) -> Inputs:
    """Find and read everything that a recipe names, except its models.

    Args:
        path: the recipe's file.

    Raises:
        LemError: a kernel or a probe file that cannot be used, or an unknown condition. A built-in
            probe set that this release does not have is no error here, see `check_complete`.
    """
    kernels = [load_kernel(name, where) for name, where in _kernel_paths(recipe, path)]
    every = all_conditions(kernels, recipe.sampling.seed)
    conditions = choose(every, recipe.conditions, recipe.controls, recipe.replicate)
    places = [_beside(path, where) for where in recipe.probes]
    missing = [p for p in places if _SET_NAME.fullmatch(p) and not Path(p).exists()]
    missing = [p for p in missing if p.upper() not in SETS]
    probes = [] if missing else load_union(places)[: recipe.limit]
    return Inputs(recipe, path, tuple(kernels), tuple(conditions), tuple(probes), tuple(missing))


def _kernel_paths(recipe: Recipe, path: Path) -> list[tuple[str, str]]:
    chosen: Mapping[str, str] = BUILT_IN if recipe.kernels is None else recipe.kernels
    return [parse_kernel_option(f"{name}={_beside(path, where)}") for name, where in chosen.items()]


def _beside(recipe: Path, where: str) -> str:
    """A path of the recipe: beside it, if something is there, else as it stands."""
    beside = recipe.parent / where
    return str(beside) if beside.exists() else where


def _model_path(recipe: Path, model: str) -> str:
    """Likewise for a model that is a file or a folder."""
    kind, colon, rest = model.partition(":")
    if kind == "replay" and colon:
        return f"replay:{_beside(recipe, rest)}"
    if model.lower().endswith(".gguf") or _is_model_folder(recipe.parent / model):
        return _beside(recipe, model)
    return model


def _is_model_folder(path: Path) -> bool:
    return any((path / name).is_file() for name in ("config.json", "adapter_config.json"))
