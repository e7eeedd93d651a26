"""An estimate for people: one device op by op and level by level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from npuwatt.record import replace
from npuwatt.report.document import Report, Table
from npuwatt.report.words import (
    NAMES,
    bound,
    confidence_line,
    label,
    percent,
    quantity,
    request_line,
    serving_lines,
    step_name,
)

Record = dict[str, Any]
MOVED = "moved: over the pins of main memory, to units inside it, and over links; weights that stay in cells do not move"


def estimate_report(record: Record) -> Report:
    """One device op by op and level by level."""
    wide = [table for phase in record["phases"] for table in (_ops_table(phase), _levels_table(phase))]
    tables = [_narrower(table) if "op" in table.columns else table for table in wide]
    notes = [f"evidence: {record['evidence']}", *record["notes"]]
    notes += [confidence_line(record)] if record["confidence"] else []
    notes += serving_lines(record["request"], [record])
    places = list(_place_notes(record["phases"]))
    notes += [*places, MOVED] if places else []
    if "per_macro" in record:
        from npuwatt.report.per_macro import per_macro_notes, per_macro_table

        tables, wide = ([*part, per_macro_table([record])] for part in (tables, wide))
        notes += per_macro_notes([record])
    return Report(
        heading=f"{label(record)} ({record['preset']}): {request_line(record['request'])}",
        tables=tuple(tables),
        wide=tuple(wide),
        sentences=(_pace(record),),
        notes=tuple(notes),
    )


def _pace(record: Record) -> str:
    """How fast a device answers, and for how much."""
    if not record["fits"]:
        return f"{label(record)} does not hold this request; see the notes."
    step = quantity(record["tpot_s"], "s")
    if record["request"]["mode"] == "serving":
        pace = f"gives each sequence a token every {step} (median {quantity(record['median_itl_s'], 's')})"
    else:
        pace = f"answers in {quantity(record['ttft_s'], 's')}" + (
            f" + {step} a token" if record["tpot_s"] is not None else ""
        )
    return (
        f"{label(record)} {pace}, at {quantity(record['power_w'], 'W')} and "
        f"{quantity(record['energy_per_output_token_j'], 'J')} a token; most of the time is set by {bound(record['bound_by'])}."
    )


def _ops_table(phase: Record) -> Table:
    whole_s, whole_j = phase["time_s"] or 0.0, phase["energy_j"] or 0.0
    macs, moved_bytes = (sum(op[name] for op in phase["ops"]) for name in ("macs", "moved_bytes"))
    has_places = any(op["where"] for op in phase["ops"])
    rows = [
        (
            op["name"],
            *((op["where"] or "",) if has_places else ()),
            f"{op['count']}",
            quantity(op["macs"], "MAC"),
            quantity(op["moved_bytes"], "B"),
            quantity(op["intensity_macs_per_byte"]),
            quantity(op["time_s"], "s"),
            quantity(op["energy_j"], "J"),
            percent(op["energy_j"] / whole_j) if whole_j and op["energy_j"] is not None else "-",
            bound(op["bound_by"]),
        )
        for op in phase["ops"]
    ]
    total = (
        "total",
        *(("",) if has_places else ()),
        "",
        quantity(macs, "MAC"),
        quantity(moved_bytes, "B"),
        "" if has_places else quantity(phase["intensity_macs_per_byte"]),
        quantity(whole_s or None, "s"),
        quantity(whole_j or None, "J"),
        "",
        "power cap" if (phase["power_stretch_ratio"] or 1) > 1.0001 else "",
    )
    context = f" at {phase['context_tokens']} tokens of context" if phase["phase"] != "prefill" else ""
    return Table(
        title=f"{step_name(phase)}{context}; {'host ' if has_places else ''}ridge point {quantity(phase['ridge_macs_per_byte'])} MAC/B",
        columns=(
            "op", *(("where",) if has_places else ()), "layers", "MACs", "moved", "MAC/B", "time", "energy", "share",
            "bound by",
        ),
        rows=(*rows, total),
        left=("where", "bound by"),
    )  # fmt: skip


def _narrower(table: Table) -> Table:
    """A table of ops without shares and places, of which notes tell."""
    kept = [i for i, column in enumerate(table.columns) if column not in ("share", "where")]
    return replace(
        table,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )


def _place_notes(phases: Sequence[Record]) -> Iterator[str]:
    """Which ops a board whose memory computes runs there."""
    for phase in phases:
        inside: dict[str, list[str]] = {}
        for op in phase["ops"]:
            if op["where"] and op["where"] != "host":
                inside.setdefault(op["where"], []).append(op["name"])
        for place, names in inside.items():
            yield f"{step_name(phase)}: {place} run {', '.join(dict.fromkeys(names))}; the host runs the rest"


def _levels_table(phase: Record) -> Table:
    components = phase["energy_by_component_j"] or {}
    whole = sum(components.values())
    rows = [
        (level["name"], quantity(level["bytes"], "B"), quantity(level["energy_j"], "J"), "")
        for level in phase["levels"]
    ]
    rows += [
        (NAMES[name], "", quantity(joules, "J"), percent(joules / whole) if whole else "-")
        for name, joules in components.items()
    ]
    return Table(
        title="levels, then energy by component",
        columns=("part", "bytes", "energy", "share"),
        rows=tuple(rows),
    )
