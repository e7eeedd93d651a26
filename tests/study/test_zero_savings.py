"""What zeros save: laws over whole requests, points against a loop, and published shares of small weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.savings import ideal
from npuwatt.errors import NpuwattError
from npuwatt.record import replace
from npuwatt.study.inference import inference
from npuwatt.study.question import question
from npuwatt.study.sparsity import BATCHES, DENSITIES, batch_saving, break_even_density, crossing, sparsity
from npuwatt.study.sparsity_split import PARTS
from npuwatt.workload.density import Zeros

SKIPS, CANNOT, GPU = "sparse-npu", "npu", "a100-sxm-80gb"
HALF: Any = {"pattern": "unstructured", "density": 0.5}


def only(device: str, **options: Any) -> Any:
    return sparsity([device], **options).answers[0]


@pytest.mark.parametrize("device", [SKIPS, GPU, "pim", "crossbar"])
@pytest.mark.parametrize(
    "options",
    [{"batch": 1}, {"batch": 64}, {"batch": 16, "stack": "vllm-0.11"}, {"batch": 64, "stack": "torchao"}],
)
@pytest.mark.parametrize("zeros", [HALF, {"pattern": "2:4"}, {"pattern": "block", "activation_density": 0.3}])
def test_the_parts_of_a_saving_add_up_to_it(
    device: str, options: dict[str, Any], zeros: dict[str, Any]
) -> None:
    found = only(device, **options, **zeros)
    saved_j = float((found.dense.total_j - found.sparse.total_j)[0, 0])
    parts_j = sum(getattr(found.split, f"{part}_j") for part in PARTS)
    assert parts_j == pytest.approx(saved_j, rel=1e-9, abs=1e-12 * float(found.dense.total_j[0, 0]))


@pytest.mark.parametrize("device", [CANNOT, "crossbar", "pim"])
def test_a_device_that_can_do_nothing_with_zeros_gives_the_same_answer_to_the_last_bit(device: str) -> None:
    found = only(device, **HALF, activation_density=0.4)
    assert found.dense.energy_j == found.sparse.energy_j
    assert found.dense.request_s == found.sparse.request_s
    assert (found.saved_fraction, found.speedup_ratio) == (0, 1)
    assert found.notes[0].startswith("zeros change nothing: ")
    assert found.break_even.density_fraction is None


@pytest.mark.parametrize("device", [SKIPS, CANNOT, GPU])
def test_dense_weights_save_nothing_and_cost_nothing(device: str) -> None:
    found = only(device, pattern="dense")
    assert found.dense.energy_j == found.sparse.energy_j
    assert found.judgement is None


@pytest.mark.parametrize("batch", [1, 256])
def test_a_saving_may_lie_as_far_off_as_each_number_about_zeros_at_its_ends_adds_up_to(batch: int) -> None:
    found = only(GPU, pattern="2:4", batch=batch)
    off = []
    for address, item in found.device.evidence.items():
        if address.startswith("sparsity."):
            ends = [
                only(
                    GPU, pattern="2:4", batch=batch, changes=[f"devices.{GPU}.{address}={end}"]
                ).saved_fraction
                for end in (item.low, item.high)
            ]
            off += [end - found.saved_fraction for end in ends]
    assert len(off) > 10
    low, high = found.saved_range_fraction
    assert low == pytest.approx(found.saved_fraction - sum(min(x, 0) ** 2 for x in off) ** 0.5)
    assert high == pytest.approx(found.saved_fraction + sum(max(x, 0) ** 2 for x in off) ** 0.5)
    assert low < found.saved_fraction < high


def test_speeds_of_kernels_are_measured_only_where_they_were() -> None:
    told = {device: only(device, pattern="2:4").notes[0] for device in ("h100-sxm", GPU)}
    assert "0.11x (0.05 to 0.9; assumed) to 0.59x" in told["h100-sxm"]
    assert "interpolated over tokens from assumed shapes" in told["h100-sxm"]
    assert "0.11x (0.05 to 0.9; measured) to 0.68x (0.5 to 1.1; measured)" in told[GPU]
    assert "interpolated over tokens from measured shapes" in only(GPU, pattern="2:4", batch=8).notes[0]


@pytest.mark.parametrize(("batch", "saves"), [(32, True), (64, False)])
def test_packed_weights_save_no_bytes_beyond_the_batch_their_kernel_takes(batch: int, saves: bool) -> None:
    found = only(GPU, pattern="2:4", weights="int4", batch=batch)
    decode = next(phase for phase in found.phases if phase.name == "decode")
    assert (decode.sparse.moved_bytes < decode.dense.moved_bytes) == saves
    assert "kernels for such weights end at batch 32" in found.notes[0]


def test_a_device_that_nobody_makes_is_called_hypothetical() -> None:
    assert only(SKIPS, **HALF).notes[1].startswith("hypothetical: no product; ")


def test_a_device_that_states_no_range_saves_no_more_and_no_less() -> None:
    for device in (CANNOT, "crossbar"):
        assert only(device, **HALF).saved_range_fraction == (0, 0)


def test_a_compressed_format_costs_more_than_dense_storage_where_nothing_is_zero_and_says_so() -> None:
    found = only(SKIPS, pattern="unstructured", density=1.0)
    assert found.saved_fraction < 0
    assert found.split.metadata_j < 0
    assert "metadata" in found.notes[0]
    assert found.judgement.verdict == "fails"


shares = st.floats(0.02, 1.0)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(one=shares, other=shares)
def test_a_skipping_device_saves_more_the_fewer_weights_are_left_and_never_more_than_ideally(
    one: float, other: float
) -> None:
    asked = question([SKIPS], **HALF)
    board = asked.devices[0].record
    both = [
        inference(
            asked.network.record,
            replace(
                asked.request,
                zeros=Zeros(pattern="unstructured", weight_density=column(sorted([one, other]))),
            ),
            some,
        )
        for some in (board, ideal(board))
    ]
    few, many = both[0].total_j[:, 0]
    assert few <= many
    assert (both[1].total_j <= both[0].total_j * (1 + 1e-12)).all()
    assert (both[1].request_s <= both[0].request_s * (1 + 1e-12)).all()


@pytest.mark.parametrize("device", [SKIPS, GPU, CANNOT])
@pytest.mark.parametrize("more", [{}, {"stack": "vllm-0.11"}])
def test_the_sweep_over_batches_equals_a_loop_over_them(device: str, more: dict[str, Any]) -> None:
    asked = question([device], pattern="2:4", **more)
    together = batch_saving(asked, asked.devices[0].record)
    for place, batch in enumerate(BATCHES):
        alone = only(device, pattern="2:4", batch=int(batch), **more)
        assert together.saved_fraction[place, 0] == pytest.approx(alone.saved_fraction, rel=1e-9, abs=1e-12)
        assert together.speedup_ratio[place, 0] == pytest.approx(alone.speedup_ratio, rel=1e-9)


def test_at_the_break_even_density_zeros_save_nothing_and_below_it_they_do() -> None:
    even = only(SKIPS, **HALF).break_even.density_fraction
    assert 0.5 < even < 1
    saved = {
        share: only(SKIPS, pattern="unstructured", density=share).saved_fraction
        for share in (even - 0.02, even, even + 0.02)
    }
    assert saved[even - 0.02] > 0 > saved[even + 0.02]
    assert saved[even] == pytest.approx(0, abs=1e-3)


def test_bitmasks_of_weights_alone_break_even_where_their_bits_do() -> None:
    # Decode on a memory-bound board is bytes of weights: d 16 + 1 bits against 16, so d = 1 - 1/16.
    asked = question([SKIPS], **HALF, output_len=2000, input_len=1)
    board: Any = ideal(asked.devices[0].record)
    free = replace(
        board,
        sparsity=replace(board.sparsity, decode_energy_j_per_byte=0.0, intersection_energy_j_per_mac=0.0),
    )
    dense = inference(asked.network.record, replace(asked.request, zeros=None), free)
    found = break_even_density(asked, free, dense, None)
    assert found.density_fraction == pytest.approx(1 - 1 / 16, abs=0.005)


@given(place=st.floats(0.05, 0.95))
@settings(derandomize=True, deadline=None)
def test_a_crossing_lies_where_a_straight_line_is_zero(place: float) -> None:
    assert crossing(DENSITIES, DENSITIES - place).density_fraction == pytest.approx(place, abs=1e-9)


@pytest.mark.parametrize("above", [0.0, -1e-12, -9e-10])
def test_a_crossing_lies_never_beyond_the_point_at_which_nothing_is_saved(above: float) -> None:
    assert crossing(np.array([0.5, 1.0]), np.array([-0.5, above])).density_fraction == 1.0


def test_without_a_crossing_the_reason_is_told() -> None:
    assert crossing(DENSITIES, DENSITIES + 0.1).reason == "zeros cost energy at any density"
    assert crossing(DENSITIES, 0 * DENSITIES).reason == "zeros change nothing here"
    assert crossing(DENSITIES, DENSITIES - 2).density_fraction == 1


@pytest.mark.parametrize(("device", "most"), [("h100-sxm", 1.22), (GPU, 1.6)])
def test_a_gpu_is_never_faster_with_2_of_4_than_was_measured_of_its_kind_unless_ideal(
    device: str, most: float
) -> None:
    # 8192^3 on an H100, 1.20 to 1.22 (CUDALibrarySamples 203); 16384^3 on an A100, 484 over 302 TFLOPS (cutlass 408).
    asked = question([device], pattern="2:4", input_len=2048)
    assert np.nanmax(batch_saving(asked, asked.devices[0].record).speedup_ratio) <= most
    perfect = question([device], pattern="2:4", input_len=2048, ideal=True)
    assert np.nanmax(batch_saving(perfect, perfect.devices[0].record).speedup_ratio) > 1.22


@pytest.mark.parametrize(
    ("device", "most"), [(GPU, 1.6), ("a10", 1.6), ("h100-sxm", 1.22), ("h200-sxm", 1.22)]
)
@pytest.mark.parametrize(
    "request_",
    [
        {"network": "qwen3-0.6b", "batch": 64},
        {"batch": 100_000, "input_len": 1},
        {"network": "mixtral-8x7b", "batch": 8, "input_len": 30_000},
        {"network": "qwen3-0.6b", "batch": 256, "mode": "serving"},
    ],
    ids=str,
)
def test_no_phase_gains_more_than_its_kernels_even_where_a_power_limit_held_the_dense_one(
    device: str, most: float, request_: dict[str, Any]
) -> None:
    (answer,) = sparsity([device], pattern="2:4", **request_).answers
    assert answer.phases
    for phase in answer.phases:
        assert phase.dense.time_s / phase.sparse.time_s <= most * (1 + 1e-9), phase


def test_half_of_all_weights_lie_below_two_thirds_of_sigma() -> None:
    # Quartile of the normal distribution, 0.6745; shape 1.5 by quadrature: 0.607, with 5.5 % of the squared norm.
    near = sparsity([CANNOT], **HALF).near_zero
    assert near is not None
    assert near.threshold_ratio == pytest.approx((0.6745, 0.607), abs=1e-3)
    assert near.norm_fraction == pytest.approx((0.071, 0.055), abs=1e-3)


def test_accuracy_is_that_of_networks_of_the_size_asked_and_differs_with_retraining() -> None:
    small, large = (
        sparsity([CANNOT], pattern="2:4", network=name).evidence for name in ("llama-2-7b", "llama-2-70b")
    )
    assert small is not None and large is not None
    lost = [
        min(
            row.loss_fraction or 9
            for row in found.rows
            if row.metric == "WikiText perplexity" and not row.trial.retrained
        )
        for found in (small, large)
    ]
    # locuslab/wanda: 5.12 -> 10.17 (SparseGPT) at 7B, 3.12 -> 5.16 (Wanda) at 70B.
    assert lost == pytest.approx([10.17 / 5.12 - 1, 5.16 / 3.12 - 1])
    by_effort = {
        retrained: min(row.loss_fraction or 9 for row in small.rows if row.trial.retrained == retrained)
        for retrained in (True, False)
    }
    assert by_effort[True] < 0.03 < by_effort[False]


# Weights of each op of Llama-3.1-8B: 32 layers of 4096 x (4096 + 2 x 1024), 4096^2, 2 x 4096 x 14336 and its half.
WEIGHTS = {
    "qkv": (32, 4096, 6144), "attention_out": (32, 4096, 4096), "ffn_up": (32, 4096, 28672),
    "ffn_down": (32, 14336, 4096), "lm_head": (4096, 128256),
}  # fmt: skip


def density_file(path: Path, density: float, pattern: str | None, ops: tuple[str, ...], part: int = 1) -> str:
    tensors = [
        {
            "name": f"{op}.weight", "shape": [*shape[:-1], shape[-1] // part], "dtype": "BF16", "input_axis": 1, "op": op,
            "density": density, "conformity": {pattern: 1.0} if pattern else {}, "density_by_input": None,
        }
        for op in ops
        for shape in [WEIGHTS.get(op, (8, 8))]
    ]  # fmt: skip
    path.write_text(json.dumps({"schema": "npuwatt.densities/1", "npuwatt": "0", "tensors": tensors}))
    return str(path)


ALL = ("qkv", "attention_out", "ffn_up", "ffn_down", "lm_head")


@pytest.mark.parametrize(("density", "pattern"), [(0.5, "2:4"), (0.3, None)])
@pytest.mark.parametrize("device", [SKIPS, GPU])
def test_a_file_that_says_one_thing_of_all_ops_equals_the_options_that_say_it(
    tmp_path: Path, device: str, density: float, pattern: str | None
) -> None:
    path = density_file(tmp_path / "d.json", density, pattern, ALL)
    by_file = only(device, densities=path, activation_density=0.7)
    by_hand = only(device, pattern=pattern or "unstructured", density=density, activation_density=0.7)
    assert by_file.sparse.energy_j == by_hand.sparse.energy_j
    assert by_file.sparse.request_s == by_hand.sparse.request_s


def test_ops_that_a_file_leaves_out_are_dense_and_said_to_be(tmp_path: Path) -> None:
    parts = [
        only(SKIPS, densities=density_file(tmp_path / "d.json", 0.3, None, ops)).saved_fraction
        for ops in (ALL[:2], ALL[2:], ALL)
    ]
    assert 0 < parts[0] < parts[1] < parts[2]
    path = density_file(tmp_path / "d.json", 0.3, None, ("qkv", "pooler", "embedding"))
    notes = sparsity([SKIPS], densities=path).question.notes
    assert f"{path} does not tell of attention_out, ffn_up, ffn_down, lm_head: counted as dense" in notes
    assert f"{path} tells of pooler, which this network does not have" in notes
    assert not any("other numbers of weights" in note for note in notes)


def test_a_file_that_counts_other_weights_is_noted_once_and_refused_beyond_twice_as_many(
    tmp_path: Path,
) -> None:
    near = density_file(tmp_path / "near.json", 0.3, None, ALL, part=2)
    notes = sparsity([SKIPS], densities=near).question.notes
    (told,) = [note for note in notes if "taken as those of all" in note]
    assert told.startswith(
        f"{near} counts other numbers of weights of {', '.join(ALL)} than this network has"
    )
    far = density_file(tmp_path / "far.json", 0.3, None, ALL, part=4)
    with pytest.raises(
        NpuwattError,
        match=r"counts 1\.\d+e\+09 weights of qkv, .* and this network has 7\.5\d?e\+09; expected --network",
    ):
        sparsity([SKIPS], densities=far)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = density_file(tmp_path / "d.json", 0.3, None, ("pooler",))
    with pytest.raises(NpuwattError, match=r"tells of 'pooler'; expected some of qkv, attention_out, ffn_up"):
        sparsity([SKIPS], densities=path)


def test_dense_weights_that_do_not_fit_leave_nothing_to_judge() -> None:
    found = only(SKIPS, network="llama-3.1-405b", devices=1, **HALF)
    assert not found.dense.fits[0, 0]
    assert found.judgement is None


def test_blocks_are_what_memory_that_computes_can_leave_out() -> None:
    assert only("pim", pattern="block").saved_fraction > 0.2
    assert only("pim", pattern="2:4").saved_fraction == 0


def test_a_convolutional_network_has_no_measured_accuracy() -> None:
    found = sparsity([SKIPS], network="resnet-50", **HALF)
    assert found.evidence is not None
    assert found.evidence.reason == "all that was measured is of language models"
