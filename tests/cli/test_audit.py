"""validate and calibrate from outside: formats, gates, faults, files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt import schema_of

if TYPE_CHECKING:
    from conftest import Quick

HEADER = "model_id,weight_precision,gpu,num_gpus,avg_batch,avg_output_len,output_tok_s,avg_power_w,j_per_output_token"
GOOD = "meta-llama/Llama-3.1-8B-Instruct,bfloat16,H100,1,32,600,2900,490,0.169"
FORMATS = ("table", "plain", "json", "jsonl", "csv", "markdown")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    odd = GOOD.replace("meta-llama/Llama-3.1-8B-Instruct", "nobody/knows-7b")
    path.write_text("\n".join(["# mine", HEADER, GOOD, odd, GOOD.replace("H100", "H900")]) + "\n")
    return path


def test_the_json_of_validate_passes_its_schema_and_refuses_by_line(quick: Quick, runs: Path) -> None:
    done = quick("validate", str(runs), "--json")
    record = done.json()
    Draft202012Validator(schema_of("validate")).validate(record)
    assert done.code == 0
    assert [row["line"] for row in record["rows"]] == [3, 4, 5]
    assert [sorted(row) for row in record["rows"][1:]] == [["line", "reason"]] * 2
    assert (record["summary"]["rows"], record["summary"]["predicted"]) == (3, 1)
    found = record["rows"][0]["j_per_output_token"]
    assert found["ratio"] == pytest.approx(found["predicted"] / 0.169)
    assert found["low"] < found["predicted"] < found["high"]


@pytest.mark.parametrize("style", FORMATS)
def test_validate_speaks_every_format(quick: Quick, style: str) -> None:
    done = quick("validate", "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "csv":
        assert len(list(csv.DictReader(io.StringIO(done.out)))) == 63
    elif style == "jsonl":
        assert len([json.loads(line) for line in done.out.splitlines()]) == 63
    elif style == "json":
        assert len(done.json()["rows"]) == 63
    else:
        assert "qwen3-235b-a22b" in done.out


def test_the_built_in_runs_beat_the_roofline_by_three(quick: Quick) -> None:
    summary = quick("validate", "--json").json()["summary"]
    ours, naive = (summary[part]["j_per_output_token"]["mape"] for part in ("metrics", "baseline"))
    assert naive > 3 * ours


def test_a_gate_that_does_not_hold_exits_1_after_the_result(quick: Quick, runs: Path) -> None:
    done = quick("validate", str(runs), "--max-mape", "j_per_output_token=0.1%")
    assert done.code == 1
    assert "J/token" in done.out
    assert "j_per_output_token: MAPE" in done.err
    assert quick("validate", str(runs), "--max-mape", "j_per_output_token=90%").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rows"),
        (HEADER + "\n", "no rows below the header"),
        (HEADER + "\n" + GOOD + ",7\n", "10 cells given; expected 9"),
        (HEADER + "\n" + GOOD.replace(",32,", ",lots,") + "\n", ":2: avg_batch: 'lots' given"),
        (HEADER + "\n" + GOOD.replace(",32,", ",-32,") + "\n", ":2: avg_batch: '-32' given"),
        (HEADER.replace("gpu,", "gppu,") + "\n" + GOOD + "\n", "did you mean 'gpu'"),
    ],
)
def test_a_malformed_file_is_one_line_and_nothing_is_written(
    quick: Quick, tmp_path: Path, text: str, said: str
) -> None:
    path, out = tmp_path / "bad.csv", tmp_path / "out.json"
    path.write_text(text)
    done = quick("validate", str(path), "--json", "-o", str(out))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-mape", "joules=1"], "unknown metric"),
        (["--max-mape", "avg_power_w=much"], "expected METRIC=VALUE"),
        (["--input-len", "0"], "--input-len: 0 given"),
        (["--stack", "nobodys"], "nobodys"),
        (["--format", "xml"], "--format"),
    ],
)
def test_options_that_mean_nothing_are_refused(quick: Quick, options: list[str], said: str) -> None:
    done = quick("validate", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "h100-sxm"], "1 runs to fit"),
        (["--device", "nobodys-gpu"], "unknown device"),
        (["--device", "b200-sxm"], "has no run on b200-sxm"),
        (["--device", "h100-sxm", "--fit", "h100-sxm.colour"], "not a constant that can be fitted"),
        (["--device", "h100-sxm", "--fit", "h100-sxm.experts_utilization"], "no run in"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused_and_writes_nothing(
    quick: Quick, runs: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    done = quick("calibrate", str(runs), *options, "--write", str(tmp_path / "made"))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not (tmp_path / "made").exists()
