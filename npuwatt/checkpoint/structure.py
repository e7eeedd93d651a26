"""Zeros of a tensor and their pattern: counted exactly, in one pass over its bytes and in constant memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt.checkpoint.magnitudes import (
    Magnitudes,
    Part,
    magnitudes,
    merged_magnitudes,
    sampled_part,
    sampling_stride,
    tiles,
    whole_part,
)
from npuwatt.checkpoint.number_formats import FORMATS, Words, magnitude_words, magnitudes_of
from npuwatt.record import Record

BLOCK = 16  # side of a block, and bits of a pattern
GROUPS = (2, 4, 8, 16)  # M of N:M
# Words at a time: bits of a tile and words of a piece stay in a core's cache; numbers of the last take more room.
TILE, PIECE, WHOLE_TILE = 2**22, 2**19, 2**18
FEW = 2**13  # patterns that are looked up one by one; of more, each of the 2**16 is counted first
_BITS_SET = (
    np.unpackbits(np.arange(2**BLOCK, dtype=np.uint16).view(np.uint8)).reshape(-1, BLOCK).sum(1, np.uint8)
)
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1)
# Of each pattern of 8, how many of its groups of M hold 0, 1, ... M non-zeros: (256, M + 1).
_HELD = {m: (_BITS.reshape(256, -1, m, 1).sum(2) == np.arange(m + 1)).sum(1) for m in GROUPS if m < BLOCK}


class TensorStatistics(Record):
    """Zeros of a tensor, or of several together.

    A weight is zero if it is plus or minus zero; infinite ones and NaN are not. Counts are those of the matrix
    (outputs, inputs), whichever way it is stored: groups run along the inputs, and blocks are 16 x 16, whole ones only.
    """

    elements: int
    zeros: int
    not_finite: int
    outputs: int
    zero_outputs: int
    inputs: int
    zero_inputs: int
    blocks: int
    zero_blocks: int
    groups_by_nonzeros: dict[int, tuple[int, ...]]  # M -> groups of M that hold 0, 1, ... M non-zeros
    nonzeros_by_input: npt.NDArray[np.int64] | None = None  # (inputs,), of one tensor and only if asked for
    magnitudes: Magnitudes

    @property
    def density(self) -> float:
        """Share that is not zero; 1 of an empty tensor."""
        return 1 - self.zeros / self.elements if self.elements else 1.0

    def conformity(self, most: int, of: int) -> float | None:
        """Share of groups of `of` (2, 4, 8 or 16) inputs with at most `most` non-zeros.

        None where no tensor's input dimension is a multiple of the group.
        """
        groups = self.groups_by_nonzeros[of]
        return sum(groups[: most + 1]) / sum(groups) if sum(groups) else None


def statistics(
    words: Words,
    dtype: str,
    *,
    input_axis: int,
    exact_thresholds: bool = False,
    per_channel: bool = False,
    progress: Callable[[int], None] | None = None,
) -> TensorStatistics:
    """Statistics of one tensor.

    Zeros, their pattern, not finite weights and the largest magnitude are always exact. The other magnitudes are those
    of a sample: groups of 128 weights along the input dimension, evenly spaced, one in 256 of the tensor but at least
    65,536 and at most about a million weights (`magnitudes.sampled_elements`). A share of one half is then good to 0.002
    to 0.0005 (one standard error), and to about 0.01 where outputs differ much in size.

    Parameters
    ----------
    words : (rows, columns)
        Raw words as stored, not written to; may be mapped from a file. Pages of a mapping that can only be read are
        given back to the system as soon as they have been counted.
    dtype
        A key of FORMATS: 'F32', 'F16', 'BF16', 'F8_E4M3', 'F8_E5M2', 'I8', 'U8' or 'I4' (one code a byte, its zero
        code taken off).
    input_axis
        1 for (outputs, inputs), 0 for (inputs, outputs).
    exact_thresholds
        Take magnitudes from all weights: reads the tensor five times.
    per_channel
        Count non-zeros by input channel too.
    progress
        Hears how many words of this tensor have been counted.
    """
    words = np.asarray(words)
    scan = _Scan(words.shape, dtype, input_axis, per_channel)
    stride = sampling_stride(words.size)
    sample: list[Part] = []
    done = 0
    for rows, columns in tiles(words.shape, TILE):
        tile = words[rows, columns]
        scan.add(tile, rows, columns)
        if not exact_thresholds:
            sample.append(sampled_part(tile, dtype, input_axis=input_axis, stride=stride))
        _give_back(tile)
        done += tile.size
        if progress:
            progress(done)

    def whole() -> Iterator[Part]:
        for rows, columns in tiles(words.shape, WHOLE_TILE):
            yield whole_part(words[rows, columns], dtype, input_axis=input_axis)
            _give_back(words[rows, columns])

    return scan.result(
        magnitudes(
            whole if exact_thresholds else lambda: sample,
            elements=words.size - scan.not_finite,
            largest=scan.largest(),
        )
    )


def merged(several: Sequence[TensorStatistics]) -> TensorStatistics:
    """Of one or more tensors together: counts add up; input channels differ, so theirs are left out."""
    names = (
        "elements", "zeros", "not_finite", "outputs", "zero_outputs", "inputs", "zero_inputs", "blocks", "zero_blocks",
    )  # fmt: skip
    return TensorStatistics(
        **{name: sum(getattr(one, name) for one in several) for name in names},
        groups_by_nonzeros={
            m: tuple(
                sum(counts) for counts in zip(*(one.groups_by_nonzeros[m] for one in several), strict=True)
            )
            for m in GROUPS
        },
        magnitudes=merged_magnitudes([one.magnitudes for one in several]),
    )


class _Scan:
    """What has been counted of a tensor so far."""

    def __init__(self, shape: tuple[int, int], dtype: str, input_axis: int, per_channel: bool) -> None:
        self.shape, self.dtype, self.input_axis = shape, dtype, input_axis
        self.not_finite = self.largest_word = self.blocks = self.zero_blocks = 0
        # How often each 16 neighbours along the input dimension: many, by their bits; few, one by one.
        self.many = np.zeros(2**BLOCK, np.int64) if math.prod(shape) > FEW * BLOCK else None
        self.few: list[npt.NDArray[np.uint16]] = []
        self.padded = self.full = 0  # words of tiles with zeros, with their padding; words of tiles without
        self.used_rows = np.zeros(shape[0], bool)
        self.used_columns = np.zeros(-(-shape[1] // BLOCK), np.uint16)  # a bit each
        self.channels = np.zeros(shape[input_axis], np.int64) if per_channel else None
        # Of large tensors larger than what is used of it, and so than all else here: allocators then keep freed memory of
        # such sizes for the next tensor, where the system would hand out each page anew.
        size = math.prod(shape)
        self.buffer = np.empty(size if size <= PIECE else 2 * TILE, FORMATS[dtype].word)

    def add(self, tile: Words, rows: slice, columns: slice) -> None:
        """Count a tile whose edges are multiples of 16 or those of the tensor."""
        height, width = tile.shape
        bits = np.zeros((-(-height // BLOCK) * BLOCK, -(-width // BLOCK)), np.uint16)
        packed = bits.view(np.uint8)[:height, : -(-width // 8)]
        full = np.packbits(np.ones(width, bool), bitorder="little")
        has_zeros = False
        step = max(1, PIECE // width)
        for row in range(0, height, step):
            piece = tile[row : row + step]
            words = magnitude_words(piece, self.dtype, out=self.buffer[: piece.size].reshape(piece.shape))
            self._add_largest(words)
            has_zeros = has_zeros or not words.min()
            packed[row : row + step] = (
                np.packbits(words != 0, axis=1, bitorder="little") if has_zeros else full
            )
            if self.channels is not None:
                down = slice(rows.start + row, rows.start + row + len(piece))
                inputs = columns if self.input_axis == 1 else down
                self.channels[inputs] += np.count_nonzero(words, axis=1 - self.input_axis)
        self.blocks += (height // BLOCK) * (width // BLOCK)
        if has_zeros:
            self._add_bits(bits, rows, columns)
        else:
            self._add_full(rows, columns)

    def _add_full(self, rows: slice, columns: slice) -> None:
        """Count a tile without a zero, which needs no pattern."""
        self.full += (rows.stop - rows.start) * (columns.stop - columns.start)
        self.used_rows[rows] = True
        self.used_columns[columns.start // BLOCK : -(-columns.stop // BLOCK)] = 2**BLOCK - 1

    def _add_bits(self, bits: npt.NDArray[np.uint16], rows: slice, columns: slice) -> None:
        """Count a tile of which each word is a bit, set unless it is zero, padded with zeros to whole blocks."""
        height, width = rows.stop - rows.start, columns.stop - columns.start
        bands = np.bitwise_or.reduce(bits.reshape(-1, BLOCK, bits.shape[1]), axis=1)
        blocks = bands[: height // BLOCK, : width // BLOCK]
        self.zero_blocks += blocks.size - int(np.count_nonzero(blocks))
        self.used_columns[columns.start // BLOCK : -(-columns.stop // BLOCK)] |= np.bitwise_or.reduce(
            bands, axis=0
        )
        self.used_rows[rows] |= np.bitwise_or.reduce(bits[:height], axis=1) != 0
        patterns = bits[:height] if self.input_axis == 1 else _transposed(bits)
        if self.many is None:
            self.few.append(patterns.ravel())
        else:
            self.many += np.bincount(patterns.ravel(), minlength=2**BLOCK)
        self.padded += patterns.size * BLOCK

    def _add_largest(self, words: Words) -> None:
        largest, first_not_finite = int(words.max()), FORMATS[self.dtype].first_not_finite
        if largest >= first_not_finite:
            finite = words[words < first_not_finite]
            self.not_finite += words.size - finite.size
            largest = int(finite.max(initial=0))
        self.largest_word = max(self.largest_word, largest)

    def largest(self) -> float:
        """The largest finite magnitude."""
        word = np.array([self.largest_word], FORMATS[self.dtype].word)
        return float(magnitudes_of(word, self.dtype)[0])

    def _by_nonzeros(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many 16 neighbours hold 0, 1, ... 16 non-zeros, and how often each pattern of 8 occurs; padding too."""
        if self.many is not None:
            return _by_bits_set(self.many), _halves(self.many)
        few = np.concatenate(self.few) if self.few else np.empty(0, np.uint16)
        return np.bincount(_BITS_SET[few], minlength=BLOCK + 1), np.bincount(
            few.view(np.uint8), minlength=256
        )

    def result(self, magnitudes: Magnitudes) -> TensorStatistics:
        """What has been counted, joined with statistics of magnitudes."""
        rows, columns = self.shape
        counts, patterns = self._by_nonzeros()
        nonzeros = self.full + int(counts @ np.arange(BLOCK + 1))
        padding = self.padded - (rows * columns - self.full)
        groups = {}
        for m in reversed(GROUPS):
            held = counts if m == BLOCK else patterns @ _HELD[m]
            held[0] -= padding // m
            held[m] += self.full // m
            groups[m] = tuple(held.tolist()) if self.shape[self.input_axis] % m == 0 else (0,) * (m + 1)
        zero_rows = rows - int(np.count_nonzero(self.used_rows))
        column_bits = np.unpackbits(self.used_columns.view(np.uint8), bitorder="little")[:columns]
        zero_columns = columns - int(np.count_nonzero(column_bits))
        by_rows, by_columns = (rows, zero_rows), (columns, zero_columns)
        (outputs, zero_outputs), (inputs, zero_inputs) = (
            (by_rows, by_columns) if self.input_axis == 1 else (by_columns, by_rows)
        )
        return TensorStatistics(
            elements=rows * columns,
            zeros=rows * columns - nonzeros,
            not_finite=self.not_finite,
            outputs=outputs,
            zero_outputs=zero_outputs,
            inputs=inputs,
            zero_inputs=zero_inputs,
            blocks=self.blocks,
            zero_blocks=self.zero_blocks,
            groups_by_nonzeros=groups,
            nonzeros_by_input=self.channels,
            magnitudes=magnitudes,
        )


def _by_bits_set(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often patterns of 0, 1, ... bits set occur, of how often each pattern does."""
    return np.bincount(_BITS_SET[: times.size], weights=times).astype(np.int64)


def _halves(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each pattern of half as many bits occurs, in either half of longer ones."""
    both = times.reshape(math.isqrt(times.size), -1)
    halves: npt.NDArray[np.int64] = both.sum(axis=0) + both.sum(axis=1)
    return halves


def _transposed(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Each 16 x 16 block of bits transposed, by swapping ever smaller quarters; one row for each row of a block.

    Source
    ------
    Warren, "Hacker's Delight", 2nd ed., 2012, section 7-3.
    """
    planes = np.ascontiguousarray(bits.reshape(-1, BLOCK, bits.shape[1]).swapaxes(0, 1)).reshape(BLOCK, -1)
    for half, mask in ((8, 0x00FF), (4, 0x0F0F), (2, 0x3333), (1, 0x5555)):
        quarters = planes.reshape(-1, 2, half, planes.shape[1])
        upper, lower = quarters[:, 0], quarters[:, 1]
        swapped = ((upper >> half) ^ lower) & mask
        lower ^= swapped
        upper ^= swapped << half
    return planes


def _give_back(words: Words) -> None:
    """Let the system drop pages of a read-only file mapping from memory; they can be read again."""
    if words.nbytes < mmap.PAGESIZE:  # of a small tensor, whose mapping ends with it
        return
    mapping: Any = words
    while isinstance(mapping, np.ndarray):
        mapping = mapping.base
    mapping = mapping.obj if isinstance(mapping, memoryview) else mapping
    if not (
        isinstance(mapping, mmap.mmap) and memoryview(mapping).readonly and hasattr(mmap, "MADV_DONTNEED")
    ):
        return
    start = np.frombuffer(mapping, np.uint8).ctypes.data
    first, last = words.ctypes.data - start, words[-1:, -1:].ctypes.data - start
    first -= first % mmap.PAGESIZE
    mapping.madvise(mmap.MADV_DONTNEED, first, last + words.itemsize - first)
