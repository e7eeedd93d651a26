"""What is asked of a network: lengths, batch, and how many bits each number takes, and how many are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

if TYPE_CHECKING:
    from npuwatt.workload.density import Zeros

Width: TypeAlias = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]
WIDTHS: tuple[str, ...] = get_args(Width)

# Bits a stored number takes, its share of the block scale included. fp4: OCP Microscaling (MX) v1.0, blocks of 32
# with an 8-bit scale. int4: groups of 128 with a 16-bit scale. fp8 and int8 scales (one a tensor, row or block of
# 128 x 128) are under 0.1 % and left out.
BITS: dict[str, float] = {
    "fp32": 32.0,
    "bf16": 16.0,
    "fp16": 16.0,
    "fp8": 8.0,
    "int8": 8.0,
    "fp4": 4.0 + 8 / 32,
    "int4": 4.0 + 16 / 128,
}
SAME_BITS = {"bf16": "fp16", "fp16": "bf16"}
_RANK = {"int4": 0, "fp4": 1, "int8": 2, "fp8": 3, "fp16": 4, "bf16": 5, "fp32": 6}
MOST_TOKENS = 100_000_000
MOST_BATCH = 1_000_000


def width_bytes(width: str) -> float:
    """Bytes that one stored number takes, block scales counted."""
    return BITS[width] / 8


def arithmetic_dtype(one: str, other: str) -> str:
    """The type two operands are multiplied in: the wider of the two."""
    return max(one, other, key=_RANK.__getitem__)


def next_wider(dtype: str) -> tuple[str, ...]:
    """Types that can stand in for `dtype`, nearest first: the same number of bits, then wider ones."""
    wider = [name for name in _RANK if _RANK[name] > _RANK[dtype]]
    same = [SAME_BITS[dtype]] if dtype in SAME_BITS else []
    return tuple(dict.fromkeys(same + wider))


class Request(Record):
    """`batch` sequences, each with `input_len` prompt tokens and `output_len` generated ones.

    The three lengths may be (P, 1) columns of whole numbers.
    """

    batch: Real = 1
    input_len: Real = 512
    output_len: Real = 256
    weights: Width = "bf16"
    activations: Width = "bf16"
    kv_cache: Width = "bf16"
    zeros: Zeros | None = None  # among weights and what they multiply; None: nothing is zero

    def __post_init__(self) -> None:
        require.positive(batch=self.batch, input_len=self.input_len, output_len=self.output_len)
        for name in ("weights", "activations", "kv_cache"):
            if getattr(self, name) not in BITS:
                raise NpuwattError(
                    f"{name}: '{getattr(self, name)}' given; expected one of {', '.join(WIDTHS)}"
                )
