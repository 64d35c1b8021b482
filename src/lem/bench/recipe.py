"""A recipe: which models answer what under which conditions, declared before any answer is seen.

It is a YAML file; `lem bench --list` names those that ship with the package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from lem.bench.lines import STOPPED, line_of, place, read_yaml
from lem.errors import LemError
from lem.scorers.registry import get_scorer
from lem.text import excerpt, printable

Question = Literal["kernel", "content", "lineage", "scale", "tuned", "resistance"]
QUESTIONS: tuple[Question, ...] = ("kernel", "content", "lineage", "scale", "tuned", "resistance")


_TAKEN = ("", "report", "bench.json")
"""Names of run folders that something else of the matrix has."""

_Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\s\x00-\x1f](.*\S)?$")]


def _number_as_text(value: Any) -> Any:
    """YAML reads `version: 3` as a number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else value


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _showable(value: str) -> str:
    """Names are shown on terminals and pages, and must be told apart there."""
    if "\n" in value or printable(value) != value:
        raise ValueError("it holds control characters or characters that reorder text")
    return value


_Shown = Annotated[str, AfterValidator(_showable)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Address = Annotated[str, Field(min_length=1)]

#: Fields of a model that, where they are set, decide what is measured.
HOW = ("engine", "adapter", "revision", "dtype", "quantise", "thinking")


class ModelSpec(_Part):
    """One model of a matrix."""

    name: Annotated[_Name, AfterValidator(_showable), BeforeValidator(_number_as_text)]
    """Unique in the recipe; the run folder is named after it."""
    model: str = Field(min_length=1)
    """As `--model` takes it."""
    base_url: Annotated[
        Annotated[tuple[_Address, ...], Field(min_length=1)] | None, BeforeValidator(_one_as_list)
    ] = None
    """Of a server; of several with the same model, a list."""
    engine: Literal["llama.cpp", "transformers", "mlx"] | None = None
    adapter: str | None = Field(default=None, min_length=1)
    """As `--adapter` takes it."""
    revision: Annotated[str | None, BeforeValidator(_number_as_text)] = Field(
        default=None, min_length=1
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    quantise: Literal["nf4", "int8"] | None = None
    thinking: bool | None = None
    family: _Shown | None = None
    version: Annotated[_Shown | None, BeforeValidator(_number_as_text)] = None
    size: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """In billions of parameters."""
    tuned_from: str | None = None
    """Name of the model of this recipe that it was tuned from."""

    @property
    def how(self) -> dict[str, Any]:
        """What is set of how it is run, as far as that decides what is measured."""
        return {name: getattr(self, name) for name in HOW if getattr(self, name) is not None}

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        return re.sub(r"[^a-z0-9._-]+", "-", self.name.lower()).strip("-.")


class SamplingSpec(_Part):
    """How answers are drawn."""

    max_tokens: int = Field(default=1024, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    seed: int = Field(default=0, ge=0)
    """Of the sampling and of the controls."""


class Recipe(_Part):
    """A matrix of models, conditions, probes and samples, and the questions put to it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$")
    about: str = ""
    scorers: tuple[str, ...] = Field(default=("v2", "reasoning"), min_length=1)
    """The first is the primary one."""
    probes: tuple[str, ...] = Field(default=("P20",), min_length=1)
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many probes of all sets together."""
    kernels: dict[str, str] | None = None
    """Condition name -> file, as `--kernel` takes them; None: both built-in ones."""
    conditions: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Exactly these (and the replicate); None: the baseline and the kernels."""
    controls: bool = True
    replicate: bool = True
    sampling: SamplingSpec = SamplingSpec()
    samples: int = Field(default=1, ge=1)
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    questions: tuple[Question, ...] = Field(default=QUESTIONS, min_length=1)


def builtin_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that ship with the package."""
    folder = Path(str(resources.files("lem.bench") / "data"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(where: str) -> Path:
    """The file of a recipe that is named by path or built-in name.

    Raises:
        LemError: there is none.
    """
    path = Path(where)
    if path.is_file():
        return path
    known = builtin_recipes()
    if where in known:
        return known[where]
    raise LemError(
        f"No such recipe: {where}",
        "Nothing was run.",
        f"Name a YAML file, or one of the built-in recipes: {', '.join(known)}.",
    )


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe. Files that it names are not looked at.

    Raises:
        LemError: unreadable, not YAML, or a field that is unknown, missing, mistyped or
            contradicts another. The message names line and field.
    """
    data, tree = read_yaml(path)
    if not isinstance(data, dict):
        raise LemError(
            f"{path} is not a recipe: it holds no fields.",
            STOPPED,
            "Begin like this:  name: my-study",
        )
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as e:
        raise _invalid(path, tree, e.errors()) from None
    _check(path, tree, recipe)
    return recipe


# --- what pydantic cannot see -------------------------------------------------------------------


def _check(path: Path, tree: yaml.Node | None, recipe: Recipe) -> None:
    """Names, references and contradictions."""

    def refuse(loc: Sequence[str | int], why: str, fix: str) -> LemError:
        return LemError(f"{path}, {place(tree, loc)}: {why}.", STOPPED, fix)

    names: set[str] = set()
    folders: dict[str, str] = {}
    for i, model in enumerate(recipe.models):
        if model.name in names:
            why = f"the name {excerpt(model.name)!r} was used before"
            raise refuse(("models", i, "name"), why, "Give every model its own name.")
        other = folders.setdefault(model.folder, model.name)
        if other != model.name or model.folder in _TAKEN:
            why = f"the name {excerpt(model.name)!r} gives no folder name of its own"
            raise refuse(("models", i, "name"), why, "Use other letters or digits.")
        names.add(model.name)
    for i, model in enumerate(recipe.models):
        if model.tuned_from is not None and model.tuned_from not in names:
            why = f"no model of this recipe is named {excerpt(model.tuned_from)!r}"
            fix = "Write the name of the untuned model as it stands under models."
            raise refuse(("models", i, "tuned_from"), why, fix)
        if _in_circle(recipe, model):
            why = f"{excerpt(model.name)!r} is, in the end, tuned from itself"
            raise refuse(("models", i, "tuned_from"), why, "Remove one of the references.")
    for field in ("scorers", "probes", "conditions", "questions"):
        values = getattr(recipe, field) or ()
        if len(set(values)) < len(values):
            raise refuse((field,), "something is named twice", "Name each once.")
    for i, scorer in enumerate(recipe.scorers):
        try:
            get_scorer(scorer)
        except LemError as e:
            raise refuse(("scorers", i), e.cause.rstrip("."), e.fix) from None
    if recipe.samples > 1 and recipe.sampling.temperature == 0:
        why = f"{recipe.samples} samples at temperature 0 are so many times the same answer"
        raise refuse(("samples",), why, "Set a temperature, or leave samples at 1.")


def _in_circle(recipe: Recipe, model: ModelSpec) -> bool:
    bases = {m.name: m.tuned_from for m in recipe.models}
    at: str | None = model.tuned_from
    for _ in bases:
        if at == model.name:
            return True
        at = bases.get(at) if at is not None else None
    return False


# --- errors -------------------------------------------------------------------------------------


def _invalid(path: Path, tree: yaml.Node | None, errors: Sequence[ErrorDetails]) -> LemError:
    # A list with a bad item is also said to be too short; the item is what matters.
    around = {e["loc"][:n] for e in errors for n in range(len(e["loc"]))}
    errors = [e for e in errors if e["loc"] not in around]
    first = min(errors, key=lambda e: line_of(tree, e["loc"]))
    loc = [part for part in first["loc"] if part != "[key]"]
    what = {
        "missing": "it is missing",
        "extra_forbidden": "there is no such field",
        "too_short": "it is empty",
        "tuple_type": "it must be a list",
    }.get(first["type"]) or excerpt(first["msg"].removeprefix("Value error, "), 120)
    value = first["input"]
    if isinstance(value, str | int | float | bool) or value is None:
        shown = "nothing" if value is None else repr(excerpt(str(value), 40))
        what += f" (it is {shown})" if first["type"] != "missing" else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return LemError(f"{path}, {place(tree, loc)}: {what}.{more}", STOPPED, _fix(first["type"], loc))


def _fix(kind: str, loc: Sequence[str | int]) -> str:
    if kind == "extra_forbidden":
        fields: Mapping[str, Any] = Recipe.model_fields
        if loc[:1] == ["models"] and len(loc) > 2:
            fields = ModelSpec.model_fields
        elif loc[:1] == ["sampling"]:
            fields = SamplingSpec.model_fields
        return f"Choose from: {', '.join(fields)}."
    if loc == ["name"]:
        return "A name has small letters, digits, '.', '_' and '-': my-study"
    return "Correct the field; lem bench --help shows a recipe."
