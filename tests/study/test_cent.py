"""The CENT preset against the published results of CENT's own simulator, which two of its numbers are fitted on."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from npuwatt.arrays import Array, column
from npuwatt.device.costs import PhaseCosts
from npuwatt.device.evaluate import Device
from npuwatt.device.parallel import Sharing
from npuwatt.preset import library
from npuwatt.preset.paths import with_values
from npuwatt.study.inference import inference
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.network import Network
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())
PROMPT, ANSWER = 512.0, 3584.0
# CENT's energy per token stops at the memory's supply: no regulators, no controller. Its power has the controller.
MEMORY = ("host.regulator_efficiency=1", "host.movement_overhead=0", "host.static_power=0 W")
DEVICES = ("host.regulator_efficiency=1", "host.movement_overhead=0")
UTILIZATION, SWITCH_TIME = ("banks", "utilization"), ("banks", "switch_time")


class Row(NamedTuple):
    network: str
    devices: float
    pipeline_stages: float
    tensor_parallel: float
    phase: str
    latency_s: float
    tokens_per_s: float
    energy_per_token_j: float
    power_w: float


class Ratios(NamedTuple):
    """Predicted over published; arrays are (P, 1)."""

    tokens_per_s: Array
    latency_s: Array
    energy_per_token_j: Array
    power_w: Array


@cache
def rows(phase: str) -> list[Row]:
    text = (ROOT / "measured" / "cent.csv").read_text().splitlines()
    found = []
    for name, devices, stages, parallel, of_phase, *numbers in csv.reader(
        line for line in text if not line.startswith("#")
    ):
        if of_phase == phase:
            latency_s, rate, energy_j, power_w = map(float, numbers)
            found.append(
                Row(
                    name,
                    float(devices),
                    float(stages),
                    float(parallel),
                    phase,
                    latency_s,
                    rate,
                    energy_j,
                    power_w,
                )
            )
    return found


@cache
def device(*changes: str) -> Device:
    return load_device("cent", changes=changes).record


@cache
def network(name: str) -> Network:
    return load_network(name).record


def predicted(row: Row, board: Device) -> PhaseCosts:
    """A phase with one sequence in flight for each pipeline stage."""
    asked = Request(batch=row.pipeline_stages, input_len=PROMPT, output_len=ANSWER)
    sharing = Sharing(pipeline_count=row.pipeline_stages)
    found = inference(network(row.network), asked, board, row.devices, sharing=sharing)
    assert found.fits.all()
    phase = found.prefill if row.phase == "prefill" else found.decode
    assert phase is not None
    return phase


def joules(phase: PhaseCosts) -> Array:
    return sum(phase.energy_j.values(), start=np.zeros((1, 1)))


def ratios(row: Row, utilization: Array | None = None, switch_time: Array | None = None) -> Ratios:
    """Predicted over published, with other values of the two fitted numbers where they are given."""
    changes = {UTILIZATION: utilization, SWITCH_TIME: switch_time}
    given: dict[tuple[str, ...], Array] = {
        path: value for path, value in changes.items() if value is not None
    }
    memory, whole = (
        predicted(row, with_values(device(*boundary), given) if given else device(*boundary))
        for boundary in (MEMORY, DEVICES)
    )
    steps = PROMPT if row.phase == "prefill" else 1.0  # tokens of each sequence in what was predicted
    tokens = row.pipeline_stages * steps
    published_s = row.latency_s / (1.0 if row.phase == "prefill" else ANSWER)
    return Ratios(
        tokens_per_s=tokens / memory.time_s / row.tokens_per_s,
        latency_s=memory.time_s / published_s,
        energy_per_token_j=joules(memory) / tokens / row.energy_per_token_j,
        power_w=joules(whole) / whole.time_s / row.power_w,
    )


def median_error(part: list[Row], metric: str) -> float:
    return float(np.median([abs(getattr(ratios(row), metric).item() - 1) for row in part]))


def parts(phase: str) -> dict[str, list[Row]]:
    """Rows of one phase by how the devices share the network."""
    return {
        "pipeline-parallel": [row for row in rows(phase) if row.tensor_parallel == 1],
        "tensor-parallel": [row for row in rows(phase) if row.tensor_parallel > 1],
    }


def report(phase: str) -> None:
    print(f"\n{phase}: predicted over published        tokens/s  latency  J/token  power")
    for name, part in parts(phase).items():
        for row in part:
            how = f"{row.network}, {row.devices:.0f} devices, PP {row.pipeline_stages:.0f}"
            print(f"  {how:36s}", *(f"{value.item():8.2f}" for value in ratios(row)))
        errors = (f"{metric} {median_error(part, metric):.1%}" for metric in Ratios._fields)
        print(f"  {name}, median error:", ", ".join(errors))


def test_every_published_row_is_there() -> None:
    assert {name: len(part) for name, part in parts("decode").items()} == {
        "pipeline-parallel": 3,
        "tensor-parallel": 7,
    }
    for row in rows("decode") + rows("prefill"):
        stages_at_once = row.devices / row.pipeline_stages
        assert stages_at_once == pytest.approx(row.tensor_parallel) or row.tensor_parallel == 1


@pytest.mark.parametrize("how", ["pipeline-parallel", "tensor-parallel"])
def test_decode_comes_within_a_quarter_of_what_cent_published(how: str) -> None:
    # Gu et al., arXiv 2502.07578: 7 B on 8 devices, 13 B on 20, 70 B on 32; medians over the rows of each way to share.
    report("decode")
    assert median_error(parts("decode")[how], "tokens_per_s") < 0.25
    assert median_error(parts("decode")[how], "latency_s") < 0.25
    assert median_error(parts("decode")[how], "energy_per_token_j") < 0.25
    assert median_error(parts("decode")[how], "power_w") < 0.25


def test_a_prompt_in_a_pipeline_is_read_at_about_the_published_rate() -> None:
    # Nothing is fitted on prompts, which a pipeline reads token after token as it decodes. Without a pipeline the model is
    # several times too fast: it counts the time of a layer once a prompt and not once a token.
    report("prefill")
    for row in parts("prefill")["pipeline-parallel"]:
        assert 0.5 < ratios(row).tokens_per_s.item() < 2


def test_the_two_fitted_numbers_are_those_that_fit_the_decode_rates() -> None:
    utilization, switch_time = np.meshgrid(np.arange(0.2, 0.62, 0.02), np.arange(0, 20e-6, 1e-6))
    grid = [
        abs(np.log(ratios(row, column(utilization.ravel()), column(switch_time.ravel())).tokens_per_s))
        for row in rows("decode")
    ]
    here = sum(abs(np.log(ratios(row).tokens_per_s)).item() for row in rows("decode"))
    assert here <= 1.03 * np.min(sum(grid))
