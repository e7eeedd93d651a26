"""Each result as one plain record: what JSON prints, and what every other format is made from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from npuwatt import __version__
from npuwatt.arrays import Array
from npuwatt.device.costs import LIMITS
from npuwatt.device.evaluate import Device
from npuwatt.report.winners import phase_records, winner_records
from npuwatt.study.compare import Answer, Comparison
from npuwatt.study.confidence import LEVEL, Confidence
from npuwatt.study.inference import METRICS, Inference
from npuwatt.study.phases import PhaseTable, prompt_and_step_j
from npuwatt.study.question import Question
from npuwatt.study.scenario import Chosen
from npuwatt.study.winners import kinds_of
from npuwatt.units import si_unit

if TYPE_CHECKING:
    from npuwatt.study.cell_notes import Exactness
    from npuwatt.study.estimate import Estimate
    from npuwatt.study.ranges import Ranged
    from npuwatt.study.serving import Serving

Record = dict[str, Any]


def _per(macs: Array, moved_bytes: Array) -> Array:
    """MACs for each byte; NaN where none moves."""
    return macs / np.where(moved_bytes > 0, moved_bytes, np.nan)


def number(value: Any) -> float | None:
    """A finite float, or None: JSON has no NaN and no infinity."""
    given = float(np.asarray(value).reshape(-1)[0])
    return given if math.isfinite(given) else None


def whole(value: Any) -> int | None:
    """A finite whole number, or None."""
    given = number(value)
    return None if given is None else round(given)


def compare_record(comparison: Comparison, *, per_macro: bool = False) -> Record:
    """A comparison as the record of schema npuwatt.compare/1; with what is printed of parts, if asked for."""
    asked, answers = comparison.question, comparison.answers
    kinds = [[kinds_of(phase) for phase in answer.phases] for answer in answers]
    results = [
        result_record(asked, answer)
        | _per_macro(asked, answer, per_macro)
        | {"phases": phase_records(answer, own), "notes": list(answer.notes)}
        for answer, own in zip(answers, kinds, strict=True)
    ]
    first = results[0]["energy_per_output_token_j"]
    for result in results:
        own = result["energy_per_output_token_j"]
        result["energy_ratio_to_first"] = own / first if own is not None and first else None
    record = {
        "schema": "npuwatt.compare/1",
        "npuwatt": __version__,
        "request": request_record(asked),
        "results": results,
        "winners": winner_records(answers, kinds),
        "notes": [*asked.notes, *asked.warnings],
        "presets": preset_records(asked),
        "sources": source_records(asked),
    }
    if comparison.article is not None:
        record["article"] = comparison.article
    return record


def _per_macro(asked: Question, answer: Answer, is_wanted: bool) -> Record:
    if not is_wanted:
        return {}
    from npuwatt.report.per_macro import per_macro_record

    return {"per_macro": per_macro_record(asked, answer)}


def result_record(asked: Question, answer: Answer) -> Record:
    """What commands say of one device's answer; what they add in words stands beside it."""
    return {
        **device_record(answer.device),
        **metrics_record(answer.result),
        **prompt_record(asked, answer),
        "energy_by_component_j": components_record(answer.result),
        "bound_by": bound_record(answer.result),
        **fit_record(answer.result),
        **serving_record(asked, answer.result),
        "confidence": confidence_record(asked, answer),
        "exactness": exactness_record(answer.exactness),
    }


def exactness_record(exactness: Exactness | None) -> Record | None:
    """How exact products of a device's cells are."""
    return None if exactness is None else {"snr_db": exactness.snr_db, "verdict": exactness.verdict}


def confidence_record(asked: Question, answer: Answer) -> Record | None:
    """The class of a prediction and between which values nine of ten measurements of a server should lie."""
    if asked.constants == "article" or not bool(answer.result.fits[0, 0]):
        return None  # the article's energies are those of no device
    metrics = answer.result.metrics()
    return {
        "class": answer.confidence.name,
        "level_fraction": LEVEL,
        **{
            name: {"low": number(low * metrics[name]), "high": number(high * metrics[name])}
            for name, (low, high) in answer.confidence.ratios.items()
            if name in metrics
        },
    }


def ratios_record(sure: Confidence) -> Record:
    """The class of a prediction, and the factors of it between which most measurements should lie."""
    return {
        "class": sure.name,
        "level_fraction": LEVEL,
        **{name: {"low": low, "high": high} for name, (low, high) in sure.ratios.items()},
    }


def device_record(device: Chosen[Device]) -> Record:
    """Which device a result is of, and what kind of evidence stands behind it."""
    return {
        "device": device.typed,
        "preset": device.preset.name,
        "kind": device.preset.header("kind"),
        "evidence": device.trust,
    }


def metrics_record(result: Inference) -> Record:
    """The named results of one point; null where the request does not fit."""
    metrics = result.metrics()
    return {name: number(metrics[name]) for name in METRICS}


def prompt_record(asked: Question, answer: Answer) -> Record:
    """Energy of reading one prompt, and of one decode step of the whole batch; null where there is none."""
    found: tuple[Array | None, ...] = (None, None)
    if bool(answer.result.fits[0, 0]):
        found = prompt_and_step_j(asked, answer.result, answer.phases)
    names = ("prefill_energy_j", "decode_step_energy_j")
    return {
        name: None if joules is None else number(joules) for name, joules in zip(names, found, strict=True)
    }


def serving_record(asked: Question, result: Inference) -> Record:
    """The median step, and which share of the mean one is software; null in step mode."""
    if asked.stack is None:
        return dict.fromkeys(("median_itl_s", "software_time_fraction", "software_energy_fraction"))
    served = cast("Serving", result)
    return {
        "median_itl_s": number(served.itl_s),
        "software_time_fraction": number(served.software_time_fraction),
        "software_energy_fraction": number(served.software_energy_fraction),
    }


def components_record(result: Inference) -> Record | None:
    """Energy per output token by component; sums to energy_per_output_token_j."""
    if not bool(result.fits[0, 0]):
        return None
    return {name: number(joules / result.output_tokens) for name, joules in result.energy_j.items()}


def bound_record(result: Inference) -> str | None:
    """What sets most of the request's time."""
    return LIMITS[int(result.bound_by()[0, 0])] if bool(result.fits[0, 0]) else None


def fit_record(result: Inference) -> Record:
    """Whether weights and cache fit, on how many devices, and how many they would need."""
    return {
        "fits": bool(result.fits[0, 0]),
        "devices": whole(result.devices),
        "devices_needed": whole(result.devices_needed),
    }


def request_record(asked: Question) -> Record:
    """The request, with the network by its preset's name."""
    request = asked.request
    return {
        "network": asked.network.preset.name,
        "batch": whole(request.batch),
        "input_len": whole(request.input_len),
        "output_len": whole(request.output_len),
        "weights": request.weights,
        "activations": request.activations,
        "kv_cache": request.kv_cache,
        **zeros_record(asked),
        "devices": asked.count,
        "constants": asked.constants,
        "mode": asked.mode,
        "stack": asked.stack.preset.name if asked.stack else None,
        "prefill": asked.prefill if asked.stack else None,
        "expert_parallel": asked.sharing.expert_parallel,
        "data_parallel": whole(asked.sharing.data_parallel_count),
    }


def zeros_record(asked: Question) -> Record:
    """What was said of zeros; of a file, the pattern of most weights and the density of all."""
    zeros = asked.zeros
    return {
        "pattern": zeros.pattern if zeros else "dense",
        "density": zeros.density_fraction if zeros else 1.0,
        "activation_density": number(zeros.zeros.activation_density) if zeros else 1.0,
        "densities": asked.densities,
        "ideal": asked.ideal,
    }


def preset_records(asked: Question) -> list[Record]:
    """The presets behind a result and the hash of each one's content."""
    found: dict[str, Record] = {}
    stack = (asked.stack.preset,) if asked.stack else ()
    for preset in (*(device.preset for device in asked.devices), asked.network.preset, *stack):
        found[f"{preset.folder}/{preset.name} {preset.sha256}"] = {
            "name": preset.name,
            "folder": preset.folder,
            "sha256": preset.sha256,
        }
    return list(found.values())


def ranged_record(ranged: Ranged) -> Record:
    """A number that was varied, with its range."""
    return {
        "assumption": ranged.address,
        "unit": si_unit(ranged.suffix),
        "value": ranged.value,
        "low": ranged.low,
        "high": ranged.high,
        "source": ranged.source,
    }


def source_records(asked: Question) -> list[Record]:
    """Citations of every number used."""
    return [{"key": key, "citation": text} for key, text in asked.citations.items()]


def estimate_record(estimate: Estimate, *, per_macro: bool = False) -> Record:
    """One device's answer op by op, as the record of schema npuwatt.estimate/1."""
    asked = estimate.question
    answer = estimate.answer
    return {
        "schema": "npuwatt.estimate/1",
        "npuwatt": __version__,
        "request": request_record(asked),
        **result_record(asked, answer),
        **_per_macro(asked, answer, per_macro),
        "phases": [_phase_record(phase, fits=bool(answer.result.fits[0, 0])) for phase in estimate.phases],
        "notes": [*asked.notes, *asked.warnings, *answer.notes],
        "presets": preset_records(asked),
        "sources": source_records(asked),
    }


def _phase_record(phase: PhaseTable, *, fits: bool) -> Record:
    ops = phase.ops
    crossing_bytes = phase.moved_bytes - ops.link_bytes if phase.where else ops.memory_bytes

    def column(values: Array, i: int) -> float | None:
        return number(np.broadcast_to(values, ops.macs.shape)[0, i])

    def cost(values: Array, i: int) -> float | None:
        return column(values, i) if fits else None

    return {
        "phase": phase.name,
        "steps_fraction": None if phase.steps_fraction is None else number(phase.steps_fraction),
        "context_tokens": whole(phase.context_tokens),
        "time_s": number(phase.costs.time_s) if fits else None,
        "energy_j": number(sum(phase.costs.energy_j.values())) if fits else None,
        "energy_by_component_j": {name: number(joules) for name, joules in phase.costs.energy_j.items()}
        if fits
        else None,
        "power_stretch_ratio": number(phase.costs.stretch_ratio) if fits else None,
        "intensity_macs_per_byte": number(_per(ops.macs.sum(), crossing_bytes.sum())),
        "ridge_macs_per_byte": number(phase.ridge_macs_per_byte),
        "levels": [
            {
                "name": name,
                "bytes": number(moved.sum()),
                "energy_j": number(phase.level_energy_j[name].sum()) if fits else None,
            }
            for name, moved in phase.level_bytes.items()
        ],
        "ops": [
            {
                "name": name,
                "kind": ops.kinds[i],
                "where": phase.where[i] if phase.where and fits else None,
                "count": whole(column(ops.layers, i)),
                "macs": column(ops.macs, i),
                "weight_bytes": column(ops.weight_bytes, i),
                "activation_bytes": column(ops.activation_bytes, i),
                "kv_bytes": column(ops.kv_bytes, i),
                "link_bytes": column(ops.link_bytes, i),
                "moved_bytes": column(phase.moved_bytes, i),
                "intensity_macs_per_byte": column(_per(ops.macs, crossing_bytes), i),
                "time_s": cost(phase.time_s, i),
                "energy_j": cost(phase.energy_j, i),
                "bound_by": phase.bound_by[i] if fits else None,
            }
            for i, name in enumerate(ops.names)
        ]
        + _software_rows(phase, fits=fits),
    }


def _software_rows(phase: PhaseTable, *, fits: bool) -> list[Record]:
    """The time in which software lets the device wait, as one more op, so that ops sum to their phase."""
    if phase.software_time_s is None:
        return []
    sizes = (
        "macs", "weight_bytes", "activation_bytes", "kv_bytes", "link_bytes", "moved_bytes",
        "intensity_macs_per_byte",
    )  # fmt: skip
    return [
        {"name": "software", "kind": "software", "where": None, "count": 1}
        | dict.fromkeys(sizes, 0.0)
        | {
            "time_s": number(phase.software_time_s) if fits else None,
            "energy_j": number(phase.software_energy_j) if fits else None,
            "bound_by": "software" if fits else None,
        }
    ]
