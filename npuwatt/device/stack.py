"""What serving software adds to the hardware's own time: launches, scheduling, kernels that do not overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real, side_by_side
from npuwatt.device.costs import OpCosts
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, replace
from npuwatt.workload.ops import OpTable
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


IDEAL = Stack()
"""No software at all."""


def executed(stack: Stack, ops: OpTable, local_experts: Real) -> OpTable:
    """The ops as the stack's kernels run them: an expert's tokens fill whole blocks of rows.

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
