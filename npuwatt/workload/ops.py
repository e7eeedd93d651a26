"""The table of work: one column per property, one entry per op, identical layers folded with a count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from npuwatt.arrays import Array, Real, side_by_side
from npuwatt.record import Record

Kind: TypeAlias = Literal["embedding", "matmul", "experts", "attention", "scan", "convolution", "all-reduce"]
STORED: tuple[Kind, ...] = ("matmul", "experts", "convolution")
"""Kinds that multiply by weights, which stay where they are from token to token."""
Pattern: TypeAlias = Literal["dense", "unstructured", "1:2", "2:4", "4:8", "block"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
"""Where zeros lie among weights: nowhere, anywhere, at least M - N in each M along the inputs, in whole blocks."""


class Op(NamedTuple):
    """Work of one kind over the whole network and all sequences, already multiplied by `layers`.

    Numbers are floats or (P, 1) columns. `k` and `n` are the sides of the matrix of weights that
    the op multiplies by, 0 where there is none.
    """

    name: str
    kind: Kind
    dtype: str  # number type of its arithmetic; '' where it has none
    stored: str = ""  # number type its weights are stored in; '' where it has none or nobody said
    pattern: Pattern = "dense"  # of the zeros among its weights
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
    weight_density: Real = 1.0  # share of its weights that are not zero
    activation_density: Real = 1.0  # the same of its inputs
    density_covariance: Real = 0.0  # of the two over input channels: what their product leaves out
    weights_stall_ratio: Real = 0.0  # time that kernels lose on weights, over what memory takes to bring them
    power_held_fraction: Real = (
        0.0  # 1 where N:M kernels run in its phase: what power they spare speeds up no op
    )

    @property
    def numbers(self) -> tuple[Real, ...]:
        """All that is not a word."""
        return self[_WORDS:]


_WORDS: Final = 5
NUMBERS = Op._fields[_WORDS:]
"""Names of what an op holds in numbers."""
WHOLE = ("uneven", "weight_density", "activation_density")
"""Those of them that are 1 where nothing is said."""


class OpTable(Record):
    """Ops as a struct of arrays; each array is (1, L) or (P, L)."""

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    dtypes: tuple[str, ...]
    stored: tuple[str, ...]
    patterns: tuple[Pattern, ...]
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
    weight_density: Array
    activation_density: Array
    density_covariance: Array
    weights_stall_ratio: Array
    power_held_fraction: Array

    @property
    def effectual_density(self) -> Array:
        """Share of MACs whose two operands are not zero: (..., L)."""
        return self.weight_density * self.activation_density + self.density_covariance

    @property
    def has_zeros(self) -> bool:
        """Whether anything is said of zeros: a pattern of weights, a density of activations, or N:M kernels beside."""
        return any(pattern != "dense" for pattern in self.patterns) or bool(
            np.any(self.activation_density < 1) or np.any(self.power_held_fraction)
        )

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
    columns = {name: side_by_side(getattr(op, name) for op in ops) for name in NUMBERS}
    return OpTable(
        names=tuple(op.name for op in ops),
        kinds=tuple(op.kind for op in ops),
        dtypes=tuple(op.dtype for op in ops),
        stored=tuple(op.stored for op in ops),
        patterns=tuple(op.pattern for op in ops),
        **columns,
    )
