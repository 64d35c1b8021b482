"""Whether answers of different sources may be compared (rule R2): same questions, same sampling,
same kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lem.study.records import Model, Study

_SERIOUS = ("max_tokens", "temperature", "top_p")
_NOTED = ("samples", "seed", "engine")


class Difference(NamedTuple):
    """Something in which two sources are not alike."""

    serious: bool
    """Whether it may explain a difference of scores by itself."""
    text: str


def differences(study: Study, models: Sequence[Model]) -> list[Difference]:
    """All differences in settings of models that are to be compared with the first one.

    A template belongs to its model: another one is serious only for the same weights. What only
    one of the two sources says is noted.
    """
    found = []
    for model in models[1:]:
        found += _between(models[0], model)
    other = [p for p in study.problems if p.kind == "other text"]
    if other:
        found.append(
            Difference(
                True,
                f"{len(other)} probe ids stand for different questions in different inputs "
                f"(the first: {other[0].place})",
            )
        )
    return list(dict.fromkeys(found))


def _between(a: Model, b: Model) -> list[Difference]:
    found = []
    for name in (*_SERIOUS, *_NOTED):
        x, y = a.settings.get(name), b.settings.get(name)
        if x == y:
            continue
        known = x is not None and y is not None
        told = f"{name}: {_told(x)} for {a.name}, {_told(y)} for {b.name}"
        found.append(Difference(known and name in _SERIOUS, told))
    kernels = a.settings.get("kernels", {}), b.settings.get("kernels", {})
    for name in kernels[0]:
        if name in kernels[1] and kernels[0][name] != kernels[1][name]:
            found.append(
                Difference(True, f"condition {name}: another kernel for {a.name} than for {b.name}")
            )
    templates = a.settings.get("template"), b.settings.get("template")
    if None not in templates and templates[0] != templates[1]:
        same = _weights(a) is not None and _weights(a) == _weights(b)
        found.append(Difference(same, f"{a.name} and {b.name} have different chat templates"))
    return found


def _told(value: Any) -> str:
    return "not known" if value is None else str(value)


def _weights(model: Model) -> Any:
    """What pins a model's weights, where its run says."""
    manifest = model.manifest or {}
    fingerprint = dict(manifest.get("engine", {}).get("fingerprint", {}))
    fingerprint.pop("template_sha256", None)
    return fingerprint or None
