"""Rows as questions to the serving model: each answered as alone, whatever stands beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import column
from npuwatt.audit.anchors import built_in_path
from npuwatt.audit.measured import Judged, Summary, judged
from npuwatt.audit.measurements import Measurements, read_measurements
from npuwatt.audit.runs import (
    HOST_BOUND_RATIO,
    INPUT_TOKENS,
    OTHER_INPUT_TOKENS,
    Runs,
    answers,
    datasheet_roofline_s,
    joined,
    sorted_into_kinds,
)
from npuwatt.device.evaluate import rest_power_w
from npuwatt.device.parallel import Sharing
from npuwatt.device.stack import IDEAL
from npuwatt.preset.paths import with_values
from npuwatt.record import replace
from npuwatt.study.scenario import load_device, load_network, load_stack
from npuwatt.study.serving import mean_step, serving_work, step_costs
from npuwatt.workload.network import Transformer
from npuwatt.workload.request import Request

SAMPLE = built_in_path("ml-energy-v3.csv")
HEADER = (
    "model_id,weight_precision,gpu,num_gpus,avg_batch,avg_output_len,dp,pp,ep,avg_input_len,task,output_tok_s"
)
ROW = "llama-3.1-8b,bf16,H100,1,8,300,,,,,chat,800"


@pytest.fixture(scope="module")
def sample() -> Measurements:
    (rows,) = read_measurements(SAMPLE)
    return rows


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Measurements]:
    """`rows("gpu=T4", "avg_batch=3")`: one row for each text, as ROW with some cells changed."""

    def make(*changes: str) -> Measurements:
        lines = []
        for text in changes:
            cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
            cells |= dict(change.split("=") for change in text.split())
            lines.append(",".join(cells.values()))
        path = tmp_path / "rows.csv"
        path.write_text("\n".join([HEADER, *lines]))
        (found,) = read_measurements(str(path))
        return found

    return make


def all_of(path: str = SAMPLE, **options: Any) -> list[Judged]:
    return list(judged(path, summary=Summary(), **options))


def predictions(parts: Sequence[Judged], side: str = "predicted") -> dict[str, Any]:
    names = getattr(parts[0], side)
    return {name: np.concatenate([getattr(part, side)[name] for part in parts]) for name in names}


def test_a_row_is_answered_as_a_step_put_together_by_hand(sample: Measurements) -> None:
    # Line 46: Qwen3-30B-A3B on two H100 with expert parallelism, chat, no prompt lengths in the file.
    place = sample.lines.tolist().index(46)
    cells = {name: values[place] for name, values in sample.numbers.items()}
    assert (cells["num_gpus"], cells["ep"], sample.texts["task"][place]) == (2, 2, "lm-arena-chat")
    device, stack = load_device("h100-sxm").record, load_stack("vllm-0.11").record
    network = load_network("qwen3-30b-a3b").record
    assert isinstance(network, Transformer)
    request = Request(batch=cells["avg_batch"], input_len=400.0, output_len=cells["avg_output_len"])
    work = serving_work(
        network,
        request,
        devices=2.0,
        sharing=Sharing(expert_parallel=True),
        prefills_per_output_token=cells["prefills_per_output_token"],
        context_tokens=400.0 + cells["kv_pos_window"],
        chunk_tokens=8192.0,
    )
    assert work.mixed is not None
    plain, mixed = (step_costs(ops, work, device, stack) for ops in (work.plain, work.mixed))
    mean = mean_step(work, plain, mixed)
    energy_j = sum(part.item() for part in mean.energy_j.values())
    rate = cells["avg_batch"] / mean.time_s.item()
    assert np.max(work.mixed_fraction) < 0.5
    (part,) = all_of()
    found = {name: values[place] for name, values in part.predicted.items()}
    assert found["median_itl_ms"] == pytest.approx(1e3 * plain.time_s.item(), rel=1e-12)
    assert found["avg_tpot_ms"] == pytest.approx(1e3 * mean.time_s.item(), rel=1e-12)
    assert found["output_tok_s"] == pytest.approx(rate, rel=1e-12)
    assert found["avg_power_w"] == pytest.approx(energy_j / mean.time_s.item(), rel=1e-12)
    assert found["j_per_output_token"] == pytest.approx(energy_j / cells["avg_batch"], rel=1e-12)
    rest_w = 2 * rest_power_w(device)
    measured_s = cells["avg_batch"] / cells["output_tok_s"]
    given_w = rest_w + (energy_j - rest_w * mean.time_s.item()) / measured_s
    assert found["j_per_output_token_given_tok_s"] == pytest.approx(
        given_w / cells["output_tok_s"], rel=1e-12
    )


@pytest.mark.parametrize("metric", ["avg_tpot_ms", "avg_power_w", "j_per_output_token", "median_itl_ms"])
def test_a_row_alone_is_answered_as_among_others(tmp_path: Path, metric: str) -> None:
    lines = [line for line in Path(SAMPLE).read_text().splitlines() if not line.startswith("#")]
    together = predictions(all_of())[metric]
    for place in (0, 7, 30, 62):
        alone = tmp_path / "alone.csv"
        alone.write_text("\n".join([lines[0], lines[1 + place]]))
        assert predictions(all_of(str(alone)))[metric].item() == pytest.approx(together[place], rel=1e-12)


@pytest.mark.parametrize("rows_at_once", [1, 7, 62])
def test_the_size_of_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch, rows_at_once: int) -> None:
    whole = all_of()
    monkeypatch.setattr("npuwatt.audit.measured.CHUNK_ROWS", rows_at_once)
    parts = all_of()
    assert len(parts) == -(-63 // rows_at_once)
    for side in ("predicted", "low", "high", "baseline"):
        one, other = predictions(whole, side), predictions(parts, side)
        for name, values in one.items():
            np.testing.assert_allclose(other[name], values, rtol=1e-12, err_msg=f"{side} {name}")


@pytest.mark.parametrize("stack", ["ideal", "vllm-0.11"])
def test_works_side_by_side_are_answered_as_one_by_one(sample: Measurements, rows: Any, stack: str) -> None:
    kinds = [runs for runs in sorted_into_kinds(sample).runs if runs.kind.device.preset.name == "h100-sxm"]
    grouped = rows(
        *(f"model_id=qwen3-30b-a3b num_gpus=8 ep={ep} dp={dp} pp=2" for ep in (1, 8) for dp in (1, 4))
    )
    kinds += sorted_into_kinds(grouped).runs
    for runs in kinds:
        assert len(set(runs.work.plain.names)) == len(runs.work.plain.names)
    assert len({runs.work.plain.names for runs in kinds}) > 2  # dense, mixture of experts and hybrid
    device, software = kinds[0].kind.device.record, load_stack(stack).record
    rate = column(np.linspace(10, 5000, sum(len(runs.places) for runs in kinds)))
    together = answers(
        joined([runs.work for runs in kinds]), device, software, tokens_per_s=rate, dtype="bf16"
    )
    start = 0
    for runs in kinds:
        own = slice(start, start + len(runs.places))
        start = own.stop
        alone = answers(runs.work, device, software, tokens_per_s=rate[own], dtype="bf16")
        for name, values in alone.metrics.items():
            np.testing.assert_allclose(together.metrics[name][own], values, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(together.roofline_s[own], alone.roofline_s, rtol=1e-12)
        np.testing.assert_allclose(together.software_fraction[own], alone.software_fraction, atol=1e-12)
        assert together.bound_by[own] == alone.bound_by


def test_a_work_without_prompts_beside_others_stays_without(sample: Measurements) -> None:
    runs = sorted_into_kinds(sample).runs[0]
    network = runs.kind.network.record
    assert isinstance(network, Transformer)
    request = Request(batch=column([4.0, 9.0]), input_len=100.0, output_len=50.0)
    bare = serving_work(network, request, prefills_per_output_token=0.0)
    assert bare.mixed is None
    ones = np.ones((2 + len(runs.places), 1))
    device, stack = runs.kind.device.record, runs.kind.stack.record
    together = answers(joined([bare, runs.work]), device, stack, tokens_per_s=ones, dtype="bf16").metrics
    alone = answers(bare, device, stack, tokens_per_s=ones[:2], dtype="bf16").metrics
    for name, values in alone.items():
        np.testing.assert_allclose(together[name][:2], values, rtol=1e-12, err_msg=name)


def one(runs: tuple[Runs, ...]) -> Runs:
    (found,) = runs
    return found


def test_overhead_bound_is_told_by_the_data_sheet_alone(sample: Measurements) -> None:
    """Neither software nor any fitted share decides what is left out of a fit."""
    for runs in sorted_into_kinds(sample).runs:
        device = runs.kind.device.record
        changes = {("utilization",): 0.5, ("levels", "dram", "utilization"): 0.3, ("static_power",): 1.0}
        for other in (with_values(device, changes), replace(device, power_cap_w=5000.0)):
            np.testing.assert_array_equal(
                datasheet_roofline_s(runs.work, other, runs.kind.dtype),
                datasheet_roofline_s(runs.work, device, runs.kind.dtype),
            )
    flags = [
        part.overhead_bound.tolist() for stack in (None, "ideal", "vllm-0.5") for part in all_of(stack=stack)
    ]
    assert flags[0] == flags[1] == flags[2]
    assert 0 < sum(flags[0]) < 63


def test_a_run_is_overhead_bound_from_five_times_its_roofline_on(tmp_path: Path) -> None:
    device, network = load_device("h100-sxm").record, load_network("llama-3.1-8b").record
    # One sequence at 101 tokens of context: 8.03e9 - 128256 * 4096 weights of 2 bytes (of the embedding one row is
    # read), and 131072 bytes of keys and values for each token; 3350 GB/s.
    bytes_read = 2 * (8_030_261_248 - 128_256 * 4096) + 131_072 * 101
    roofline_s = bytes_read / 3350e9
    request = Request(batch=1.0, input_len=100.0, output_len=2.0)
    assert isinstance(network, Transformer)
    work = serving_work(network, request, prefills_per_output_token=0.0, context_tokens=100.5)
    assert datasheet_roofline_s(work, device, "bf16").item() == pytest.approx(roofline_s, rel=2e-3)
    path = tmp_path / "runs.csv"
    slack = 1e3 * roofline_s * HOST_BOUND_RATIO
    path.write_text(
        "model_id,weight_precision,gpu,num_gpus,avg_batch,avg_output_len,avg_input_len,kv_pos_window,median_itl_ms\n"
        + "".join(f"llama-3.1-8b,bf16,H100,1,1,2,100,1,{slack * factor}\n" for factor in (0.99, 1.01))
    )
    (part,) = all_of(str(path))
    assert part.overhead_bound.tolist() == [False, True]


def test_prompts_are_those_of_the_option_the_file_or_the_task(rows: Any) -> None:
    texts = ("task=gpqa", "task=chat", "task=other", "task=gpqa avg_input_len=77")
    assert [INPUT_TOKENS["gpqa"], INPUT_TOKENS["chat"], OTHER_INPUT_TOKENS] == [220, 400, 400]

    def context(**options: Any) -> list[float]:
        runs = one(sorted_into_kinds(rows(*texts), **options).runs)
        found: list[float] = (runs.context_tokens[:, 0] - 300).tolist()
        return found

    assert context() == [220, 400, 400, 77]
    assert context(input_tokens=512.0) == [512] * 4


def test_what_was_assumed_of_prompts_is_noted(rows: Any) -> None:
    assert sorted_into_kinds(rows("task=chat", "task=gpqa")).notes == ()
    assert sorted_into_kinds(rows("task=odd avg_input_len=9")).notes == ()
    assert sorted_into_kinds(rows("task=odd"), input_tokens=9.0).notes == ()
    (note,) = sorted_into_kinds(rows("task=odd", "task=")).notes
    assert note == "no task, 'odd': prompts assumed to have 400 tokens; --input-len says otherwise"
    (note,) = sorted_into_kinds(rows(*(f"task=t{i}" for i in range(9)))).notes
    assert "'t4' and 4 more:" in note


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("gpu=toaster", "unknown device 'toaster'"),
        ("model_id=gpt-9", "unknown network 'gpt-9'"),
        ("model_id=bert-base", "network 'bert-base' does not generate tokens"),
        ("model_id=resnet-50", "network 'resnet-50' does not generate tokens"),
        ("weight_precision=int3", "unknown weight_precision 'int3'"),
        ("model_id=llama-3.1-405b", "its weights do not fit on its devices"),
        ("num_gpus=4 dp=4 pp=2", "more groups (dp times pp) than devices"),
        ("gpu=coral-edgetpu", "coral-edgetpu does not compute in bf16"),
        ("gpu=jetson-thor num_gpus=2", "jetson-thor has no link that joins several devices"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why_and_leaves_others_alone(
    rows: Any, row: str, told: str
) -> None:
    chunk = sorted_into_kinds(rows("avg_batch=8", row, "avg_batch=9"))
    assert list(chunk.reasons) == [1]
    assert chunk.reasons[1].startswith(told)


def test_a_board_with_several_groups_needs_no_more_than_as_many_devices(rows: Any) -> None:
    assert sorted_into_kinds(rows("num_gpus=4 dp=4", "num_gpus=4 dp=2 pp=2", "num_gpus=4 pp=4")).reasons == {}


def test_a_new_preset_is_seen_by_the_next_call(rows: Any, tmp_path: Path) -> None:
    """Names are looked up once in a call, and again in the next."""
    folder = tmp_path / "mine"
    (folder / "devices").mkdir(parents=True)
    text = Path(built_in_path(".."), "devices", "l4.yaml")
    assert "unknown device" in sorted_into_kinds(rows("gpu=l4-of-mine"), folders=[str(folder)]).reasons[0]
    (folder / "devices" / "l4-of-mine.yaml").write_text(text.read_text())
    chunk = sorted_into_kinds(rows("gpu=l4-of-mine model_id=llama-3.2-1b"), folders=[str(folder)])
    assert chunk.reasons == {}


def test_the_ideal_stack_gives_the_least_time_and_software_the_rest(sample: Measurements) -> None:
    for runs in sorted_into_kinds(sample).runs[:6]:
        ones = np.ones((len(runs.places), 1))
        device, software = runs.kind.device.record, runs.kind.stack.record
        ideal, real = (
            answers(runs.work, device, stack, tokens_per_s=ones, dtype="bf16") for stack in (IDEAL, software)
        )
        assert (real.metrics["avg_tpot_s"] > ideal.metrics["avg_tpot_s"]).all()
        assert (ideal.software_fraction == 0).all()
        assert (ideal.metrics["avg_tpot_s"] >= 0.999 * ideal.roofline_s).all()
