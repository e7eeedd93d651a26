"""What a device made of the zeros of a question, or why it made nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from npuwatt.arrays import Array
from npuwatt.device.evaluate import Device, host_of
from npuwatt.device.sparsity import ZeroSkipping, ZeroWork, zero_work
from npuwatt.study.phases import PhaseTable
from npuwatt.study.question import Question
from npuwatt.workload.ops import STORED, OpTable

_NOTHING = "zeros change nothing"
_DOES = {
    "skip-weights": "leaves out work with weights that are zero",
    "skip-activations": "leaves out work with activations that are zero",
    "skip-both": "leaves out work in which a weight or an activation is zero",
    "n-m": "leaves out the weights that the pattern says are zero",
    "gate": "keeps a multiplier still where an operand is zero, which saves no time",
    "none": "leaves nothing out, but a product with zero toggles fewer wires",
}


def zero_notes(asked: Question, device: Device, phases: Sequence[PhaseTable]) -> list[str]:
    """A line on what the device does with the zeros asked about; none where nothing was said of zeros."""
    if asked.zeros is None:
        return []
    found = [phase for phase in phases if phase.ops.has_zeros]
    if not found:
        return [f"{_NOTHING}: none of its weights or activations is zero"]
    if device.kind == "crossbar":
        return [f"{_NOTHING}: every cell of an array takes part in each product"]
    skipping = host_of(device).sparsity
    if device.kind == "near-bank-pim":
        if any("block" in phase.ops.patterns for phase in found):
            return ["whole blocks of zeros are neither stored nor read"]
        if skipping is None:
            return [
                f"{_NOTHING}: all banks follow one command, so only whole blocks of zeros would save work"
            ]
    if skipping is None:
        return [f"{_NOTHING}: its preset states nothing that this device could do with them"]
    works = [zero_work(skipping, phase.ops) for phase in found]
    if not any(map(_changes, works)):
        return [f"{_NOTHING}: {_why(skipping, found[0].ops)}"]
    ideal = "ideally " if asked.ideal else ""
    parts = [ideal + _DOES[skipping.mechanism]]
    parts += [_told(skipping, phase, work) for phase, work in zip(found, works, strict=True)]
    return ["; ".join(parts)]


def _changes(work: ZeroWork) -> bool:
    """Whether anything differs from the same ops without zeros."""
    others = (work.stored_ratio, work.done_ratio, work.arithmetic_ratio, work.time_ratio)
    return any(bool(np.any(ratio != 1)) for ratio in others) or bool(np.any(work.searched_ratio))


def _why(skipping: ZeroSkipping, ops: OpTable) -> str:
    """Why a device that can use zeros uses none of these."""
    patterns = sorted({pattern for pattern in ops.patterns if pattern != "dense"})
    if patterns and skipping.patterns and not set(patterns) & set(skipping.patterns):
        return f"it knows {' and '.join(skipping.patterns)} alone, and these weights are {' and '.join(patterns)}"
    dtypes = {dtype for dtype, kind in zip(ops.dtypes, ops.kinds, strict=True) if kind in STORED}
    if skipping.dtypes and not dtypes & set(skipping.dtypes):
        return f"it skips in {', '.join(skipping.dtypes)} alone, and this is {', '.join(sorted(dtypes))}"
    if not patterns:
        return "it can use zeros of weights alone, and these are dense"
    return "none of its kernels takes weights and arithmetic of these types, or matrices of these sides"


def _told(skipping: ZeroSkipping, phase: PhaseTable, work: ZeroWork) -> str:
    """One phase in shares: MACs, their energy, bytes of weights, and what was measured of such kernels."""
    return f"{phase.name}: " + ", ".join(_shares(skipping, phase.ops, work))


def _shares(skipping: ZeroSkipping, ops: OpTable, work: ZeroWork) -> Iterator[str]:
    if skipping.mechanism in ("gate", "none"):
        yield f"{_percent(work.arithmetic_ratio, ops.macs)} of the energy of MACs"
    else:
        yield f"{_percent(work.done_ratio, ops.macs)} of the MACs"
    if np.any(work.stored_ratio != 1):
        metadata = _percent(work.metadata_ratio, ops.weight_bytes)
        yield f"{_percent(work.stored_ratio, ops.weight_bytes)} of the bytes of weights, {metadata} being metadata"
    measured = np.broadcast_to(work.speedup_ratio, ops.macs.shape)
    if np.any(measured > 0):
        low, high = float(measured[measured > 0].min()), float(measured.max())
        span = f"{low:.2g}x" if f"{low:.2g}" == f"{high:.2g}" else f"{low:.2g}x to {high:.2g}x"
        yield f"no faster than the {span} that was measured of such kernels"


def _percent(ratio: Array, of: Array) -> str:
    """A mean ratio, weighted by what it is a share of."""
    return f"{100 * float((ratio * of).sum() / of.sum()):.3g} %"
