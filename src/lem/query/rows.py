"""From a study to the rows of each view. A row is a dictionary by column name; a column that is
left out is NULL."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lem.analysis import Contrast, ScorerAnalysis
from lem.query.material import Material, logged
from lem.records import Response
from lem.study import Answer, Model, Study
from lem.text import dump_json

Row = dict[str, Any]


def rows(view: str, material: Material) -> Iterator[Row]:
    """The rows of a view, made one by one.

    Raises:
        LemError: the inputs cannot be read.
    """
    return _MAKERS[view](material)


def _runs(material: Material) -> Iterator[Row]:
    for model in material.study.models:
        answers = material.answers[model.name]
        manifest = model.manifest or {}
        yield {
            **_place(model),
            "form": model.form,
            "answers": len(answers),
            "probes": len({a.probe for a in answers}),
            "conditions": [
                {
                    "name": arm.name,
                    "role": arm.role,
                    "control_of": arm.control_of,
                    "kernel_sha256": arm.kernel_sha256,
                    "placement": arm.placement,
                }
                for arm in model.arms
            ],
            "max_tokens": model.settings.get("max_tokens"),
            **(_manifest(manifest) if manifest else {}),
        }


def _manifest(manifest: Mapping[str, Any]) -> Row:
    engine, sampling = manifest["engine"], manifest.get("sampling") or {}
    probes, hardware = manifest["probes"], manifest.get("hardware") or {}
    return {
        **{name: sampling.get(name) for name in ("temperature", "top_p", "seed")},
        "samples": manifest.get("samples", 1),
        "engine": engine.get("engine"),
        "engine_version": engine.get("engine_version"),
        "engine_model": engine.get("model"),
        "fingerprint": dump_json(engine.get("fingerprint")),
        "template_sha256": (manifest.get("template") or {}).get("template_sha256"),
        "probe_sets": "+".join(map(str, probes.get("sets") or [])) or None,
        "probes_sha256": probes.get("sha256"),
        "created": moment(manifest.get("created")),
        "updated": moment(manifest.get("updated")),
        "lem": manifest.get("lem"),
        "git_revision": manifest.get("git_revision"),
        "platform": hardware.get("platform"),
        "cores": hardware.get("cores"),
    }


def _responses(material: Material) -> Iterator[Row]:
    study = material.study
    for model in study.models:
        log = material.log(model)
        about = _About(study, model)
        for answer in material.answers[model.name]:
            line = logged(log, answer)
            yield {
                **about(answer),
                **_measures(answer),
                **(_line(line) if line else _no_line(answer, study.texts)),
            }


def _line(line: Response) -> Row:
    return {
        **line.model_dump(exclude={"schema_version", "probe", "condition", "sample", "ts"}),
        "ts": moment(line.ts),
    }


def _no_line(answer: Answer, texts: bool) -> Row:
    reason = {True: "length", False: "stop"}.get(answer.truncated)  # type: ignore[arg-type]
    return {
        "final": answer.text if texts else None,
        "finish_reason": "filtered" if answer.malformed else reason or "unknown",
    }


def _scores(material: Material) -> Iterator[Row]:
    study = material.study
    scorers = [{"scorer": info.name, "version": info.version} for info in study.scorers]
    for model in study.models:
        about = _About(study, model)
        for answer in material.answers[model.name]:
            common = {**about(answer), **_measures(answer)}
            for scorer, score in zip(scorers, answer.scores, strict=True):
                yield {**common, **scorer, "score": score}


def _parts(material: Material) -> Iterator[Row]:
    study = material.study
    abouts = {model.name: _About(study, model) for model in study.models}
    for answer, scored in material.parts():
        common = abouts[answer.model](answer)
        for scorer, fields in scored.scores.items():
            for part, value in fields.items():
                if not isinstance(value, str):
                    yield {
                        **common,
                        "scorer": scorer,
                        "version": fields["version"],
                        "part": part,
                        "value": value,
                    }


def _effects(material: Material) -> Iterator[Row]:
    runs = {model.name: model.source for model in material.study.models}
    for scorer in material.analysis.scorers:
        findings = {f.kernel_contrast: f for f in scorer.findings}
        for contrast in scorer.contrasts:
            finding = findings.get(contrast.id)
            yield {
                **_contrast(scorer, contrast),
                "run": runs.get(contrast.model),
                "finding": finding and finding.code,
                "sentence": finding and finding.sentence,
            }


def _contrast(scorer: ScorerAnalysis, contrast: Contrast) -> Row:
    effect, length, worst = contrast.effect, contrast.length, contrast.worst
    whole = contrast.complete
    own = ("id", "kind", "scorer", "model", "arm", "reference", "family", "family_size")
    more = ("p_adjusted", "detectable", "needed", "noise", "shown")
    row = {name: getattr(contrast, name) for name in own + more}
    row |= {name: getattr(effect, name) for name in _EFFECT} if effect else {"n": 0}
    row |= {
        "version": scorer.version,
        "primary": scorer.primary,
        "in_noise": contrast.in_noise if contrast.noise is not None else None,
        "unmatched": len(contrast.unmatched),
    }
    if length:
        parts = {"effect": length.effect, "low": length.low, "high": length.high, "p": length.p}
        parts |= {"slope": length.slope, "shift": length.mean_shift}
        row |= {f"length_{name}": value for name, value in parts.items()}
        row["length_extrapolated"] = length.extrapolated
    if whole:
        row |= {f"complete_{name}": getattr(whole, name) for name in ("n", "mean", "low", "high")}
    if worst:
        row |= {"worst_low": worst.low, "worst_high": worst.high}
    return row


#: Columns of `effects` that a `PairedEffect` has under the same name.
_EFFECT = (
    *("n", "mean", "low", "high", "boot_low", "boot_high", "sd", "d_z"),
    *("median", "median_low", "median_high", "better", "same", "worse"),
    *("p", "sign_p", "wilcoxon_p", "noisy_tail"),
)


def _probes(material: Material) -> Iterator[Row]:
    for probe in material.study.probes.values():
        yield {
            "probe": probe.id,
            "domain": probe.domain,
            "cluster": probe.cluster,
            "prompt": probe.prompt,
        }


_MAKERS: dict[str, Callable[[Material], Iterator[Row]]] = {
    "runs": _runs,
    "responses": _responses,
    "scores": _scores,
    "parts": _parts,
    "effects": _effects,
    "probes": _probes,
}


def _place(model: Model) -> Row:
    return {"model": model.name, "run": model.source}


class _About:
    """What an answer belongs to, for the answers of one model."""

    def __init__(self, study: Study, model: Model) -> None:
        self._probes, self._place = study.probes, _place(model)
        self._roles = {arm.name: arm.role for arm in model.arms}

    def __call__(self, answer: Answer) -> Row:
        probe = self._probes[answer.probe]
        return {
            **self._place,
            "condition": answer.condition,
            "role": self._roles.get(answer.condition),
            "probe": probe.id,
            "domain": probe.domain,
            "cluster": probe.cluster,
            "sample": answer.sample,
        }


def _measures(answer: Answer) -> Row:
    stored = answer.stored
    return {
        "words": answer.words,
        "empty": answer.empty,
        "truncated": answer.truncated,
        "malformed": answer.malformed,
        "refused": answer.refused,
        "repetitive": answer.repetitive,
        "foreign": answer.foreign,
        "leak": answer.leak,
        "stored_score": stored and stored.score,
        "stored_version": stored and stored.version,
    }


def moment(text: object) -> datetime.datetime | None:
    """A time as it stands in a manifest or a log, in UTC and without a time zone; None where it is
    no time."""
    try:
        found = datetime.datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found
