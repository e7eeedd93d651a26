"""Computing parts by themselves beside what their boards reach: records, table and notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.report.document import Table
from npuwatt.report.words import label, percent
from npuwatt.study.compare import Answer
from npuwatt.study.per_macro import per_macro
from npuwatt.study.question import Question

Record = dict[str, Any]
FIGURES = ("ops_per_j", "one_bit_ops_per_j", "ops_per_s_m2", "one_bit_ops_per_s_m2", "chip_area_m2")
RETICLE_M2 = 858e-6  # 26 x 33 mm, the most that a lithography tool exposes at once
NOTE = (
    "a part's figures are npuwatt's own, at its own number of bits unless they say 1-bit, and leave out memory, links, host "
    "and conversion losses: only those of boards can be compared; does: the part's share of the MACs of this request"
)


def per_macro_record(asked: Question, answer: Answer) -> Record:
    """One device's part and board."""
    found = per_macro(asked, answer)
    like = found.part.chips_like
    return {
        "part": found.part.name,
        **{name: getattr(found.part, name) for name in FIGURES},
        "chips_like_it": None
        if like is None
        else {
            "ops_per_j": like.ops_per_j,
            "low_ops_per_j": like.low_ops_per_j,
            "high_ops_per_j": like.high_ops_per_j,
        },
        "board_ops_per_j": found.board_ops_per_j,
        "macs_inside_fraction": found.macs_inside_fraction,
        "gap_ratio": found.gap_ratio,
    }


def per_macro_table(results: Sequence[Record]) -> Table:
    """The table under a comparison or an estimate."""
    return Table(
        title="TOPS/W of a part by itself, as papers count it, and of the whole board on this request",
        columns=("device", "part", "TOPS/W", "1-bit", "TOPS/mm2", "does", "board", "of it"),
        rows=tuple(
            (
                label(result),
                found["part"],
                _short(found["ops_per_j"], 1e12),
                _short(found["one_bit_ops_per_j"], 1e12),
                _short(found["ops_per_s_m2"], 1e18),
                "-" if found["macs_inside_fraction"] is None else percent(found["macs_inside_fraction"]),
                _short(found["board_ops_per_j"], 1e12),
                "-" if not found["gap_ratio"] else f"{100 / found['gap_ratio']:.2g} %",
            )
            for result in results
            for found in (result["per_macro"],)
        ),
        left=("part",),
    )


def per_macro_notes(results: Sequence[Record]) -> list[str]:
    """What the table cannot say: what published chips like these reach, and chips that nobody could make."""
    notes = [NOTE]
    for result in results:
        found = result["per_macro"]
        if like := found["chips_like_it"]:
            least, middle, most = (
                _short(like[name], 1e12) for name in ("low_ops_per_j", "ops_per_j", "high_ops_per_j")
            )
            notes.append(
                f"{label(result)}: published chips organised like its array reach {least} to {most} TOPS/W, in the middle "
                f"{middle} (npuwatt validate --chips)"
            )
        if (area := found["chip_area_m2"] or 0.0) > RETICLE_M2:
            notes.append(
                f"{label(result)}: a chip of {area / 1e-6:.0f} mm2 is larger than a reticle, 858 mm2"
            )
    return notes


def _short(value: float | None, unit: float) -> str:
    if value is None:
        return "-"
    shown = value / unit
    return f"{shown:.0f}" if shown >= 100 else f"{shown:.3g}"
