"""A screen that says whether zeros are worth having."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.words import label, percent, quantity, ratio, request_line
from npuwatt.study.sparsity_notes import NOTHING

Record = dict[str, Any]
CLAIM = '"30 to 50 % without loss"'
_PARTS = ("MACs", "bytes", "static", "metadata", "waiting", "kernels")  # of PARTS, for people
_COLUMNS = "columns: metadata: of zeros; waiting: of lanes; kernels: slower; in all: sum"
_FEW = (1, 4, 16, 64, 256, 512)  # batches on a narrow screen


def sparsity_report(record: Record) -> Report:
    """Whether zeros are worth having: what each phase saves, where from, up to which batch, and at what price."""
    results, request = record["results"], record["request"]
    return Report(
        heading=request_line(request),
        tables=(*_claim_tables(record), *_number_tables(results, _phase_table, _FEW)),
        wide=(*_claim_tables(record), *_number_tables(results, _wide_phase_table)),
        sentences=tuple(_sentences(record)),
        notes=tuple(_notes(record)),
    )


def _claim_tables(record: Record) -> list[Table]:
    """The verdict on each part of the claim, device by device; none where nothing is judged."""
    judged = [one for one in record["results"] if one["judgement"]]
    if not judged:
        return []
    several = max(one["devices"] or 1 for one in judged) > 1
    rows = []
    for one in judged:
        parts = {part["about"]: part["verdict"] for part in one["judgement"]["parts"]}
        low, high = one["saved_low_fraction"], one["saved_high_fraction"]
        span = (
            "" if low is None or high is None or high - low < 5e-4 else f" ({_plain(low)} to {_plain(high)})"
        )
        ideal_only = one["judgement"]["sentence"].startswith("would")
        rows.append(
            (
                label(one),
                *((str(one["devices"]),) if several else ()),
                f"{_signed(one['saved_fraction'])}{span}",
                *(parts[about] for about in ("saving", "software", "accuracy")),
                "if ideal" if ideal_only else one["judgement"]["verdict"],
            )
        )
    return [
        Table(
            title=f"is {CLAIM} so{'' if several else ', on 1 device'}",
            columns=(
                "device",
                *(("devices",) if several else ()),
                "energy saved",
                "energy",
                "software",
                "accuracy",
                "verdict",
            ),
            rows=tuple(rows),
            left=("energy", "software", "accuracy", "verdict"),
        )
    ]


def _plain(share: float) -> str:
    return _signed(share).removesuffix(" %")


def _number_tables(
    results: Sequence[Record],
    phases: Callable[[Sequence[Record]], Table],
    batches: Sequence[int] | None = None,
) -> tuple[Table, ...]:
    """What changes on devices of which that is known; nothing where nothing does anywhere."""
    if not _changes(results):
        return ()
    known = [one for one in results if one["zeros_stated"]]
    return phases(known), _split_table(known), _batch_table(known, batches)


def _changes(results: Sequence[Record]) -> bool:
    return any(
        not one["fits"] or phase["dense"] != phase["sparse"] for one in results for phase in one["phases"]
    ) or any(batch["saved_fraction"] for one in results for batch in one["batches"])


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
        columns=("device", "phase", "bytes", "MACs", "time", "energy", "tokens/J", "with zeros"),
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
                f"{quantity(phase['dense'][name], unit)} to {quantity(phase['sparse'][name], unit)}"
                for _, name, unit in measures
            ),
            ratio(
                _over(phase["sparse"]["energy_j"], phase["dense"]["energy_j"])
                if result["zeros_stated"]
                else None
            ),
        )
        for result in results
        for phase in result["phases"]
    )
    return Table(
        title="each phase, dense to with zeros",
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
    """What decides on each device, and what pruning does to accuracy."""
    ideal = " (ideal)" if record["request"]["ideal"] else ""
    said = [] if _changes(record["results"]) else ["Zeros change nothing here, as far as is stated."]
    for result in record["results"]:
        name = f"{label(result)}{ideal}"
        if not result["fits"]:
            said.append(f"{name}: dense weights do not fit, so there is nothing to compare with")
        elif result["judgement"] is None:
            saved = result["saved_fraction"]
            said.append(f"{name}: its preset states nothing of zeros" if saved is None
                        else f"{name}: saves {_signed(saved)} of the energy")  # fmt: skip
        else:
            said.append(f"{name}: {CLAIM} {_decided(result['judgement'])}{_at_best(result)}")
    return said + _accuracy(record)


def _decided(judgement: Record) -> str:
    """The verdict; accuracy, which is the same on all devices, has its own line."""
    sentence, verdict = str(judgement["sentence"]), judgement["verdict"]
    if verdict == "holds" or sentence.startswith("would"):
        return sentence.partition(",")[0] + ", on the condition below"
    told = [
        part["reason"]
        for part in judgement["parts"]
        if part["verdict"] == verdict and part["about"] != "accuracy"
    ]
    told = told[:1] if verdict == "open" else told  # the software that nobody knows of is in a note
    return f"{verdict}: {'; '.join(told) or 'by accuracy'}"


def _at_best(result: Record) -> str:
    """Another batch at which zeros save more than at the one asked for."""
    known = [one for one in result["batches"] if one["saved_fraction"] is not None]
    best = max(known, key=lambda one: one["saved_fraction"], default=None)
    if best is None or best["saved_fraction"] < result["saved_fraction"] + 0.01:
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
    parts = [part for one in judged for part in one["parts"] if part["about"] == "accuracy"][:1]
    lost = f"up to {percent(record['tolerated_loss_fraction'])} lost, npuwatt's own"
    told = [f"without loss ({lost}): {part['verdict']}, {part['reason']}" for part in parts]
    short = evidence["in_short"][:1] if judged else evidence["in_short"]
    return [*(f"accuracy of {line}" for line in short if not (parts and evidence["reason"])), *told]


def _notes(record: Record) -> list[str]:
    request, results = record["request"], record["results"]
    notes = [*record["notes"], *([_COLUMNS] if _changes(results) else [])]
    if near := record["near_zero"]:
        (low, high), (least, most) = near["threshold_sigmas"], near["squared_norm_fraction"]
        notes.append(
            f"to zero {percent(1 - request['density'])} of weights is to drop those below {low:.2f} to {high:.2f} sigma, which "
            f"carry {100 * least:.1f} to {100 * most:.1f} % of the squared norm (generalised normal of shape 1.5, Gauss)"
        )
    for result in results:
        name = label(result)
        notes += [
            f"{name}: {note}" for note in result["notes"] if result["zeros_stated"] or NOTHING not in note
        ]
        told = [_how_far(result)] if any(one["saved_fraction"] for one in result["batches"]) else []
        if request["pattern"] != "dense" and not request["ideal"]:
            told.append(_software(request, result["software"]))
        notes += [f"{name}: {'; '.join(told)}"] if told else []
        needed = result["devices_needed_with_zeros"]
        if needed and result["devices_needed"] and needed < result["devices_needed"]:
            notes.append(f"{name}: with zeros it would fit on {needed}, not {result['devices_needed']}")
    if record["evidence"] and record["evidence"]["rows"]:
        notes.append(f"accuracy as measured by {'; '.join(record['evidence']['in_short_citations'])}")
    return [*notes, *record["activation_evidence"]]


def _how_far(result: Record) -> str:
    """Up to which density and which batch zeros save."""
    even = result["break_even_density"]
    density = "" if even is None else f"breaks even at a density of {even:.3g}; "
    if result["break_even_reason"].startswith("zeros cost"):
        density = f"{result['break_even_reason']}; "
    saving = result["saves_at_batches"]
    if not saving:
        return f"{density}saves at no batch"
    first, last = result["batches"][0]["batch"], result["batches"][-1]["batch"]
    if (saving[0], saving[-1]) == (first, last):
        return f"{density}saves at every batch up to {last}"
    return f"{density}saves from batch {saving[0]} to {saving[-1]} of {first} to {last}"


def _software(request: Record, statuses: Sequence[Record]) -> str:
    """Whether software runs the pattern on a device, and which no longer does."""
    running = [one for one in statuses if one["role"] == "runs"]
    able = [_named(one) for one in running if one["status"] == "supported"]
    gone = [one for one in running if one["status"] != "supported"]
    dates = {one["software"].partition(",")[0]: one for one in reversed(gone)}  # the last of each to go
    stack = (request["stack"] or "").partition("-")[0]
    left = ", ".join(
        f"{name} {one['as_of']}{' (this stack is older)' if stack and name.lower().startswith(stack) else ''}"
        for name, one in reversed(dates.items())
    )
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
    limit = f"; {one['note']}" if "batches up to" in one["note"] else ""
    return f"{one['software']} ({one['version'] or one['as_of']}{limit})"
