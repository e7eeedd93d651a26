"""What serving software adds to the hardware's own time: launches, scheduling, kernels that do not overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real, side_by_side
from npuwatt.device.costs import OpCosts
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record, replace
from npuwatt.workload.density import group_of
from npuwatt.workload.ops import STORED, OpTable
from npuwatt.workload.request import SAME_BITS, WIDTHS


class Stack(Record):
    """Serving software: the same on every device. All zero is the hardware's limit."""

    step_time_s: Real = 0.0  # of each step, whatever is in it
    layer_time_s: Real = 0.0  # of each layer (attention and feed-forward together)
    collective_time_s: Real = 0.0  # of each sum over devices, beyond its bytes
    expert_layer_time_s: Real = 0.0  # of each mixture-of-experts layer, beyond layer_time
    sequence_time_s: Real = 0.0  # host time of each running sequence, each step
    unoverlapped_fraction: Real = (
        0.0  # share of the shorter of data and arithmetic time that the other does not hide
    )
    expert_block_count: Mapping[str, Real] = {}  # rows that an expert's tokens are padded to, by number type
    expert_small_block_count: Mapping[str, Real] = {}  # the same while a step has no more tokens than experts
    chunk_count: Real = 8192.0  # most prompt tokens that one step takes
    stored_bytes: Mapping[str, Real] = {}  # of one weight by format, block scales counted; others as usual
    weights_efficiency_fraction: Mapping[str, Real] = {}  # of memory's rate, at which kernels take in weights

    kind: ClassVar[Literal["stack"]] = "stack"

    def __post_init__(self) -> None:
        require.not_negative(
            step_time=self.step_time_s,
            layer_time=self.layer_time_s,
            collective_time=self.collective_time_s,
            expert_layer_time=self.expert_layer_time_s,
            sequence_time=self.sequence_time_s,
        )
        require.share(unoverlapped=self.unoverlapped_fraction)
        require.positive(chunk=self.chunk_count)
        for name in ("expert_block", "expert_small_block"):
            for dtype, rows in getattr(self, f"{name}_count").items():
                if dtype not in WIDTHS:
                    raise NpuwattError(f"{name}: number type '{dtype}'; expected some of {', '.join(WIDTHS)}")
                require.positive(**{name: rows})
        for layout in (*self.stored_bytes, *self.weights_efficiency_fraction):
            if layout not in FORMATS:
                name = "stored" if layout in self.stored_bytes else "weights_efficiency"
                raise NpuwattError(
                    f"{name}: format {shown(layout)}; expected one like int8, int4 or int4-2-of-4"
                )
        require.positive(**{f"stored.{name}": size for name, size in self.stored_bytes.items()})
        require.fraction(
            **{
                f"weights_efficiency.{name}": share
                for name, share in self.weights_efficiency_fraction.items()
            }
        )


FORMATS = (*WIDTHS, *(f"{width}-{most}-of-{of}" for width in WIDTHS for most, of in ((1, 2), (2, 4), (4, 8))))
"""How software stores weights: as a number type, or as one in an N:M pattern that its kernels know."""

IDEAL = Stack()
"""No software at all."""


def executed(stack: Stack, ops: OpTable, local_experts: Real) -> OpTable:
    """The ops as the stack's kernels run them: weights as it stores them, and blocks of an expert's tokens."""
    return _in_blocks(stack, as_stored(stack, ops), local_experts)


def as_stored(stack: Stack, ops: OpTable) -> OpTable:
    """The ops with weights as the stack stores them, zeros still counted, and the time its kernels lose on them.

    A format is named by number type, or by type and pattern where the stack has one for it.
    """
    if not (stack.stored_bytes or stack.weights_efficiency_fraction):
        return ops
    usual = [ops.operand_bytes[:, [i]] for i in range(len(ops.names))]
    size = side_by_side(
        _of_format(stack.stored_bytes, ops, i, number_bytes) for i, number_bytes in enumerate(usual)
    )
    efficiency = side_by_side(
        _of_format(stack.weights_efficiency_fraction, ops, i, 1.0) for i in range(len(usual))
    )
    ratio = size / np.where(ops.operand_bytes > 0, ops.operand_bytes, 1.0)
    return replace(
        ops,
        operand_bytes=size,
        weight_bytes=np.where(ops.operand_bytes > 0, ops.weight_bytes * ratio, ops.weight_bytes),
        weights_stall_ratio=1 / efficiency - 1,
    )


def _of_format(values: Mapping[str, Real], ops: OpTable, place: int, usual: Real) -> Real:
    """The value of one op's format; the usual one where nothing is said of it or the op holds no weights."""
    name = ops.stored[place]
    if ops.kinds[place] not in STORED or not name:
        return usual
    group = group_of(ops.patterns[place])
    words = [f"{word}-{group[0]}-of-{group[1]}" for word in (name, SAME_BITS.get(name)) if group and word]
    known = (word for word in (*words, name, SAME_BITS.get(name, "")) if word in values)
    return values.get(next(known, ""), usual)


def _in_blocks(stack: Stack, ops: OpTable, local_experts: Real) -> OpTable:
    """An expert's tokens fill whole blocks of rows.

    A grouped matrix product works on blocks; rows of a block without a token are multiplied all
    the same. Its launch takes small blocks while a step has no more tokens than the
    `local_experts` of a device, and large ones from there on. Rows spread over several blocks
    fill the last one by half on average.
    """
    if "experts" not in ops.kinds or not stack.expert_block_count:
        return ops
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.nan_to_num(ops.macs * ops.operand_bytes / ops.weight_bytes)  # of one expert that has any
    small, large = (
        side_by_side(
            blocks.get(dtype, blocks.get(SAME_BITS.get(dtype, ""), 0.0)) if kind == "experts" else 0.0
            for kind, dtype in zip(ops.kinds, ops.dtypes, strict=True)
        )
        for blocks in (stack.expert_small_block_count, stack.expert_block_count)
    )
    block = np.where(ops.tokens <= local_experts, small, large)
    least = np.maximum(rows, 1e-300)
    filled = np.where((block > 0) & (rows > 0), np.maximum(block, rows + (block - 1) / 2) / least, 1.0)
    return replace(ops, macs=ops.macs * filled)


def step_overhead_s(stack: Stack, *, layers: Real, collectives: Real, expert_layers: Real) -> Real:
    """Time that a step takes on top of its ops, on the device: launches, small kernels, synchronisation."""
    return (
        stack.step_time_s
        + layers * stack.layer_time_s
        + collectives * stack.collective_time_s
        + expert_layers * stack.expert_layer_time_s
    )


def serialised(stack: Stack, costs: OpCosts) -> OpCosts:
    """Costs whose data and arithmetic times overlap only in part."""
    if not np.any(stack.unoverlapped_fraction) or not {"compute", "memory"} <= costs.limits_s.keys():
        return costs
    shorter_s = np.minimum(costs.limits_s["compute"], costs.limits_s["memory"])
    return replace(costs, time_s=costs.time_s + stack.unoverlapped_fraction * shorter_s)
