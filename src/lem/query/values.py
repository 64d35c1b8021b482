"""Values of a query's result as JSON and CSV hold them."""

from __future__ import annotations

import decimal
import math
from typing import Any

from lem.text import dump_json


def plain(value: Any) -> Any:
    """As JSON holds it: numbers that are not finite are None, times and other things are text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            return None
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def flat(value: Any) -> float | int | str | bool | None:
    """As a cell of a table holds it: lists and objects are JSON text."""
    value = plain(value)
    return dump_json(value) if isinstance(value, list | dict) else value
