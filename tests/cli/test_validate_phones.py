"""validate --phones from outside: formats, schema, sentences, faults, files of others."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of
from npuwatt.preset import library

if TYPE_CHECKING:
    from conftest import Quick, Run, Screen

ROWS = "time_s,battery_c\n0,28\n30,30.1\n60,31.4\n90,32.2\n120,33\n150,33.6\n"
READINGS = 11  # that come along
CHART = "-o- preset, * read"


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    path = tmp_path / "phone.csv"
    path.write_text(ROWS)
    return path


def test_the_json_passes_its_schema_and_tells_the_fits_the_unknown_and_the_prediction(quick: Quick) -> None:
    done = quick("validate", "--phones", "--json")
    record = done.json()
    Draft202012Validator(schema_of("validate-phones")).validate(record)
    assert (done.code, done.err, record["schema"]) == (0, "", "npuwatt.validate-phones/1")
    summary, rows = record["summary"], record["rows"]
    assert len(rows) == summary["readings"] == READINGS
    assert summary["two"]["rms_k"] <= 0.25
    assert summary["two"]["rms_k"] <= summary["one"]["rms_k"] / 2
    unknown = [
        name for name, span in summary["possible"].items() if name != "rms_k" and not span["identified"]
    ]
    assert unknown == ["slow_rise_k", "slow_constant_s"]
    assert (summary["predicted"]["handset"], summary["predicted"]["node"]) == ("large-phone", "battery")
    assert summary["predicted"]["power_w"] == {"value": 4, "low": 3, "high": 5, "source": "llmbook"}
    assert "llmbook" in [source["key"] for source in record["sources"]]
    assert [preset["name"] for preset in record["presets"]] == ["large-phone", "phone-decoding"]


def test_errors_told_are_those_of_the_rows(quick: Quick) -> None:
    record = quick("validate", "--phones", "--json").json()
    rows, summary = record["rows"], record["summary"]
    for name, off in (("one", "one_k"), ("two", "two_k")):
        squares = [(row[off] - row["measured_k"]) ** 2 for row in rows]
        assert summary[name]["rms_k"] == pytest.approx((sum(squares) / len(rows)) ** 0.5)
    errors = [row["predicted_k"] - row["measured_k"] for row in rows]
    assert [row["error_k"] for row in rows] == pytest.approx(errors)
    told = summary["predicted"]
    assert told["rms_k"] == pytest.approx((sum(error**2 for error in errors[1:]) / (len(rows) - 1)) ** 0.5)
    assert (told["least_error_k"], told["greatest_error_k"]) == pytest.approx(
        (min(errors[1:]), max(errors[1:]))
    )
    assert told["inside"] == sum(row["low_k"] <= row["measured_k"] <= row["high_k"] for row in rows[1:])
    assert all(row["low_k"] <= row["predicted_k"] <= row["high_k"] for row in rows)


def test_its_sentences_part_fits_from_predictions_and_name_what_is_not_known(quick: Quick) -> None:
    told = quick("validate", "--phones").out
    for words in (
        "Fitted to this series: one time constant, 97 s, is 0.360 K rms off",
        "two, within 1 to 120 and 200 to 2000 s, are 0.120 K off",
        "Not identified by these readings",
        "a2 13.4 to 38.3 K, tau2 546 to 2000 s. So no steady temperature follows from them.",
        "a2/tau2 0.0172 to 0.0245 K/s",
        "Predicted, not fitted: large-phone with 3 to 5 W in all is",
        "of 10 readings lie within its range.",
        "the series tells neither power nor room",
    ):
        assert words in told


@pytest.mark.parametrize("style", ["table", "plain", "json", "jsonl", "csv", "markdown"])
def test_it_speaks_every_format(quick: Quick, style: str) -> None:
    done = quick("validate", "--phones", "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "csv":
        rows: list[Any] = list(csv.DictReader(io.StringIO(done.out)))
        assert [float(row["time_s"]) for row in rows][:3] == [0, 31, 60]
    elif style == "jsonl":
        rows = [json.loads(line) for line in done.out.splitlines()]
    elif style == "json":
        rows = done.json()["rows"]
    else:
        rows = [line for line in done.out.splitlines() if ".." in line and "36" in line]
        assert all(word in done.out for word in ("0.360", "0.120", "tau2"))
        assert (CHART in done.out) == (style == "table")
        return
    assert len(rows) == READINGS


def test_on_a_terminal_it_draws_within_80_columns_and_without_colour_if_asked(screen: Screen) -> None:
    done = screen("validate", "--phones", width=80, env={"NO_COLOR": "1"})
    assert done.code == 0
    assert "\x1b[" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert CHART in done.out
    assert "*................." in done.out
    narrow = screen("validate", "--phones", width=40, env={"NO_COLOR": "1"})
    assert max(map(len, narrow.out.splitlines())) <= 40


def test_another_handset_predicts_otherwise_and_leaves_the_fits_as_they_are(quick: Quick) -> None:
    large, small = (
        quick("validate", "--phones", *more, "--json").json() for more in ((), ("--handset", "small-phone"))
    )
    assert large["summary"]["two"] == small["summary"]["two"]
    assert small["summary"]["predicted"]["handset"] == "small-phone"
    assert small["rows"][-1]["predicted_k"] > large["rows"][-1]["predicted_k"] + 1


def test_a_file_and_standard_input_are_read_alike_and_written_to_a_file(
    run: Run, phone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    piped = run("validate", "--phones", "-", "--format", "csv", stdin=ROWS)
    done = run("validate", "--phones", str(phone), "--format", "csv", "-o", str(out))
    assert (done.code, done.out, piped.code) == (0, "", 0)
    assert out.read_text() == piped.out
    assert len(piped.out.splitlines()) == 7


def test_of_many_readings_some_are_shown_and_all_are_in_the_csv(quick: Quick, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("time_s,battery_c\n" + "".join(f"{n},{28 + n / 100:.1f}\n" for n in range(200)))
    done = quick("validate", "--phones", str(path), "--format", "plain")
    assert "40 readings are shown; --format csv has all" in done.out
    assert sum(".." in line for line in done.out.splitlines()) == 40
    assert len(quick("validate", "--phones", str(path), "--format", "csv").out.splitlines()) == 201


def test_a_battery_that_stays_as_it_is_tells_no_constant(quick: Quick, tmp_path: Path) -> None:
    path = tmp_path / "cold.csv"
    path.write_text("time_s,battery_c\n" + "".join(f"{30 * n},28\n" for n in range(8)))
    told = quick("validate", "--phones", str(path)).out
    assert "a1 0 to 0 K, tau1 1 to 120 s, a2 0 to 0 K, tau2 200 to 2000 s" in told
    assert "Identified:" not in told
    assert "-0 " not in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--phones", "--chips"], "--chips and --phones: expected one or the other"),
        (["--chips", "--handset", "tablet"], "--chips and --handset: expected one or the other"),
        (["--handset", "tablet"], "--handset: predicts temperatures of a phone; expected --phones beside it"),
        (["--phones", "--stack", "vllm-0.11", "--input-len", "5"], "--phones and --stack, --input-len: expected"),
        (["--phones", "--max-mape", "avg_power_w=1"], "--phones and --max-mape: expected"),
        (["--phones", "--max-factor", "2"], "--phones and --max-factor: expected"),
        (["--phones", "--handset", "telephone-box"], "unknown handset 'telephone-box'"),
        (["--phones", "--handset", "glasses"], "--handset 'glasses': runs away: with 3 to 5 W its die passes 227 degC"),
        (["--phones", "nowhere.csv"], "nowhere.csv: no such file"),
        (["--phones", ""], "FILE: '' given"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_in_one_line(quick: Quick, options: list[str], said: str) -> None:
    done = quick("validate", *options)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1
    assert said in done.err


def test_a_handset_without_a_battery_node_is_refused_in_one_line(quick: Quick, tmp_path: Path) -> None:
    text = (Path(library.presets_root()) / "handsets" / "large-phone.yaml").read_text()
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace("  battery:\n", "  cell:\n").replace(": battery\n", ": cell\n"))
    done = quick("validate", "--phones", "--handset", str(mine))
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "its nodes are die, board, spreader, cell, skin; expected one of them called battery" in done.err


def test_a_malformed_file_is_one_line_and_nothing_is_written(
    quick: Quick, phone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    for wrong, said in (
        (ROWS.replace("120,33", "20,33"), ":6: time_s: 20 given after 90"),
        (ROWS.replace("33.6", "nan"), ":7: battery_c: 'nan' given"),
        (ROWS[: ROWS.index("120")], "phone.csv: 4 readings; expected 6 or more"),
        ("time_s,skin_c\n0,1\n", "has no column 'battery_c'"),
        ("", "holds no rows"),
    ):
        phone.write_text(wrong)
        done = quick("validate", "--phones", str(phone), "--json", "-o", str(out))
        assert (done.code, done.out) == (2, "")
        assert len(done.err.strip().splitlines()) == 1
        assert said in done.err
        assert not out.exists()


def test_a_file_of_another_kind_is_told_how_to_be_read(quick: Quick, phone: Path, tmp_path: Path) -> None:
    for mode in ((), ("--chips",)):
        done = quick("validate", *mode, str(phone))
        assert (done.code, "temperatures of a phone are read with --phones" in done.err) == (2, True)
    other = tmp_path / "other.csv"
    for header, said in (
        ("model_id,task", "measured runs are read without --phones"),
        ("chip_id,device", "published chips are read with --chips"),
    ):
        other.write_text(f"{header}\na,b\n")
        done = quick("validate", "--phones", str(other))
        assert (done.code, said in done.err) == (2, True)


def test_the_schema_command_prints_its_schema(quick: Quick) -> None:
    done = quick("schema", "validate-phones")
    assert done.json() == schema_of("validate-phones")
