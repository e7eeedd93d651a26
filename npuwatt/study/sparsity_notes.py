"""What a device made of the zeros of a question, or why it made nothing of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from npuwatt.arrays import Array
from npuwatt.device.evaluate import Device, host_of
from npuwatt.device.sparsity import ZeroSkipping, ZeroWork, kernel_speedup, rows_count, zero_work
from npuwatt.preset.evidence import Evidence
from npuwatt.study.phases import PhaseTable
from npuwatt.study.question import Question
from npuwatt.study.scenario import Chosen
from npuwatt.workload.ops import STORED, OpTable

NOTHING = "zeros change nothing"
UNSTATED = "its preset states nothing that this device could do with them"
NO_PRODUCT = "no product"  # how what a preset says about a device begins that nobody makes
_DOES = {
    "skip-weights": "leaves out work with weights that are zero",
    "skip-activations": "leaves out work with activations that are zero",
    "skip-both": "leaves out work in which a weight or an activation is zero",
    "n-m": "leaves out the weights that the pattern says are zero",
    "gate": "keeps a multiplier still where an operand is zero, which saves no time",
    "none": "leaves nothing out, but a product with zero toggles fewer wires",
}


def is_stated(device: Device, phases: Sequence[PhaseTable]) -> bool:
    """Whether anything is known of what a device does with the zeros of these phases; without zeros, all is."""
    if device.kind != "accelerator" or not any(phase.ops.has_zeros for phase in phases):
        return True
    return device.sparsity is not None


def zero_notes(asked: Question, chosen: Chosen[Device], phases: Sequence[PhaseTable]) -> list[str]:
    """What the device does with the zeros asked about; none where nothing was said of zeros."""
    if asked.zeros is None:
        return []
    about = chosen.preset.header("about")
    made = [] if not about.startswith(NO_PRODUCT) else [f"hypothetical: {about}"]
    return [*_done(asked, chosen, phases), *made]


def _done(asked: Question, chosen: Chosen[Device], phases: Sequence[PhaseTable]) -> list[str]:
    device = chosen.record
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
        return [f"{NOTHING}: {UNSTATED}"]
    works = [zero_work(skipping, phase.ops) for phase in found]
    if not any(map(_changes, works)):
        return [f"{NOTHING}: {_why(skipping, found[0].ops)}"]
    leaves_out = any(bool(np.any(work.done_ratio != 1)) for work in works)
    does = _DOES[skipping.mechanism if leaves_out or skipping.mechanism == "gate" else "none"]
    shares: dict[str, list[str]] = {}
    for phase, work in zip(found, works, strict=True):
        shares.setdefault(", ".join(_shares(phase.ops, work, leaves_out)), []).append(phase.name)
    told = [f"{' and '.join(names)}: {share}" for share, names in shares.items()]
    return [
        "; ".join(
            [
                f"{'ideally ' if asked.ideal else ''}{does}",
                *told,
                *_kernels(skipping, found, works, chosen.evidence),
            ]
        )
    ]


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


def _kernels(
    skipping: ZeroSkipping,
    phases: Sequence[PhaseTable],
    works: Sequence[ZeroWork],
    evidence: Mapping[str, Evidence],
) -> Iterator[str]:
    """How fast such kernels are, and whether that was measured; and up to how many tokens there are any."""
    rows = {
        float(row)
        for phase, work in zip(phases, works, strict=True)
        for row in np.broadcast_to(rows_count(phase.ops), work.speedup_ratio.shape)[work.speedup_ratio > 0]
    }
    if rows:
        ends = dict.fromkeys(_speed(skipping, row, evidence) for row in (min(rows), max(rows)))
        yield f"kernels run at {' to '.join(ends)} of dense ones"
    if skipping.packed and any(set(phase.ops.stored) & set(skipping.packed.weights) for phase in phases):
        most = float(np.max(skipping.packed.most_tokens_count))
        yield f"kernels for such weights end at batch {most:g}; beyond, no work and no bytes are left out"


def _speed(skipping: ZeroSkipping, rows: float, evidence: Mapping[str, Evidence]) -> str:
    """Speed over dense kernels at so many tokens, its range and where it comes from."""
    known: dict[str, Evidence | None] = {
        tokens: next((one for at, one in evidence.items() if at.endswith(f"sparsity.speedup.{tokens}")), None)
        for tokens in skipping.speedup_ratio
    }
    value, low, high = (
        float(np.max(kernel_speedup(speeds, np.array(rows))))
        for speeds in (
            skipping.speedup_ratio,
            {at: one.low if one else skipping.speedup_ratio[at] for at, one in known.items()},
            {at: one.high if one else skipping.speedup_ratio[at] for at, one in known.items()},
        )
    )
    below = [at for at in known if float(at) <= rows * (1 + 1e-9)]
    above = [at for at in known if float(at) >= rows * (1 - 1e-9)]
    used = {*([max(below, key=float)] if below else []), *([min(above, key=float)] if above else [])}
    qualities = {one.quality if (one := known[at]) else "assumed" for at in used}
    how = "assumed" if "assumed" in qualities else "derived" if "derived" in qualities else "measured"
    if len(used) > 1:
        how = f"interpolated over tokens from {how} shapes"
    elif not (below and above):
        how += f", for {used.pop()} token(s)"
    return f"{value:.2g}x ({low:.2g} to {high:.2g}; {how})"


def _percent(ratio: Array, of: Array) -> str:
    """A mean ratio, weighted by what it is a share of."""
    share = 100 * float((ratio * of).sum() / of.sum())
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
