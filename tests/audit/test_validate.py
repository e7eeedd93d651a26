"""Predictions beside measurements: statistics by hand, splits that add up, rows that say what columns hold."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.audit.anchors import built_in_path
from npuwatt.audit.measured import (
    BASELINE,
    METRICS,
    NOT_FINITE,
    SPLITS,
    Judged,
    Summary,
    check,
    exceeded,
    judged,
    limits_of,
    statistics,
)
from npuwatt.errors import NpuwattError
from npuwatt.report.audit import WORST, head_record, report, rest_record
from npuwatt.report.judged_rows import COMPARED, csv_header, row_lines, row_records, write_rows

FIXED = settings(derandomize=True, deadline=None)
SAMPLE = built_in_path("ml-energy-v3.csv")
HEADER = "model_id,weight_precision,gpu,num_gpus,avg_batch,avg_output_len,task,median_itl_ms,avg_tpot_ms,avg_power_w,j_per_output_token"
ROW = "llama-3.1-8b,bf16,H100,1,8,300,chat,9.0,,400,0.5"
Numbers = dict[str, float]


@pytest.fixture(scope="module")
def whole() -> tuple[Judged, Summary]:
    summary = Summary()
    (part,) = judged(summary=summary)
    return part, summary


@pytest.fixture
def of_rows(tmp_path: Path) -> Callable[..., tuple[Judged, Summary]]:
    """`of_rows(ROW, ROW.replace(...))`: those rows, judged."""

    def make(*rows: str, **options: Any) -> tuple[Judged, Summary]:
        path = tmp_path / "rows.csv"
        path.write_text("\n".join([HEADER, *rows]))
        summary = Summary()
        (part,) = judged(str(path), summary=summary, **options)
        return part, summary

    return make


def test_statistics_of_ratios_by_hand() -> None:
    found = statistics(np.array([0.5, 0.9, 1.0, 1.2, 2.0]))  # off by 50, 10, 0, 20 and 100 %
    assert found == pytest.approx(
        {"rows": 5, "mape": 0.36, "median": 0.2, "p90": 0.8, "bias": 0.0, "within_10_percent": 0.4,
         "within_25_percent": 0.6, "within_50_percent": 0.8}
    )  # fmt: skip
    assert statistics(np.array([1.3]))["bias"] == pytest.approx(0.3)


@FIXED
@given(ratios=st.lists(st.floats(0.01, 100), min_size=1, max_size=60))
def test_statistics_are_ordered_and_do_not_ask_for_order(ratios: list[float]) -> None:
    found = statistics(np.array(ratios))
    assert found == pytest.approx(statistics(np.array(ratios[::-1])), rel=1e-9, abs=1e-12)
    assert found["within_10_percent"] <= found["within_25_percent"] <= found["within_50_percent"] <= 1
    assert found["median"] <= found["p90"] + 1e-12
    assert min(ratios) - 1 - 1e-9 <= found["bias"] <= max(ratios) - 1 + 1e-9


def test_intervals_hold_their_prediction(whole: tuple[Judged, Summary]) -> None:
    part, _ = whole
    for name in METRICS:
        known = np.isfinite(part.predicted[name])
        assert known.any()
        assert (part.low[name][known] <= part.predicted[name][known]).all()
        assert (part.predicted[name][known] <= part.high[name][known]).all()
        assert (part.low[name][known] > 0).all()


def test_the_share_inside_is_counted_from_the_intervals(whole: tuple[Judged, Summary]) -> None:
    part, summary = whole
    for name, share in summary.covered().items():
        measured = part.measured[name]
        inside = (part.low[name] <= measured) & (measured <= part.high[name])
        assert share == pytest.approx(inside.sum() / np.isfinite(measured).sum())
    assert set(summary.covered()) == set(summary.overall()) == set(METRICS) - {"avg_tpot_ms"}


def weighted(parts: Sequence[Numbers], name: str) -> float:
    return sum(one["rows"] * one[name] for one in parts) / sum(one["rows"] for one in parts)


@pytest.mark.parametrize("split", SPLITS)
def test_splits_add_up_to_the_whole(whole: tuple[Judged, Summary], split: str) -> None:
    _, summary = whole
    errors = summary.errors(split)
    for metric, overall in summary.overall().items():
        parts = [metrics[metric] for metrics in errors.values() if metric in metrics]
        assert sum(one["rows"] for one in parts) == overall["rows"] == 63
        for name in ("mape", "within_10_percent", "within_25_percent", "within_50_percent"):
            assert weighted(parts, name) == pytest.approx(overall[name], rel=1e-12)


def test_a_baseline_is_a_roofline_at_the_power_limit(whole: tuple[Judged, Summary]) -> None:
    part, summary = whole
    assert set(summary.baseline()) == set(BASELINE) - {"avg_tpot_ms"}
    cap_w = {"h100-sxm": 700, "b200-sxm": 1000}
    watts = [
        cap_w[device] * count
        for device, count in zip(part.devices, part.rows.numbers["num_gpus"], strict=True)
    ]
    np.testing.assert_allclose(part.baseline["avg_power_w"], watts)
    rate = part.rows.numbers["avg_batch"] / part.baseline["median_itl_ms"] * 1e3
    np.testing.assert_allclose(part.baseline["output_tok_s"], rate)
    np.testing.assert_allclose(part.baseline["j_per_output_token"], watts / rate)
    assert (part.baseline["median_itl_ms"] < part.predicted["median_itl_ms"]).all()


def test_chunks_are_counted_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, whole: tuple[Judged, Summary]
) -> None:
    monkeypatch.setattr("npuwatt.audit.measured.CHUNK_ROWS", 10)
    summary = Summary()
    assert sum(part.count for part in judged(summary=summary)) == summary.rows == 63
    for one, other in zip(
        rest_record(summary, [])["summary"].items(), rest_record(whole[1], [])["summary"].items(), strict=True
    ):
        assert one[0] == other[0]
        assert flat(one[1]) == pytest.approx(flat(other[1]), rel=1e-12)  # fmt: skip


def flat(tree: Any, at: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {
            key: value for name, inner in tree.items() for key, value in flat(inner, f"{at}.{name}").items()
        }
    return {at: tree if isinstance(tree, (int, float)) else str(tree) if tree is None else len(tree)}


def test_rows_that_cannot_be_predicted_are_counted_and_left_out(of_rows: Any) -> None:
    odd = [ROW.replace("H100", "H900"), ROW.replace("llama-3.1-8b", "gpt-9"), ROW.replace("H100", "H900")]
    part, summary = of_rows(ROW, *odd, ROW)
    assert (summary.rows, sum(summary.refused.values())) == (5, 3)
    reason = next(text for text in summary.refused if "H900" in text)
    assert (summary.refused[reason], summary.refused_lines[reason]) == (2, [3, 5])
    records = list(row_records(part))
    assert [record["line"] for record in records] == [2, 3, 4, 5, 6]
    assert [set(record) == {"line", "reason"} for record in records] == [False, True, True, True, False]
    assert all(stats["rows"] == 2 for stats in summary.overall().values())
    assert list(summary.errors("gpu")) == ["h100-sxm"]


def test_absurd_numbers_are_a_reason_and_no_warning(of_rows: Any) -> None:
    rows = [
        ROW.replace(",8,", ",1e300,"),
        ROW.replace(",300,", ",1e-300,"),
        ROW.replace(",8,300,", ",1e-300,1e300,"),
    ]
    part, summary = of_rows(*rows)
    assert set(part.reasons) == {0, 1, 2}
    assert NOT_FINITE in part.reasons.values()
    assert summary.overall() == summary.covered() == summary.baseline() == {}
    json.dumps(rest_record(summary, []), allow_nan=False)


def test_a_file_says_only_what_it_measured(of_rows: Any) -> None:
    part, summary = of_rows(ROW, ROW.replace("9.0,,400,0.5", ",11,,"), ROW.replace("9.0,,400,0.5", ",,,"))
    assert {name: stats["rows"] for name, stats in summary.overall().items()} == {
        "median_itl_ms": 1, "avg_tpot_ms": 1, "avg_power_w": 1, "j_per_output_token": 1,
    }  # fmt: skip
    records = list(row_records(part))
    assert records[2]["avg_power_w"] == {
        "measured": None, "predicted": records[0]["avg_power_w"]["predicted"], "ratio": None,
        "low": records[0]["avg_power_w"]["low"], "high": records[0]["avg_power_w"]["high"],
    }  # fmt: skip
    assert records[0]["j_per_output_token_given_tok_s"]["predicted"] is None  # needs the measured rate


def test_lines_for_machines_are_the_records(whole: tuple[Judged, Summary], of_rows: Any) -> None:
    odd, _ = of_rows(
        ROW, ROW.replace("H100", '"H""9,0"'), ROW.replace("chat", "caf\u00e9 100%s"), ROW.replace("0.5", "")
    )
    for part in (whole[0], odd):
        records = list(row_records(part))
        assert [json.loads(line) for line in row_lines(part, "jsonl")] == records
        text = "\n".join([",".join(csv_header()), *row_lines(part, "csv")])
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == len(records)
        for row, record in zip(rows, records, strict=True):
            plain = {name: value for name, value in record.items() if not isinstance(value, dict)}
            plain |= {
                f"{name}.{what}": record[name][what]
                for name in METRICS
                if name in record
                for what in COMPARED
            }
            expected = {name: in_csv(value) for name, value in plain.items()}
            assert row == dict.fromkeys(csv_header(), "") | expected


def in_csv(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("style", ["json", "jsonl", "csv"])
def test_slices_are_written_as_the_whole(
    monkeypatch: pytest.MonkeyPatch, whole: tuple[Judged, Summary], style: str
) -> None:
    def text() -> str:
        stream = io.StringIO()
        write_rows([whole[0]], stream, style, head_record(None, None), lambda: {"summary": {}})
        return stream.getvalue()

    at_once = text()
    monkeypatch.setattr("npuwatt.report.judged_rows.SLICE_ROWS", 5)
    assert text() == at_once


def test_a_table_of_many_rows_shows_the_worst_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npuwatt.audit.measured.CHUNK_ROWS", 100)
    off = np.exp(np.random.default_rng(2).normal(0, 0.5, 450))
    path = tmp_path / "many.csv"
    path.write_text("\n".join([HEADER, *(ROW.replace(",0.5", f",{0.5 * factor:.12g}") for factor in off)]))
    summary = Summary()
    found = report(judged(str(path), summary=summary), summary, head_record(str(path), None), [])
    assert found.tables[0].title.startswith(f"the {WORST} runs furthest off")
    ratios = np.abs(np.log(summary.ratios("j_per_output_token")))
    worst = {str(2 + place) for place in np.argsort(-ratios)[:WORST]}
    assert {row[0] for row in found.tables[0].rows} == worst == {row[0] for row in found.wide[0].rows}


def test_a_report_of_no_prediction_says_why(of_rows: Any) -> None:
    part, summary = of_rows(
        *[ROW.replace("H100", f"H{900 + i}") for i in range(14)], *[ROW.replace("bf16", "bf17")] * 5
    )
    found = report([part], summary, head_record("rows.csv", None), [])
    assert "0 of 19 runs predicted" in found.heading
    assert found.tables == ()
    assert found.notes[0].startswith("line 2: unknown device 'H900'")
    assert found.notes[-1] == "9 runs more cannot be predicted, for 5 other reasons"


def test_limits_are_shares_or_percentages() -> None:
    assert limits_of(["avg_power_w=0.2", "j_per_output_token=25%", "median_itl_ms=0"]) == pytest.approx(
        {"avg_power_w": 0.2, "j_per_output_token": 0.25, "median_itl_ms": 0.0}
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("avg_power=0.2", "unknown metric; did you mean 'avg_power_w'"),
        ("=0.2", "unknown metric; expected one of"),
        ("avg_power_w", "expected METRIC=VALUE"),
        *((f"avg_power_w={value}", "expected METRIC=VALUE") for value in
          ("", "-1", "nan", "inf", "1e999", "x", "%", "20%%", "1_0", "\u0663")),
    ],
)  # fmt: skip
def test_limits_that_are_none_are_refused(text: str, told: str) -> None:
    with pytest.raises(NpuwattError, match=told) as caught:
        limits_of([text])
    assert len(caught.value.faults) == 1


def test_a_limit_is_exceeded_from_just_above_it(whole: tuple[Judged, Summary]) -> None:
    _, summary = whole
    error = summary.overall()["avg_power_w"]["mape"]
    assert exceeded(summary, {"avg_power_w": error}) == []
    (line,) = exceeded(summary, {"avg_power_w": error * 0.999})
    assert line.startswith(f"avg_power_w: MAPE {100 * error:.1f} % is above")
    (line,) = exceeded(summary, {"avg_tpot_ms": 9.0})
    assert line.startswith("avg_tpot_ms: no row of the file has it")


def test_an_unknown_stack_is_refused_and_no_fault_of_rows() -> None:
    with pytest.raises(NpuwattError, match="unknown stack 'nobodys'"):
        next(judged(stack="nobodys", summary=Summary()))


def test_a_file_is_checked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npuwatt.audit.measured.CHUNK_ROWS", 2)
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([HEADER, *[ROW] * 5, ROW.replace(",8,", ",-8,")]))
    with pytest.raises(NpuwattError, match=":7: avg_batch"):
        check(str(path))


def test_memory_grows_by_little_more_than_the_numbers_of_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("npuwatt.audit.measured.CHUNK_ROWS", 500)

    def peak_bytes(rows: int) -> int:
        path = tmp_path / "runs.csv"
        path.write_text("\n".join([HEADER, *[ROW] * rows]))
        tracemalloc.start()
        summary = Summary()
        with open(tmp_path / "out", "w") as stream:
            write_rows(judged(str(path), summary=summary), stream, "jsonl", {}, dict)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(500)  # what is loaded once
    assert peak_bytes(8000) - peak_bytes(1000) < 7000 * 250
