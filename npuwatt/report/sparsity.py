"""What zeros save: the record of schema npuwatt.sparsity/1, and a screen that says whether it is worth having."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt import __version__
from npuwatt.record import replace
from npuwatt.report.document import Report, Table
from npuwatt.report.records import (
    device_record,
    fit_record,
    number,
    preset_records,
    request_record,
    source_records,
    whole,
)
from npuwatt.report.words import label, percent, quantity, ratio, request_line
from npuwatt.study.pruning import AccuracyEvidence, Pruned, accuracy_sentences, activation_evidence
from npuwatt.study.pruning_claim import CLAIMED_FRACTION
from npuwatt.study.sparse_software import SoftwareStatus
from npuwatt.study.sparsity import Answer, BatchSaving, PhaseSaving, Side, Sparsity
from npuwatt.study.sparsity_split import PARTS

Record = dict[str, Any]
CLAIM = '"30 to 50 % without loss"'
_PARTS = ("MACs", "bytes", "static", "metadata", "waiting", "kernels")  # of PARTS, for people
_FEW = (1, 4, 16, 64, 256, 512)  # batches on a narrow screen


def sparsity_record(found: Sparsity) -> Record:
    """The record of schema npuwatt.sparsity/1."""
    asked = found.question
    return {
        "schema": "npuwatt.sparsity/1",
        "npuwatt": __version__,
        "request": request_record(asked),
        "results": [_answer_record(answer) for answer in found.answers],
        "claimed_saving_fraction": CLAIMED_FRACTION,
        "evidence": None if found.evidence is None else _evidence_record(found.evidence),
        "activation_evidence": _activation_lines() if found.zeros.zeros.activation_density < 1 else [],
        "near_zero": None
        if found.near_zero is None
        else {
            "threshold_sigmas": sorted(found.near_zero.threshold_ratio),
            "squared_norm_fraction": sorted(found.near_zero.norm_fraction),
        },
        "notes": [*asked.notes, *asked.warnings],
        "presets": preset_records(asked),
        "sources": source_records(asked),
    }


def _answer_record(answer: Answer) -> Record:
    dense, sparse = (number(one.total_j / one.output_tokens) for one in (answer.dense, answer.sparse))
    judged = answer.judgement
    return {
        **device_record(answer.device),
        **fit_record(answer.dense),
        "devices_needed_with_zeros": whole(answer.sparse.devices_needed),
        "dense_energy_per_output_token_j": dense,
        "energy_per_output_token_j": sparse,
        "saved_fraction": number(answer.saved_fraction),
        "speedup_ratio": number(answer.speedup_ratio),
        "split_j": {part: number(getattr(answer.split, f"{part}_j")) for part in PARTS},
        "phases": [_phase_record(phase) for phase in answer.phases],
        "break_even_density": answer.break_even.density_fraction,
        "break_even_reason": answer.break_even.reason,
        "batches": _batch_records(answer.batches),
        "saves_at_batches": list(answer.batches.saving),
        "vanishes_at_batch": answer.batches.vanishes_at,
        "software": [_software_record(status) for status in answer.software],
        "judgement": None
        if judged is None
        else {
            "verdict": judged.verdict,
            "sentence": judged.sentence,
            "condition": judged.condition,
            "parts": [
                {"about": part.about, "verdict": part.verdict, "reason": part.reason} for part in judged.parts
            ],
        },
        "notes": list(answer.notes),
    }


def _phase_record(phase: PhaseSaving) -> Record:
    return {
        "phase": phase.name,
        "steps_fraction": phase.steps_fraction,
        "effectual_macs": phase.effectual_macs,
        "dense": _side_record(phase.dense),
        "sparse": _side_record(phase.sparse),
    }


def _side_record(side: Side) -> Record:
    return {
        "moved_bytes": side.moved_bytes,
        "macs": side.done_macs,
        "time_s": number(side.time_s),
        "energy_j": number(side.energy_j),
        "tokens_per_j": number(side.tokens_per_j),
    }


def _batch_records(found: BatchSaving) -> list[Record]:
    columns = (found.batch, found.saved_fraction, found.speedup_ratio)
    return [
        {"batch": round(batch), "saved_fraction": number(saved), "speedup_ratio": number(speedup)}
        for batch, saved, speedup in zip(*(one[:, 0].tolist() for one in columns), strict=True)
    ]


def _software_record(status: SoftwareStatus) -> Record:
    path = status.path
    return {
        "software": path.software,
        "role": path.role,
        "status": path.status,
        "as_of": path.as_of or None,
        "version": path.version or None,
        "note": path.note,
        "citation": status.cite,
    }


def _evidence_record(found: AccuracyEvidence) -> Record:
    return {
        "pattern": found.pattern,
        "parameters_count": found.parameters,
        "reason": found.reason,
        "rows": [_pruned_record(row) for row in found.rows],
        "sentences": accuracy_sentences(found),
        "in_short": [line for one in _ends(found) for line in accuracy_sentences(one)],
        "in_short_citations": list(dict.fromkeys(row.cite for one in _ends(found) for row in one.rows)),
    }


def _ends(found: AccuracyEvidence) -> list[AccuracyEvidence]:
    """Of all that was measured, what pruning lost without retraining, and least of all with it; or why nothing was."""
    if not found.rows:
        return [found]
    kept = []
    for retrained in (False, True):
        rows = [row for row in found.rows if row.trial.retrained == retrained]
        told = [row for row in rows if row.loss_fraction is not None] or rows
        if told:
            nearest = min(abs(row.size_ratio - 1) for row in told)
            near = [row for row in told if abs(row.size_ratio - 1) == nearest]
            best = min(near, key=lambda row: row.loss_fraction or 0.0) if retrained else near[0]
            same = [row for row in near if (row.network, row.metric) == (best.network, best.metric)]
            kept.append(replace(found, rows=tuple(same)))
    return kept


def _pruned_record(row: Pruned) -> Record:
    trial = row.trial
    return {
        "network": row.network,
        "parameters_count": row.parameters,
        "size_ratio": row.size_ratio,
        "metric": row.metric,
        "method": trial.method,
        "density": trial.density_fraction,
        "retrained": trial.retrained,
        "retrained_tokens_count": trial.retrained_tokens_count,
        "dense": row.baseline,
        "pruned": trial.measured,
        "loss_fraction": row.loss_fraction,
        "claim": trial.claim,
        "secondary": row.secondary,
        "citation": row.cite,
    }


def _activation_lines() -> list[str]:
    """Published zeros in activations."""
    lines = []
    for row, cite in activation_evidence().values():
        share = "" if row.density_fraction is None else f", {percent(1 - row.density_fraction)} zeros"
        gain = "" if row.gain_ratio is None else f", {row.gain_ratio:g}x {row.gain_of}".rstrip()
        how = "with retraining" if row.retrained else "without retraining"
        lines.append(f"{row.networks}, {row.where_zero}{share} by {row.method} {how}{gain} ({cite})")
    return lines


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
