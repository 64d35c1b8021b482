"""LEM: measure whether a chat model's ethics sit in its prompt, in its weights, or nowhere.

The package imports nothing heavy; take what you need from its rooms:

    from lem.ab import Experiment, run_ab
    from lem.scorers import v2
    from lem.stats import paired_effect
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lem-lab")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+source"
