"""What zeros save as a record of schema npuwatt.sparsity/1."""

from __future__ import annotations

from typing import Any

from npuwatt import __version__
from npuwatt.record import replace
from npuwatt.report.records import (
    device_record,
    fit_record,
    number,
    preset_records,
    request_record,
    source_records,
    whole,
)
from npuwatt.report.words import percent
from npuwatt.study.pruning import AccuracyEvidence, Pruned, accuracy_sentences, activation_evidence
from npuwatt.study.pruning_claim import CLAIMED_FRACTION, LOSS_FRACTION
from npuwatt.study.sparse_software import SoftwareStatus
from npuwatt.study.sparsity import Answer, BatchSaving, PhaseSaving, Side, Sparsity
from npuwatt.study.sparsity_split import PARTS

Record = dict[str, Any]


def sparsity_record(found: Sparsity) -> Record:
    """The record of schema npuwatt.sparsity/1."""
    asked = found.question
    return {
        "schema": "npuwatt.sparsity/1",
        "npuwatt": __version__,
        "request": request_record(asked),
        "results": [_answer_record(answer) for answer in found.answers],
        "claimed_saving_fraction": CLAIMED_FRACTION,
        "tolerated_loss_fraction": LOSS_FRACTION,
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
    judged, known = answer.judgement, answer.is_stated
    return {
        **device_record(answer.device),
        **fit_record(answer.dense),
        "zeros_stated": known,
        "devices_needed_with_zeros": whole(answer.sparse.devices_needed),
        "dense_energy_per_output_token_j": dense,
        "energy_per_output_token_j": sparse,
        "saved_fraction": number(answer.saved_fraction) if known else None,
        "saved_low_fraction": number(answer.saved_range_fraction[0]) if known else None,
        "saved_high_fraction": number(answer.saved_range_fraction[1]) if known else None,
        "speedup_ratio": number(answer.speedup_ratio) if known else None,
        "split_j": {part: number(getattr(answer.split, f"{part}_j")) if known else None for part in PARTS},
        "phases": [_phase_record(phase) for phase in answer.phases],
        "break_even_density": answer.break_even.density_fraction,
        "break_even_reason": answer.break_even.reason,
        "batches": _batch_records(answer.batches, known),
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


def _batch_records(found: BatchSaving, known: bool) -> list[Record]:
    columns = (found.batch, found.saved_fraction, found.speedup_ratio)
    return [
        {
            "batch": round(batch),
            "saved_fraction": number(saved) if known else None,
            "speedup_ratio": number(speedup) if known else None,
        }
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
