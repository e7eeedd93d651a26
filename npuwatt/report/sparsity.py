"""A screen that says whether zeros are worth having."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.words import label, percent, quantity, ratio, request_line

Record = dict[str, Any]
CLAIM = '"30 to 50 % without loss"'
_PARTS = ("MACs", "bytes", "static", "metadata", "waiting", "kernels")  # of PARTS, for people
_FEW = (1, 4, 16, 64, 256, 512)  # batches on a narrow screen


def sparsity_report(record: Record) -> Report:
    """Whether zeros are worth having: what each phase saves, where from, up to which batch, and at what price."""
    results, request = record["results"], record["request"]
    return Report(
        heading=request_line(request),
        tables=(_phase_table(results), _split_table(results), _batch_table(results, _FEW)),
        wide=(_wide_phase_table(results), _split_table(results), _batch_table(results)),
        sentences=tuple(_sentences(record)),
        notes=tuple(_notes(record)),
    )


def _phase_table(results: Sequence[Record]) -> Table:
    rows = []
    for result in results:
        for phase in result["phases"]:
            dense, sparse = phase["dense"], phase["sparse"]
            over = (
                ratio(_over(sparse[name], dense[name]))
                for name in ("moved_bytes", "macs", "time_s", "energy_j")
            )
            both = (quantity(side["tokens_per_j"]) for side in (dense, sparse))
            rows.append((label(result), phase["phase"], *over, *both))
    return Table(
        title="each phase with zeros, over dense",
        columns=("device", "phase", "bytes", "MACs", "time", "energy", "tokens/J", "sparse"),
        rows=tuple(rows),
        left=("phase",),
    )


def _wide_phase_table(results: Sequence[Record]) -> Table:
    measures = (
        ("bytes", "moved_bytes", "B"), ("MACs done", "macs", ""), ("time", "time_s", "s"), ("energy", "energy_j", "J"),
        ("tokens/J", "tokens_per_j", ""),
    )  # fmt: skip
    rows = tuple(
        (
            label(result),
            phase["phase"],
            quantity(phase["effectual_macs"]),
            *(
                f"{quantity(phase['dense'][name], unit)} > {quantity(phase['sparse'][name], unit)}"
                for _, name, unit in measures
            ),
            ratio(_over(phase["sparse"]["energy_j"], phase["dense"]["energy_j"])),
        )
        for result in results
        for phase in result["phases"]
    )
    return Table(
        title="each phase, dense > with zeros",
        columns=("device", "phase", "effectual MACs", *(name for name, _, _ in measures), "of the energy"),
        rows=rows,
        left=("phase",),
    )


def _split_table(results: Sequence[Record]) -> Table:
    rows = []
    for result in results:
        dense = result["dense_energy_per_output_token_j"]
        whole = sum(joules or 0.0 for joules in result["split_j"].values())
        saved = result["saved_fraction"]
        scale = saved / whole if dense and saved and whole else 0.0
        parts = (_signed(None if joules is None else joules * scale) for joules in result["split_j"].values())
        rows.append((label(result), *parts, _signed(saved), ratio(result["speedup_ratio"])))
    return Table(
        title="saved of the energy of a request (-: lost), by where, and speed over dense",
        columns=("device", *_PARTS, "in all", "speed"),
        rows=tuple(rows),
    )


def _batch_table(results: Sequence[Record], batches: Sequence[int] | None = None) -> Table:
    shown = [one["batch"] for one in results[0]["batches"] if batches is None or one["batch"] in batches]
    return Table(
        title="energy saved, by batch",
        columns=("device", *map(str, shown)),
        rows=tuple(
            (
                label(result),
                *(_signed(one["saved_fraction"]) for one in result["batches"] if one["batch"] in shown),
            )
            for result in results
        ),
    )


def _over(value: float | None, of: float | None) -> float | None:
    return value / of if value is not None and of else None


def _signed(share: float | None) -> str:
    """A share that may be below 0: '37 %', '-4.2 %', '0 %'."""
    if share is None:
        return "-"
    tidy = 0.0 if abs(share) < 5e-4 else share
    return f"{100 * tidy:.1f} %" if abs(tidy) < 0.0995 and tidy else f"{100 * tidy:.0f} %"


def _sentences(record: Record) -> list[str]:
    """Whether the claim holds on each device, and under which condition."""
    ideal = " (ideal)" if record["request"]["ideal"] else ""
    said = []
    for result in record["results"]:
        name = f"{label(result)}{ideal}"
        if not result["fits"]:
            said.append(f"{name}: dense weights do not fit, so there is nothing to compare with")
        elif result["judgement"] is None:
            said.append(f"{name}: saves {_signed(result['saved_fraction'])} of the energy")
        else:
            said.append(f"{name}: {CLAIM} {result['judgement']['sentence']}{_at_best(record, result)}")
    return said + _accuracy(record)


def _at_best(record: Record, result: Record) -> str:
    """Another batch at which zeros save more than at the one asked for."""
    known = [one for one in result["batches"] if one["saved_fraction"] is not None]
    best = max(known, key=lambda one: one["saved_fraction"])
    if best["saved_fraction"] < result["saved_fraction"] + 0.01:
        return ""
    return (
        f"; at batch {best['batch']}, the best of the sweep, it would save {_signed(best['saved_fraction'])}"
    )


def _accuracy(record: Record) -> list[str]:
    """What pruning does to accuracy near this size, without retraining and with it."""
    evidence = record["evidence"]
    if not evidence:
        return []
    judged = [one["judgement"] for one in record["results"] if one["judgement"]]
    verdicts = [part for one in judged for part in one["parts"] if part["about"] == "accuracy"][:1]
    told = [
        f'"without loss" {part["verdict"]}{"," if part["verdict"] == "holds" else ":"} {part["reason"]}'
        for part in verdicts
        if not any(part["reason"] in one["sentence"] for one in judged)
    ]
    short = evidence["in_short"][:1] if judged else evidence["in_short"]
    return [*(f"accuracy of {line}" for line in short), *told]


def _notes(record: Record) -> list[str]:
    request, results = record["request"], record["results"]
    notes = list(record["notes"])
    if near := record["near_zero"]:
        (low, high), (least, most) = near["threshold_sigmas"], near["squared_norm_fraction"]
        notes.append(
            f"to zero {percent(1 - request['density'])} of weights is to drop those below {low:.2f} to {high:.2f} sigma, which "
            f"carry {100 * least:.1f} to {100 * most:.1f} % of the squared norm (generalised normal of shape 1.5, Gauss)"
        )
    for result in results:
        name = label(result)
        notes += [f"{name}: {note}" for note in result["notes"]]
        if result["fits"] and any(one["saved_fraction"] for one in result["batches"]):
            notes.append(f"{name}: {_how_far(result)}")
        if request["pattern"] != "dense":
            notes.append(f"{name}: {_software(request, result['software'])}")
        needed = result["devices_needed_with_zeros"]
        if needed and result["devices_needed"] and needed < result["devices_needed"]:
            notes.append(f"{name}: with zeros it would fit on {needed}, not {result['devices_needed']}")
    if record["evidence"] and record["evidence"]["rows"]:
        notes.append(f"accuracy as measured by {'; '.join(record['evidence']['in_short_citations'])}")
    return [*notes, *record["activation_evidence"]]


def _how_far(result: Record) -> str:
    """Up to which density and which batch zeros save."""
    if result["break_even_density"] is not None:
        density = f"breaks even at a density of {result['break_even_density']:.3g}"
    else:
        density = f"no break-even: {result['break_even_reason']}"
    saving = result["saves_at_batches"]
    if not saving:
        return f"{density}; no batch saves enough to tell"
    first, last = result["batches"][0]["batch"], result["batches"][-1]["batch"]
    if (saving[0], saving[-1]) == (first, last):
        return f"{density}; saves at every batch up to {last}"
    return f"{density}; saves from batch {saving[0]} to {saving[-1]} of {first} to {last}"


def _software(request: Record, statuses: Sequence[Record]) -> str:
    """Whether software runs the pattern on a device, and which no longer does."""
    running = [one for one in statuses if one["role"] == "runs"]
    able = [_named(one) for one in running if one["status"] == "supported"]
    gone = [one for one in running if one["status"] != "supported"]
    dates = {one["software"].partition(",")[0]: one for one in reversed(gone)}  # the last of each to go
    left = ", ".join(f"{name} {one['as_of']}" for name, one in reversed(dates.items()))
    left = left and f"not or no longer by {left}"
    if able:
        return f"{request['pattern']} is run by {', '.join(able)}" + (left and f"; {left}")
    found = (
        "pattern found, no supported path"
        if request["densities"]
        else f"no supported path for {request['pattern']}"
    )
    return f"{found}: {left or 'no software is known to run it'}"


def _named(one: Record) -> str:
    return f"{one['software']} ({one['version'] or one['as_of']})"
