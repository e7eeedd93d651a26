"""Every number in a preset of a memory that computes changes some answer: none is there for show."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from npuwatt.device.accuracy import product_accuracy
from npuwatt.device.evaluate import Device
from npuwatt.device.per_macro import chip_area_m2
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.preset.paths import value_at, with_value
from npuwatt.record import replace
from npuwatt.study.accuracy import layout_of
from npuwatt.study.inference import inference
from npuwatt.study.reprogramming import loading_of, schedule_of
from npuwatt.study.scenario import Chosen, load_device, load_network
from npuwatt.workload.network import Network
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())
KINDS = ("near-bank-pim", "crossbar")
DEVICES = sorted(
    path.stem
    for path in (ROOT / "devices").glob("*.yaml")
    if any(f"kind: {kind}" in path.read_text() for kind in KINDS)
)
# Both ways, mild first; the wild ones are for what limits nothing until it is far off, such as a capacity.
FACTORS = (1.3, 1 / 1.3, 2.0, 0.5, 4.0, 0.25, 10.0, 0.1, 100.0, 0.01)
FROM_NOTHING = {
    "_j_per_byte": 1e-12,
    "_j_per_mac": 1e-12,
    "_w": 1.0,
}  # in place of a factor where a number is 0
Answer = np.ndarray[Any, np.dtype[np.float64]]


class Question(NamedTuple):
    network: str
    request: Request
    devices: float | None


def questions(shape: str) -> Iterator[Question]:
    """One sequence and many, wide numbers and narrow ones, on as few devices as hold it and on two."""
    for width in ("bf16", "fp16", "int8"):
        widths: Any = dict.fromkeys(("weights", "activations", "kv_cache"), width)
        for batch in (1.0, 300.0):
            asked = replace(Request(batch=batch, input_len=300, output_len=40), **widths)
            yield Question(shape, asked, None)
            yield Question(shape, asked, 2.0)
            if batch == 1:  # state-space layers, which no unit in a memory computes
                yield Question("nemotron-nano-9b-v2", asked, None)


QUESTIONS = tuple(questions("llama-3.1-8b"))
OF_HANDSETS = tuple(questions("llama-3.2-1b"))  # what a single board holds, which has no link to another
AGES_S = (0.0, 3600.0, 86400.0, 1.5 * 86400.0, 10 * 86400.0, 3e7)


@cache
def device(name: str) -> Chosen[Device]:
    return load_device(str(ROOT / "devices" / f"{name}.yaml"))


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


def answer(record: Device, asked: Question) -> Answer:
    """Devices needed, times and energies by component; nothing where the device does not compute such numbers."""
    try:
        found = inference(network(asked.network), asked.request, record, asked.devices)
    except NpuwattError:
        return np.zeros(0)
    parts = [found.devices_needed, found.ttft_s, found.tpot_s, *found.energy_j.values()]
    return np.concatenate([part.ravel() for part in parts])


def others(record: Device, address: str) -> Iterator[Device]:
    """The device with other values of one number, those left out that it may not have."""
    now, suffix = value_at(record, address.split("."), address)
    for value in [now * factor for factor in FACTORS] if now else [FROM_NOTHING[suffix]]:
        try:
            yield with_value(record, address.split("."), value)
        except NpuwattError:
            continue


def of_cells(record: Device) -> Answer:
    """What a board of cells is besides its answers: area, errors over time cold and hot, and the life of its cells."""
    if record.kind != "crossbar":
        return np.zeros(0)
    arrays = record.arrays
    found = [chip_area_m2(arrays)]
    if arrays.noise is not None:
        found += [
            product_accuracy(arrays.noise, layout_of(arrays), AGES_S, temperature_k=kelvin).snr_db
            for kelvin in (300.0, 350.0)
        ]
    if not arrays.is_streamed:
        loading = loading_of(record, network("llama-3.1-8b"))
        schedule = schedule_of(arrays, loading, 1e9, 0.0, {})
        found += [loading.energy_j, loading.time_s, schedule.lifetime_s]
    return np.concatenate([np.ravel(part) for part in found])


def questions_of(record: Device) -> tuple[Question, ...]:
    return OF_HANDSETS if record.kind == "crossbar" and record.host.link is None else QUESTIONS


def answers(record: Device) -> list[Answer]:
    return [of_cells(record), *(answer(record, asked) for asked in questions_of(record))]


def matters(record: Device, address: str, now: list[Answer]) -> bool:
    """Whether some value of a number gives some question another answer than `now`."""
    for other in others(record, address):
        for before, asked in zip(now, (None, *questions_of(record)), strict=True):
            after = answer(other, asked) if asked else of_cells(other)
            if after.shape != before.shape or not np.allclose(
                after, before, rtol=1e-9, atol=0, equal_nan=True
            ):
                return True
    return False


@cache
def answers_of(name: str) -> list[Answer]:
    return answers(device(name).record)


CASES = [(name, address) for name in DEVICES for address in device(name).evidence]


@pytest.mark.parametrize(("name", "address"), CASES)
def test_each_number_of_a_preset_changes_an_answer(name: str, address: str) -> None:
    assert matters(device(name).record, address, answers_of(name)), (
        "changes no energy, time, number of devices, area, error or life"
    )


def test_a_number_for_show_is_found() -> None:
    # A power budget so large that no value near it ever limits a board.
    shown = with_value(device("samsung-hbm2-pim").record, ["banks", "power_budget"], 1e9)
    assert not matters(shown, "banks.power_budget", answers(shown))
