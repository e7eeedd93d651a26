"""A scanned checkpoint as a record, a density file and a report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from npuwatt import __version__
from npuwatt.checkpoint.magnitudes import ABSOLUTE, IN_SIGMAS, OF_LARGEST, PRUNED, QUANTISED
from npuwatt.checkpoint.scan import Group, Scan, ScannedTensor
from npuwatt.checkpoint.structure import TensorStatistics
from npuwatt.report.document import Report, Table
from npuwatt.report.words import counted

Record = dict[str, Any]

_COUNTS = (
    "zeros", "not_finite", "outputs", "zero_outputs", "inputs", "zero_inputs", "blocks", "zero_blocks",
)  # fmt: skip
_SHARES = {
    "below": "below_fraction",
    "below_norm": "below_norm_fraction",
    "quantised_zeros": "quantised_zero_fraction",
    "pruned_norm": "pruned_norm_fraction",
}
# Thresholds as names in JSON and CSV: '1 % of largest' -> '1_percent_of_largest'.
_KEYS = {
    name: name.replace("%", "percent").replace(" ", "_")
    for name in (*ABSOLUTE, *IN_SIGMAS, *OF_LARGEST, *QUANTISED, *PRUNED)
}
_DENSITY = ("name", "shape", "dtype", "input_axis", "op", "density", "conformity", "density_by_input")
MOST_NAMED = 3  # ops in which a pattern does not hold, that a sentence names
MOST_UNREAD = 5  # that notes name
_MEANINGS = (
    "columns: held: share of groups along the inputs that hold a pattern; < 0.67 sigma: share of weights below 0.6745 sigma of their "
    "tensor; int4 zeros: share that symmetric int4 in groups of 128 would make zero; loses: share of the squared norm that "
    "pruning by magnitude would take"
)
EACH_END = 3  # tensors shown that have the most and the fewest zeros


def scan_record(found: Scan) -> Record:
    """Schema npuwatt.scan/1."""
    linear = found.linear()
    return {
        "schema": "npuwatt.scan/1",
        "npuwatt": __version__,
        "path": _printable(found.path),
        "files": [_printable(file) for file in found.files],
        "tensors": [_tensor_record(tensor) for tensor in found.tensors],
        "ops": [
            {"op": op, "tensors": len(group.tensors), **_counted(group)}
            for op, group in found.by_op().items()
        ],
        "linear_layers": {"tensors": len(linear.tensors), **_counted(linear)},
        "unread": [{"name": one.name, "reason": one.reason} for one in found.unread],
        "other_tensors": found.others,
        "notes": list(found.notes),
    }


def densities_text(record: Record) -> str:
    """The density file npuwatt.densities/1, a part of a scan's record; a tensor a line."""
    lines = ",\n".join(
        json.dumps({name: tensor[name] for name in _DENSITY}, allow_nan=False) for tensor in record["tensors"]
    )
    return (
        f'{{"schema": "npuwatt.densities/1", "npuwatt": "{record["npuwatt"]}", "tensors": [\n{lines}\n]}}\n'
    )


def _tensor_record(tensor: ScannedTensor) -> Record:
    channels = tensor.density_by_input_fraction
    return {
        "name": tensor.name,
        "op": tensor.op,
        "layout": tensor.layout,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "input_axis": tensor.input_axis,
        **_counted(tensor),
        "density_by_input": None if channels is None else [round(value, 9) for value in channels.tolist()],
    }


def _counted(one: ScannedTensor | Group) -> Record:
    found: TensorStatistics | None = one.statistics
    small = None if found is None else found.magnitudes
    return {
        "elements": one.elements,
        "density": one.density_fraction,
        "conformity": one.conformity_fraction,
        **{name: getattr(found, name, None) for name in _COUNTS},
        "sampled_elements": None if small is None else small.sampled_elements,
        "largest": None if small is None else small.largest,
        "sigma": None if small is None else small.sigma,
        **{
            name: {_KEYS[key]: share for key, share in getattr(small, field, {}).items()}
            for name, field in _SHARES.items()
        },
    }


def _printable(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def scan_report(record: Record) -> Report:
    """Layers by kind with their total, the tensors at both ends, and what it comes to."""
    linear = record["linear_layers"]
    groups = [
        *((op["op"] or "other layers", op) for op in record["ops"] if op["op"] != "embedding"),
        ("linear layers", linear),
        *((op["op"], op) for op in record["ops"] if op["op"] == "embedding"),
    ]
    rows = [_row(name, one) | {"layer": name, "tensors": str(one["tensors"])} for name, one in groups]
    ends = [_row(one["name"], one) | {"tensor": one["name"], "op": one["op"] or "-"} for one in _ends(record)]
    narrow = ("weights", "zeros", "2:4 held", "< 0.67 sigma", "int4 zeros", "2:4 loses")
    wide = (
        "weights", "zeros", "1:2 held", "2:4 held", "4:8 held", "zero outputs", "zero inputs", "zero blocks", "< 0.1 sigma",
        "< 0.67 sigma", "< 1 sigma", "< 1 % max", "< 10 % max", "int8 zeros", "int4 zeros", "2:4 loses", "4:8 loses",
        "50 % loses",
    )  # fmt: skip
    tables = [
        (
            _table("", ("layer", "tensors", *columns), rows),
            _table(_ends_title(record), ("tensor", *columns[1:]), ends),
        )
        for columns in (narrow, wide)
    ]
    return Report(
        heading=f"{record['path']}: {counted(linear['tensors'], 'tensor')} of linear layers, "
        f"{_count(linear['elements'])} weights in {', '.join(_dtypes(record))}",
        tables=tables[0],
        wide=tables[1],
        sentences=tuple(_sentences(linear, [one for one in record["tensors"] if one["op"] != "embedding"])),
        notes=tuple(_notes(record)),
    )


def _table(title: str, columns: tuple[str, ...], rows: Sequence[dict[str, str]]) -> Table:
    return Table(
        title=title, columns=columns, rows=tuple(tuple(row[name] for name in columns) for row in rows)
    )


def _row(name: str, one: Record) -> dict[str, str]:
    """Everything that tables say of a tensor or of several, by column."""
    below, zeros, pruned = one["below"], one["quantised_zeros"], one["pruned_norm"]
    held = {f"{pattern} held": _percent(one["conformity"][pattern]) for pattern in ("1:2", "2:4", "4:8")}
    nothing = {
        f"zero {what}": _part(one[f"zero_{what}"], one[what]) for what in ("outputs", "inputs", "blocks")
    }
    return {
        "weights": _count(one["elements"]),
        "zeros": _percent(1 - one["density"]),
        **held,
        **nothing,
        "< 0.1 sigma": _percent(below.get("0.1_sigma")),
        "< 0.67 sigma": _percent(below.get("0.6745_sigma")),
        "< 1 sigma": _percent(below.get("1_sigma")),
        "< 1 % max": _percent(below.get("1_percent_of_largest")),
        "< 10 % max": _percent(below.get("10_percent_of_largest")),
        "int8 zeros": _percent(zeros.get("int8_g128")),
        "int4 zeros": _percent(zeros.get("int4_g128")),
        "2:4 loses": _percent(pruned.get("2:4")),
        "4:8 loses": _percent(pruned.get("4:8")),
        "50 % loses": _percent(pruned.get("50_percent")),
    }


def _ends(record: Record) -> list[Record]:
    """The tensors of linear layers with the most zeros and with the fewest; by what 2:4 would take where those are equal."""
    linear = sorted(
        (one for one in record["tensors"] if one["op"] != "embedding"),
        key=lambda one: (one["density"], one["pruned_norm"].get("2:4", 0.0)),
    )
    return linear if len(linear) <= 2 * EACH_END else linear[:EACH_END] + linear[-EACH_END:]


def _ends_title(record: Record) -> str:
    if record["linear_layers"]["tensors"] <= 2 * EACH_END:
        return "sorted by zeros, most first; then by what 2:4 would take, least first"
    return f"the {EACH_END} with the most zeros and the {EACH_END} with the fewest, sorted by zeros, then by what 2:4 would take, least first"


def _dtypes(record: Record) -> list[str]:
    """Number types of linear layers, with the form of those that are packed."""
    return list(
        dict.fromkeys(
            one["dtype"] if one["layout"] == "plain" else f"{one['dtype']} ({one['layout']})"
            for one in record["tensors"]
            if one["op"] != "embedding"
        )
    )


def _held(tensors: Sequence[Record]) -> str:
    """Which patterns hold in all tensors; if none does, the one that holds in most."""
    kept = {name: [one for one in tensors if one["conformity"][name] == 1] for name in ("1:2", "2:4", "4:8")}
    whole = [name for name, ones in kept.items() if len(ones) == len(tensors)]
    if whole:
        return f"every group holds {' and '.join(whole)}"
    best = max(("2:4", "1:2", "4:8"), key=lambda name: len(kept[name]))
    if not kept[best]:
        return "no N:M pattern holds in any tensor"
    others = dict.fromkeys(one["op"] or one["name"] for one in tensors if one not in kept[best])
    named = (
        f" (not in {', '.join(list(others)[:MOST_NAMED])}{' and more' if len(others) > MOST_NAMED else ''})"
    )
    return f"{best} holds in {len(kept[best])} of {counted(len(tensors), 'tensor')}{named}"


def _sentences(linear: Record, tensors: Sequence[Record]) -> list[str]:
    zeros = 1 - linear["density"]
    said = [
        f"{'No exact zeros' if not zeros else 'Exact zeros: ' + _percent(zeros)}; {_held(tensors)}."
        if linear["elements"]
        else "No linear layer was counted."
    ]
    if linear["below"]:
        below, norm, pruned = linear["below"], linear["below_norm"], linear["pruned_norm"]
        near = below["0.6745_sigma"] - zeros  # zeros lie below any threshold
        said.append(
            f"{_percent(max(near, 0.0))} are no zeros, lie below 0.6745 sigma of their tensor and carry "
            f"{_percent(norm['0.6745_sigma'])} of its squared norm: nearly zero, and not free to drop."
        )
        said.append(
            f"Pruning by magnitude would take {_percent(pruned['2:4'])} of the squared norm in 2:4, "
            f"{_percent(pruned['4:8'])} in 4:8, {_percent(pruned['50_percent'])} for any half."
        )
    return said


def _notes(record: Record) -> list[str]:
    linear, unread = record["linear_layers"], record["unread"]
    notes = [_MEANINGS]
    if linear["sampled_elements"]:
        share = _percent(linear["sampled_elements"] / linear["elements"])
        notes.append(f"zeros and patterns are counted in all weights, small weights in a sample of {share}")
    if linear["not_finite"]:
        notes.append(f"{linear['not_finite']:,} weights are infinite or no number")
    notes += record["notes"]
    notes += [f"not counted: {one['name']}: {one['reason']}" for one in unread[:MOST_UNREAD]]
    if len(unread) > MOST_UNREAD:
        notes.append(f"not counted: {len(unread) - MOST_UNREAD} more, which --json names")
    return notes


def _count(elements: int) -> str:
    return f"{elements:,}" if elements < 100_000 else f"{elements / 1e6:,.2f} M"


def _percent(share: float | None) -> str:
    """A share in three digits, and never rounded to 0 or 100 % where it is not that."""
    if share is None:
        return "-"
    shown = f"{100 * share:.3g}"
    if share > 0 and float(shown) < 0.01:
        return "<0.01 %"
    return ">99.9 %" if share < 1 and float(shown) >= 100 else f"{shown} %"


def _part(part: int | None, whole: int | None) -> str:
    return "-" if not whole or part is None else _percent(part / whole)
