"""Devices behind always-on detectors as a record."""

from __future__ import annotations

from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.report.records import (
    device_record,
    exactness_record,
    number,
    preset_records,
    ranged_record,
    ratios_record,
    request_record,
)
from npuwatt.study.always_on import MILLIWATTS_W, AlwaysOn, AlwaysOnAnswer

Record = dict[str, Any]


def always_on_record(found: AlwaysOn) -> Record:
    """Devices behind always-on detectors as the record of schema npuwatt.always-on/1."""
    asked, profile, handset = found.question, found.profile, found.handset
    cited = asked.citations | profile.citations | handset.citations
    used = [
        {"name": chosen.preset.name, "folder": chosen.preset.folder, "sha256": chosen.preset.sha256}
        for chosen in (profile, handset)
    ]
    day = found.answers[0].duty  # what detectors let through is the same for all
    return {
        "schema": "npuwatt.always-on/1",
        "npuwatt": __version__,
        "request": request_record(asked),
        "profile": {
            "profile": profile.preset.name,
            "title": profile.preset.header("name"),
            "has_listener": profile.record.listener is not None,
            "is_retained": profile.record.is_retained,
            "events_per_s": number(profile.record.events_per_s),
            "answered_per_s": number(day.true_wakes_per_s),
            "missed_per_s": number(day.missed_per_s),
            "false_wakes_per_s": number(day.false_wakes_per_s),
            "listening_fraction": number(day.busy_fraction["listening"]),
            "checking_fraction": number(day.busy_fraction["checking"]),
        },
        "handset": {
            "handset": handset.preset.name,
            "title": handset.preset.header("name"),
            "other_day_w": number(handset.record.other_day_w),
            "battery_j": number(handset.record.battery.energy_j),
            "battery_efficiency_fraction": number(handset.record.battery.efficiency_fraction),
        },
        "milliwatts_w": MILLIWATTS_W,
        "results": [_result(answer) for answer in found.answers],
        "notes": [*asked.notes, *asked.warnings, *found.warnings],
        "presets": [*preset_records(asked), *used],
        "sources": [{"key": key, "citation": text} for key, text in sorted(cited.items())],
    }


def _result(answer: AlwaysOnAnswer) -> Record:
    day, rates = answer.duty, answer.rates
    return {
        **device_record(answer.device),
        **{name: number(value) for name, value in answer.metrics.items()},
        "ranges": {
            name: {side: _scaled(answer.metrics[name], ratio) for side, ratio in zip(("low", "high"), ends, strict=True)}
            for name, ends in answer.ends_ratio.items()
        },
        "power_by_part_w": {name: number(watts) for name, watts in day.power_w.items()},
        "awake_fraction": number(day.busy_fraction["awake"]),
        "answer_energy_j": number(answer.response.energy_j),
        "answer_time_s": number(answer.response.time_s),
        "is_memory_idle": answer.is_memory_idle,
        "nonstop_w": answer.nonstop_w,
        "weights_bytes": number(answer.response.held_bytes),
        "load_s": answer.load_s,
        "mean_by_keeping_w": {name: number(watts) for name, watts in answer.mean_by_keeping_w.items()},
        "mean_at_no_event_w": rates.asleep_w,
        "added_per_event_j": rates.added_per_event_j,
        "milliwatts_up_to_per_s": number(rates.milliwatts_up_to_per_s),
        "day_of_battery_up_to_per_s": number(rates.day_up_to_per_s),
        "half_from_per_s": number(rates.half_from_per_s),
        "most_per_s": number(rates.most_per_s),
        "against_first": {
            "mean_ratio": answer.against.mean_ratio,
            "low": number(answer.against.ends_ratio[0] * answer.against.mean_ratio),
            "high": number(answer.against.ends_ratio[1] * answer.against.mean_ratio),
            "even_per_s": answer.against.even_per_s,
        },
        "overworked": list(answer.overworked),
        "drivers": [
            {
                **ranged_record(driver.ranged),
                "mean_low_w": number(driver.mean_low_w),
                "mean_high_w": number(driver.mean_high_w),
            }
            for driver in answer.drivers
        ],
        "confidence": ratios_record(answer.confidence),
        "exactness": exactness_record(answer.exactness),
        "notes": list(answer.notes),
    }  # fmt: skip


def _scaled(value: float, ratio: float) -> float | None:
    return number(value * ratio) if np.isfinite(value) else None
