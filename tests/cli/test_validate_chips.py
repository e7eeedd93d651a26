"""validate --chips from outside: formats, schema, gate, faults, files of others."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of

if TYPE_CHECKING:
    from conftest import Quick, Run

HEADER = "chip_id,device,node_nm,rows_active,voltage_V,input_bits,weight_bits,adc_bits,compute_model,tops_w"
GOOD = "mine,SRAM (6T),28,64,0.8,4,4,6,QR,100"
COUNT, CHIPS = 59, 44  # of the built-in selection


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    path = tmp_path / "chips.csv"
    bare = "bare,RRAM,22" + "," * 7
    path.write_text("\n".join(["# mine", HEADER, GOOD, GOOD.replace("100", "50"), "", bare]) + "\n")
    return path


def test_the_json_passes_its_schema_and_names_what_it_holds(quick: Quick, chips: Path) -> None:
    done = quick("validate", "--chips", str(chips), "--json")
    record = done.json()
    Draft202012Validator(schema_of("validate-chips")).validate(record)
    assert (done.code, done.err, record["schema"]) == (0, "", "npuwatt.validate-chips/1")
    assert [row["line"] for row in record["rows"]] == [3, 4, 6]
    names = ["line", "chip_id", "measured", "predicted", "low", "high", "factor", "class", "flags"]
    assert all(list(row) == names for row in record["rows"])
    first, _, bare = record["rows"]
    assert first["measured"] == pytest.approx(2e-12 / 100)
    assert first["low"] < first["predicted"] < first["high"]
    assert first["factor"] == pytest.approx(
        max(first["predicted"] / first["measured"], first["measured"] / first["predicted"])
    )
    assert (bare["measured"], bare["factor"], bare["class"]) == (None, None, "RRAM")
    assert "voltage_V: 0.8 taken" in bare["flags"]
    total = record["summary"]["total"]
    assert (total["chips"], total["rows"]) == (1, 2)
    assert record["summary"]["by_class"] == {"SRAM analog": total}
    assert [one["median_factor"] for one in record["summary"]["peers"]] == [3.65, 5.66]


def test_the_built_in_chips_say_that_they_were_fitted_on(quick: Quick) -> None:
    record = quick("validate", "--chips", "--json").json()
    Draft202012Validator(schema_of("validate-chips")).validate(record)
    summary = record["summary"]
    assert (summary["total"]["chips"], summary["total"]["rows"]) == (CHIPS, COUNT)
    assert sum(one["chips"] for one in summary["by_class"].values()) == CHIPS
    assert summary["fitted_on_these"] is True
    assert summary["total"]["median_factor"] < summary["left_out"]["median_factor"] <= 2.0
    told = quick("validate", "--chips").out
    assert "Fitted on these chips" in told
    assert "left out one at a time: median 1.94x" in told


@pytest.mark.parametrize("style", ["table", "plain", "json", "jsonl", "csv", "markdown"])
def test_it_speaks_every_format(quick: Quick, style: str) -> None:
    done = quick("validate", "--chips", "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "csv":
        rows = list(csv.DictReader(io.StringIO(done.out)))
        assert len(rows) == COUNT
        assert float(rows[0]["predicted"]) > 0
    elif style == "jsonl":
        assert len([json.loads(line) for line in done.out.splitlines()]) == COUNT
    elif style == "json":
        assert len(done.json()["rows"]) == COUNT
    else:
        assert all(word in done.out for word in ("yu-cicc-2020", "SRAM digital", "3.65x", "5.66x"))


def test_a_table_fits_80_columns(run: Run) -> None:
    done = run("validate", "--chips", "--format", "table", env={"COLUMNS": "80"})
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert "furthest off" in done.out


def test_the_order_of_columns_is_free_and_results_of_others_are_ignored(quick: Quick, tmp_path: Path) -> None:
    names, cells = HEADER.split(","), GOOD.split(",")
    order = list(range(len(names)))
    random.Random(1).shuffle(order)
    path = tmp_path / "turned.csv"
    path.write_text(
        ",".join(["tops", *(names[i] for i in order), "e_invocation_pJ", "note"]) + "\n"
        "# a remark\n" + ",".join(["lots", *(cells[i] for i in order), "1e9", '"a, b"']) + "\n"
    )
    plain = tmp_path / "plain.csv"
    plain.write_text(f"{HEADER}\n{GOOD}\n")
    turned, straight = (quick("validate", "--chips", str(file), "--json").json() for file in (path, plain))
    assert turned["rows"][0] | {"line": 2} == straight["rows"][0]


def test_a_gate_that_does_not_hold_exits_1_after_the_result(
    quick: Quick, chips: Path, tmp_path: Path
) -> None:
    done = quick("validate", "--chips", str(chips), "--max-factor", "1.0001")
    assert done.code == 1
    assert "furthest off" in done.out
    assert "expected 1.0001 or less" in done.err
    assert quick("validate", "--chips", str(chips), "--max-factor", "50").code == 0
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("chip_id,device,node_nm\na,SRAM,28\n")
    done = quick("validate", "--chips", str(nothing), "--max-factor", "50")
    assert (done.code, done.err.strip()) == (
        1, "npuwatt: no chip has a measured energy; expected a median factor of 50 or less",
    )  # fmt: skip
    assert "No row tells a measured energy" in done.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows"),
        (HEADER + "\n", "no rows below the header; expected one for each operating point"),
        (HEADER + "\n" + GOOD + ",7\n", ":2: 11 cells given; expected 10"),
        (HEADER + "\n" + GOOD.replace(",28,", ",,") + "\n", ":2: node_nm: nothing given; expected a number from"),
        (HEADER + "\n" + GOOD.replace(",28,", ",0,") + "\n", ":2: node_nm: '0' given"),
        (HEADER + "\n" + GOOD.replace(",28,", ",inf,") + "\n", ":2: node_nm: 'inf' given"),
        (HEADER + "\n" + GOOD.replace(",4,4,", ",4,1e9,") + "\n", ":2: weight_bits: '1e9' given; expected a number of bits"),
        (HEADER + "\n" + GOOD.replace(",100", ",fast") + "\n", ":2: tops_w: 'fast' given"),
        (HEADER + "\n" + GOOD.replace("mine,", ",") + "\n", ":2: chip_id: nothing given; expected text"),
        (HEADER.replace("device,", "devices,") + "\n" + GOOD + "\n", "did you mean 'device'"),
        (HEADER + ",device\n" + GOOD + ",x\n", "stands 2 times"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_one_line_and_nothing_is_written(
    quick: Quick, tmp_path: Path, text: str, said: str
) -> None:
    path, out = tmp_path / "bad.csv", tmp_path / "out.json"
    path.write_text(text)
    done = quick("validate", "--chips", str(path), "--json", "-o", str(out))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not out.exists()


def test_a_fault_far_behind_leaves_nothing_written(quick: Quick, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("\n".join([HEADER, *[GOOD] * 20_000, GOOD.replace(",28,", ",x,")]) + "\n")
    done = quick("validate", "--chips", str(path))
    assert (done.code, done.out) == (2, "")
    assert ":20002: node_nm: 'x' given" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--chips", "--stack", "vllm-0.11"], "--chips and --stack: expected one or the other"),
        (
            ["--chips", "--input-len", "5", "--max-mape", "avg_power_w=1"],
            "--chips and --input-len, --max-mape",
        ),
        (["--max-factor", "2"], "--max-factor: is a gate of chips"),
        (["--chips", "--max-factor", "half"], "--max-factor: 'half' given; expected a number from 1"),
        (["--chips", "nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_options_that_mean_nothing_are_refused(quick: Quick, options: list[str], said: str) -> None:
    done = quick("validate", *options)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) == 1
    assert said in done.err


def test_a_dash_is_standard_input(run: Run) -> None:
    done = run("validate", "--chips", "-", "--format", "jsonl", stdin=f"{HEADER}\n{GOOD}\n")
    assert done.code == 0
    assert json.loads(done.out)["chip_id"] == "mine"


def test_a_file_of_the_other_kind_is_told_how_to_be_read(quick: Quick, chips: Path, tmp_path: Path) -> None:
    done = quick("validate", str(chips))
    assert (done.code, "published chips are read with --chips" in done.err) == (2, True)
    runs = tmp_path / "runs.csv"
    runs.write_text("model,gpu,task\na,b,c\n")
    done = quick("validate", "--chips", str(runs))
    assert (done.code, "measured runs are read without --chips" in done.err) == (2, True)


def test_a_row_that_tells_less_gets_a_wider_interval_and_a_flag(quick: Quick, tmp_path: Path) -> None:
    names = HEADER.split(",")
    full = dict(zip(names, GOOD.split(","), strict=True)) | {"rows_active": "2", "adc_bits": "9"}
    less = {
        name: full | {name: ""}
        for name in ("voltage_V", "rows_active", "input_bits", "weight_bits", "adc_bits", "compute_model")
    }
    path = tmp_path / "less.csv"
    path.write_text("\n".join([HEADER, *(",".join(row.values()) for row in (full, *less.values()))]) + "\n")
    whole, *others = quick("validate", "--chips", str(path), "--json").json()["rows"]
    assert whole["flags"] == ["ops_definition: native taken"]
    for name, row in zip(less, others, strict=True):
        assert row["high"] / row["low"] > 1.001 * whole["high"] / whole["low"], name
        assert row["low"] < row["predicted"] < row["high"]
        assert any(flag.startswith(name) for flag in row["flags"])


def test_notes_name_the_lines_of_flags_and_only_measured_chips_are_off(quick: Quick, chips: Path) -> None:
    told = quick("validate", "--chips", str(chips)).out
    assert "voltage_V: 0.8 taken: line 6" in told
    assert "bare" not in told
    assert "each prediction is projected" in told
    chips.write_text(f"{HEADER}\nbare,RRAM,22{',' * 7}\n")
    assert "the first chips, none of them measured" in quick("validate", "--chips", str(chips)).out
