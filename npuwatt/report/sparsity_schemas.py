"""JSON Schema of what sparsity prints; what it shares with other commands comes from there."""

from __future__ import annotations

from typing import get_args

from npuwatt.report.schema_parts import (
    COUNT,
    FLAG,
    MAYBE,
    MAYBE_COUNT,
    MAYBE_TEXT,
    NUMBER,
    TEXT,
    TEXTS,
    Schema,
    list_of,
    object_of,
)
from npuwatt.study.pruning_claim import Verdict
from npuwatt.study.sparsity_split import PARTS

_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SIDE = object_of(
    {"moved_bytes": NUMBER, "macs": NUMBER, "time_s": MAYBE, "energy_j": MAYBE, "tokens_per_j": MAYBE}
)
_VERDICT: Schema = {"enum": list(get_args(Verdict))}
_JUDGEMENT = object_of(
    {
        "verdict": _VERDICT,
        "sentence": TEXT,
        "condition": TEXT,
        "parts": list_of(
            object_of(
                {"about": {"enum": ["saving", "software", "accuracy"]}, "verdict": _VERDICT, "reason": TEXT}
            )
        ),
    }
) | {"type": ["object", "null"]}
_ROW = object_of(
    {
        "network": TEXT,
        "parameters_count": NUMBER,
        "size_ratio": NUMBER,
        "metric": TEXT,
        "method": TEXT,
        "density": _SHARE,
        "retrained": FLAG,
        "retrained_tokens_count": MAYBE,
        "dense": MAYBE,
        "pruned": MAYBE,
        "loss_fraction": MAYBE,
        "claim": TEXT,
        "secondary": FLAG,
        "citation": TEXT,
    }
)
_EVIDENCE = object_of(
    {
        "pattern": TEXT,
        "parameters_count": NUMBER,
        "reason": TEXT,
        "rows": list_of(_ROW),
        "sentences": TEXTS,
        "in_short": TEXTS,
        "in_short_citations": TEXTS,
    }
) | {"type": ["object", "null"]}
_PAIR: Schema = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}


def roots(
    request: Schema, device: Schema, used: Schema, sources: Schema
) -> dict[str, tuple[str, Schema, Schema]]:
    """The schema of sparsity, with those of what it shares."""
    result = object_of(
        device
        | {
            "fits": FLAG,
            "zeros_stated": FLAG,
            "devices": MAYBE_COUNT,
            "devices_needed": MAYBE_COUNT,
            "devices_needed_with_zeros": MAYBE_COUNT,
            "dense_energy_per_output_token_j": MAYBE,
            "energy_per_output_token_j": MAYBE,
            "saved_fraction": MAYBE,
            "saved_low_fraction": MAYBE,
            "saved_high_fraction": MAYBE,
            "speedup_ratio": MAYBE,
            "split_j": object_of(dict.fromkeys(PARTS, MAYBE)),
            "phases": list_of(
                object_of(
                    {
                        "phase": {"enum": ["prefill", "decode", "mixed"]},
                        "steps_fraction": MAYBE,
                        "effectual_macs": NUMBER,
                        "dense": _SIDE,
                        "sparse": _SIDE,
                    }
                )
            ),
            "break_even_density": MAYBE,
            "break_even_reason": TEXT,
            "batches": list_of(object_of({"batch": COUNT, "saved_fraction": MAYBE, "speedup_ratio": MAYBE})),
            "saves_at_batches": list_of(COUNT),
            "vanishes_at_batch": MAYBE_COUNT,
            "software": list_of(
                object_of(
                    {
                        "software": TEXT,
                        "role": {"enum": ["prunes", "stores", "runs"]},
                        "status": {"enum": ["supported", "dropped", "never"]},
                        "as_of": MAYBE_TEXT,
                        "version": MAYBE_TEXT,
                        "note": TEXT,
                        "citation": TEXT,
                    }
                )
            ),
            "judgement": _JUDGEMENT,
            "notes": TEXTS,
        }
    )
    about = "What zeros save against the same network without them; energies per output token, phases for all sequences."
    return {
        "sparsity": (
            about,
            {
                "request": request,
                "results": list_of(result),
                "claimed_saving_fraction": _SHARE,
                "tolerated_loss_fraction": _SHARE,
                "evidence": _EVIDENCE,
                "activation_evidence": TEXTS,
                "near_zero": object_of({"threshold_sigmas": _PAIR, "squared_norm_fraction": _PAIR})
                | {"type": ["object", "null"]},
                "notes": TEXTS,
                "presets": used,
                "sources": sources,
            },
            {},
        )
    }
