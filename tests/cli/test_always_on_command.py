"""npuwatt always-on from outside: its schema, every format, its sentences, its faults."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of

if TYPE_CHECKING:
    from conftest import Quick

PRESETS = Path(__file__).parents[2] / "presets"
CHIP, PIM, CELLS = "snapdragon-8-elite", "samsung-lpddr5-pim", "hfox-rram"


@pytest.mark.parametrize(
    "case",
    [
        (CHIP,),
        (CHIP, PIM, CELLS, "--network", "llama-3.2-1b", "--profile", "voice-assistant-mcu"),
        (CHIP, "--profile", "ambient-agent", "--events", "60/h", "--handset", "tablet"),
        (CHIP, "--profile", "camera-watch", "--set", "profile.is_retained=false", "--events", "0/day"),
        (CHIP, "--profile", "camera-watch", "--network", "resnet-50"),
        (CHIP, "--set", "profile.listener.recall=0"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_its_json_passes_its_schema(quick: Quick, case: tuple[str, ...]) -> None:
    done = quick("always-on", *case, "--json")
    assert done.code == 0
    Draft202012Validator(schema_of("always-on")).validate(done.json())


def test_csv_has_a_line_for_each_device(quick: Quick) -> None:
    done = quick("always-on", CHIP, PIM, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["device"] for row in rows] == [CHIP, PIM]
    parts = sum(float(text) for name, text in rows[0].items() if name.startswith("power_by_part_w."))
    assert parts == pytest.approx(float(rows[0]["mean_w"]))


def test_it_says_whether_that_is_milliwatts_and_what_the_device_decides(quick: Quick) -> None:
    done = quick("always-on", CHIP, CELLS, "--network", "llama-3.2-1b")
    said = rf"{CHIP}: [0-9.]+ mW, below 10 mW, though not for sure; a device that costs nothing would leave [0-9.]+ mW"
    assert re.search(said, done.out)
    assert re.search(
        rf"{CELLS} takes 0\.[0-9]+x of {CHIP} \(.* to .*\); less at every rate of events\.", done.out
    )
    assert re.search(r"Answering without a pause takes [0-9.]+ W", done.out)
    assert "needs noise-aware training" in done.out


def test_a_rate_of_events_is_a_question_and_no_guess(quick: Quick) -> None:
    # What is asked for is not warned of, even beyond the range that the profile thinks likely.
    assert quick("always-on", CHIP, "--events", "1000/day").err == ""
    told = quick("always-on", CHIP, "--set", "profile.events=1000/day").err
    assert told.startswith("warning: profile.events: ") and told.count("\n") == 1


def test_a_terminal_of_80_columns_holds_every_line(quick: Quick) -> None:
    drawn = quick("always-on", CHIP, PIM, "--format", "table", "--no-color").out
    assert max(map(len, drawn.splitlines())) <= 80


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ((CHIP, "--events", "-1/day"), "--events: '-1/day' given; expected a rate of 0 or more, as in 20/day"),
        ((CHIP, "--events", "often"), "--events: 'often' given; expected a rate of 0 or more, as in 20/day"),
        ((CHIP, "--events", "1/s"), "awake would take 3.14 times the time there is; expected fewer --events or false accepts"),
        ((CHIP, "--set", "profile.listener.looks=1000/s"), "listening would take 4.4 times the time there is"),
        ((CHIP, "--set", "profile.checkers.0.time=1e6s"), "checking would take 498 times the time there is"),
        ((CHIP, "--set", "profile.listener.recall=1.5"), "1.5 given; expected a share from 0 to 1"),
        ((CHIP, "--set", "profile.listener.false_accepts=-1/h"), "expected a finite number, 0 or more"),
        ((CHIP, "--set", "profile.tokens_out=12.5"), "12.5 given; expected a whole number, 1 or more"),
        ((CHIP, "--set", "profile.is_retained=perhaps"), "'perhaps' given; expected true or false"),
        ((CHIP, "--set", "handset.battery.energy=0Wh"), "0 given; expected a finite number above 0"),
        ((CHIP, "--set", "handset.model_memory=1MB"), "does not fit into the 1 MB that the handset gives a model"),
        ((CHIP, "--network", "llama-3.1-70b"), "does not fit into the 6.44 GB that the handset gives a model"),
        ((CHIP, "--set", "foo.bar=1"), f"unknown address 'foo.bar'; expected one under devices.{CHIP}, network, profile, handset"),
        ((CHIP, "--profile", str(PRESETS / "handsets" / "tablet.yaml")), "kind: 'handset' given; expected profile"),
        ((CHIP, "--profile", "nobody"), "unknown profile 'nobody'"),
        ((CHIP, "--input-len", "0"), "--input-len: '0' given; expected a whole number from 1"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, tuple) else "",
)  # fmt: skip
def test_what_cannot_be_is_one_line(quick: Quick, case: tuple[str, ...], told: str) -> None:
    done = quick("always-on", *case)
    assert (done.code, done.out) == (2, "")
    assert told in done.err and done.err.count("\n") == 1 and done.err.startswith("npuwatt: ")
