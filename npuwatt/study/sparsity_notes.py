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

NOTHING = "zeros change nothing"
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
        return [f"{NOTHING}: none of its weights or activations is zero"]
    if device.kind == "crossbar":
        return [f"{NOTHING}: every cell of an array takes part in each product"]
    skipping = host_of(device).sparsity
    if device.kind == "near-bank-pim":
        if any("block" in phase.ops.patterns for phase in found):
            return ["whole blocks of zeros are neither stored nor read"]
        if skipping is None:
            return [f"{NOTHING}: all banks follow one command, so only whole blocks of zeros would save work"]
    if skipping is None:
        return [f"{NOTHING}: its preset states nothing that this device could do with them"]
    works = [zero_work(skipping, phase.ops) for phase in found]
    if not any(map(_changes, works)):
        return [f"{NOTHING}: {_why(skipping, found[0].ops)}"]
    leaves_out = any(bool(np.any(work.done_ratio != 1)) for work in works)
    does = _DOES[skipping.mechanism if leaves_out or skipping.mechanism == "gate" else "none"]
    shares: dict[str, list[str]] = {}
    for phase, work in zip(found, works, strict=True):
        shares.setdefault(", ".join(_shares(phase.ops, work, leaves_out)), []).append(phase.name)
    told = [f"{' and '.join(names)}: {share}" for share, names in shares.items()]
    return ["; ".join([f"{'ideally ' if asked.ideal else ''}{does}", *told, *_measured(works)])]


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


def _shares(ops: OpTable, work: ZeroWork, leaves_out: bool) -> Iterator[str]:
    """What is left of one phase's products with weights: MACs, or their energy, and bytes of weights."""
    macs = ops.macs * np.array([[kind in STORED for kind in ops.kinds]])
    if leaves_out:
        yield f"{_percent(work.done_ratio, macs)} of the MACs with weights"
    else:
        yield f"{_percent(work.arithmetic_ratio, macs)} of the energy of MACs with weights"
    if np.any(work.stored_ratio != 1):
        metadata = _percent(work.metadata_ratio, ops.weight_bytes)
        yield f"{_percent(work.stored_ratio, ops.weight_bytes)} of their bytes, {metadata} being metadata"


def _measured(works: Sequence[ZeroWork]) -> Iterator[str]:
    """What was measured of such kernels, which no answer exceeds."""
    ratios = np.concatenate([work.speedup_ratio[work.speedup_ratio > 0] for work in works])
    if ratios.size:
        low, high = f"{ratios.min():.2g}x", f"{ratios.max():.2g}x"
        yield f"kernels for it were measured at {low if low == high else f'{low} to {high}'} of dense ones"


def _percent(ratio: Array, of: Array) -> str:
    """A mean ratio, weighted by what it is a share of."""
    share = 100 * float((ratio * of).sum() / of.sum())
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
