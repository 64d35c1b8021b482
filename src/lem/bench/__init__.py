"""A matrix of models from a recipe: declared, run, resumed, reported."""

from lem.bench.inputs import Inputs, load_inputs
from lem.bench.overview import Row, overview
from lem.bench.recipe import ModelSpec, Recipe, builtin_recipes, find_recipe, load_recipe
from lem.bench.run import Events, MatrixResult, choose_models, matrix_folder, run_matrix
from lem.bench.state import Failure, State, check_unchanged, read_state

__all__ = [
    "Events",
    "Failure",
    "Inputs",
    "MatrixResult",
    "ModelSpec",
    "Recipe",
    "Row",
    "State",
    "builtin_recipes",
    "check_unchanged",
    "choose_models",
    "find_recipe",
    "load_inputs",
    "load_recipe",
    "matrix_folder",
    "overview",
    "read_state",
    "run_matrix",
]
