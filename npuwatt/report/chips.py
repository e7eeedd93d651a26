"""validate --chips: every operating point beside its prediction, and how far off by class, for people and machines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.audit.chips import JudgedChips, Statistics, by_class, statistics
from npuwatt.errors import shown
from npuwatt.report.document import Report, Table
from npuwatt.report.words import counted

Record = dict[str, Any]
SCHEMA = "npuwatt.validate-chips/1"
WORST = 10
SHOWN_LINES = 6
PEER_POINTS = 40
_PEERS = {
    "converter-regression": "a regression over surveyed converters, the converter alone",
    "zigzag-converter": "the converter form of ZigZag, the converter alone",
}


def chips_record(found: JudgedChips, path: str | None) -> Record:
    """A validation on chips: schema npuwatt.validate-chips/1."""
    total = statistics(found)
    left_out = found.constants.record.left_out
    return {
        "schema": SCHEMA,
        "npuwatt": __version__,
        "file": "standard input" if path == "-" else path or "built-in chips, 2018 to 2024",
        "rows": list(_rows(found)),
        "summary": {
            "fitted_on_these": path is None,
            "total": None if total is None else _statistics(total),
            "by_class": {name: _statistics(one) for name, one in by_class(found).items()},
            "left_out": {
                "chips": left_out.chips_count,
                "median_factor": left_out.median_ratio,
                "p90_factor": left_out.p90_ratio,
                "coverage": left_out.coverage_fraction,
                "interval_score": left_out.score_ratio,
            },
            "peers": [
                {"name": name, "about": _PEERS[name], "points": PEER_POINTS, "median_factor": value}
                for name, value in found.constants.record.peers_ratio.items()
            ],
            "flags": {name: int(where.sum()) for name, where in found.chips.flags.items() if where.any()},
        },
    }


def _rows(found: JudgedChips) -> Iterator[Record]:
    chips = found.chips
    columns = (
        chips.lines, chips.measured_j, found.predicted_j, found.low_j, found.high_j, found.factor_ratio, chips.classes,
    )  # fmt: skip
    cells = zip(chips.chip_ids, *(column.tolist() for column in columns), _flags(found), strict=True)
    for chip_id, line, measured, predicted, low, high, factor, name, flags in cells:
        yield {
            "line": line,
            "chip_id": chip_id,
            "measured": _known(measured),
            "predicted": predicted,
            "low": low,
            "high": high,
            "factor": _known(factor),
            "class": name,
            "flags": flags,
        }


def _flags(found: JudgedChips) -> Iterator[list[str]]:
    """The flags of each row."""
    names = list(found.chips.flags)
    for row in np.column_stack(list(found.chips.flags.values())).tolist():
        yield [name for name, holds in zip(names, row, strict=True) if holds]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _statistics(one: Statistics) -> Record:
    return {
        "chips": one.chips,
        "rows": one.rows,
        "median_factor": one.median_ratio,
        "p90_factor": one.p90_ratio,
        "within_2x": one.within_2x_fraction,
        "coverage": one.coverage_fraction,
        "interval_score": one.score_ratio,
    }


def chips_report(record: Record) -> Report:
    """The chips furthest off, how far off by class, and how far public models are."""
    rows, summary = record["rows"], record["summary"]
    both = [_worst(rows), _classes(summary), _others(summary)]
    both = [pair for pair in both if pair[0].rows]
    measured = sum(row["measured"] is not None for row in rows)
    return Report(
        heading=f"{record['file']}: {counted(len(rows), 'operating point')}, {measured} measured",
        tables=tuple(narrow for narrow, _ in both),
        wide=tuple(wide for _, wide in both),
        sentences=tuple(_sentences(summary)),
        notes=(
            *_flag_notes(rows),
            "score: width of the interval in natural logarithms, and ten times what it missed; less is better",
            "evidence: each prediction is projected"
            + (", from constants that these chips were fitted to" if summary["fitted_on_these"] else ""),
        ),
    )


def _flag_notes(rows: Sequence[Record]) -> Iterator[str]:
    """Each flag, with the first lines that have it."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        for name in row["flags"]:
            lines.setdefault(name, []).append(str(row["line"]))
    for name, found in lines.items():
        rest = f" and {len(found) - SHOWN_LINES} more" if len(found) > SHOWN_LINES else ""
        yield f"{name}: line{'s' * (len(found) > 1)} {', '.join(found[:SHOWN_LINES])}{rest}"


def _worst(rows: Sequence[Record]) -> tuple[Table, Table]:
    """The worst row of each of the worst chips; without a measurement, the first rows."""
    measured = sorted((row for row in rows if row["factor"]), key=lambda row: row["factor"])
    by_chip = {row["chip_id"]: row for row in measured}
    worst = sorted(by_chip.values(), key=lambda row: row["factor"], reverse=True)[:WORST] or rows[:WORST]
    narrow, wide = [], []
    for row in worst:
        interval = f"{_femto(row['low'])}-{_femto(row['high'])}"
        energies = (_femto(row["measured"]), _femto(row["predicted"]), _factor(row["factor"]), interval)
        narrow.append((shown(row["chip_id"])[1:-1], row["class"], *energies))
        wide.append((str(row["line"]), *narrow[-1], "; ".join(row["flags"])))
    names = ("class", "measured", "pred.", "factor", "80 %")
    first = "the chips furthest off" if measured else "the first chips, none of them measured"
    title = f"{first}, fJ for a multiply-accumulate at their own bits"
    return (
        Table(title=title, columns=("chip", *names), rows=tuple(narrow), left=("class",)),
        Table(
            title=title, columns=("line", "chip", *names, "flags"), rows=tuple(wide), left=("chip", "class", "flags")
        ),
    )  # fmt: skip


def _classes(summary: Record) -> tuple[Table, Table]:
    rows = []
    total = {"all": summary["total"]} if summary["total"] else {}
    for name, one in (summary["by_class"] | total).items():
        rows.append(
            (
                name,
                str(one["chips"]),
                str(one["rows"]),
                _factor(one["median_factor"]),
                _factor(one["p90_factor"]),
                f"{100 * one['within_2x']:.0f} %",
                f"{100 * one['coverage']:.0f} %",
                f"{one['interval_score']:.2f}",
            )
        )
    table = Table(
        title="factor between predicted and measured, and chips inside their 80 % interval"
        + (", by the fit to these chips" if summary["fitted_on_these"] else ""),
        columns=("class", "chips", "rows", "median", "p90", "within 2x", "inside", "score"),
        rows=tuple(rows),
    )
    return table, table


def _others(summary: Record) -> tuple[Table, Table]:
    left_out = summary["left_out"]
    rows = [
        (f"npuwatt, {left_out['chips']} chips, each left out of its fit", _factor(left_out["median_factor"]))
    ]
    rows += [(one["about"], _factor(one["median_factor"])) for one in summary["peers"]]
    table = Table(
        title=f"beside public models, computed with their equations on {PEER_POINTS} analog points of the chips fitted on",
        columns=("model", "median"),
        rows=tuple(rows),
    )
    return table, table


def _sentences(summary: Record) -> Iterator[str]:
    left_out, total = summary["left_out"], summary["total"]
    unseen = (
        f"left out one at a time: median {_factor(left_out['median_factor'])}, p90 {_factor(left_out['p90_factor'])}, "
        f"{100 * left_out['coverage']:.0f} % inside their interval"
    )
    if total is None:
        yield f"No row tells a measured energy. The constants were fitted on {left_out['chips']} chips; {unseen}."
    elif summary["fitted_on_these"]:
        yield f"Fitted on these chips: median {_factor(total['median_factor'])}; {unseen}."
    else:
        yield f"The constants were fitted on {left_out['chips']} published chips; {unseen}."


def _femto(joules: float | None) -> str:
    if joules is None:
        return "-"
    value = joules * 1e15
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}x"
