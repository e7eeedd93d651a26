"""validate: what it says of all rows together, and its report for people."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.arrays import Array
from npuwatt.audit.anchors import Judged as Anchor
from npuwatt.audit.measured import SHARES, Judged, Summary
from npuwatt.report.document import Report, Table
from npuwatt.report.judged_rows import row_records
from npuwatt.report.words import counted

Record = dict[str, Any]
SCHEMA = "npuwatt.validate/1"
SPLITS = {"by_gpu": "gpu", "by_kind": "kind", "by_bound": "bound", "by_gpu_and_kind": "gpu, kind"}
MOST_SHOWN = 400  # rows that a table for people lists; of more, the worst
WORST = 20
MOST_REASONS = 10
_TITLES = {
    "median_itl_ms": "ITL",
    "avg_tpot_ms": "TPOT",
    "output_tok_s": "tokens/s",
    "avg_power_w": "power",
    "j_per_output_token": "J/token",
    "j_per_output_token_given_tok_s": "J/token, given rate",
}
_ANCHORED = {"tokens_per_s": "tokens/s", "power_w": "power", "energy_per_output_token_j": "J/token"}
_BINS = (0.5, 0.8, 0.9, 1.1, 1.25, 2.0)
_BIN_NAMES = ("under half", "0.5-0.8", "0.8-0.9", "0.9-1.1", "1.1-1.25", "1.25-2", "over twice")


def head_record(path: str | None, stack: str | None) -> Record:
    """What a validation says before its rows."""
    return {
        "schema": SCHEMA,
        "npuwatt": __version__,
        "file": "standard input" if path == "-" else path or "built-in: ML.ENERGY v3, every fifth run",
        "stack": stack,
    }


def summary_record(summary: Summary) -> Record:
    """Errors over all rows and by split, the baseline, and what could not be predicted."""
    return {
        "rows": summary.rows,
        "predicted": summary.rows - sum(summary.refused.values()),
        "refused": dict(sorted(summary.refused.items())),
        "overhead_bound": summary.overhead_bound,
        "metrics": _finite(summary.overall()),
        "inside_interval": summary.covered(),
        "baseline": _finite(summary.baseline()),
        **{name: _finite(summary.errors(split)) for name, split in SPLITS.items()},
        "notes": list(summary.notes),
    }


def rest_record(summary: Summary, anchors: Sequence[Record]) -> Record:
    """What a validation says after its rows."""
    return {"summary": summary_record(summary), "anchors": list(anchors)}


def anchor_record(one: Anchor) -> Record:
    """One published figure beside its prediction."""
    return {
        "name": one.name,
        "about": one.about,
        "device": one.device,
        "network": one.network,
        "stack": one.stack,
        "evidence": one.trust,
        "source_trust": one.source_trust,
        "boundary": one.boundary,
        "comparable": one.comparable,
        "published": dict(one.published),
        "bounds": list(one.bounds),
        "predicted": dict(one.predicted),
        "ratio": dict(one.ratio),
        "reason": one.reason or None,
        "note": one.note,
        "source": one.source,
    }


def _finite(tree: Any) -> Any:
    """The same with None for numbers that JSON has not."""
    if isinstance(tree, dict):
        return {name: _finite(value) for name, value in tree.items()}
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def report(parts: Iterable[Judged], summary: Summary, head: Record, anchors: Sequence[Record]) -> Report:
    """Rows beside their predictions, where the model is off, and errors by metric."""
    rows: list[Record] = []
    count = 0
    for part in parts:
        count += part.count
        rows += row_records(part, range(part.count) if count <= MOST_SHOWN else _worst(part))
        if count > MOST_SHOWN:
            rows = sorted(rows, key=_badness, reverse=True)[:WORST]
    rows = [row for row in rows if "reason" not in row]
    found = summary_record(summary)
    both = [_runs_tables(rows, is_cut=count > MOST_SHOWN)]
    if anchors:
        both.append(_anchors_tables(anchors))
    both += [(table, table) for table in (_spread_table(summary), _cells_table(found))]
    both.append(_metrics_tables(found))
    both = [pair for pair in both if pair[0].rows]
    return Report(
        heading=f"{head['file']}: {found['predicted']} of {counted(found['rows'], 'run')} predicted, stack {head['stack'] or 'by task'}",
        tables=tuple(narrow for narrow, _ in both),
        wide=tuple(wide for _, wide in both),
        sentences=tuple(_sentences(found)),
        notes=(
            *_refusals(summary),
            *(f"{one['name']}: {one['reason']}" for one in anchors if one["reason"]),
            *found["notes"],
        ),
    )


def _worst(part: Judged) -> list[int]:
    """Places of the rows of a chunk that are furthest off."""
    with np.errstate(all="ignore"):
        off: Array = np.zeros(part.count)
        for name in ("output_tok_s", "j_per_output_token"):
            ratio = np.abs(np.log(part.predicted[name] / part.measured[name]))
            off = np.where(np.isfinite(ratio), ratio, off)
    off[list(part.reasons)] = -1.0
    return [int(place) for place in np.argsort(-off, kind="stable")[:WORST]]


def _badness(row: Record) -> float:
    ratios = ((row.get(name) or {}).get("ratio") for name in ("j_per_output_token", "output_tok_s"))
    ratio = next((ratio for ratio in ratios if ratio), None)
    return abs(math.log(ratio)) if ratio else 0.0


def _refusals(summary: Summary) -> Iterable[str]:
    """Lines that could not be predicted, by reason."""
    listed = list(summary.refused.items())
    for reason, count in listed[:MOST_REASONS]:
        lines = summary.refused_lines[reason]
        more = f" and {count - len(lines)} more" if count > len(lines) else ""
        yield f"line{'s' if count > 1 else ''} {', '.join(map(str, lines))}{more}: {reason}"
    if len(listed) > MOST_REASONS:
        rest = sum(count for _, count in listed[MOST_REASONS:])
        yield (
            f"{counted(rest, 'run')} more cannot be predicted, for {len(listed) - MOST_REASONS} other reasons"
        )


def _runs_tables(rows: Sequence[Record], *, is_cut: bool) -> tuple[Table, Table]:
    """Runs as a table for 80 columns and as one with everything."""
    narrow, wide = [], []
    for row in rows:
        own = (
            str(row["line"]),
            row["network"],
            f"{row['num_gpus']}x {row['device']}",
            _short(round(row["avg_batch"]) or row["avg_batch"]),
        )
        step = row["median_itl_ms" if row["median_itl_ms"]["measured"] is not None else "avg_tpot_ms"]
        power, energy = row["avg_power_w"], row["j_per_output_token"]
        narrow.append((*own, *_pair(energy), _off(energy["ratio"]), _off(step["ratio"])))
        wide.append(
            (
                *own,
                *_pair(step),
                *_pair(power),
                *_pair(energy),
                _off(energy["ratio"]),
                f"{_short(energy['low'])}-{_short(energy['high'])}",
                row["bound_by"].replace("_", "-"),
                "overhead-bound" if row["overhead_bound"] else "",
            )
        )
    title = f"the {len(rows)} runs furthest off" if is_cut else "runs"
    known = ("line", "network", "device", "batch")
    return (
        Table(
            title=f"{title}: energy, measured and predicted, and how far energy and time are off",
            columns=(*known, "J/token", "pred.", "off", "time"),
            rows=tuple(narrow),
            left=("network", "device"),
        ),
        Table(
            title=f"{title}: measured, then predicted",
            columns=(*known, "ms/token", "pred.", "W", "pred.", "J/token", "pred.", "off", "90 %", "bound by", "remark"),
            rows=tuple(wide),
            left=("network", "device", "bound by", "remark"),
        ),
    )  # fmt: skip


def _short(value: float | None) -> str:
    """Three digits, and no exponent below a million."""
    if value is None:
        return "-"
    return f"{value:.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _pair(compared: Record) -> tuple[str, str]:
    return _short(compared["measured"]), _short(compared["predicted"])


def _off(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{round(100 * (ratio - 1)):+d} %" if ratio < 100 else f"{_short(ratio)}x"


def _percent(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{100 * share:.1f} %" if share < 100 else f"{_short(100 * share)} %"


def _metrics_tables(found: Record) -> tuple[Table, Table]:
    """Errors by metric, for 80 columns and with everything."""
    narrow, wide = [], []
    for name, stats in found["metrics"].items():
        known = (_TITLES[name], str(stats["rows"]), *map(_percent, (stats["mape"], stats["median"])))
        within = [f"{100 * stats[f'within_{share}_percent']:.0f} %" for share in SHARES]
        last = (
            f"{100 * found['inside_interval'][name]:.0f} %",
            _percent(found["baseline"].get(name, {}).get("mape")),
        )
        narrow.append((*known, _percent(stats["p90"]), within[1], *last))
        wide.append((*known, _percent(stats["p90"]), _off(1 + stats["bias"]), *within, *last))
    names = ("metric", "runs", "MAPE", "median", "p90")
    title = "absolute errors, runs inside their 90 % interval, and MAPE of a bare roofline"
    return (
        Table(title=title, columns=(*names, "in 25 %", "inside", "roofline"), rows=tuple(narrow)),
        Table(
            title=title,
            columns=(*names, "bias", *(f"in {share} %" for share in SHARES), "inside", "roofline"),
            rows=tuple(wide),
        ),
    )


def _cells_table(found: Record) -> Table:
    rows = []
    for label, metrics in [*found["by_gpu_and_kind"].items(), *found["by_bound"].items()]:
        step = metrics.get("median_itl_ms") or metrics.get("avg_tpot_ms") or {}
        joules, watts = metrics.get("j_per_output_token", {}), metrics.get("avg_power_w", {})
        given = metrics.get("j_per_output_token_given_tok_s", {})
        rows.append(
            (
                label,
                str(max(stats["rows"] for stats in metrics.values())),
                _percent(step.get("mape")),
                _percent(watts.get("mape")),
                _percent(joules.get("mape")),
                _percent(joules.get("median")),
                _percent(given.get("mape")),
                _off(1 + joules["bias"]) if joules else "-",
            )
        )
    return Table(
        title="where the model is off: MAPE by device and kind, and of overhead-bound runs",
        columns=("runs of", "runs", "time", "W", "J/token", "median", "given rate", "J bias"),
        rows=tuple(rows),
    )


def _spread_table(summary: Summary) -> Table:
    """How predicted over measured is spread, as bars."""
    lines = []
    for metric in ("j_per_output_token", "median_itl_ms", "avg_tpot_ms"):
        ratios = summary.ratios(metric)
        if not len(ratios):
            continue
        counts = np.bincount(np.digitize(ratios, _BINS), minlength=len(_BIN_NAMES))
        for name, count in zip(_BIN_NAMES, counts.tolist(), strict=True):
            lines.append((_TITLES[metric], name, str(count), "#" * round(32 * count / int(counts.max()))))
    return Table(
        title="predicted over measured",
        columns=("metric", "ratio", "runs", "share of the largest"),
        rows=tuple(lines),
        left=("ratio", "share of the largest"),
    )


def _anchors_tables(anchors: Sequence[Record]) -> tuple[Table, Table]:
    """Published figures, one a line, for 80 columns and with everything."""
    narrow, wide = [], []
    for one in anchors:
        for metric, published in one["published"].items():
            figure = (
                _ANCHORED[metric],
                ("<" if metric in one["bounds"] else "") + _short(published),
                _short(one["predicted"].get(metric)),
                _off(one["ratio"].get(metric)),
            )
            counts = "yes" if one["comparable"] else "no"
            narrow.append((one["name"], one["boundary"], *figure, counts))
            wide.append(
                (
                    one["name"],
                    one["device"],
                    one["network"],
                    one["evidence"],
                    one["boundary"],
                    *figure,
                    counts,
                )
            )
    title = "published figures of other boards; those not taken at the board do not count"
    names = ("figure", "published", "pred.", "off", "counts")
    return (
        Table(title=title, columns=("anchor", "boundary", *names), rows=tuple(narrow), left=("boundary", "figure", "counts")),
        Table(
            title=title,
            columns=("anchor", "device", "network", "evidence", "boundary", *names),
            rows=tuple(wide),
            left=("device", "network", "evidence", "boundary", "figure", "counts"),
        ),
    )  # fmt: skip


def _sentences(found: Record) -> Iterable[str]:
    stats, baseline = found["metrics"].get("j_per_output_token"), found["baseline"].get("j_per_output_token")
    if stats and baseline:
        ours, naive = (
            f"{_percent(part['median'])} in the median and {_percent(part['mape'])} on average"
            for part in (stats, baseline)
        )
        yield f"J/token is off by {ours}; a datasheet roofline at the power limit is off by {naive}."
    if found["overhead_bound"]:
        yield (
            f"{counted(found['overhead_bound'], 'run')} took more than 5 times their roofline (overhead-bound)."
        )
