"""Accuracy over time as a record and for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from npuwatt import __version__
from npuwatt.device.accuracy import PARTS
from npuwatt.device.layout import active_rows, weight_scale_ratio
from npuwatt.report.document import Report, Table
from npuwatt.report.records import device_record, number
from npuwatt.report.words import label, quantity
from npuwatt.study.accuracy import AccuracyStudy
from npuwatt.study.verdicts import BANDS
from npuwatt.units import show_time

Record = dict[str, Any]
_PARTS = {
    "programming": "program",
    "drift": "drift",
    "read": "read",
    "wire": "wires",
    "clipping": "weights",
    "input": "inputs",
    "adc_clipping": "clipping",
    "adc_rounding": "rounding",
}
_HELD = {
    "link": "no more come over the link",
    "power": "no more power is allowed",
    "pulses": "rows are written one after another",
}


def accuracy_record(found: AccuracyStudy) -> Record:
    """An accuracy study as the record of schema npuwatt.accuracy/1."""
    layout, chosen, network = found.layout, found.device, found.network
    presets = (chosen.preset, network.preset)
    return {
        "schema": "npuwatt.accuracy/1",
        "npuwatt": __version__,
        **device_record(chosen),
        "network": network.preset.name,
        "temperature_k": found.temperature_k,
        "weights": {
            "distribution": layout.weights.shape,
            "scale_ratio": number(weight_scale_ratio(layout)),
            "bits": number(layout.weight_bits),
            "cell_bits": number(layout.cell_bits),
            "is_pair": layout.is_pair,
        },
        "array": {
            "rows": number(layout.rows_count),
            "active_rows": number(active_rows(layout)),
            "columns": number(layout.columns_count),
        },
        "converter": {
            "bits": None if layout.adc_bits_count is None else number(layout.adc_bits_count),
            "lossless_bits": found.lossless_bits,
            "clip_ratio": number(layout.adc_clip_ratio),
            "loss_db": number(found.converter_loss_db),
        },
        "moments": [_moment(found, place) for place in range(len(found.times_s))],
        "range_mostly_from": found.range_mostly_from,
        "loading": None
        if found.loading is None
        else {
            "boards": found.loading.boards_count,
            "cells": found.loading.cells_count,
            "energy_j": found.loading.energy_j,
            "time_s": found.loading.time_s,
            "held_back_by": found.loading.held_back_by,
        },
        "schedule": None
        if found.schedule is None or found.loading is None
        else {
            "interval_s": found.schedule.interval_s,
            "energy_j": found.loading.energy_j,
            "power_w": found.schedule.power_w,
            "downtime_fraction": found.schedule.downtime_fraction,
            "snr_db": number(found.schedule.snr_db),
            "lifetime_s": number(found.schedule.lifetime_s),
            "lifetime_low_s": number(found.schedule.lifetime_low_s),
            "lifetime_high_s": number(found.schedule.lifetime_high_s),
        },
        "trials": found.trials,
        "notes": [*found.notes, *found.warnings],
        "presets": [{"name": one.name, "folder": one.folder, "sha256": one.sha256} for one in presets],
        "sources": [
            {"key": key, "citation": text}
            for key, text in sorted((chosen.citations | network.citations).items())
        ],
    }


def _moment(found: AccuracyStudy, place: int) -> Record:
    def at(values: Any) -> float | None:
        return None if values is None else number(values[0, place])

    return {
        "time_s": found.times_s[place],
        "snr_db": at(found.compensated.snr_db),
        "snr_low_db": at(found.low_db),
        "snr_high_db": at(found.high_db),
        "snr_uncompensated_db": at(found.plain.snr_db),
        "snr_simulated_db": at(found.trial_db),
        "enob_bits": at(found.compensated.enob_bits),
        "noise_ratio": {name: at(found.compensated.noise_ratio[name]) for name in PARTS},
        "is_extrapolated": bool(found.compensated.is_extrapolated[0, place]),
        "verdict": found.verdicts()[place],
    }


def accuracy_report(record: Record) -> Report:
    """How exact products are over time, what spoils them, and what keeping them exact takes."""
    simulated = ("simulated",) if record["trials"] else ()
    narrow = ("age", "SNR dB", "range", *simulated, "raw dB", "verdict")
    wide = ("age", "SNR dB", "range", *simulated, "raw dB", "bits", "most noise", "verdict")
    rows = [_row(one) for one in record["moments"]]
    title = "signal over noise of a product, by time since its cells were written"
    left = ("range", "most noise", "verdict")
    tables = [
        Table(
            title=title,
            columns=names,
            rows=tuple(tuple(row[name] for name in names) for row in rows),
            left=left,
        )
        for names in (narrow, wide)
    ]
    parts = Table(
        title="what spoils it: noise in dB of the signal",
        columns=("age", *_PARTS.values()),
        rows=tuple(
            (show_time(one["time_s"]), *(_noise(one["noise_ratio"][name]) for name in _PARTS))
            for one in record["moments"]
        ),
    )
    return Report(
        heading=_heading(record),
        tables=(tables[0], parts),
        wide=(tables[1], parts),
        sentences=tuple(_sentences(record)),
        notes=tuple(_notes(record)),
    )


def _row(one: Record) -> dict[str, str]:
    """Everything that tables say of a moment, by column."""
    return {
        "age": show_time(one["time_s"]) + ("*" if one["is_extrapolated"] else ""),
        "SNR dB": _db(one["snr_db"]),
        "range": f"{_db(one['snr_low_db'])} .. {_db(one['snr_high_db'])}",
        "simulated": _db(one["snr_simulated_db"]),
        "raw dB": _db(one["snr_uncompensated_db"]),
        "bits": "-" if one["enob_bits"] is None else f"{max(one['enob_bits'], 0):.1f}",
        "most noise": _worst(one["noise_ratio"]),
        "verdict": one["verdict"],
    }


def _heading(record: Record) -> str:
    weights, array = record["weights"], record["array"]
    cells = "pairs of cells" if weights["is_pair"] else "cells"
    return (
        f"{label(record)} ({record['preset']}, {record['evidence']}): {array['rows']:.0f} x {array['columns']:.0f} weights "
        f"of {weights['bits']:.0f} bits in {cells} of {min(weights['cell_bits'], weights['bits']):.0f}, "
        f"{record['temperature_k']:.0f} K, {weights['distribution']}, scale {weights['scale_ratio']:.2f} sigma"
    )


def _sentences(record: Record) -> list[str]:
    converter, loading, schedule = record["converter"], record["loading"], record["schedule"]
    said = []
    if converter["bits"] is not None:
        lost = "" if converter["loss_db"] is None else f", which costs {converter['loss_db']:.1f} dB at first"
        said.append(
            f"Converters have {converter['bits']:.3g} bits of the {converter['lossless_bits']:.0f} that tell every sum apart{lost}."
        )
    if loading is not None:
        boards = "" if loading["boards"] == 1 else f" on {loading['boards']:.0f} boards"
        said.append(
            f"Writing {record['network']} into {quantity(loading['cells'])} cells{boards} takes "
            f"{quantity(loading['energy_j'], 'J')} and {show_time(loading['time_s'])}, for {_HELD[loading['held_back_by']]}."
        )
    if schedule is not None:
        life = (
            "cells do not wear"
            if schedule["lifetime_s"] is None
            else (
                f"cells last {show_time(schedule['lifetime_s'])} "
                f"({show_time(schedule['lifetime_low_s'])} to {show_time(schedule['lifetime_high_s'])})"
            )
        )
        said.append(
            f"Written again every {show_time(schedule['interval_s'])}, products never get older than that "
            f"({_db(schedule['snr_db'])} dB): {quantity(schedule['power_w'], 'W')} in the mean, {100 * schedule['downtime_fraction']:.2g} % of the time, and {life}."
        )
    return said


def _notes(record: Record) -> list[str]:
    bands = ", ".join(f"{name} from {least:.0f} dB" for least, name in BANDS if np.isfinite(least))
    stars = any(one["is_extrapolated"] for one in record["moments"])
    return [
        *record["notes"],
        f"verdicts are npuwatt's own and go by SNR, not by its range: {bands}, else {BANDS[-1][1]}",
        "raw: without dividing out the mean change that known products show; range: each number of the cells alone at "
        f"either end of its own, added in squares; {record['range_mostly_from']} does most to it"
        + ("; *: extrapolated" if stars else ""),
        "noise of: programming and relaxation, drift, reading, wires, clipped weights, inputs, clipped and rounded sums",
    ]


def _worst(parts: Record) -> str:
    return _PARTS[max(_PARTS, key=lambda name: parts[name] or 0.0)] if any(parts.values()) else "none"


def _db(value: float | None) -> str:
    return "inf" if value is None else f"{value:.1f}"


def _noise(ratio: float | None) -> str:
    return "-" if not ratio or ratio < 1e-12 else f"{10 * np.log10(ratio):.0f}"
