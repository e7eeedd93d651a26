"""What a device can do with zeros: nothing, keep multipliers still, or leave work and bytes out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, Real, side_by_side
from npuwatt.device.formats import FORMATS, Format, metadata_bits, value_bits
from npuwatt.device.imbalance import imbalance_ratio
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record, replace
from npuwatt.workload.density import group_of, most_density, touched_fraction
from npuwatt.workload.ops import STORED, OpTable, Pattern
from npuwatt.workload.request import SAME_BITS, WIDTHS, Width, width_bytes

Mechanism: TypeAlias = Literal["none", "gate", "skip-weights", "skip-activations", "skip-both", "n-m"]


class PackedWeights(Record):
    """Kernels that read N:M weights narrower than the arithmetic and unpack them beside it: they save bytes, not time."""

    weights: tuple[Width, ...]  # types that weights are stored in
    most_tokens_count: Real  # of a step; with more, weights are read as dense ones and nothing is saved

    def __post_init__(self) -> None:
        require.positive(most_tokens=self.most_tokens_count)


MOST_SLOWER = 1e-3  # of a dense kernel: none that is slower would be measured


class ZeroSkipping(Record):
    """How a device treats zeros, and which of them.

    `gate` keeps a multiplier still if an operand is zero; `skip-...` leaves such work out; `n-m` leaves out what an N:M
    pattern of weights says is zero. Zeros of weights count where their pattern is one of `patterns`.
    """

    mechanism: Mechanism = "none"
    patterns: tuple[Pattern, ...] = ()  # of weights whose zeros it can use; none: any
    dtypes: tuple[Width, ...] = ()  # of arithmetic that can; none: all
    least_k_count: Real = 0.0  # smallest matrix of weights that qualifies: inputs
    least_n_count: Real = 0.0  # and outputs
    toggle_fraction: Real = (
        0.0  # of a MAC's energy that a zero operand spares by itself: its wires stay still
    )
    gated_ratio: Real = 0.0  # energy of a gated MAC over that of a MAC
    skip_efficiency_fraction: Real = 1.0  # of the time of zeros, what skipping them saves
    lanes_count: Real = 1.0  # that wait for each other
    window_count: Real = 1.0  # positions of a lane from one such wait to the next
    intersection_energy_j_per_mac: Real = 0.0  # of finding one pair of operands that is worth a MAC
    format: Format = "dense"  # of weights with zeros in memory
    index_bits: Real = 0.0  # of one coordinate or run length
    decode_energy_j_per_byte: Real = 0.0  # of metadata, beyond what bringing it costs
    skips_channels: bool = False  # weights of an input channel that is zero in a whole batch are not read
    speedup_ratio: Mapping[str, Real] = {}  # measured, of N:M kernels over dense ones, by tokens
    packed: PackedWeights | None = None

    def __post_init__(self) -> None:
        require.not_negative(
            least_k=self.least_k_count,
            least_n=self.least_n_count,
            intersection_energy=self.intersection_energy_j_per_mac,
            decode_energy=self.decode_energy_j_per_byte,
        )
        require.share(toggle=self.toggle_fraction, gated=self.gated_ratio)
        require.fraction(skip_efficiency=self.skip_efficiency_fraction)
        require.within(1, 1e6, lanes=self.lanes_count)
        require.within(1, 65536, window=self.window_count)
        require.within(0, 64, index_bits=self.index_bits)
        for dtype in self.dtypes:
            if dtype not in WIDTHS:
                raise NpuwattError(f"dtypes: {shown(dtype)} given; expected some of {', '.join(WIDTHS)}")
        if self.format not in FORMATS:
            raise NpuwattError(f"format: {shown(self.format)} given; expected one of {', '.join(FORMATS)}")
        if self.format in ("coordinate", "run-length") and np.any(np.less(self.index_bits, 1)):
            raise NpuwattError(f"index_bits: none given; expected 1 or more, as {self.format} needs")
        self._check_patterns()

    def _check_patterns(self) -> None:
        grouped = self.mechanism == "n-m"
        if grouped and not (self.patterns and all(group_of(pattern) for pattern in self.patterns)):
            given = ", ".join(self.patterns) or "none"
            raise NpuwattError(f"patterns: {given} given; expected some of 1:2, 2:4, 4:8, as n-m needs")
        for name, value in (("speedup", self.speedup_ratio), ("packed", self.packed)):
            if value and not grouped:
                raise NpuwattError(f"{name}: given for {self.mechanism}; expected none, or mechanism: n-m")
        for tokens, ratio in self.speedup_ratio.items():
            if not tokens.isdecimal() or not 1 <= int(tokens) <= 10**9:
                raise NpuwattError(
                    f"speedup: {shown(tokens)} given; expected tokens, a whole number like 4096"
                )
            require.within(MOST_SLOWER, 1 / MOST_SLOWER, **{f"speedup.{tokens}": ratio})
        if len(set(map(int, self.speedup_ratio))) < len(self.speedup_ratio):
            raise NpuwattError(
                f"speedup: {', '.join(self.speedup_ratio)} given; expected each number of tokens once"
            )


class ZeroWork(Record):
    """What zeros leave of the work of each op, over the same op without zeros; arrays are (..., L)."""

    value_ratio: Array  # bytes of weights
    metadata_ratio: Array  # bytes that say where they were, over bytes of weights
    done_ratio: Array  # MACs that are done
    arithmetic_ratio: Array  # energy of multipliers
    balanced_ratio: Array  # time of arithmetic, if all lanes had as much to do and skipping were perfect
    waiting_ratio: Array  # the same with lanes that wait
    time_ratio: Array  # and with imperfect skipping
    searched_ratio: Array  # MACs whose operands had to be found
    speedup_ratio: Array  # of the whole op as measured; 0 where nothing was

    @property
    def stored_ratio(self) -> Array:
        """Bytes of weights and metadata."""
        return self.value_ratio + self.metadata_ratio


def ideal_skipping(skipping: ZeroSkipping) -> ZeroSkipping:
    """The same mechanism without what holds real ones back: derates, waiting lanes, imperfect skipping, limits of kernels."""
    packed = skipping.packed and replace(skipping.packed, most_tokens_count=1e9)
    return replace(
        skipping,
        skip_efficiency_fraction=1.0,
        lanes_count=1.0,
        window_count=1.0,
        speedup_ratio={},
        packed=packed,
    )


def waste_bound_w(density: Real, compute_power_w: Real) -> Real:
    """Upper bound of the power that zeros waste: (1 - R) P_compute.

    A bound and no estimate, for four reasons: R has to be the density of products of two non-zeros, which is neither
    that of weights nor of activations; P_compute may only be the dynamic power of multipliers and their operands; a
    product with a zero toggles fewer wires than a random one; and work that is skipped also saves time, and with it
    static energy, which this leaves out. Compare the same ops with and without skipping instead.
    """
    return (1 - density) * compute_power_w


def zero_work(skipping: ZeroSkipping, ops: OpTable) -> ZeroWork:
    """What a device makes of the zeros of each op.

    Source
    ------
    Wu et al., "Sparseloop: An Analytical Approach To Sparse Tensor Accelerator Modeling", MICRO 2022: gating spares
    energy, skipping energy and time; what skipping needs to know is read and decoded.
    """
    one = np.ones(ops.macs.shape)
    able, held = _able(skipping, ops), _held(skipping, ops)
    inputs = np.where(able, ops.activation_density, 1.0) * one
    weights = np.where(held, ops.weight_density, 1.0) * one
    both = np.where(held, ops.effectual_density, inputs) * one
    speedup = 0 * one
    done, random, searched = one, one, 0 * one
    match skipping.mechanism:
        case "skip-weights":
            done, random, searched = weights, np.where(_is_grouped(ops), 1.0, weights), held * weights
        case "skip-activations":
            done, random, searched = inputs, inputs, np.where(inputs < 1, inputs, 0.0)
        case "skip-both":
            done, random = both, both
            searched = np.where((held > 0) | (inputs < 1), both, 0.0)
        case "n-m":
            direct, packed = _kernels(skipping, ops, held)
            left = np.where((direct + packed) > 0, _group_density(ops), 1.0) * one
            done, random, searched = left, one, np.where(left < 1, left, 0.0)
            speedup = direct * kernel_speedup(skipping.speedup_ratio, rows_count(ops))
            unpacked = _stored_kernels(skipping, ops, held) * ((direct + packed) == 0)
            time = np.where(packed > 0, 1.0, done)
            return _work(skipping, ops, done, searched, time=time, speedup=speedup, unpacked=unpacked)
    if skipping.mechanism == "gate":
        gated = both + skipping.gated_ratio * (1 - both)
        return _work(skipping, ops, done, searched, time=one, speedup=speedup, gated=gated)
    waiting = done * imbalance_ratio(
        random, lanes_count=skipping.lanes_count, window_count=skipping.window_count
    )
    return _work(skipping, ops, done, searched, time=done, waiting=waiting, speedup=speedup)


def _work(
    skipping: ZeroSkipping,
    ops: OpTable,
    done: Array,
    searched: Array,
    *,
    time: Array,
    speedup: Array,
    waiting: Array | None = None,
    gated: Array | None = None,
    unpacked: Real = 0.0,
) -> ZeroWork:
    waiting = time if waiting is None else waiting
    eta = skipping.skip_efficiency_fraction
    nonzero = np.minimum(ops.effectual_density, done)
    values, metadata = weight_ratios(skipping, ops)
    values, metadata = np.where(unpacked, 1.0, values), np.where(unpacked, 0.0, metadata)
    read: Real = 1.0
    if skipping.skips_channels:
        able = _able(skipping, ops)
        read = touched_fraction(np.where(able, ops.activation_density, 1.0), rows_count(ops))
    return ZeroWork(
        value_ratio=values * read,
        metadata_ratio=metadata * read,
        done_ratio=done,
        arithmetic_ratio=done - skipping.toggle_fraction * (done - nonzero) if gated is None else gated,
        balanced_ratio=time,
        waiting_ratio=waiting,
        time_ratio=(1 - eta) + eta * waiting,
        searched_ratio=searched,
        speedup_ratio=speedup,
    )


def weight_ratios(skipping: ZeroSkipping, ops: OpTable) -> tuple[Array, Array]:
    """Bytes of each op's weights and of their metadata as they lie in memory, over dense weights: (..., L) each.

    Scales of quantised groups are kept whole.
    """
    held = _held(skipping, ops)
    if skipping.mechanism == "n-m":
        held = _stored_kernels(skipping, ops, held)
    values, metadata = [], []
    for i, pattern in enumerate(ops.patterns):
        number_bits = 8 * ops.operand_bytes[:, [i]]
        bits = np.floor(number_bits)
        group = group_of(pattern)
        if not np.any(held[:, i]) or skipping.format == "dense" or (skipping.format == "n-m" and not group):
            values.append(np.ones((1, 1)))
            metadata.append(np.zeros((1, 1)))
            continue
        density = ops.weight_density[:, [i]]
        kept = value_bits(skipping.format, density, bits=bits, index_bits=skipping.index_bits, group=group)
        more = metadata_bits(skipping.format, density, index_bits=skipping.index_bits, group=group)
        values.append((kept + number_bits - bits) / number_bits)
        metadata.append(more / number_bits)
    return side_by_side(values), side_by_side(metadata)


def rows_count(ops: OpTable) -> Array:
    """Tokens that share each weight of an op as it is read: (..., L)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.nan_to_num(ops.macs * ops.operand_bytes / ops.weight_bytes, posinf=0.0)
    return found


def _able(skipping: ZeroSkipping, ops: OpTable) -> Array:
    """1 for each product with weights whose number type and sides qualify: (P, L)."""
    named = np.array(
        [
            [
                float(
                    kind in STORED
                    and (
                        not skipping.dtypes
                        or dtype in skipping.dtypes
                        or SAME_BITS.get(dtype) in skipping.dtypes
                    )
                )
                for kind, dtype in zip(ops.kinds, ops.dtypes, strict=True)
            ]
        ]
    )
    found: Array = named * (ops.k >= skipping.least_k_count) * (ops.n >= skipping.least_n_count)
    return found


def _held(skipping: ZeroSkipping, ops: OpTable) -> Array:
    """1 for each op whose zeros among weights lie in a pattern that the device can use: (P, L)."""
    known = [
        [
            float(pattern != "dense" and (not skipping.patterns or pattern in skipping.patterns))
            for pattern in ops.patterns
        ]
    ]
    found: Array = _able(skipping, ops) * np.array(known)
    return found


def _is_grouped(ops: OpTable) -> Array:
    """Which ops have an N:M pattern, which gives each lane the same work: (1, L)."""
    return np.array([[group_of(pattern) is not None for pattern in ops.patterns]])


def _group_density(ops: OpTable) -> Array:
    return np.array([[most_density(pattern) for pattern in ops.patterns]])


def _stored_kernels(skipping: ZeroSkipping, ops: OpTable, held: Array) -> Array:
    """1 where some N:M kernel takes the weights, of however many tokens, so that they are stored for it: (..., L)."""
    packed = skipping.packed and replace(skipping.packed, most_tokens_count=1e9)
    direct, unpacking = _kernels(replace(skipping, packed=packed), ops, held)
    found: Array = np.maximum(direct, unpacking)
    return found


def _kernels(skipping: ZeroSkipping, ops: OpTable, held: Array) -> tuple[Array, Array]:
    """1 where an N:M kernel multiplies weights as they are stored, and 1 where it unpacks them: (..., L) each."""
    same = np.array(
        [
            [
                float(dtype != "" and stored == width_bytes(dtype))
                for dtype, stored in zip(ops.dtypes, ops.operand_bytes[0], strict=True)
            ]
        ]
    )
    packed = 0.0 * held
    if skipping.packed:
        named = np.array([[float(stored in skipping.packed.weights) for stored in ops.stored]])
        packed = held * named * (1 - same) * (rows_count(ops) <= skipping.packed.most_tokens_count)
    return held * same, packed


def kernel_speedup(speedup: Mapping[str, Real], rows: Array) -> Array:
    """Speed over dense kernels, straight over the logarithm of tokens between those measured, and not beyond them."""
    if not speedup:
        return 0 * rows
    points = sorted((float(tokens), ratio) for tokens, ratio in speedup.items())
    log_rows = np.log(np.maximum(rows, 1e-300))
    found = points[0][1] + 0 * rows
    for (few, low), (many, high) in pairwise(points):
        share = np.clip((log_rows - np.log(few)) / np.log(many / few), 0.0, 1.0)
        found = found + share * (high - low)
    return found
