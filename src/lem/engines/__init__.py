"""Engines: one file a back end, behind one small protocol.

`resolve` is the one place where a ``--model`` becomes an engine.
"""

from lem.engines.base import Engine, Meter
from lem.engines.resolve import EngineOptions, resolve

__all__ = ["Engine", "EngineOptions", "Meter", "resolve"]
