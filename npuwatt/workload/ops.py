"""The table of work: one column per property, one entry per op, identical layers folded with a count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from npuwatt.arrays import Array, Real, side_by_side
from npuwatt.record import Record

Kind: TypeAlias = Literal["embedding", "matmul", "experts", "attention", "scan", "convolution", "all-reduce"]
STORED: tuple[Kind, ...] = ("matmul", "experts", "convolution")
"""Kinds that multiply by weights, which stay where they are from token to token."""


class Op(NamedTuple):
    """Work of one kind over the whole network and all sequences, already multiplied by `layers`.

    Numbers are floats or (P, 1) columns. `k` and `n` are the sides of the matrix of weights that
    the op multiplies by, 0 where there is none.
    """

    name: str
    kind: Kind
    dtype: str  # number type of its arithmetic; '' where it has none
    layers: Real = 1.0
    tokens: Real = 0.0  # tokens of all sequences that pass each layer
    macs: Real = 0.0
    weight_bytes: Real = 0.0
    activation_bytes: Real = 0.0
    kv_read_bytes: Real = 0.0
    kv_written_bytes: Real = 0.0
    score_bytes: Real = (
        0.0  # attention scores to the softmax and back, where that is not beside the arithmetic
    )
    link_bytes: Real = 0.0  # sent over links by all devices
    link_steps: Real = 0.0  # messages that follow one another
    operand_bytes: float = 0.0  # of the weight or cached number that each MAC multiplies by
    k: float = 0.0
    n: float = 0.0
    uneven: Real = 1.0  # work of the most loaded device over the mean of all


_COLUMNS = Op._fields[3:]


class OpTable(Record):
    """Ops as a struct of arrays; each array is (1, L) or (P, L)."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    dtypes: tuple[str, ...]
    layers: Array
    tokens: Array
    macs: Array
    weight_bytes: Array
    activation_bytes: Array
    kv_read_bytes: Array
    kv_written_bytes: Array
    score_bytes: Array
    link_bytes: Array
    link_steps: Array
    operand_bytes: Array
    k: Array
    n: Array
    uneven: Array

    @property
    def kv_bytes(self) -> Array:
        """Cache and state bytes read and written: (..., L)."""
        return self.kv_read_bytes + self.kv_written_bytes

    @property
    def memory_bytes(self) -> Array:
        """Everything an op must bring from main memory or put there: (..., L)."""
        return self.weight_bytes + self.activation_bytes + self.kv_bytes


def table(ops: Sequence[Op]) -> OpTable:
    """Ops side by side along the last axis."""
    columns = {name: side_by_side(getattr(op, name) for op in ops) for name in _COLUMNS}
    return OpTable(
        names=tuple(op.name for op in ops),
        kinds=tuple(op.kind for op in ops),
        dtypes=tuple(op.dtype for op in ops),
        **columns,
    )
