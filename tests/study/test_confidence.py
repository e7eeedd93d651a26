"""How sure an answer is: its class, and the interval that goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from npuwatt.audit.anchors import never_measured_ratios
from npuwatt.errors import PresetError
from npuwatt.preset import library
from npuwatt.study.compare import compare
from npuwatt.study.confidence import CELLS, METRICS, Confidence, NeverMeasured, confidence, entries
from npuwatt.study.scenario import load_constants, load_device, load_network, load_stack
from npuwatt.workload.request import Request

CALIBRATED = ("h100-sxm", "b200-sxm", "a100-sxm-40gb")


def judged(
    device: str, network: str = "qwen3-8b", *, batch: float = 32, devices: float = 1, stack: str | None = "vllm-0.11",
    output_len: float = 800, changes: tuple[str, ...] = (), weights: str = "bf16",
) -> Confidence:  # fmt: skip
    request = Request(batch=batch, input_len=400.0, output_len=output_len, weights=weights)  # type: ignore[arg-type] # a Width
    chosen = load_stack(stack) if stack else None
    return confidence(
        load_device(device, changes=changes), load_network(network), request, devices=devices, stack=chosen
    )


@pytest.mark.parametrize(
    ("device", "options", "name"),
    [
        ("h100-sxm", {}, "known, in range"),
        ("b200-sxm", {"network": "qwen3-235b-a22b", "devices": 4}, "known, in range"),
        ("h100-sxm", {"batch": 1}, "known, extrapolated"),
        ("h100-sxm", {"devices": 16, "network": "llama-3.1-405b"}, "known, extrapolated"),
        ("h100-sxm", {"network": "deepseek-v3", "devices": 8}, "known, extrapolated"),
        ("h100-sxm", {"weights": "int4"}, "known, extrapolated"),
        ("h100-sxm", {"stack": "vllm-0.5"}, "known, extrapolated"),
        ("a100-sxm-40gb", {"stack": "vllm-0.5"}, "known, in range"),
        ("h200-sxm", {}, "same family"),
        ("mi300x", {}, "same family"),
        ("h100-sxm", {"changes": ("power_cap=500W",)}, "same family"),
        ("furiosa-rngd", {}, "never measured"),
        ("samsung-hbm2-pim", {}, "never measured"),
        ("isaac-rram", {}, "never measured"),
    ],
)
def test_an_answer_says_which_class_it_is_of(device: str, options: dict[str, object], name: str) -> None:
    assert judged(device, **options).name == name  # type: ignore[arg-type] # of several kinds


@pytest.mark.parametrize("stack", ["vllm-0.11", None])
def test_less_known_is_never_surer(stack: str | None) -> None:
    classes = [
        judged("h100-sxm", stack=stack),
        judged("h100-sxm", stack=stack, batch=1),
        judged("mi300x", stack=stack),
        judged("furiosa-rngd", stack=stack),
    ]
    widths = [high / low for low, high in (one.ratios["energy_per_output_token_j"] for one in classes)]
    assert widths[0] <= widths[1]
    assert widths[-1] == max(widths)


@pytest.mark.parametrize("device", [*CALIBRATED, "mi300x", "furiosa-rngd"])
def test_an_interval_holds_the_prediction_and_its_repeats(device: str) -> None:
    for stack in ("vllm-0.11", None):
        for low, high in judged(device, stack=stack).ratios.values():
            assert 0 < low <= 0.91
            assert high >= 1.10


def test_a_changed_stack_is_no_longer_the_one_that_was_measured() -> None:
    request = Request(batch=32.0, input_len=400.0, output_len=800.0)
    stack = load_stack("vllm-0.11", changes=("step_time=1ms",))
    found = confidence(load_device("h100-sxm"), load_network("qwen3-8b"), request, devices=1, stack=stack)
    assert found.name == "same family"


def test_what_nobody_measured_is_as_far_off_as_the_worst_published_anchor() -> None:
    stated = load_constants("never-measured", NeverMeasured).record
    for metric, (low, high) in never_measured_ratios().items():
        assert stated.low_ratio[metric] <= low, metric
        assert stated.high_ratio[metric] >= high, metric


@pytest.mark.parametrize("name", CALIBRATED)
def test_a_calibrated_preset_says_what_it_was_calibrated_on(name: str) -> None:
    for entry in entries(library.find("devices", name)).values():
        assert len(entry["sha256"]) == 64
        assert entry["runs"] > 50
        assert set(entry["known"]) == set(CELLS)
        for part in (*entry["known"].values(), entry["extrapolated"], entry["family"], entry["hardware"]):
            assert set(part) == set(METRICS)
            assert all(0 < low < 1 < high for low, high in part.values())


def test_a_calibration_section_that_is_something_else_is_refused(tmp_path: Path) -> None:
    text = Path(library.presets_root(), "devices", "h200-sxm.yaml").read_text(encoding="utf-8")
    (tmp_path / "odd.yaml").write_text(f"{text}\ncalibration: [{{stack: mine}}]\n", encoding="utf-8")
    with pytest.raises(PresetError, match=r"odd.yaml:\d+: calibration: .* expected what calibrate writes"):
        compare([str(tmp_path / "odd.yaml")])
