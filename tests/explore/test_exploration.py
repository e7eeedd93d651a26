"""A sweep's rows are what each of its points costs alone; the best are the best of all."""

from __future__ import annotations

import math
from typing import Any

import pytest

from npuwatt.errors import NpuwattError
from npuwatt.explore import sweep as module
from npuwatt.explore.sweep import COLUMNS, Rows, Sweep, sweep
from npuwatt.preset import library
from npuwatt.study.compare import compare
from npuwatt.study.inference import METRICS

INDEX = library.index()
TWO = ("devices.gpu.levels.dram.bandwidth=1 TB/s..8 TB/s:4", "request.batch=1,8,64")


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


def rows_of(found: Sweep) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for chunk in found.chunks():
        assert tuple(chunk) == found.columns
        names, columns = list(chunk), list(chunk.values())
        made += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return made


def test_rows_of_a_sweep_are_what_compare_says_of_each_point() -> None:
    rows = rows_of(sweep(["gpu", "pim", "crossbar"], vary=TWO))
    assert len(rows) == 3 * 12
    for row in rows:
        change = f"devices.gpu.levels.dram.bandwidth={row[TWO[0].split('=')[0]]!r} B/s"
        changes = [change] if row["device"] == "gpu" else []
        alone = compare([row["device"]], batch=row["request.batch"], changes=changes).answers[0].result
        for name, value in alone.metrics().items():
            assert row[name] == pytest.approx(value.item(), rel=1e-12), name
        assert row["fits"] is True
        assert row["devices_needed"] == alone.devices_needed.item()


def test_a_varied_device_leaves_the_others_as_they_are() -> None:
    rows = rows_of(sweep(["gpu", "npu"], vary=["devices.gpu.static_power=10 W,300 W"]))
    npu = [row for row in rows if row["device"] == "npu"]
    assert npu[0]["power_w"] == npu[1]["power_w"]
    gpu = [row for row in rows if row["device"] == "gpu"]
    assert gpu[0]["power_w"] < gpu[1]["power_w"]


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_points_are_the_first_of_all_points_in_order(metric: str) -> None:
    names = ["gpu", "pim"]
    everything = rows_of(sweep(names, vary=TWO))
    sign = -1 if metric.startswith("tokens_") else 1
    best = rows_of(sweep(names, vary=TWO, best=metric, top=5))
    expected = sorted(everything, key=lambda row: float(sign * row[metric]))[:5]
    assert [row[metric] for row in best] == [row[metric] for row in expected]


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_chunks_do_not_change_what_a_sweep_says(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, best = rows_of(sweep(["gpu"], vary=TWO)), rows_of(sweep(["gpu"], vary=TWO, best="tpot_s", top=3))
    monkeypatch.setattr(module, "CHUNK", chunk)
    for one, other in zip(rows_of(sweep(["gpu"], vary=TWO)), whole, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            same = pytest.approx(other[name], rel=1e-12) if isinstance(value, float) else other[name]
            assert value == same
    again = rows_of(sweep(["gpu"], vary=TWO, best="tpot_s", top=3))
    assert [row[TWO[0].split("=")[0]] for row in again] == [row[TWO[0].split("=")[0]] for row in best]


def test_points_that_do_not_fit_have_no_numbers_and_are_never_the_best() -> None:
    vary = ["devices.gpu.levels.dram.capacity=1 GiB,80 GiB"]
    small, large = rows_of(sweep(["gpu"], vary=vary, devices=1))
    assert small["fits"] is False
    assert all(small[name] is None for name in METRICS)
    assert small["bound_by"] is None
    assert small["devices_needed"] > 1
    assert large["fits"] is True
    for metric in METRICS:
        found = rows_of(sweep(["gpu"], vary=vary, devices=1, best=metric, top=2))
        assert [row["fits"] for row in found] == [True]


def test_progress_counts_every_row_once() -> None:
    for best in (None, "tpot_s"):
        heard: list[int] = []
        found = sweep(["gpu", "npu"], vary=TWO, best=best)
        for _ in found.chunks(heard.append):
            pass
        assert heard[-1] == found.row_count == 24
        assert heard == sorted(heard)


def test_numbers_of_a_row_are_plain() -> None:
    rows: Rows = next(sweep(["gpu"], vary=["request.batch=1..9:9"]).chunks())
    assert set(COLUMNS) <= set(rows)
    assert all(type(value) is int for value in rows["request.batch"] + rows["devices"])
    assert all(type(value) is float and math.isfinite(value) for name in METRICS for value in rows[name])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"vary": []}, "nothing to vary"),
        ({"vary": ["request.batch"]}, "ADDRESS=SPEC"),
        ({"vary": ["request.bach=1"]}, "did you mean 'batch'"),
        ({"vary": ["request.batch=1000001"]}, "at most"),
        ({"vary": ["devices.gpu.levels.dram.bandwith=1 TB/s"]}, "did you mean 'bandwidth'"),
        ({"vary": ["devices.gpu.levels.dram=1"]}, "not a number"),
        ({"vary": ["devices.gpv.power_cap=1 W"]}, "did you mean 'devices.gpu'"),
        ({"vary": ["network.hidden=1,2"]}, "one run for each network"),
        ({"vary": ["devices.gpu.utilization=0.5,1.5"]}, "utilization"),
        ({"vary": ["devices.gpu.power_cap=1 W,500 W"]}, "headroom"),
        ({"vary": ["request.batch=1,2"], "best": "tpot"}, "did you mean 'tpot_s'"),
        ({"vary": ["request.batch=1,2"], "top": 0}, "--top"),
        ({"vary": ["request.batch=1", "request.batch=2"]}, "stands twice"),
        ({"vary": ["request.output_len=1,2"], "network": "resnet-50"}, "one pass"),
    ],
)
def test_a_sweep_that_has_no_answer_is_refused_before_it_runs(options: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError, match=told):
        sweep(["gpu"], **options)
