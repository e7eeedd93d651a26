"""npuwatt accuracy from outside: every format, its schema, its width, its faults."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of

if TYPE_CHECKING:
    from conftest import Quick, Screen

CASES = (
    ("crossbar",),
    ("ibm-hermes", "--trials", "32", "--reprogram-every", "1day", "--temperature", "60 degC"),
    ("sram-analog-cim", "--at", "0s", "--distribution", "laplace", "--clip", "4"),
)


@pytest.mark.parametrize("case", CASES)
def test_its_json_passes_its_schema(quick: Quick, case: tuple[str, ...]) -> None:
    done = quick("accuracy", *case, "--json")
    record = done.json()
    Draft202012Validator(schema_of("accuracy")).validate(record)
    assert (done.code, done.err) == (0, "")
    for moment in record["moments"]:
        total = sum(moment["noise_ratio"].values())
        assert moment["snr_db"] == pytest.approx(-10 * math.log10(total))
        assert moment["snr_low_db"] <= moment["snr_db"] <= moment["snr_high_db"]
    assert (record["schedule"] is None) == ("--reprogram-every" not in case)
    assert {source["key"] for source in record["sources"]} & {"aihwkit", "jia-2021"}


@pytest.mark.parametrize("style", ["table", "plain", "json", "jsonl", "csv", "markdown"])
def test_it_speaks_every_format(quick: Quick, style: str) -> None:
    done = quick("accuracy", "crossbar", "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "csv":
        rows = list(csv.DictReader(io.StringIO(done.out)))
        assert [float(row["time_s"]) for row in rows] == [0, 60, 3600, 86400, 2592000, 31557600]
        assert "noise_ratio.programming" in rows[0]
    elif style == "jsonl":
        assert len(done.lines()) == 6
    elif style != "json":
        assert "do not deploy" in done.out


@pytest.mark.parametrize("width", [80, 160])
def test_it_fits_a_terminal(screen: Screen, plain_text: object, width: int) -> None:
    done = screen("accuracy", "ibm-hermes", "--trials", "32", "--reprogram-every", "30day", width=width)
    text = plain_text(done.out)  # type: ignore[operator] # a function
    assert max(map(len, text.splitlines())) <= width
    assert text.count("verdict") == 1 + text.count("verdicts are")


def test_noise_free_cells_are_infinitely_exact_and_json_has_no_infinity(quick: Quick) -> None:
    changes = [
        f"--set=devices.sram-analog-cim.arrays.{text}" for text in ("noise.programming.0=0 uS", "adc.bits=14")
    ]
    done = quick("accuracy", "sram-analog-cim", "--json", *changes)
    assert done.code == 0
    assert done.json()["moments"][0]["snr_db"] > 30


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["gpu"], "expected a crossbar"),
        (["crossbar", "--at", "soon"], "--at: 'soon' is not a finite number"),
        (["crossbar", "--temperature", "85"], "--temperature: '85' has no unit"),
        (["crossbar", "--trials", "5000"], "--trials: 5000 given"),
        (["crossbar", "--clip", "-1"], "--clip: -1 given"),
        (
            ["crossbar", "--set", "devices.crossbar.arrays.adc.bits=20"],
            "bits: 20 given; expected a number from 1 to 14",
        ),
        (["crossbar", "--set", "devices.crossbar.arrays.columns=2"], "columns: 2 given; expected 4 or more"),
        (["crossbar", "--format", "xml"], "--format: 'xml' given"),
        ([], "missing argument"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(quick: Quick, options: list[str], said: str) -> None:
    done = quick("accuracy", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err.lower() or said in done.err
    assert len(done.err.splitlines()) == 1


def test_per_macro_stands_beside_a_comparison_and_an_estimate(quick: Quick) -> None:
    done = quick("compare", "gpu", "pim", "crossbar", "--per-macro", "--json")
    Draft202012Validator(schema_of("compare")).validate(done.json())
    assert [result["per_macro"]["part"] for result in done.json()["results"]][2] == "one array"
    one = quick("estimate", "crossbar", "--per-macro", "--json")
    Draft202012Validator(schema_of("estimate")).validate(one.json())
    assert one.json()["per_macro"] == done.json()["results"][2]["per_macro"]
    for command in (("compare", "gpu", "crossbar"), ("estimate", "crossbar")):
        assert "TOPS/W of a part by itself" in quick(*command, "--per-macro").out
        assert "TOPS/W of a part by itself" not in quick(*command).out
