"""Number formats of stored weights: their magnitudes as words, and as numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from npuwatt.record import Record

Words: TypeAlias = npt.NDArray[Any]
"""Unsigned integers that hold the bits of stored weights."""


class NumberFormat(Record):
    """How the bits of a word spell a weight."""

    word: Any  # the unsigned numpy type that holds one
    magnitude_mask: int | None  # all bits but the sign; None for two's complement
    first_not_finite: int  # magnitude words from here on are infinite or no number


# F8_E4M3 is the variant without infinities. I4 is one code a byte, its zero code taken off.
FORMATS = {
    "F32": NumberFormat(word=np.uint32, magnitude_mask=0x7FFFFFFF, first_not_finite=0x7F800000),
    "F16": NumberFormat(word=np.uint16, magnitude_mask=0x7FFF, first_not_finite=0x7C00),
    "BF16": NumberFormat(word=np.uint16, magnitude_mask=0x7FFF, first_not_finite=0x7F80),
    "F8_E4M3": NumberFormat(word=np.uint8, magnitude_mask=0x7F, first_not_finite=0x7F),
    "F8_E5M2": NumberFormat(word=np.uint8, magnitude_mask=0x7F, first_not_finite=0x7C),
    "U8": NumberFormat(word=np.uint8, magnitude_mask=0xFF, first_not_finite=0x100),
    "I8": NumberFormat(word=np.uint8, magnitude_mask=None, first_not_finite=0x100),
    "I4": NumberFormat(word=np.uint8, magnitude_mask=None, first_not_finite=0x100),
}


def magnitude_words(words: Words, dtype: str, out: Words) -> Words:
    """Words without their sign, written to `out`: they order as magnitudes do, and minus zero is 0."""
    mask = FORMATS[dtype].magnitude_mask
    if mask is None:  # |-128| wraps to -128, which is 128 again as an unsigned byte
        np.abs(words.view(np.int8), out=out.view(np.int8))
        return out
    np.bitwise_and(words, out.dtype.type(mask), out=out)
    return out


def magnitudes_of(words: Words, dtype: str) -> npt.NDArray[np.float32]:
    """Magnitude words of any shape as numbers; codes of integers are numbers as they are, without their scale.

    Source
    ------
    Micikevicius et al., "FP8 formats for deep learning", arXiv 2209.05433, 2022, table 1.
    """
    if dtype == "F32":
        return words.view(np.float32)
    if dtype == "BF16":
        return (words.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F16":
        return words.view(np.float16).astype(np.float32)
    if dtype == "F8_E5M2":
        return (words.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if (
        dtype == "F8_E4M3"
    ):  # four exponent bits in the place of five: too small by the difference of the biases
        return (words.astype(np.uint16) << 7).view(np.float16).astype(np.float32) * np.float32(
            2.0 ** (15 - 7)
        )
    return words.astype(np.float32)
