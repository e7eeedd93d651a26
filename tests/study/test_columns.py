"""Many design points at once cost what each of them costs alone, and no column is written to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import Array, column
from npuwatt.device.evaluate import Device
from npuwatt.preset import library
from npuwatt.preset.paths import value_at, with_value
from npuwatt.record import replace
from npuwatt.study.inference import Inference, inference
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Network
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())
FACTORS = [0.25, 0.5, 1.0, 1.5, 3.0]
LENGTHS = {
    "batch": [1.0, 2.0, 16.0, 100.0, 1000.0],
    "input_len": [1.0, 100.0, 4000.0, 9000.0, 50_000.0],
    "output_len": [1.0, 2.0, 3.0, 256.0, 10_000.0],
}
HOST = (
    "levels.dram.bandwidth",
    "levels.dram.read_energy",
    "levels.dram.capacity",
    "peak.bf16",
    "mac_energy.bf16",
)
PATHS = {
    "h100-sxm": (*HOST, "static_power", "link.bandwidth", "link.latency", "link.energy"),
    "h100-sxm-parts": ("movement_overhead", "levels.l2.tile", "levels.l1.read_energy", "levels.l2.capacity"),
    "samsung-hbm2-pim": (
        *(f"host.{path}" for path in HOST),
        "banks.parts", "banks.parallelism", "banks.peak.bf16", "banks.mac_energy", "banks.switch_time",
        "banks.standby_power", "banks.command_overhead", "path.activation", "path.column", "path.io",
    ),
    "hbm3-pim-bank-group": ("banks.power_budget", "path.group", "path.global", "path.tsv"),
    "skhynix-gddr6-aim": ("banks.pins_bandwidth",),
    "isaac-rram": (
        *(f"host.{path}" for path in HOST),
        "arrays.parts", "arrays.rows", "arrays.columns", "arrays.weight_bits", "arrays.node", "arrays.adc.energy_over_law",
        "arrays.adc.rate", "arrays.settle_time", "arrays.adc.columns", "arrays.static_power", "arrays.cell.read",
        "arrays.pipelined_layers", "arrays.driver_energy",
    ),
    "sram-analog-cim": ("arrays.arrays", "arrays.cell_charge", "arrays.supply", "arrays.write.pulse", "arrays.line"),
    "sram-digital-cim": ("arrays.node", "arrays.gates.columns", "arrays.write.conductance", "host.levels.dram.bandwidth"),
}  # fmt: skip
CASES = [(name, path) for name, paths in PATHS.items() for path in paths]


@cache
def device(name: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml")).record


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


def read_only(values: list[float]) -> Array:
    made = column(values)
    made.flags.writeable = False
    return made


def varied(name: str, path: str) -> list[float]:
    now, _ = value_at(device(name), path.split("."), path)
    return [float(now) * factor for factor in FACTORS]


def arrays_of(found: Inference) -> dict[str, Any]:
    """Every array of a result by name, those of its phases among them."""
    parts: dict[str, Any] = {}
    for owner, record in (("", found), ("prefill.", found.prefill), ("decode.", found.decode)):
        for name, value in (record.__dict__ if record is not None else {}).items():
            if isinstance(value, np.ndarray):
                parts[owner + name] = value
            elif isinstance(value, Mapping):
                parts |= {f"{owner}{name}.{key}": inner for key, inner in value.items()}
    return parts | found.metrics()


def check(together: Inference, alone: list[Inference]) -> None:
    found = arrays_of(together)
    singles = [arrays_of(one) for one in alone]
    assert all(single.keys() == found.keys() for single in singles)
    for name, values in found.items():
        expected = [single[name].item() for single in singles]
        spread = np.broadcast_to(values, (len(alone), 1))[:, 0]
        taken = [
            sum(value.item() for key, value in one.items() if key.startswith("limit_s.")) for one in singles
        ]
        atol = (
            1e-12 * max(taken) if "limit_s.power" in name else 0.0
        )  # a difference of times that may be equal
        np.testing.assert_allclose(
            spread.astype(float), np.asarray(expected, dtype=float), rtol=1e-12, atol=atol, err_msg=name
        )
    places = np.broadcast_to(together.bound_by(), (len(alone), 1))[:, 0]
    assert places.tolist() == [one.bound_by().item() for one in alone]


@pytest.mark.parametrize("count", [None, 4.0])
@pytest.mark.parametrize(("name", "path"), CASES)
def test_a_column_of_a_device_number_equals_a_loop_over_it(name: str, path: str, count: float | None) -> None:
    net, request, values = network("llama-3.1-8b"), Request(batch=3, input_len=2000), varied(name, path)
    keys = path.split(".")
    together = inference(net, request, with_value(device(name), keys, read_only(values)), count)
    alone = [inference(net, request, with_value(device(name), keys, value), count) for value in values]
    check(together, alone)


@pytest.mark.parametrize("field", LENGTHS)
@pytest.mark.parametrize("name", ["h100-sxm", "samsung-hbm2-pim", "isaac-rram"])
@pytest.mark.parametrize(
    "shape",
    ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v3", "gemma-3-4b", "llama-4-scout", "nemotron-nano-9b-v2"],
)
def test_a_column_of_requests_equals_a_loop_over_it(name: str, shape: str, field: str) -> None:
    net, request = network(shape), Request(batch=2, input_len=700, output_len=300)
    for count in (None, 2.0):
        together = inference(net, replace(request, **{field: read_only(LENGTHS[field])}), device(name), count)
        alone = [
            inference(net, replace(request, **{field: value}), device(name), count)
            for value in LENGTHS[field]
        ]
        check(together, alone)


@pytest.mark.parametrize(("name", "path"), CASES)
def test_columns_of_device_and_request_together_equal_a_loop(name: str, path: str) -> None:
    net, values, keys = network("llama-3.1-8b"), varied(name, path), path.split(".")
    lengths = LENGTHS | {"input_len": LENGTHS["input_len"][::-1]}
    together = inference(
        net,
        replace(Request(), **{field: read_only(each) for field, each in lengths.items()}),
        with_value(device(name), keys, read_only(values)),
    )
    alone = [
        inference(
            net,
            replace(Request(), **{field: each[place] for field, each in lengths.items()}),
            with_value(device(name), keys, value),
        )
        for place, value in enumerate(values)
    ]
    check(together, alone)


@pytest.mark.parametrize("name", PATHS)
def test_a_column_of_device_counts_equals_a_loop_over_it(name: str) -> None:
    counts = [1.0, 2.0, 7.0, 8.0, 64.0]
    request = Request(batch=3)
    together = inference(network("llama-3.1-8b"), request, device(name), read_only(counts))
    check(together, [inference(network("llama-3.1-8b"), request, device(name), count) for count in counts])


def test_without_limits_the_numbers_are_the_same() -> None:
    for name in PATHS:
        full, lean = (
            inference(network("llama-3.1-8b"), Request(), device(name), limits=limits)
            for limits in (True, False)
        )
        assert full.metrics() == lean.metrics()


def test_one_pass_networks_take_columns_too() -> None:
    batches = [1.0, 8.0, 500.0]
    for shape in ("resnet-50", "bert-base", "vit-b-16"):
        net = network(shape)
        together = inference(net, Request(batch=read_only(batches)), device("h100-sxm"))
        check(together, [inference(net, Request(batch=batch), device("h100-sxm")) for batch in batches])
