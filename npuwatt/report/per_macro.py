"""What is printed of computing parts beside what their boards reach: records, table and note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.report.document import Table
from npuwatt.report.words import label
from npuwatt.study.compare import Answer
from npuwatt.study.per_macro import per_macro
from npuwatt.study.question import Question

Record = dict[str, Any]
FIGURES = ("ops_per_j", "one_bit_ops_per_j", "ops_per_s_m2", "one_bit_ops_per_s_m2")


def per_macro_record(asked: Question, answer: Answer) -> Record:
    """One device's part and board."""
    found = per_macro(asked, answer)
    return {
        "part": found.printed.part,
        **{name: getattr(found.printed, name) for name in FIGURES},
        "board_ops_per_j": found.board_ops_per_j,
        "gap_ratio": found.gap_ratio,
    }


def per_macro_table(results: Sequence[Record]) -> Table:
    """The table under a comparison or an estimate."""
    return Table(
        title="TOPS/W as printed of a part, and of the whole board on this request",
        columns=("device", "part", "TOPS/W", "as 1-bit", "TOPS/mm2", "board", "promises"),
        rows=tuple(
            (
                label(result),
                found["part"],
                _short(found["ops_per_j"], 1e12),
                _short(found["one_bit_ops_per_j"], 1e12),
                _short(found["ops_per_s_m2"], 1e18),
                _short(found["board_ops_per_j"], 1e12),
                "-" if found["gap_ratio"] is None else f"{found['gap_ratio']:.2g}x"
                if found["gap_ratio"] < 100 else f"{found['gap_ratio']:.0f}x",
            )
            for result in results
            for found in (result["per_macro"],)
        ),
        left=("part",),
    )  # fmt: skip


NOTE = (
    "a part's figures leave out memory, links, host and conversion losses, and are native unless they say 1-bit; only "
    "the board's can be compared"
)


def _short(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.3g}"
