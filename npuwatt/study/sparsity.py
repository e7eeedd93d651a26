"""What zeros save on each device against the same network without them, and whether they can be had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from npuwatt.arrays import Array, Real, column
from npuwatt.device.evaluate import Device
from npuwatt.errors import NpuwattError, RequestError
from npuwatt.record import Record, replace
from npuwatt.study.inference import Inference
from npuwatt.study.modes import UNREAL, check_finite, result_of
from npuwatt.study.phases import PhaseTable, phases_of
from npuwatt.study.pruning import AccuracyEvidence, accuracy_evidence
from npuwatt.study.pruning_claim import Judgement, judge_claim
from npuwatt.study.question import Options, Question, check_dealt, question
from npuwatt.study.scenario import Chosen
from npuwatt.study.sparse_software import SoftwareStatus, software_status
from npuwatt.study.sparsity_asked import Asked
from npuwatt.study.sparsity_notes import is_stated, zero_notes
from npuwatt.study.sparsity_range import saved_ends
from npuwatt.study.sparsity_split import Split, done_macs, request_split
from npuwatt.workload.density import Zeros, group_of
from npuwatt.workload.near_zero import (
    GAUSS,
    LLM_WEIGHTS,
    near_zero_norm_fraction,
    near_zero_threshold_ratio,
)
from npuwatt.workload.network import Transformer
from npuwatt.workload.parameters import parameter_count

PATTERN = "2:4"  # asked about where nothing is said of zeros
BATCHES = tuple(2.0**power for power in range(10))
DENSITIES = np.linspace(0.005, 1, 200)  # where a break-even is looked for


class Side(Record):
    """One phase of all devices, either dense or with zeros."""

    moved_bytes: float
    done_macs: float
    time_s: float
    energy_j: float
    tokens_per_j: float


class PhaseSaving(Record):
    """One phase with zeros beside the same one without."""

    name: str
    steps_fraction: float | None
    dense: Side
    sparse: Side
    effectual_macs: float  # with two operands that are not zero, whatever a device makes of that


class BreakEven(Record):
    """Density at which zeros save no energy any more; with none, the reason."""

    density_fraction: float | None
    reason: str = ""


class BatchSaving(Record):
    """What zeros save, by batch; arrays are (P, 1), NaN where a batch does not fit."""

    batch: Array
    saved_fraction: Array  # of the energy of an output token
    speedup_ratio: Array

    @property
    def saving(self) -> tuple[int, ...]:
        """Batches at which anything is saved."""
        told = self.saved_fraction[:, 0] > 0
        return tuple(round(batch) for batch in self.batch[told, 0].tolist())

    @property
    def vanishes_at(self) -> int | None:
        """The first batch beyond all at which something is saved; None where there is none."""
        beyond = [round(batch) for batch in self.batch[:, 0].tolist() if batch > max(self.saving, default=0)]
        return beyond[0] if beyond else None


class NearZero(Record):
    """Which weights a density means, if they follow a known distribution; (Gauss, one with longer tails)."""

    threshold_ratio: tuple[float, float]  # over the standard deviation
    norm_fraction: tuple[float, float]  # of the squared norm that goes


class Answer(Record):
    """One device's part."""

    device: Chosen[Device]
    dense: Inference
    sparse: Inference  # on as many devices
    phases: tuple[PhaseSaving, ...]
    split: Split  # of the energy of the request
    break_even: BreakEven
    batches: BatchSaving
    software: tuple[SoftwareStatus, ...]
    saved_range_fraction: tuple[
        float, float
    ]  # least and most, by the ranges of what its preset states about zeros
    judgement: (
        Judgement | None
    )  # of "30 to 50 % without loss"; none of weights without zeros, or that do not fit
    is_stated: (
        bool  # False: nothing is known of what the device does with zeros, and it is taken to do nothing
    )
    notes: tuple[str, ...]

    @property
    def saved_fraction(self) -> float:
        """Of the energy of an output token; NaN where dense weights do not fit."""
        return float((1 - self.sparse.total_j / self.dense.total_j)[0, 0])

    @property
    def speedup_ratio(self) -> float:
        """Time of the request without zeros over that with them."""
        return float((self.dense.request_s / self.sparse.request_s)[0, 0])


class Sparsity(Record):
    """What zeros save on several devices, in the order asked."""

    question: Question
    zeros: Asked
    evidence: AccuracyEvidence | None  # of pruning; none of weights without zeros
    near_zero: NearZero | None  # of zeros that lie anywhere
    answers: tuple[Answer, ...]


def sparsity(names: Sequence[str], **options: Unpack[Options]) -> Sparsity:
    """What the zeros of a network save on each of several devices, and at which price.

    Parameters
    ----------
    names
        Devices by preset name, alias or path.
    **options
        As for `npuwatt.compare`; where nothing is said of zeros, weights are 2:4.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    if all(options.get(name) is None for name in ("pattern", "density", "activation_density", "densities")):
        options["pattern"] = PATTERN
    asked = question(names, **options)
    check_dealt(asked.sharing, asked.request)
    assert asked.zeros is not None  # the options saw to it
    evidence = _evidence(asked, asked.zeros)
    return Sparsity(
        question=asked,
        zeros=asked.zeros,
        evidence=evidence,
        near_zero=_near_zero(asked.zeros) if asked.zeros.pattern == "unstructured" else None,
        answers=tuple(_answer(asked, asked.zeros, evidence, device) for device in asked.devices),
    )


def _answer(
    asked: Question, zeros: Asked, evidence: AccuracyEvidence | None, device: Chosen[Device]
) -> Answer:
    dense_asked = replace(asked, request=replace(asked.request, zeros=None))
    board = device.record
    try:
        with np.errstate(all="ignore"):
            dense = result_of(dense_asked, board)
            count = float(dense.devices[0, 0]) if dense.fits[0, 0] else None
            sparse = result_of(asked, board, devices=count)
            for result in (dense, sparse):
                check_finite(result)
            before, after = phases_of(dense_asked, board, dense), phases_of(asked, board, sparse)
            split = request_split(dense_asked, asked, board, dense, sparse)
            batches = batch_saving(asked, board)
            break_even = break_even_density(asked, board, dense, count)
            saved = float((1 - sparse.total_j / dense.total_j)[0, 0])
            ends = saved_ends(asked, device, dense, saved, count)
    except OverflowError:
        raise RequestError(f"device {device.typed!r} {UNREAL}") from None
    except NpuwattError as error:
        raise RequestError(*(f"device {device.typed!r} {fault}" for fault in error.faults)) from error
    software = (
        ()
        if evidence is None
        else tuple(software_status(device.typed, zeros.pattern, asked.request.weights, folders=asked.presets))
    )
    stated = is_stated(board, after)
    judged = evidence is not None and np.isfinite(saved)
    return Answer(
        device=device,
        dense=dense,
        sparse=sparse,
        phases=tuple(_phase_saving(asked, board, *pair) for pair in zip(before, after, strict=True)),
        split=split,
        break_even=break_even,
        batches=batches,
        software=software,
        saved_range_fraction=ends,
        is_stated=stated,
        judgement=judge_claim(
            saved,
            evidence,
            software,
            ends=ends,
            is_stated=stated,
            is_ideal=asked.ideal,
            weights=asked.request.weights,
        )
        if evidence is not None and judged
        else None,
        notes=tuple(zero_notes(asked, device, after)),
    )


def _phase_saving(asked: Question, device: Device, dense: PhaseTable, sparse: PhaseTable) -> PhaseSaving:
    tokens = float(asked.request.batch) * (float(asked.request.input_len) if dense.name == "prefill" else 1.0)

    def side(phase: PhaseTable) -> Side:
        energy_j = float(sum(phase.costs.energy_j.values())[0, 0])  # type: ignore[index] # a phase has components
        return Side(
            moved_bytes=float(phase.moved_bytes.sum()),
            done_macs=done_macs(device, phase),
            time_s=float(phase.costs.time_s[0, 0]),
            energy_j=energy_j,
            tokens_per_j=tokens / energy_j if energy_j else float("nan"),
        )

    ops = sparse.ops
    return PhaseSaving(
        name=dense.name,
        steps_fraction=None if dense.steps_fraction is None else float(dense.steps_fraction[0, 0]),
        dense=side(dense),
        sparse=side(sparse),
        effectual_macs=float((ops.macs * ops.effectual_density).sum()),
    )


def batch_saving(asked: Question, device: Device) -> BatchSaving:
    """What the zeros of a question save at batches of 1 to 512 (or one for each group of devices, if these are more), each on as many devices as it needs without them."""
    least = float(np.max(asked.sharing.groups))
    batch = column([batch for batch in BATCHES if batch >= least] or [least])
    request = replace(asked.request, batch=batch)
    dense = result_of(asked, device, request=replace(request, zeros=None), limits=False)
    count = np.where(dense.fits, dense.devices, 1.0)
    sparse = result_of(asked, device, request=request, devices=count, limits=False)
    return BatchSaving(
        batch=batch,
        saved_fraction=_as_tall(1 - sparse.total_j / dense.total_j, batch),
        speedup_ratio=_as_tall(dense.request_s / sparse.request_s, batch),
    )


def _as_tall(values: Array, batch: Array) -> Array:
    return np.broadcast_to(values, batch.shape)


def break_even_density(asked: Question, device: Device, dense: Inference, devices: Real | None) -> BreakEven:
    """The density below which zeros save energy on a device: of weights, or of activations if only these hold zeros."""
    zeros = asked.request.zeros
    assert zeros is not None  # as `sparsity` asks
    if zeros.by_op:
        return BreakEven(density_fraction=None, reason="the file states a density for each op")
    if group_of(zeros.pattern):
        return BreakEven(
            density_fraction=None, reason=f"{zeros.pattern} takes the same work and bytes at any density"
        )
    if not dense.fits[0, 0]:
        return BreakEven(density_fraction=None, reason="dense weights do not fit")
    what = "activation_density" if zeros.pattern == "dense" else "weight_density"
    varied: Zeros = replace(zeros, **{what: column(DENSITIES)})
    request = replace(asked.request, zeros=varied)
    found = result_of(asked, device, request=request, devices=devices, limits=False).total_j
    more = _as_tall(found / dense.total_j - 1, column(DENSITIES))[:, 0]
    return crossing(DENSITIES, more)


def crossing(density: Array, more_fraction: Array) -> BreakEven:
    """The highest density below which energy is saved, straight between points; `more_fraction` is energy over dense, less 1."""
    fits = np.isfinite(more_fraction)
    density, more_fraction = density[fits], more_fraction[fits]
    saves = more_fraction < -1e-9
    if not saves.any():
        same = bool(np.all(np.abs(more_fraction) < 1e-9))
        reason = "zeros change nothing here" if same else "zeros cost energy at any density"
        return BreakEven(density_fraction=None, reason=reason)
    last = int(np.flatnonzero(saves)[-1])
    if last == len(density) - 1:
        return BreakEven(density_fraction=1.0)
    (low, high), (below, above) = density[last : last + 2], more_fraction[last : last + 2]
    # Where next to nothing is saved at the next point, a straight line would go on beyond it.
    return BreakEven(density_fraction=float(min(high, low + (high - low) * -below / (above - below))))


def _evidence(asked: Question, zeros: Asked) -> AccuracyEvidence | None:
    """Published accuracy of the pattern near this network's size; none for weights without zeros."""
    if zeros.pattern == "dense":
        return None
    network = asked.network.record
    size = parameter_count(network)
    if not (isinstance(network, Transformer) and network.decoder):
        reason = "all that was measured is of language models"
        return AccuracyEvidence(pattern=zeros.pattern, parameters=size, rows=(), reason=reason)
    of_file = asked.densities is not None and group_of(zeros.pattern) is not None
    return accuracy_evidence(zeros.pattern, size, density=None if of_file else zeros.density_fraction)


def _near_zero(zeros: Asked) -> NearZero:
    """Weights nearest to zero, as many as are to go."""
    gone = 1 - zeros.density_fraction
    thresholds = [float(near_zero_threshold_ratio(gone, shape=shape)) for shape in (GAUSS, LLM_WEIGHTS)]
    norms = [
        float(near_zero_norm_fraction(threshold, shape=shape))
        for threshold, shape in zip(thresholds, (GAUSS, LLM_WEIGHTS), strict=True)
    ]
    return NearZero(threshold_ratio=(thresholds[0], thresholds[1]), norm_fraction=(norms[0], norms[1]))
