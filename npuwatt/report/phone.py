"""Devices in a handset as a record."""

from __future__ import annotations

from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.report.records import device_record, number, preset_records, request_record
from npuwatt.study.confidence import LEVEL
from npuwatt.study.phone import Phone, PhoneAnswer

Record = dict[str, Any]


def phone_record(found: Phone) -> Record:
    """Devices in a handset as the record of schema npuwatt.phone/1."""
    asked, chosen = found.question, found.handset
    cited = asked.citations | chosen.citations
    used = {"name": chosen.preset.name, "folder": chosen.preset.folder, "sha256": chosen.preset.sha256}
    return {
        "schema": "npuwatt.phone/1",
        "npuwatt": __version__,
        "request": request_record(asked),
        "handset": {
            "handset": chosen.preset.name,
            "title": chosen.preset.header("name"),
            "other_w": number(chosen.record.other_w),
            "in_case": found.in_case,
            "limit_k": found.limit_k,
            "junction_limit_k": number(chosen.record.junction_limit_k),
            "ambient_k": found.ambient_k,
            "start_k": found.start_k,
            "session_s": found.session_s,
            "governor": found.governor,
        },
        "results": [_result(answer) for answer in found.answers],
        "notes": [*asked.notes, *asked.warnings, *found.warnings],
        "presets": [*preset_records(asked), used],
        "sources": [{"key": key, "citation": text} for key, text in sorted(cited.items())],
    }


def _result(answer: PhoneAnswer) -> Record:
    course, steady = answer.course, answer.steady
    power_w = np.append(course.power_w[0], course.power_w[0, -1])  # of the period that each moment begins
    return {
        **device_record(answer.device),
        "rated_w": answer.rated_w,
        "demand_w": answer.demand_w,
        "tokens_per_s": float(answer.rate.at(answer.demand_w)),
        "steady_w": number(steady.power_w),
        "steady_bound_by": str(steady.bound_by[0, 0]),
        "steady_tokens_per_s": number(answer.rate.at(np.minimum(steady.power_w, answer.demand_w))),
        "reaching_w": answer.reaching_w,
        "reaches_s": number(course.reaches_s),
        "peak_skin_k": number(course.peak_skin_k),
        "peak_die_k": number(course.peak_die_k),
        "overshoot_k": number(course.overshoot_k),
        "tokens": [{"within_s": seconds, "tokens": tokens} for seconds, tokens in answer.tokens.items()],
        "claim": _claim(answer),
        "confidence": {
            "class": answer.confidence.name,
            "level_fraction": LEVEL,
            **{name: {"low": low, "high": high} for name, (low, high) in answer.confidence.ratios.items()},
        },
        "course": [
            {"time_s": time_s, "skin_k": skin_k, "die_k": die_k, "power_w": power_w, "tokens_per_s": rate}
            for time_s, skin_k, die_k, power_w, rate in zip(
                course.time_s.tolist(), course.skin_k[0].tolist(), course.die_k[0].tolist(), power_w.tolist(),
                answer.rate.at(power_w).tolist(), strict=True,
            )
        ],
    }  # fmt: skip


def _claim(answer: PhoneAnswer) -> Record | None:
    """For which peak powers the share of peak that was asked about holds the limit."""
    claim = answer.claim
    if claim is None:
        return None
    return {
        "share_fraction": claim.share_fraction,
        "holds": claim.share_fraction * answer.rated_w <= answer.reaching_w,
        "conditions": [
            {
                "spreading_fraction": spreading,
                "ambient_k": room_k,
                "session_peak_w": float(claim.session_peak_w[row, place]),
                "steady_peak_w": float(claim.steady_peak_w[row, place]),
            }
            for row, spreading in enumerate(claim.spreading_fraction)
            for place, room_k in enumerate(claim.rooms_k)
        ],
    }
