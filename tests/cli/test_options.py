"""Options mean the same in any order; flags come before the environment, and that before the defaults."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Run

FLAGS = (("--batch", "8"), ("--network", "qwen3-8b"), ("--set", "devices.gpu.power_cap=500W"))


def test_options_and_devices_may_come_in_any_order(run: Run) -> None:
    parts = (("gpu",), *FLAGS, ("--format", "json"))
    orders = list(itertools.permutations(parts))[:: len(parts) ** 2]
    texts = {run("compare", *itertools.chain(*order)).out for order in orders}
    assert len(orders) > 3
    assert len(texts) == 1
    assert '"batch": 8' in texts.pop()


@pytest.mark.parametrize(
    ("variable", "value", "flag", "other", "field"),
    [
        ("NPUWATT_NETWORK", "qwen3-8b", "--network", "qwen3-4b", "network"),
        ("NPUWATT_BATCH", "8", "--batch", "4", "batch"),
        ("NPUWATT_INPUT_LEN", "100", "--input-len", "50", "input_len"),
        ("NPUWATT_OUTPUT_LEN", "100", "--output-len", "50", "output_len"),
        ("NPUWATT_DEVICES", "2", "--devices", "4", "devices"),
        ("NPUWATT_WEIGHTS", "fp8", "--weights", "int8", "weights"),
        ("NPUWATT_ACTIVATIONS", "fp8", "--activations", "int8", "activations"),
        ("NPUWATT_KV_CACHE", "fp8", "--kv-cache", "int8", "kv_cache"),
        ("NPUWATT_CONSTANTS", "article", "--constants", "sourced", "constants"),
    ],
)
def test_a_flag_beats_the_environment_and_that_the_default(
    run: Run, variable: str, value: str, flag: str, other: str, field: str
) -> None:
    default = run("compare", "gpu", "--json").json()["request"][field]
    by_variable = run("compare", "gpu", "--json", env={variable: value}).json()["request"][field]
    by_flag = run("compare", "gpu", "--json", flag, other, env={variable: value}).json()["request"][field]
    assert (str(by_variable), str(by_flag)) == (value, other)
    assert str(default) != value


def test_the_format_may_come_from_the_environment(run: Run) -> None:
    assert run("compare", "gpu", env={"NPUWATT_FORMAT": "json"}).out == run("compare", "gpu", "--json").out
    assert run("compare", "gpu", "--format", "csv", env={"NPUWATT_FORMAT": "json"}).out.startswith("device,")
    assert (
        run("compare", "gpu", "--json", env={"NPUWATT_FORMAT": "csv"}).out
        == run("compare", "gpu", "--json").out
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NPUWATT_BATCH", "many"),
        ("NPUWATT_NETWORK", "llama-9"),
        ("NPUWATT_FORMAT", "jsn"),
        ("NPUWATT_PRESETS", "nowhere"),
    ],
)
def test_a_bad_value_in_the_environment_is_refused(run: Run, variable: str, value: str) -> None:
    done = run("compare", "gpu", env={variable: value})
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert value in done.err


def test_the_same_device_under_two_names_gives_the_same_numbers(run: Run) -> None:
    first, second = run("compare", "gpu", "h100-sxm", "--json").json()["results"]
    assert first["preset"] == second["preset"] == "h100-sxm"
    assert first["device"] == "gpu"
    assert {**first, "device": ""} == {**second, "device": ""}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("gpu", "npu", "h100-sxm"), "gpu and h100-sxm"),
        (("gpu", "gpu"), "gpu and gpu"),
        (("gpu", "h100", "h100-sxm"), "gpu and h100 and h100-sxm"),
    ],
)
def test_one_device_by_several_names_is_told_once(run: Run, names: tuple[str, ...], told: str) -> None:
    done = run("compare", *names)
    assert done.code == 0
    assert done.err == f"warning: {told} are one device, h100-sxm, with the same numbers\n"


def test_one_device_with_other_numbers_is_another(run: Run) -> None:
    assert run("compare", "gpu", "h100-sxm", "--set", "devices.gpu.power_cap=700W").err != ""
    done = run("compare", "gpu", "h100-sxm", "--set", "devices.gpu.power_cap=690W")
    assert (done.code, done.err) == (0, "")


def test_set_takes_a_device_by_the_name_it_was_typed_with(run: Run) -> None:
    asked = ("compare", "gpu", "h100-sxm", "--set", "devices.gpu.power_cap=400W", "--json")
    first, second = run(*asked, "--input-len", "8000").json()["results"]
    assert first["ttft_s"] > second["ttft_s"]


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ("3350 GB/s", True),
        ("3.35TB/s", True),
        ("3.35e12 B/s", True),
        ("26.8 Tbit/s", True),
        ("3.36TB/s", False),
    ],
)
def test_the_unit_of_a_value_may_be_any_of_its_kind(run: Run, value: str, same: bool) -> None:
    plain = run("compare", "gpu", "--json").json()["results"][0]["tpot_s"]
    done = run("compare", "gpu", "--set", f"devices.gpu.levels.dram.bandwidth={value}", "--json")
    assert done.code == 0
    assert (done.json()["results"][0]["tpot_s"] == pytest.approx(plain, rel=1e-12)) == same
