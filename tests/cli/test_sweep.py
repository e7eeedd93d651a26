"""A sweep is a loop of compare: the same numbers for each point, in the order and the columns promised."""

from __future__ import annotations

import csv
import io
import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Quick

BANDWIDTH = "devices.gpu.levels.dram.bandwidth"
METRICS = ("ttft_s", "tpot_s", "tokens_per_s", "power_w", "energy_per_output_token_j", "energy_per_total_token_j",
           "energy_per_request_j", "tokens_per_j")  # fmt: skip
RESULTS = ("device", *METRICS, "bound_by", "fits", "devices", "devices_needed")
Row = dict[str, Any]


def swept(quick: Quick, *asked: str) -> list[Row]:
    done = quick("sweep", *asked, "--format", "jsonl")
    assert (done.code, done.err) == (0, "")
    return done.lines()


def compared(quick: Quick, *asked: str) -> list[Row]:
    done = quick("compare", *asked, "--format", "json")
    assert done.code == 0
    return [{name: result[name] for name in RESULTS} for result in done.json()["results"]]


def same(row: Row, one: Row) -> None:
    """A row against a comparison: texts and counts alike, numbers but for the order in which floats are added."""
    assert {
        name: row[name] for name in ("device", "bound_by", "fits", "devices", "devices_needed")
    }.items() <= one.items()
    assert [row[name] for name in METRICS] == pytest.approx([one[name] for name in METRICS], rel=1e-13)


@pytest.mark.parametrize("network", ["llama-3.1-8b", "deepseek-v3"])
def test_rows_equal_a_loop_of_compare_value_for_value(quick: Quick, network: str) -> None:
    chosen = ("--network", network)
    rows = swept(
        quick, "gpu", "pim", *chosen, "--vary", "request.batch=1,48", "--vary", f"{BANDWIDTH}=2TB/s,5TB/s"
    )
    assert len(rows) == 8
    for batch, bandwidth in itertools.product(("1", "48"), ("2TB/s", "5TB/s")):
        loop = compared(quick, "gpu", "pim", *chosen, "--batch", batch, "--set", f"{BANDWIDTH}={bandwidth}")
        point = (int(batch), 1e12 * int(bandwidth[0]))
        found = [row for row in rows if (row["request.batch"], row[BANDWIDTH]) == point]
        for row, one in zip(found, loop, strict=True):
            same(row, one)


@pytest.mark.parametrize(
    ("address", "values"),
    [
        ("devices.pim.levels.dram.bandwidth", None),
        ("devices.pim.banks.parallelism", ("2", "4.5")),
        ("devices.npu.static_power", ("40W", "55.5W")),
        ("devices.npu.mac_energy.bf16", ("0.3pJ/MAC", "1pJ/MAC")),
        ("request.input_len", ("7", "3000")),
        ("request.output_len", ("1", "900")),
    ],
)
def test_any_number_can_be_varied_and_equals_a_loop(
    quick: Quick, address: str, values: tuple[str, str] | None
) -> None:
    if values is None:  # an address that only some boards have: take it if the preset names it
        known = [number["address"] for number in quick("presets", "show", "pim", "--json").json()["numbers"]]
        path = next(name for name in known if name.endswith(address.rpartition(".")[2]))
        address, values = f"devices.pim.{path}", ("1TB/s", "1.7TB/s")
    device = address.split(".")[1] if address.startswith("devices.") else "npu"
    rows = swept(quick, device, "--vary", f"{address}={','.join(values)}")
    for row, value in zip(rows, values, strict=True):
        change = ("--set", f"{address}={value}")
        if address.startswith("request."):
            change = ("--" + address.removeprefix("request.").replace("_", "-"), value)
        (one,) = compared(quick, device, *change)
        same(row, one)


def test_points_of_a_grid_come_with_the_last_address_fastest(quick: Quick) -> None:
    rows = swept(quick, "gpu", "--vary", "request.batch=1,2", "--vary", "request.input_len=10,20,30")
    found = [(row["request.batch"], row["request.input_len"]) for row in rows]
    assert found == list(itertools.product((1, 2), (10, 20, 30)))


def test_zip_takes_values_in_step(quick: Quick) -> None:
    rows = swept(
        quick, "gpu", "--zip", "--vary", "request.batch=1,2,4", "--vary", "request.input_len=1000..10:3"
    )
    assert [(row["request.batch"], row["request.input_len"]) for row in rows] == [
        (1, 1000),
        (2, 505),
        (4, 10),
    ]


@pytest.mark.parametrize(
    ("address", "spec", "expected"),
    [
        (BANDWIDTH, "2TB/s,3350GB/s,4e12B/s", [2e12, 3.35e12, 4e12]),
        (BANDWIDTH, "2TB/s..8TB/s:4", [2e12, 4e12, 6e12, 8e12]),
        (BANDWIDTH, "8TB/s..2TB/s:4", [8e12, 6e12, 4e12, 2e12]),
        (BANDWIDTH, "1TB/s..16TB/s:5log", [1e12, 2e12, 4e12, 8e12, 16e12]),
        (BANDWIDTH, "500 GB/s .. 4 TB/s:4log", [5e11, 1e12, 2e12, 4e12]),
        ("devices.gpu.levels.dram.read_energy", "2pJ/bit,32pJ/B", [16e-12, 32e-12]),
        ("devices.gpu.levels.dram.utilization", "50%,0.75", [0.5, 0.75]),
        ("devices.gpu.link.latency", "500ns..2us:4", [5e-7, 1e-6, 1.5e-6, 2e-6]),
        ("request.batch", "1..64:7log", [1, 2, 4, 8, 16, 32, 64]),
        ("request.batch", "1..9:5", [1, 3, 5, 7, 9]),
        ("request.batch", "5", [5]),
    ],
)
def test_a_spec_means_these_values(quick: Quick, address: str, spec: str, expected: list[float]) -> None:
    values = [row[address] for row in swept(quick, "gpu", "--vary", f"{address}={spec}")]
    assert values == pytest.approx(expected, rel=1e-12)


def test_whole_numbers_stay_whole(quick: Quick) -> None:
    rows = swept(quick, "gpu", "--vary", "request.batch=1..1000:40log")
    assert all(isinstance(row["request.batch"], int) for row in rows)
    assert rows[-1]["request.batch"] == 1000


@pytest.mark.parametrize(
    "asked",
    [
        ("gpu", "pim", "--vary", "request.batch=1,64,100000", "--devices", "1"),
        ("gpu", "--vary", f"{BANDWIDTH}=1TB/s..9TB/s:70", "--vary", "request.output_len=1..256:8log"),
    ],
)
def test_json_lines_and_csv_hold_the_same_rows(quick: Quick, asked: tuple[str, ...]) -> None:
    rows = swept(quick, *asked)
    document = quick("sweep", *asked, "--format", "json").json()
    assert document["results"] == rows
    table = list(csv.DictReader(io.StringIO(quick("sweep", *asked, "--format", "csv").out)))
    words = {True: "true", False: "false", None: ""}
    texts = [{name: words.get(value, str(value)) if not isinstance(value, (int, float)) or isinstance(value, bool) else repr(value)
              for name, value in row.items()} for row in rows]  # fmt: skip
    assert table == texts


def test_columns_are_the_addresses_as_typed_and_then_the_names_of_compare(quick: Quick) -> None:
    asked = ("h100-sxm", "--vary", "request.batch=1,2", "--vary", "devices.h100-sxm.power_cap=500W,600W")
    header = quick("sweep", *asked).out.splitlines()[0].split(",")
    assert header == ["request.batch", "devices.h100-sxm.power_cap", *RESULTS, "evidence"]
    assert list(swept(quick, *asked)[0]) == header


def test_a_device_given_by_path_keeps_its_path_in_the_columns(quick: Quick) -> None:
    folder = quick("presets", "path", "--json").json()["paths"][-1]["path"]
    path = f"{folder}/devices/h100-sxm.yaml"
    rows = swept(quick, path, "--vary", f"devices.{path}.power_cap=500W,600W")
    assert [row[f"devices.{path}.power_cap"] for row in rows] == [500, 600]
    assert rows[0]["device"] == path


def test_a_point_that_does_not_fit_is_a_row_without_numbers(quick: Quick) -> None:
    rows = swept(quick, "gpu", "--vary", "request.batch=1,1000000", "--devices", "1")
    assert [row["fits"] for row in rows] == [True, False]
    assert all(rows[1][name] is None for name in (*METRICS, "bound_by"))
    assert rows[1]["devices_needed"] is None or rows[1]["devices_needed"] > 1


GRID = (
    "gpu",
    "npu",
    "pim",
    "--vary",
    "request.batch=1..4096:30log",
    "--vary",
    "request.input_len=1..4000:7",
    "--devices",
    "1",
)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_points_are_the_best_of_the_full_sweep(quick: Quick, metric: str) -> None:
    rows = [row for row in swept(quick, *GRID) if row["fits"]]
    assert 0 < len(rows) < 630  # some do not fit
    sign = -1 if metric.startswith("tokens_") else 1
    ranked = sorted((row for row in rows if row[metric] is not None), key=lambda row: sign * row[metric])
    best = swept(quick, *GRID, "--best", metric, "--top", "25")
    assert [row[metric] for row in best] == pytest.approx([row[metric] for row in ranked[:25]], rel=1e-13)
    points = {(row["device"], row["request.batch"], row["request.input_len"]): row for row in rows}
    for row in best:
        same(row, points[row["device"], row["request.batch"], row["request.input_len"]])


def test_one_point_is_kept_unless_more_are_asked_for(quick: Quick) -> None:
    (best,) = swept(quick, *GRID, "--best", "tokens_per_j")
    assert best == swept(quick, *GRID, "--best", "tokens_per_j", "--top", "25")[0]


def test_the_best_of_points_that_do_not_fit_is_none(quick: Quick) -> None:
    asked = ("gpu", "--network", "llama-3.1-405b", "--devices", "1", "--vary", "request.batch=1,2")
    assert swept(quick, *asked, "--best", "power_w") == []


def test_more_than_there_is_keeps_all(quick: Quick) -> None:
    asked = ("gpu", "--vary", "request.batch=1,2,4")
    best = swept(quick, *asked, "--best", "tokens_per_s", "--top", "100")
    assert [row["request.batch"] for row in best] == [4, 2, 1]


@pytest.mark.parametrize("style", ["csv", "json", "jsonl", "plain", "table", "markdown"])
def test_the_best_points_come_in_every_format(quick: Quick, style: str) -> None:
    done = quick("sweep", *GRID, "--best", "tokens_per_j", "--format", style)
    assert (done.code, done.err) == (0, "")
    (best,) = swept(quick, *GRID, "--best", "tokens_per_j")
    assert str(best["request.batch"]) in done.out


@pytest.mark.parametrize("more", [(), ("--best", "power_w"), ("--best", "power_w", "--top", "7"), ("--zip",)])
def test_a_dry_run_counts_what_a_run_gives(quick: Quick, more: tuple[str, ...]) -> None:
    asked = ("gpu", "npu", "--vary", "request.batch=1,2,4", "--vary", "request.input_len=1..9:3", *more)
    count = quick("sweep", *asked, "--dry-run", "--json").json()
    rows = swept(quick, *asked)
    assert count["rows"] == len(rows)
    assert count["points"] == (3 if "--zip" in more else 9)


def test_a_dry_run_of_a_billion_points_computes_none_of_them(quick: Quick) -> None:
    asked = ("gpu", "--vary", "request.batch=1..1000000:1000000", "--vary", f"{BANDWIDTH}=1TB/s..9TB/s:1000")
    count = quick("sweep", *asked, "--dry-run", "--json").json()
    assert (count["points"], count["rows"]) == (10**9, 10**9)
    text = quick("sweep", *asked, "--dry-run", "--format", "plain").out
    assert "1000000000" in text.replace(",", "")


def test_rows_beyond_one_chunk_keep_the_order_of_the_grid(quick: Quick) -> None:
    rows = swept(quick, "gpu", "npu", "--vary", "request.batch=1..40000:40000", "--devices", "1")
    assert len(rows) == 80_000
    for device in ("gpu", "npu"):
        assert [row["request.batch"] for row in rows if row["device"] == device] == list(range(1, 40001))
    assert all(math.isfinite(row["energy_per_output_token_j"]) for row in rows if row["fits"])
