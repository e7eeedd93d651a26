"""A comparison for people: rounding, prefixes, bars, who wins, and the sentence under the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.winners import LEGEND, place_notes, winner_tables
from npuwatt.report.words import (
    NAMES,
    bound,
    caveat,
    confidence_line,
    label,
    labelled,
    mark,
    mark_notes,
    percent,
    quantity,
    ratio,
    request_line,
    serving_lines,
)
from npuwatt.study.winners import CLOSE, GROUPS

Record = dict[str, Any]
_SHORT = NAMES | {"on_chip": "on-chip", "overhead": "control", "static": "static"}
_LETTERS = {
    "arithmetic": "A",
    "conversion": "V",
    "on_chip": "C",
    "dram": "D",
    "links": "L",
    "overhead": "O",
    "static": "S",
}
BAR = 24
# What a difference is put down to, by the first component of its group.
_GROUPS = {
    "arithmetic": "arithmetic",
    "conversion": "converters",
    "dram": "DRAM",
    "on_chip": "on-chip movement, control and regulators",
    "links": "links",
    "static": "static power",
}


def bar(parts: dict[str, float] | None, width: int = BAR) -> str:
    """Shares as runs of letters that fill `width` exactly, the largest remainders rounded up."""
    if not parts or not (whole := sum(parts.values())):
        return "-"
    exact = {name: width * joules / whole for name, joules in parts.items()}
    cells = {name: int(share) for name, share in exact.items()}
    short = width - sum(cells.values())
    for name in sorted(exact, key=lambda name: cells[name] - exact[name])[:short]:
        cells[name] += 1
    return "".join(_LETTERS[name] * count for name, count in cells.items())


def legend(records: Sequence[Record]) -> list[str]:
    """What the letters of the bars stand for, in a line; none where nothing fits."""
    used = [
        name
        for name in _LETTERS
        if any((record["energy_by_component_j"] or {}).get(name) for record in records)
    ]
    return ["energy: " + ", ".join(f"{_LETTERS[name]} {NAMES[name]}" for name in used)] if used else []


def compare_report(record: Record) -> Report:
    """The comparison: speed and energy, where the energy goes, who wins and why."""
    results = labelled(record["results"])
    first = label(results[0])
    measures = _measures(record["request"])
    names = tuple(name for name, _, _ in measures)
    speed = Table(
        columns=("device", *names, "tokens/J", f"to {first}"),
        rows=tuple(
            (
                *_measured(result, measures),
                quantity(result["tokens_per_j"]),
                ratio(result["energy_ratio_to_first"]),
            )
            for result in results
        ),
    )
    several = any((result["devices"] or 1) > 1 for result in results)
    energy = Table(
        columns=(
            "device", *(("devices",) if several else ()), "evidence", "bound by", "energy of a token", "largest",
        ),
        rows=tuple(
            (
                label(result),
                *((str(result["devices"] or "-"),) if several else ()),
                result["evidence"],
                bound(result["bound_by"]),
                bar(result["energy_by_component_j"]),
                _largest(result["energy_by_component_j"], 1),
            )
            for result in results
        ),
        left=("evidence", "bound by", "energy of a token", "largest"),
        bars=("energy of a token",),
    )  # fmt: skip
    wide = Table(
        columns=(
            "device", *names, "tokens/J", f"to {first}", "bound by", "evidence", "devices", "energy of a token",
        ),
        rows=tuple(
            (
                *_measured(result, measures),
                quantity(result["tokens_per_j"]),
                ratio(result["energy_ratio_to_first"]),
                bound(result["bound_by"]),
                result["evidence"],
                str(result["devices"] or "-"),
                bar(result["energy_by_component_j"]),
            )
            for result in results
        ),
        left=("bound by", "evidence", "energy of a token"),
    )  # fmt: skip
    labels = {result["device"]: label(result) for result in results}
    of_phases, of_all = winner_tables(record, labels)
    notes = [*legend(results), *([LEGEND] if of_all else []), *record["notes"]]
    notes += [f"{label(result)}: {note}" for result in results for note in result["notes"]]
    asked = record["request"]
    if asked["densities"] or (asked["pattern"], asked["density"], asked["activation_density"]) != (
        "dense",
        1.0,
        1.0,
    ):
        notes.append("zeros: 'npuwatt sparsity' sets them against dense weights, with accuracy and software")
    notes += place_notes(record, labels)
    notes += mark_notes(results)
    notes += [confidence_line(result) for result in results if result["confidence"]]
    notes += serving_lines(record["request"], results) + _stands_for(results)
    more, sentences = [], [_verdict(results)]
    if "per_macro" in results[0]:
        from npuwatt.report.per_macro import per_macro_notes, per_macro_table

        more.append(per_macro_table(results))
        notes += per_macro_notes(results)
    if "article" in record:
        more.append(_article_table(record["article"]))
        sentences.append(_article_sentence(record["article"]))
    return Report(
        heading=request_line(record["request"]),
        tables=(speed, energy, *of_phases, *more),
        wide=(wide, *of_all, *more),
        sentences=tuple(sentences),
        notes=tuple(notes),
    )


def _measures(request: Record) -> tuple[tuple[str, str, str], ...]:
    """Column, field and unit of what each device is measured by."""
    return (
        ("TTFT", "ttft_s", "s"),
        ("TPOT", "tpot_s", "s"),
        *((("ITL", "median_itl_s", "s"),) if request["mode"] == "serving" else ()),
        ("tokens/s", "tokens_per_s", ""),
        ("power", "power_w", "W"),
        ("J/token", "energy_per_output_token_j", "J"),
    )


def _measured(result: Record, measures: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    return (label(result), *(quantity(result[field], unit) for _, field, unit in measures))


def _largest(parts: dict[str, float] | None, most: int) -> str:
    if not parts or not (whole := sum(parts.values())):
        return "-"
    names = sorted(parts, key=lambda name: -parts[name])[:most]
    return ", ".join(f"{_SHORT[name]} {percent(parts[name] / whole)}" for name in names)


def _stands_for(results: Sequence[Record]) -> list[str]:
    renamed = {
        result["device"]: result["preset"] for result in results if result["device"] != result["preset"]
    }
    pairs = ", ".join(f"{typed} is {preset}" for typed, preset in renamed.items() if "/" not in typed)
    return [f"{pairs}; 'npuwatt presets show NAME' traces every number"] if pairs else []


def _verdict(results: Sequence[Record]) -> str:
    """Who needs the least energy, by how much, and which part of the energy makes the difference."""
    fitting = [result for result in results if result["energy_per_output_token_j"] is not None]
    if not fitting:
        return "no device given holds this network and its cache; see the notes"
    able = [result for result in fitting if not mark(result)]
    if able and (others := [result for result in fitting if mark(result)]):
        told = ", ".join(
            f"{label(one)} would need {quantity(one['energy_per_output_token_j'], 'J')}" for one in others
        )
        return f"{_verdict(able)} Left out, since what noisy cells compute may be of no use: {told}."
    able = able or fitting
    if len(able) == 1:
        parts = _largest(able[0]["energy_by_component_j"], 2)
        return f"{label(able[0])} spends {quantity(able[0]['energy_per_output_token_j'], 'J')} a token, {parts} of it."
    best, other, *others = sorted(able, key=lambda result: result["energy_per_output_token_j"])
    own, theirs = best["energy_per_output_token_j"], other["energy_per_output_token_j"]
    both = f"{quantity(own, 'J')} against {quantity(theirs, 'J')}"
    evidence = {label(result): f"{result['evidence']}{caveat(result)}" for result in (best, other)}
    trust = (
        ""
        if len(set(evidence.values())) == 1
        else " (" + ", ".join(f"{d} {e}" for d, e in evidence.items()) + ")"
    )
    quickest = max(able, key=lambda result: result["tokens_per_s"])
    speed = "" if quickest is best else f" {label(quickest)} gives the most tokens a second."
    if theirs <= own * CLOSE:
        return (
            f"{label(best)} and {label(other)} spend about the same energy on a token, {both}{trust}.{speed}"
        )
    saved = {_GROUPS[parts[0]]: _of_group(other, parts) - _of_group(best, parts) for parts in GROUPS}
    most = max(saved, key=lambda name: saved[name])
    first = ""
    if able[0] in others:
        first = f"; {label(able[0])} needs {_times(able[0]['energy_per_output_token_j'] / own)} as much"
    return (
        f"{label(best)} needs the least energy per token, {both} on {label(other)}, the next best ({_less(own / theirs)}), "
        f"mostly because it spends {quantity(saved[most], 'J')} less on {most}{trust}{first}. {_overlap(best, other)}{speed}".rstrip()
    )


def _overlap(best: Record, other: Record) -> str:
    """Whether the intervals of two answers leave it open which of them is better."""
    if not (best["confidence"] and other["confidence"]):
        return ""
    own, theirs = (result["confidence"]["energy_per_output_token_j"] for result in (best, other))
    if own["high"] < theirs["low"]:
        return "Their intervals do not overlap."
    return "Their intervals overlap: measurements could turn this round."


def _of_group(result: Record, parts: Sequence[str]) -> float:
    return float(sum(result["energy_by_component_j"].get(part, 0.0) for part in parts))


def _less(share: float) -> str:
    """How much less a share of one is: '34 % less', '6.4 times less'."""
    return f"{100 * (1 - share):.0f} % less" if share > 0.5 or not share else f"{_times(1 / share)} less"


def _times(value: float) -> str:
    """A factor in words: '6.4 times'."""
    return f"{value:.2g} times" if value < 100 else f"{value:.0f} times"


def _article_table(article: Record) -> Table:
    return Table(
        title="share of moving weights in moving and multiplying them",
        columns=("device", "phase", "article's constants", "sourced constants"),
        rows=tuple(
            (
                share["device"],
                share["phase"],
                percent(share["article_fraction"]),
                percent(share["sourced_fraction"]),
            )
            for share in article["movement_share"]
        ),
        left=("phase",),
    )


def _article_sentence(article: Record) -> str:
    dram, mac = article["dram_energy_j_per_byte"], article["mac_energy_j"]
    return (
        f"The article's ratio is {article['dram_byte_to_mac_ratio']:g}:1 ({quantity(dram, 'J')} a byte from DRAM, {quantity(mac, 'J')} "
        f"a MAC). Its 'over 90 % is data movement' is {dram / 1e-12:g}/({dram / 1e-12:g} + {mac / 1e-12:g} B) for weights alone: true in "
        f"decode up to batch {article['above_90_percent_up_to_batch']}, and not in prefill."
    )
