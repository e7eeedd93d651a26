"""Every device that ships answers a small question, or says which number types it would take."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from npuwatt.device.costs import COMPONENTS
from npuwatt.device.evaluate import Device, host_of, static_power_w
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.study.inference import inference
from npuwatt.study.scenario import Chosen, load_device, load_network
from npuwatt.workload.network import Network
from npuwatt.workload.request import WIDTHS, Request

ROOT = Path(library.presets_root())
DEVICES = sorted(path.stem for path in (ROOT / "devices").glob("*.yaml"))
SMALL = ("smollm2-135m", "resnet-50", "bert-base")


@cache
def device(name: str) -> Chosen[Device]:
    return load_device(str(ROOT / "devices" / f"{name}.yaml"))


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DEVICES)
def test_a_device_answers_or_names_the_types_it_computes(name: str, width: Any) -> None:
    chip = device(name).record
    request = Request(weights=width, activations=width, kv_cache=width, input_len=20, output_len=4)
    try:
        found = [inference(network(shape), request, chip) for shape in SMALL]
    except NpuwattError as error:
        (fault,) = error.faults
        have = ", ".join(host_of(chip).peak_macs_per_s)
        assert fault.startswith(f"computes in {have}, and the request needs {width}; expected")
        suggested = fault.rpartition(" ")[2]
        answer = Request(weights=suggested, activations=suggested, kv_cache=suggested)  # type: ignore[arg-type] # checked when made
        assert inference(network("smollm2-135m"), answer, chip).devices_needed.item() >= 1
        return
    for result in found:
        assert result.devices_needed.item() >= 1
        metrics = {key: value.item() for key, value in result.metrics().items()}
        expected = {key for key in metrics if key != "tpot_s" or result.decode}
        if result.fits.item():
            assert all(metrics[key] > 0 for key in expected), metrics
            assert set(result.energy_j) <= set(COMPONENTS)
        else:
            assert host_of(chip).link is None


@pytest.mark.parametrize("name", DEVICES)
def test_narrower_types_are_never_slower_and_never_dearer(name: str) -> None:
    host = host_of(device(name).record)
    for chain in (("fp32", "bf16", "fp8", "fp4"), ("bf16", "int8", "int4")):
        order = [width for width in chain if width in host.peak_macs_per_s]
        for wide, narrow in itertools.pairwise(order):
            assert host.mac_energy_j_per_mac[narrow] <= host.mac_energy_j_per_mac[wide]
            if narrow != "int8":  # Blackwell Ultra gave most of its int8 rate up for fp4
                assert host.peak_macs_per_s[narrow] >= host.peak_macs_per_s[wide]


@pytest.mark.parametrize("name", DEVICES)
def test_physical_magnitudes_are_those_of_chips(name: str) -> None:
    # Ends with room: 45 to 2 nm MACs; SRAM to DDR5 (120 pJ/B) and a whole board's path; a phone to a rack-scale part.
    chip = device(name).record
    host = host_of(chip)
    assert all(1e-15 < energy < 20e-12 for energy in host.mac_energy_j_per_mac.values())
    path = sum(level.read_energy_j_per_byte for level in host.levels.values()) / 8 * 1e12
    assert 0.05 < path < 60
    assert 0 < static_power_w(chip) < host.power_cap_w <= 2500
    assert 1e8 < host.memory.bandwidth_bytes_per_s < 2e14
    assert all(1e11 < peak < 1e17 for peak in host.peak_macs_per_s.values())


@pytest.mark.parametrize("name", DEVICES)
def test_the_full_peak_draws_no_more_than_several_times_the_cap(name: str) -> None:
    host = host_of(device(name).record)
    for width, peak in host.peak_macs_per_s.items():
        drawn = peak * host.mac_energy_j_per_mac[width] + host.static_power_w
        assert drawn < 3 * host.power_cap_w, f"{width}: multipliers alone would draw {drawn:.0f} W"
