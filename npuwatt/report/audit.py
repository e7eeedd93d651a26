"""validate and calibrate: rows as they are judged, their errors, and fitted constants."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from npuwatt import __version__
from npuwatt.audit.anchors import Judged as Anchor
from npuwatt.audit.measured import METRICS, SHARES, Judged, Summary, class_name
from npuwatt.report.data import cell
from npuwatt.report.document import Report, Table

Record = dict[str, Any]
SCHEMA = "npuwatt.validate/1"
SPLITS = {"by_gpu": "gpu", "by_kind": "kind", "by_bound": "bound", "by_gpu_and_kind": "gpu, kind"}
MOST_SHOWN = 400  # rows that a table for people lists; of more, the worst
WORST = 20
_TITLES = {
    "median_itl_ms": "ITL",
    "avg_tpot_ms": "TPOT",
    "output_tok_s": "tokens/s",
    "avg_power_w": "power",
    "j_per_output_token": "J/token",
    "j_per_output_token_given_tok_s": "J/token given tokens/s",
}
_BINS = (0.5, 0.8, 0.9, 1.1, 1.25, 2.0)
_BIN_NAMES = ("under half", "0.5-0.8", "0.8-0.9", "0.9-1.1", "1.1-1.25", "1.25-2", "over twice")


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


def row_records(part: Judged) -> Iterable[Record]:
    """One record for each row of a chunk, in the order of the file."""
    texts, numbers = part.rows.texts, part.rows.numbers
    columns = {
        name: [values[name].tolist() for values in (part.measured, part.predicted, part.low, part.high)]
        for name in METRICS
    }
    lines, counts = part.rows.lines.tolist(), numbers["num_gpus"].tolist()
    batches, overhead = numbers["avg_batch"].tolist(), part.overhead_bound.tolist()
    for place, line in enumerate(lines):
        if place in part.reasons:
            yield {"line": line, "reason": part.reasons[place]}
            continue
        yield {
            "line": line,
            "model_id": texts["model_id"][place],
            "weight_precision": texts["weight_precision"][place],
            "gpu": texts["gpu"][place],
            "task": texts["task"][place],
            "num_gpus": int(counts[place]),
            "avg_batch": batches[place],
            "network": part.networks[place],
            "device": part.devices[place],
            "stack": part.stacks[place],
            "kind": part.families[place],
            "overhead_bound": overhead[place],
            "class": class_name(part, place),
            "bound_by": part.bound_by[place],
            **{name: _compared(*(values[place] for values in columns[name])) for name in METRICS},
        }


def _compared(measured: float, predicted: float, low: float, high: float) -> Record:
    is_known = math.isfinite(measured)
    return {
        "measured": measured if is_known else None,
        "predicted": _finite(predicted),
        "ratio": _finite(predicted / measured) if is_known else None,
        "low": _finite(low),
        "high": _finite(high),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def summary_record(summary: Summary) -> Record:
    """Errors over all rows and by split, the baseline, and what could not be predicted."""
    whole = summary.errors("all").get("all", {})
    return {
        "rows": summary.rows,
        "predicted": summary.rows - sum(summary.refused.values()),
        "refused": dict(sorted(summary.refused.items())),
        "overhead_bound": summary.overhead_bound,
        "metrics": whole,
        "inside_interval": summary.covered(),
        "baseline": summary.errors("baseline").get("all", {}),
        **{name: dict(sorted(summary.errors(split).items())) for name, split in SPLITS.items()},
        "notes": list(summary.notes),
    }


def head_record(path: str | None, stack: str | None) -> Record:
    """What a validation says before its rows."""
    return {
        "schema": SCHEMA,
        "npuwatt": __version__,
        "file": path or "built-in: ML.ENERGY v3, every fifth run",
        "stack": stack,
    }


def write_rows(
    parts: Iterable[Judged],
    summary: Summary,
    stream: TextIO,
    style: str,
    head: Record,
    anchors: Sequence[Record],
) -> None:
    """Write rows as they are judged, and then what they sum up to: JSON, JSON lines or CSV."""
    if style == "csv":
        names: list[str] = []
        for part in parts:
            for row in row_records(part):
                if not names:
                    names = _columns()
                    stream.write(",".join(names) + "\n")
                flat = {
                    **row,
                    **{f"{name}.{key}": v for name in METRICS if name in row for key, v in row[name].items()},
                }
                stream.write(",".join(_quoted(cell(flat.get(name))) for name in names) + "\n")
        return
    if style == "jsonl":
        for part in parts:
            stream.writelines(json.dumps(row, allow_nan=False) + "\n" for row in row_records(part))
        return
    stream.write(json.dumps(head, allow_nan=False)[:-1] + ', "rows": [')
    lead = "\n"
    for part in parts:
        for row in row_records(part):
            stream.write(lead + json.dumps(row, allow_nan=False))
            lead = ",\n"
    rest = {"summary": summary_record(summary), "anchors": list(anchors)}
    stream.write("\n], " + json.dumps(rest, allow_nan=False)[1:] + "\n")


def _columns() -> list[str]:
    keys = ("line", "reason", "model_id", "weight_precision", "gpu", "task", "num_gpus", "avg_batch", "network", "device",
            "stack", "kind", "overhead_bound", "class", "bound_by")  # fmt: skip
    return [
        *keys,
        *(f"{name}.{what}" for name in METRICS for what in ("measured", "predicted", "ratio", "low", "high")),
    ]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def report(parts: Iterable[Judged], summary: Summary, head: Record, anchors: Sequence[Record]) -> Report:
    """Rows beside their predictions, errors by metric and by split, and where the model is off."""
    rows: list[Record] = []
    for part in parts:
        rows += row_records(part)
        if len(rows) > MOST_SHOWN:
            rows = sorted(rows, key=_badness, reverse=True)[:MOST_SHOWN]
    found = summary_record(summary)
    if summary.rows > MOST_SHOWN:
        rows = sorted(rows, key=_badness, reverse=True)[:WORST]
    refused = [f"{count} rows: {reason}" for reason, count in found["refused"].items()]
    tables = [_rows_table(rows, is_cut=summary.rows > MOST_SHOWN), _metrics_table(found), _cells_table(found)]
    tables.append(_spread_table(summary))
    if anchors:
        tables.append(_anchors_table(anchors))
    shown = tuple(table for table in tables if table.rows)
    return Report(
        heading=f"{head['file']}: {found['predicted']} of {found['rows']} runs predicted, stack {head['stack'] or 'by task'}",
        tables=shown,
        wide=shown,
        sentences=_sentences(found),
        notes=(*refused, *found["notes"]),
    )


def _badness(row: Record) -> float:
    ratio = (row.get("j_per_output_token") or {}).get("ratio") or (row.get("output_tok_s") or {}).get("ratio")
    return abs(math.log(ratio)) if ratio else -1.0


def _rows_table(rows: Sequence[Record], *, is_cut: bool) -> Table:
    lines = []
    for row in rows:
        if "reason" in row:
            continue
        step = "median_itl_ms" if row["median_itl_ms"]["measured"] is not None else "avg_tpot_ms"
        lines.append(
            (
                str(row["line"]),
                row["network"],
                f"{row['num_gpus']}x {row['device']}",
                f"{row['avg_batch']:.0f}",
                *_pair(row[step], "{:.3g}"),
                *_pair(row["avg_power_w"], "{:.0f}"),
                *_pair(row["j_per_output_token"], "{:.3g}"),
                _off(row["j_per_output_token"]["ratio"]),
                f"{row['j_per_output_token']['low']:.3g}-{row['j_per_output_token']['high']:.3g}",
            )
        )
    return Table(
        title="the runs furthest off" if is_cut else "runs: measured, then predicted",
        columns=(
            "line",
            "network",
            "device",
            "batch",
            "ITL ms",
            "pred.",
            "W",
            "pred.",
            "J/token",
            "pred.",
            "off",
            "90 %",
        ),
        rows=tuple(lines),
        left=("network", "device"),
    )


def _pair(compared: Record, form: str) -> tuple[str, str]:
    measured = compared["measured"]
    return "-" if measured is None else form.format(measured), form.format(compared["predicted"])


def _off(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * (ratio - 1):+.0f} %"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _metrics_table(found: Record) -> Table:
    rows = []
    for name, stats in found["metrics"].items():
        baseline = found["baseline"].get(name, {}).get("mape")
        rows.append(
            (
                _TITLES[name],
                f"{stats['rows']:.0f}",
                _percent(stats["mape"]),
                _percent(stats["median"]),
                _percent(stats["p90"]),
                *(f"{100 * stats[f'within_{share}_percent']:.0f} %" for share in SHARES),
                f"{100 * found['inside_interval'][name]:.0f} %",
                _percent(baseline),
            )
        )
    return Table(
        title="absolute error; the last column is a datasheet roofline at the board's power limit",
        columns=(
            "metric",
            "runs",
            "MAPE",
            "median",
            "p90",
            *(f"in {s} %" for s in SHARES),
            "in interval",
            "roofline",
        ),
        rows=tuple(rows),
    )


def _cells_table(found: Record) -> Table:
    rows = []
    for label, metrics in [*found["by_gpu_and_kind"].items(), *found["by_bound"].items()]:
        step = metrics.get("median_itl_ms") or metrics.get("avg_tpot_ms") or {}
        joules, watts = metrics.get("j_per_output_token", {}), metrics.get("avg_power_w", {})
        given = metrics.get("j_per_output_token_given_tok_s", {})
        count = max((stats["rows"] for stats in metrics.values()), default=0)
        rows.append(
            (
                label,
                f"{count:.0f}",
                _percent(step.get("mape")),
                _percent(watts.get("mape")),
                _percent(joules.get("mape")),
                _percent(joules.get("median")),
                _percent(given.get("mape")),
                _off(1 + joules["bias"]) if joules else "-",
            )
        )
    return Table(
        title="where the model is off: MAPE by device and kind of network, and for overhead-bound runs",
        columns=("runs of", "runs", "ITL", "W", "J/token", "median", "given rate", "J bias"),
        rows=tuple(rows),
    )


def _spread_table(summary: Summary) -> Table:
    """How predicted over measured is spread, as bars."""
    import numpy as np

    lines = []
    for metric in ("j_per_output_token", "median_itl_ms", "avg_tpot_ms"):
        parts = summary.logs.get(("all", "all", metric))
        if not parts:
            continue
        counts = np.bincount(np.digitize(np.concatenate(parts), _BINS), minlength=len(_BIN_NAMES))
        most = max(int(counts.max()), 1)
        for name, count in zip(_BIN_NAMES, counts.tolist(), strict=True):
            lines.append((_TITLES[metric], name, str(count), "#" * round(32 * count / most)))
    return Table(
        title="predicted over measured",
        columns=("metric", "ratio", "runs", "share of the largest"),
        rows=tuple(lines),
        left=("ratio", "share of the largest"),
    )


def _anchors_table(anchors: Sequence[Record]) -> Table:
    return Table(
        title="published figures of other boards",
        columns=("anchor", "device", "evidence", "boundary", "J/token", "pred.", "off", "comparable"),
        rows=tuple(
            (
                anchor["name"],
                anchor["device"],
                anchor["evidence"],
                anchor["boundary"],
                *(
                    _number(anchor[side].get("energy_per_output_token_j"))
                    for side in ("published", "predicted")
                ),
                _off(anchor["ratio"].get("energy_per_output_token_j")),
                "yes" if anchor["comparable"] else "no",
            )
            for anchor in anchors
        ),
        left=("device", "evidence", "boundary", "comparable"),
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _sentences(found: Record) -> tuple[str, ...]:
    stats, baseline = found["metrics"].get("j_per_output_token"), found["baseline"].get("j_per_output_token")
    if not stats or not baseline:
        return ()
    ours, naive = (
        f"{100 * part['median']:.0f} % in the median and {100 * part['mape']:.0f} % on average"
        for part in (stats, baseline)
    )
    return (
        f"J/token is off by {ours}, where a datasheet roofline at the power limit is off by {naive}.",
        f"{found['overhead_bound']} runs are overhead-bound: they took more than 5 times their roofline.",
    )
