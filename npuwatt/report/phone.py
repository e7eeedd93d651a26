"""Devices in a handset as a record."""

from __future__ import annotations

from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.report.records import (
    device_record,
    exactness_record,
    number,
    preset_records,
    ratios_record,
    request_record,
)
from npuwatt.study.phone import Phone, PhoneAnswer
from npuwatt.study.phone_claim import PeakClaim
from npuwatt.study.phone_figures import token_key

Record = dict[str, Any]
MOMENTS = 60  # of the session, and of what follows, where not all are told
FIGURES = (
    "demand_w", "tokens_per_s", "reaching_w", "reaching_ratio", "steady_w", "steady_ratio", "steady_tokens_per_s", "reaches_s",
    "peak_skin_k", "peak_die_k", "battery_life_s", "tokens_per_charge",
)  # fmt: skip
"""What is told of a device with a range, by name of its value."""


def phone_record(found: Phone, *, is_whole: bool = False) -> Record:
    """Devices in a handset as the record of schema npuwatt.phone/1; `is_whole`: with every moment of the course."""
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
            "in_case": found.session.in_case,
            "limit_k": found.limit_k,
            "junction_limit_k": number(chosen.record.junction_limit_k),
            "ambient_k": found.session.ambient_k,
            "start_k": found.session.start_k,
            "session_s": found.session.session_s,
            "governor": found.session.governor,
            "is_limit_given": found.session.limit_k is not None,
        },
        "results": [
            _result(answer, found.claim, found.session.session_s, is_whole) for answer in found.answers
        ],
        "is_whole_course": is_whole,
        "notes": [*found.left_out, *asked.notes, *asked.warnings, *found.warnings],
        "presets": [*preset_records(asked), used],
        "sources": [{"key": key, "citation": text} for key, text in sorted(cited.items())],
    }


def _result(answer: PhoneAnswer, claim: PeakClaim | None, session_s: float, is_whole: bool) -> Record:
    values, ends = answer.figures.values, answer.ranges.ends
    return {
        **device_record(answer.device),
        "rated_w": answer.work.rated_w,
        "work_w": float(answer.work.rate.power_w[-1]),
        **{name: number(values[name]) for name in FIGURES},
        "steady_bound_by": str(answer.figures.steady.bound_by[0, 0]),
        "reaching_bound_by": str(answer.figures.reaching.bound_by[0, 0]),
        "unthrottled_s": number(answer.unthrottled_s),
        "overshoot_k": number(answer.figures.course.overshoot_k),
        "tokens": [
            {"within_s": seconds, "tokens": number(tokens), **_ends(ends[token_key(seconds)])}
            for seconds, tokens in answer.figures.tokens.items()
        ],
        "ranges": {name: _ends(ends[name]) for name in FIGURES}
        | {"numbers_count": answer.ranges.numbers_count, "runs_away_by": list(answer.ranges.away)},
        "claim": _claim(answer, claim),
        "exactness": exactness_record(answer.exactness),
        "notes": list(answer.notes),
        "confidence": ratios_record(answer.confidence),
        "course": _course(answer, session_s, is_whole),
    }


def _course(answer: PhoneAnswer, session_s: float, is_whole: bool) -> list[Record]:
    """Moments of the session and of what follows: all of them, or enough to draw."""
    course = answer.figures.course
    power_w = np.append(course.power_w[0], course.power_w[0, -1])  # of the period that each moment begins
    told = (course.time_s, course.skin_k[0], course.die_k[0], power_w, answer.work.rate.at(power_w))
    last = len(course.time_s) - 1
    end = int(np.searchsorted(course.time_s, session_s - 1e-6))
    kept = np.arange(last + 1)
    if not is_whole:
        parts = (np.linspace(0, end, MOMENTS + 1), np.linspace(end, last, MOMENTS + 1))
        kept = np.unique(np.concatenate(parts).round().astype(int))
    return [
        dict(zip(("time_s", "skin_k", "die_k", "power_w", "tokens_per_s"), moment, strict=True))
        for moment in zip(*(values[kept].tolist() for values in told), strict=True)
    ]


def _ends(ends: tuple[float, float]) -> Record:
    """An interval; an end may be none: never, or no end to it."""
    return {"low": number(ends[0]), "high": number(ends[1])}


def _claim(answer: PhoneAnswer, claim: PeakClaim | None) -> Record | None:
    """For which peak powers the share of peak that was asked about holds the limit."""
    if claim is None:
        return None
    claimed_w = claim.share_fraction * answer.work.rated_w
    low_w, high_w = answer.ranges.ends["reaching_w"]
    return {
        "share_fraction": claim.share_fraction,
        "holds": claimed_w <= float(answer.figures.values["reaching_w"][0, 0]),
        "is_open": low_w < claimed_w <= high_w,
        "conditions": [
            {
                "spreading_fraction": spreading,
                "ambient_k": room_k,
                "session_peak_w": float(claim.session_peak_w[row, place]),
                "session_bound_by": str(claim.session_bound_by[row, place]),
                "steady_peak_w": float(claim.steady_peak_w[row, place]),
                "steady_bound_by": str(claim.steady_bound_by[row, place]),
            }
            for row, spreading in enumerate(claim.spreading_fraction)
            for place, room_k in enumerate(claim.rooms_k)
        ],
    }
