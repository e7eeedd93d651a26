"""Groups of devices, and experts that lie whole on them: what each reads, and how uneven that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.parallel import ALONE, Sharing, most_loaded_ratio
from npuwatt.errors import NpuwattError
from npuwatt.study.inference import phase_ops, shared_ops
from npuwatt.study.scenario import load_network
from npuwatt.workload.network import Transformer
from npuwatt.workload.ops import Op
from npuwatt.workload.request import Request
from npuwatt.workload.transformer import experts_touched

FIXED = settings(derandomize=True, deadline=None)


@pytest.fixture(scope="module")
def network() -> Transformer:
    """Qwen3-30B-A3B: 48 layers of 128 experts of which each token takes 8."""
    record = load_network("qwen3-30b-a3b").record
    assert isinstance(record, Transformer)
    return record


def ops_of(network: Transformer, batch: float, devices: float, sharing: Sharing) -> dict[str, Op]:
    request = Request(batch=batch, input_len=500.0, output_len=100.0)
    ops = shared_ops(phase_ops(network, request, "decode"), network, request, devices, sharing)
    return {op.name: op for op in ops}


def weight_bytes(ops: dict[str, Op], kind: str) -> float:
    return float(np.sum([np.sum(op.weight_bytes) for op in ops.values() if op.kind == kind]))


@FIXED
@given(touched=st.floats(0.001, 1), experts=st.integers(1, 512))
def test_one_device_is_as_loaded_as_the_mean(touched: float, experts: int) -> None:
    assert most_loaded_ratio(touched, experts, 1.0) == pytest.approx(1, abs=1e-12)


@FIXED
@given(touched=st.floats(0, 1), held=st.integers(1, 128), devices=st.integers(1, 256))
def test_the_most_loaded_device_has_the_mean_at_least_and_all_its_experts_at_most(
    touched: float, held: int, devices: int
) -> None:
    ratio = float(most_loaded_ratio(touched, held * devices, devices))
    assert ratio >= 1 - 1e-12
    assert ratio * max(held * touched, 1e-300) <= held * (1 + 1e-9)


@pytest.mark.parametrize("devices", [2, 4, 8, 16, 64])
@pytest.mark.parametrize(("held", "touched"), [(64, 0.2), (32, 0.5), (16, 0.5), (16, 0.9), (8, 0.6)])
def test_the_most_loaded_device_is_that_of_a_draw_of_lots(devices: int, held: int, touched: float) -> None:
    drawn = np.random.default_rng(5).binomial(held, touched, (40_000, devices)).max(axis=1)
    expected = drawn.mean() / (held * touched)
    found = float(most_loaded_ratio(touched, held * devices, devices))
    assert found == pytest.approx(expected, rel=0.05)


def test_when_every_expert_is_touched_no_device_has_more_to_do() -> None:
    assert most_loaded_ratio(1.0, 128, 8.0) == 1


def test_unevenness_of_a_column_equals_a_loop_over_it() -> None:
    touched, devices = [0.1, 0.5, 0.9], [2.0, 8.0, 1.0]
    together = most_loaded_ratio(column(touched), 128, column(devices))
    alone = [[float(most_loaded_ratio(one, 128, count))] for one, count in zip(touched, devices, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize(
    "sharing", [Sharing(data_parallel_count=4.0), Sharing(pipeline_count=4.0),
                Sharing(data_parallel_count=2.0, pipeline_count=2.0)]
)  # fmt: skip
def test_every_group_reads_the_dense_weights_for_itself(network: Transformer, sharing: Sharing) -> None:
    one, four = ops_of(network, 64.0, 8.0, ALONE), ops_of(network, 64.0, 8.0, sharing)
    assert weight_bytes(four, "matmul") == pytest.approx(4 * weight_bytes(one, "matmul"), rel=1e-12)
    assert weight_bytes(four, "embedding") == pytest.approx(weight_bytes(one, "embedding"), rel=1e-12)
    for name in ("qkv", "attention", "experts_up", "lm_head"):
        assert np.sum(four[name].macs) == pytest.approx(np.sum(one[name].macs), rel=1e-12)


def test_each_group_reads_the_experts_that_its_own_tokens_touch(network: Transformer) -> None:
    part = network.experts
    assert part is not None
    batch = 64.0
    one = ops_of(network, batch, 8.0, ALONE)
    four = ops_of(network, batch, 8.0, Sharing(data_parallel_count=4.0))
    # 128 experts, 8 a token: 64 tokens touch 128 (1 - (1 - 8/128)^64) = 125.9, and 16 tokens 82.4 of them.
    touched = [128 * (1 - (1 - 8 / 128) ** tokens) for tokens in (64, 16)]
    assert touched == pytest.approx([125.94, 82.43], abs=0.01)
    assert [float(experts_touched(part, tokens)) for tokens in (64.0, 16.0)] == pytest.approx(touched)
    ratio = weight_bytes(four, "experts") / weight_bytes(one, "experts")
    assert ratio == pytest.approx(4 * touched[1] / touched[0], rel=1e-9)


def test_experts_that_lie_whole_on_devices_are_read_once_for_all_groups(network: Transformer) -> None:
    one = ops_of(network, 64.0, 8.0, ALONE)
    whole = ops_of(network, 64.0, 8.0, Sharing(data_parallel_count=4.0, expert_parallel=True))
    assert weight_bytes(whole, "experts") == pytest.approx(weight_bytes(one, "experts"), rel=1e-12)
    assert weight_bytes(whole, "matmul") == pytest.approx(4 * weight_bytes(one, "matmul"), rel=1e-12)


def test_only_experts_that_lie_whole_are_uneven(network: Transformer) -> None:
    cut = ops_of(network, 8.0, 8.0, Sharing(data_parallel_count=4.0))
    whole = ops_of(network, 8.0, 8.0, Sharing(data_parallel_count=4.0, expert_parallel=True))
    assert {float(np.max(op.uneven)) for op in cut.values()} == {1.0}
    uneven = {name for name, op in whole.items() if np.max(op.uneven) > 1}
    assert uneven == {"experts_up", "experts_down"}
    expected = most_loaded_ratio(1 - (1 - 8 / 128) ** 8, 128, 8.0)
    assert np.max(whole["experts_up"].uneven) == pytest.approx(float(expected))


def test_groups_of_one_device_have_nothing_to_sum_but_whole_experts(network: Transformer) -> None:
    apart = ops_of(network, 8.0, 8.0, Sharing(data_parallel_count=8.0))
    assert sum(np.sum(op.link_bytes) for op in apart.values()) == 0
    whole = ops_of(network, 8.0, 8.0, Sharing(data_parallel_count=8.0, expert_parallel=True))
    sent = {name: float(np.sum(op.link_bytes)) for name, op in whole.items() if np.sum(op.link_bytes)}
    # Every layer's experts sum 8 tokens of 2048 bf16 numbers over 8 devices, of which each sends 2 (8 - 1) / 8.
    assert list(sent.values()) == [pytest.approx(48 * 2 * 7 * 8 * 2048 * 2)]


def test_one_device_has_no_groups(network: Transformer) -> None:
    alone, shared = (ops_of(network, 8.0, 1.0, one) for one in (ALONE, Sharing(expert_parallel=True)))
    assert alone == shared


@pytest.mark.parametrize("numbers", [{"data_parallel_count": 0.0}, {"pipeline_count": -1.0}])
def test_groups_that_cannot_be_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(NpuwattError, match="expected a finite number above 0"):
        Sharing(**numbers)  # type: ignore[arg-type] # every number is a count
