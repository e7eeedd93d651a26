"""npuwatt phone from outside: its schema, every format, its chart, its faults."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of

if TYPE_CHECKING:
    from conftest import Quick

CHIP = "snapdragon-8-elite"


@pytest.mark.parametrize(
    "case",
    [
        (CHIP,),
        (CHIP, "samsung-lpddr5-pim", "--handset", "small-phone", "--minutes", "30", "--ambient", "35degC", "--case"),
        (CHIP, "--power", "50%", "--limit", "42degC", "--governor", "none", "--claims"),
        (CHIP, "--governor", "trips", "--start", "35degC", "--set", "handset.surface.spreading=0.5"),
        ("apple-m4-ane", "--handset", "fanless-laptop"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_its_json_passes_its_schema(quick: Quick, case: tuple[str, ...]) -> None:
    done = quick("phone", *case, "--json")
    assert done.code == 0
    Draft202012Validator(schema_of("phone")).validate(done.json())


def test_a_constant_power_just_below_what_reaches_the_limit_does_not_reach_it(quick: Quick) -> None:
    # The power that reaches the limit at 20 minutes, asked for again as a demand, reaches it then and not before.
    first = quick("phone", CHIP, "--governor", "none", "--minutes", "20", "--json").json()["results"][0]
    power_w = first["reaching_w"]
    for share, reaches in ((0.999, False), (1.001, True)):
        case = ("--governor", "none", "--minutes", "20", "--power", f"{share * power_w:.6f}W")
        reached_s = quick("phone", CHIP, *case, "--json").json()["results"][0]["reaches_s"]
        assert (reached_s <= 1200) == reaches
        assert reached_s == pytest.approx(1200, rel=0.01)


def test_a_governor_costs_tokens_and_holds_the_limit(quick: Quick) -> None:
    free, held = (
        quick("phone", CHIP, "--governor", name, "--json").json()["results"][0] for name in ("none", "allocator")
    )  # fmt: skip
    assert free["peak_skin_k"] > held["peak_skin_k"] + 1
    assert held["overshoot_k"] < 0.2
    assert free["tokens"][-1]["tokens"] > held["tokens"][-1]["tokens"]
    assert free["tokens"][0]["tokens"] == held["tokens"][0]["tokens"]  # in 5 minutes it never trips


def test_half_of_peak_for_five_minutes_is_answered_with_the_peaks_for_which_it_is_true(quick: Quick) -> None:
    done = quick("phone", CHIP, "--power", "50%", "--limit", "42degC", "--minutes", "5", "--claims", "--json")
    claim = done.json()["results"][0]["claim"]
    peaks = {
        (one["spreading_fraction"], round(one["ambient_k"] - 273.15)): one for one in claim["conditions"]
    }
    assert claim["holds"]
    # Warmer rooms and worse spreading allow less; a session always more than for ever.
    for spreading in (0.5, 0.75, 0.95):
        told = [peaks[spreading, room]["session_peak_w"] for room in (15, 25, 30, 35)]
        assert told == sorted(told, reverse=True)
    assert (
        peaks[0.5, 25]["session_peak_w"]
        < peaks[0.75, 25]["session_peak_w"]
        < peaks[0.95, 25]["session_peak_w"]
    )
    assert all(one["steady_peak_w"] < one["session_peak_w"] for one in claim["conditions"])
    # A chip of just that peak reaches the limit at the end of the session.
    peak_w = peaks[0.75, 25]["session_peak_w"]
    case = ("--set", "handset.surface.spreading=0.75", "--set", f"devices.{CHIP}.power_cap={peak_w:.6f}W")
    result = quick("phone", CHIP, *case, "--power", "50%", "--json").json()["results"][0]
    assert result["reaching_w"] == pytest.approx(
        peak_w / 2, rel=0.03
    )  # leakage is a share of the rated power


def test_a_terminal_gets_a_chart_and_a_pipe_the_numbers(quick: Quick) -> None:
    drawn = quick("phone", CHIP, "--format", "table", "--no-color").out
    assert ".*" in drawn and "|" in drawn and "=====" in drawn
    assert max(map(len, drawn.splitlines())) <= 80
    told = quick("phone", CHIP, "--format", "plain").out
    assert ".*" not in told and "=====" not in told
    assert "die" in told


def test_every_figure_is_told_with_its_ends(quick: Quick) -> None:
    result = quick("phone", CHIP, "--json").json()["results"][0]
    ranges = result["ranges"]
    for name in set(ranges) - {"numbers_count", "runs_away_by"}:
        assert ranges[name]["low"] < result[name]
        assert ranges[name]["high"] is None or result[name] < ranges[name]["high"]
    assert ranges["numbers_count"] > 20
    for one in result["tokens"]:
        assert one["low"] < one["tokens"] < one["high"]
    told = quick("phone", CHIP, "--format", "table").out
    assert "for ever           2.32 W (987 mW to 3.7 W)" in told
    assert "battery lasts      4.16 h (2.8 to 7.7 h)" in told
    assert "in brackets, " in told


def test_a_number_that_is_set_loses_its_range(quick: Quick) -> None:
    case = ("--set", "handset.surface.spreading=0.75")
    before, after = (quick("phone", CHIP, *more, "--json").json()["results"][0] for more in ((), case))
    assert after["ranges"]["numbers_count"] == before["ranges"]["numbers_count"] - 1
    assert after["steady_w"] == pytest.approx(before["steady_w"])
    assert after["ranges"]["steady_w"]["low"] > before["ranges"]["steady_w"]["low"]


def test_the_claim_says_who_is_held_to_it_and_whether_its_ranges_turn_it(quick: Quick) -> None:
    case = ("--power", "50%", "--limit", "42degC", "--claims", "--format", "plain")
    held = quick("phone", CHIP, *case).out
    assert f"{CHIP}: 50 % of its 8 W for 5 min at 42.0 degC is true here" in held
    assert "no number of the handset within its range turns that" in held
    longer = quick("phone", CHIP, *case, "--minutes", "15").out
    assert "is false here" in longer
    assert "a number of the handset within its range would turn that" in longer


def test_peaks_that_a_claim_is_true_for_are_told_once_for_all_devices(quick: Quick) -> None:
    done = quick("phone", CHIP, "samsung-lpddr5-pim", "--claims", "--minutes", "1", "--format", "table")
    assert done.out.count("50 % of peak keeps skin and die within their limits") == 1
    assert " die " in done.out.split("set by")[1]  # of the high peaks of one minute


def test_a_die_beyond_its_own_limit_is_said(quick: Quick) -> None:
    told = quick("phone", CHIP, "--set", "handset.junction_limit=50degC", "--format", "plain").out
    assert "Its die passes its own limit of 50.0 degC, where a chip throttles itself" in told


def test_what_must_be_said_of_a_device_is_said_here_too(quick: Quick) -> None:
    told = quick("phone", "edge-rram", "samsung-lpddr5-pim", "edge-rram", "--format", "plain").out
    assert told.count("note: edge-rram: a day after they were written, products of its cells have") == 1
    assert "samsung-lpddr5-pim: the units beside the banks cannot multiply int4 by int8" in told


def test_the_types_its_help_tells_are_those_it_counts(quick: Quick) -> None:
    text = " ".join(quick("phone", "-h").out.split())
    request = quick("phone", CHIP, "--json").json()["request"]
    for option, name in (
        ("--weights", "weights"),
        ("--activations", "activations"),
        ("--kv-cache", "kv_cache"),
    ):
        told = text.split(f"{option} WIDTH")[1].split("default: (")[1].split(")")[0]
        assert told == request[name]


def test_csv_has_a_line_for_each_device(quick: Quick) -> None:
    rows = list(csv.DictReader(io.StringIO(quick("phone", CHIP, "phone-cpu", "--format", "csv").out)))
    assert [row["device"] for row in rows] == [CHIP, "phone-cpu"]
    told = quick("phone", CHIP, "--json").json()
    assert float(rows[0]["tokens_in_300_s.tokens"]) == told["results"][0]["tokens"][0]["tokens"]
    assert (rows[0]["handset.handset"], rows[0]["request.network"]) == ("large-phone", "llama-3.2-3b")


def test_the_course_has_every_moment_where_it_is_asked_for(quick: Quick) -> None:
    rows = list(csv.DictReader(io.StringIO(quick("phone", CHIP, "--course", "--format", "csv").out)))
    assert [float(row["time_s"]) for row in rows] == list(range(1801))
    assert float(rows[0]["skin_k"]) == pytest.approx(298.15)
    whole = quick("phone", CHIP, "--course", "--json").json()
    drawn = quick("phone", CHIP, "--json").json()
    moments = [one["time_s"] for one in drawn["results"][0]["course"]]
    assert len(moments) <= 121 and {0.0, 300.0, 1800.0} <= set(moments)
    assert all(one in whole["results"][0]["course"] for one in drawn["results"][0]["course"])


def test_a_chip_that_runs_away_leaves_the_others_their_answers(quick: Quick) -> None:
    done = quick("phone", CHIP, "hfox-rram", "--json")
    assert [one["device"] for one in done.json()["results"]] == [CHIP]
    assert any(note.startswith("device 'hfox-rram': runs away") for note in done.json()["notes"])


def test_a_chip_that_runs_away_after_the_session_is_counted_over_the_session(quick: Quick) -> None:
    case = ("--governor", "none", "--minutes", "1", "--ambient", "35degC", "--case")
    done = quick("phone", CHIP, *case, "--json")
    Draft202012Validator(schema_of("phone")).validate(done.json())
    result = done.json()["results"][0]
    assert [one["within_s"] for one in result["tokens"]] == [60.0]
    assert any("runs away within 30 min" in note for note in result["notes"])
    both = quick(
        "phone", CHIP, "samsung-lpddr5-pim", *case, "--set", "devices.samsung-lpddr5-pim.host.power_cap=1W"
    )
    assert both.code == 0
    first, second = both.out.splitlines()[3:5]  # tokens in 30 min are told of the one that runs on
    assert first.split()[0] == CHIP and "  -  " in first and "  -  " not in second


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (("--minutes", "0"), "--minutes: 0 given; expected 0.01 to 480"),
        (("--limit", "20degC"), "--limit: 20 degC given; expected above the 25 degC of the room"),
        (("--ambient", "60degC"), "--ambient: 60degC given; expected 0 to 45 degC"),
        (("--start", "50degC"), "--start: 50 degC given; expected -23.15 degC or more, below the limit of 42 degC"),
        (("--governor", "pid"), "--governor: 'pid' given; expected one of none, trips, allocator"),
        (("--power", "100W"), "--power: 100W given; expected watts above 0 and at most the power cap of 8 W"),
        (("--network", "llama-3.1-70b"), "does not fit into the 6.44 GB that the handset gives a model"),
        (("--set", "handset.links.0.resistance=-1K/W"), "resistance: -1 given; expected a finite number above 0"),
        (("--set", "handset.nodes.die.capacity=0J/K"), "capacity: 0 given; expected a finite number above 0"),
        (("--set", "hndset.other=3W"), "unknown address 'hndset.other'; did you mean 'handset'?"),
        (("--minutes", "nan"), "--minutes: nan given; expected 0.01 to 480"),
        (("--limit", "5000K"), "--limit: 4727 degC given; expected above the 25 degC of the room and at most 150 degC"),
        (("--power", "0.001%", "--claims"), "--claims: 0.001% of peak asked about; expected 8% or more, as much as leaks of it"),
        (("--set", "handset.surface.area=1e-300m2"), "has no finite answer; expected numbers nearer to those of a real"),
        (("--set", f"devices.{CHIP}.levels.dram.read_energy=1e300 J/B"), "has no finite answer; expected numbers nearer"),
        (("--set", f"devices.{CHIP}.peak.int8=1e-300 MAC/s"), "has no finite answer; expected numbers nearer"),
        (("--set", "handset.control_period=1us"), "periods of control; expected at most 200000 of them"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(quick: Quick, case: tuple[str, ...], told: str) -> None:
    done = quick("phone", CHIP, *case)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert told in done.err


@pytest.mark.parametrize(
    "case",
    [("gpu",), (CHIP, "--governor", "none", "--set", "handset.leakage.share=0.9", "--minutes", "60")],
    ids=str,
)
def test_a_chip_that_runs_away_is_said_in_one_line(quick: Quick, case: tuple[str, ...]) -> None:
    done = quick("phone", *case)
    assert (done.code, done.out) == (2, "")
    assert "runs away: at " in done.err
    assert "its die passes 226.9 degC within" in done.err


def test_below_the_power_of_its_work_a_chip_works_and_sleeps_by_turns(quick: Quick) -> None:
    # Its best tokens of a joule are those at full power; at a tenth of that power, a tenth of the tokens.
    full = quick("phone", CHIP, "--json").json()["results"][0]
    low_w = full["work_w"] / 10
    part = quick("phone", CHIP, "--power", f"{low_w!r}W", "--json").json()["results"][0]
    assert part["tokens_per_s"] == pytest.approx(full["tokens_per_s"] / 10)


def test_power_beyond_the_work_is_said_to_be_heat(quick: Quick) -> None:
    assert "beyond is heat without tokens" in quick("phone", CHIP, "--power", "8W").out
    assert "beyond is heat without tokens" not in quick("phone", CHIP).out


def test_a_governor_that_is_stuck_at_nothing_is_said(quick: Quick) -> None:
    # Its sum of errors counts what lies above the limit alone, and a warm room keeps the skin above where it starts.
    assert "In the end the governor leaves it nothing" in quick("phone", CHIP, "--ambient", "35degC").out
    assert "In the end the governor leaves it nothing" not in quick("phone", CHIP).out


def test_devices_are_set_against_each_other(quick: Quick) -> None:
    done = quick("phone", CHIP, "phone-cpu")
    assert (
        f"{CHIP} makes most tokens in 30 min, 1.63x of phone-cpu's, though their ranges overlap." in done.out
    )


def test_a_limit_that_is_not_reached_in_the_course_is_not_never_reached(quick: Quick) -> None:
    free = ("--governor", "none")
    assert (
        "not in 30 min" in quick("phone", CHIP, *free, "--power", "2.6W").out
    )  # more than it holds for ever
    assert "not in 30 min" not in quick("phone", CHIP, *free, "--power", "2W").out
