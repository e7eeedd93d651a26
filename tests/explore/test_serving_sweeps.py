"""Sweeps of a full server: rows are what compare says of each point, and stacks have addresses."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from npuwatt.errors import NpuwattError
from npuwatt.explore.sweep import COLUMNS, Sweep, sweep
from npuwatt.preset import library
from npuwatt.study.compare import compare
from npuwatt.study.inference import METRICS
from npuwatt.study.serving import Serving

INDEX = library.index()
NAMES = ["gpu", "pim", "crossbar"]


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


def rows_of(found: Sweep) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for chunk in found.chunks():
        assert tuple(chunk) == found.columns
        made += [dict(zip(chunk, row, strict=True)) for row in zip(*chunk.values(), strict=True)]
    return made


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "serving"},
        {"stack": "vllm-0.5", "prefill": False, "devices": 4},
        {"mode": "serving", "network": "qwen3-30b-a3b", "devices": 8, "data_parallel": 4, "expert_parallel": True},
        {"network": "qwen3-30b-a3b", "devices": 8, "expert_parallel": True},
    ],
)  # fmt: skip
def test_rows_are_what_compare_says_of_each_point(options: dict[str, Any]) -> None:
    vary = ("request.batch=4,32,256", "request.input_len=100,6000")
    for row in rows_of(sweep(NAMES, vary=vary, **options)):
        lengths = {name: row[f"request.{name}"] for name in ("batch", "input_len")}
        alone = compare([row["device"]], **lengths, **options).answers[0].result
        for name, value in alone.metrics().items():
            expected = pytest.approx(value.item(), rel=1e-12) if math.isfinite(value.item()) else None
            assert row[name] == expected, name
        assert row["fits"] == alone.fits.item()
        if isinstance(alone, Serving) and row["fits"]:
            assert row["median_itl_s"] == pytest.approx(alone.itl_s.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("address", "values"),
    [
        ("step_time", "0s,1ms,5ms"),
        ("layer_time", "0us..50us:3"),
        ("collective_time", "0us,90us"),
        ("expert_layer_time", "0us,90us"),
        ("sequence_time", "0us..60us:5"),
        ("unoverlapped", "0,50 %,1"),
        ("expert_block.bf16", "16,64"),
        ("chunk", "600,8192"),
    ],
)
def test_a_number_of_the_stack_varies_like_one_of_a_device(address: str, values: str) -> None:
    options: dict[str, Any] = {"stack": "vllm", "network": "qwen3-30b-a3b", "devices": 2, "batch": 500}
    rows = rows_of(sweep(["gpu"], vary=[f"stack.{address}={values}"], **options))
    costs = []
    for row in rows:
        value = row[f"stack.{address}"]
        text = f"{value!r} s" if address.endswith("time") else repr(value)
        (answer,) = compare(["gpu"], changes=[f"stack.{address}={text}"], **options).answers
        costs.append(answer.result.metrics()["tpot_s"].item())
        assert row["tpot_s"] == pytest.approx(costs[-1], rel=1e-12)
    assert len(set(costs)) == len(costs)


def test_a_sweep_of_a_server_has_one_column_more_than_one_of_steps() -> None:
    vary = ["request.batch=1,2"]
    assert sweep(["gpu"], vary=vary).columns == ("request.batch", *COLUMNS)
    served = sweep(["gpu"], vary=vary, mode="serving").columns
    assert [name for name in served if name not in COLUMNS] == ["request.batch", "median_itl_s"]
    assert not [name for name in served if "software" in name]


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_points_of_a_server_are_the_first_of_all(metric: str) -> None:
    vary = ("request.batch=1..200:9", "stack.step_time=0ms..5ms:4")
    rows = rows_of(sweep(["gpu", "npu"], vary=vary, mode="serving"))
    best = rows_of(sweep(["gpu", "npu"], vary=vary, mode="serving", best=metric, top=4))
    sign = -1 if metric.startswith("tokens_") else 1
    expected = sorted(rows, key=lambda row: float(sign * row[metric]))[:4]
    assert [row[metric] for row in best] == [row[metric] for row in expected]
    assert best[0].keys() == rows[0].keys()


def test_a_device_may_be_called_like_what_else_has_addresses(tmp_path: Path) -> None:
    (tmp_path / "devices").mkdir()
    text = (Path(library.presets_root()) / "devices" / "h100-sxm.yaml").read_text(encoding="utf-8")
    for name in ("stack", "request"):
        (tmp_path / "devices" / f"{name}.yaml").write_text(re.sub(r"(?m)^aliases:.*\n", "", text))
    for name in ("stack", "request"):
        vary = [
            f"devices.{name}.levels.dram.bandwidth=2TB/s,3TB/s",
            "stack.step_time=1ms,2ms",
            "request.batch=1,8",
        ]
        rows = rows_of(sweep([name], vary=vary, mode="serving", presets=[str(tmp_path)]))
        assert len({row["tpot_s"] for row in rows}) == 8


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"vary": ["stack.step_time=1ms"]}, "--serving, which has a stack"),
        ({"vary": ["stack.step_tim=1ms"], "mode": "serving"}, "did you mean 'step_time'"),
        ({"vary": ["stack.step_time=1"], "mode": "serving"}, "no unit"),
        ({"vary": ["stack.unoverlapped=0,2"], "mode": "serving"}, "a share from 0 to 1"),
        ({"vary": ["stack.chunk=0..10:3"], "mode": "serving"}, "chunk: 0 given"),
        ({"vary": ["stack.expert_block=16,64"], "mode": "serving"}, "not a number"),
        ({"vary": ["request.batch=1,8"], "devices": 8, "data_parallel": 4}, "expected at most 1, a sequence"),
        ({"vary": ["request.batch=1,8"], "mode": "serving", "network": "resnet-50"}, "one pass"),
    ],
)
def test_a_sweep_that_has_no_answer_is_refused_before_it_runs(options: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError, match=told):
        sweep(["gpu"], **options)
