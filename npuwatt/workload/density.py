"""Puts zeros onto ops: how many weights and activations are not zero, and in which pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.record import Record
from npuwatt.workload.ops import PATTERNS, STORED, Op, Pattern


class Zeros(Record):
    """What is known of the zeros of a network, or of one of its ops."""

    pattern: Pattern = "dense"
    weight_density: Real = 1.0  # share of weights that are not zero
    activation_density: Real = 1.0  # share of what multiplies them that is not zero
    effectual_density: Real | None = None  # share of products of two non-zeros; none: as if independent
    by_op: Mapping[str, Zeros] = {}  # ops that differ, by name

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise NpuwattError(f"pattern: {shown(self.pattern)} given; expected one of {', '.join(PATTERNS)}")
        weights, inputs = self.weight_density, self.activation_density
        require.share(weight_density=weights, activation_density=inputs)
        most = most_density(self.pattern)
        if np.any(np.greater(weights, most)):
            given = float(np.max(weights))
            raise NpuwattError(
                f"weight_density: {given:g} given; expected at most {most:g}, as {self.pattern} leaves"
            )
        if self.pattern == "dense" and np.any(np.less(weights, 1)):
            given = float(np.min(weights))
            raise NpuwattError(f"weight_density: {given:g} given; expected 1, or a pattern other than dense")
        if self.effectual_density is not None:
            least = np.maximum(np.add(weights, inputs) - 1, 0.0)
            outside = np.less(self.effectual_density, least - 1e-9) | np.greater(
                self.effectual_density, np.minimum(weights, inputs) + 1e-9
            )
            if np.any(outside):
                raise NpuwattError(
                    "effectual_density: outside what the two densities allow; expected from "
                    "weight_density + activation_density - 1 to the smaller of them"
                )


def group_of(pattern: Pattern) -> tuple[int, int] | None:
    """N and M of an N:M pattern; None of others."""
    most, colon, of = pattern.partition(":")
    return (int(most), int(of)) if colon else None


def most_density(pattern: Pattern) -> float:
    """Largest density that a pattern allows: N/M, or 1."""
    group = group_of(pattern)
    return group[0] / group[1] if group else 1.0


def effectual_density(weights_by_channel: Array, activations_by_channel: Array) -> Array:
    """Share of MACs with two non-zero operands, exactly, from densities by input channel.

    Each of the C input channels takes as many MACs, so the share is the mean of d_w d_a over them. The product of
    the two mean densities leaves their covariance out, which was 1.4 to 6.5 % of it in layers of MobileNet.

    Parameters
    ----------
    weights_by_channel, activations_by_channel : (..., C)
        Share of non-zeros in each input channel.

    Returns
    -------
    (..., 1)

    Source
    ------
    Wu et al., "Sparseloop: An Analytical Approach To Sparse Tensor Accelerator Modeling", MICRO 2022, artifact,
    fig. 12: its ground truth is this sum for each of the layers.
    """
    found: Array = np.mean(weights_by_channel * activations_by_channel, axis=-1, keepdims=True)
    return found


def touched_fraction(density: Real, tokens: Real) -> Real:
    """Share of channels that at least one of `tokens` tokens uses: 1 - s^B, each at random with share 1 - s.

    A weight channel whose inputs are zero in all of a batch need not be read; with the batch the saving is gone.
    """
    touched: Real = 1 - np.power(1 - np.asarray(density), tokens)
    return touched


def with_zeros(ops: Sequence[Op], zeros: Zeros | None) -> list[Op]:
    """Ops with what is known of their zeros; attention, its cache and all else without weights stay dense.

    Raises
    ------
    NpuwattError
        `zeros` names an op that multiplies by no weights.
    """
    if zeros is None:
        return list(ops)
    holders = [op.name for op in ops if op.kind in STORED]
    for name in zeros.by_op:
        if name not in holders:
            close = did_you_mean(name, holders) or f"; expected one of {', '.join(holders)}"
            raise NpuwattError(f"by_op: {shown(name)} is no op with weights here{close}")
    found = [_with(op, zeros.by_op.get(op.name, zeros)) if op.kind in STORED else op for op in ops]
    if not any(group_of(op.pattern) for op in found):
        return found
    return [op._replace(power_held_fraction=1.0) for op in found]


def _with(op: Op, zeros: Zeros) -> Op:
    weights, inputs = zeros.weight_density, zeros.activation_density
    covariance: Real = 0.0
    if zeros.effectual_density is not None:
        covariance = zeros.effectual_density - np.multiply(weights, inputs)
    return op._replace(
        pattern=zeros.pattern,
        weight_density=weights,
        activation_density=inputs,
        density_covariance=covariance,
    )
