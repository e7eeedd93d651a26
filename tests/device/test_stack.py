"""What serving software adds: whole blocks of rows, fixed times, data and arithmetic that do not overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.costs import OpCosts
from npuwatt.device.stack import IDEAL, Stack, executed, serialised, step_overhead_s
from npuwatt.errors import NpuwattError
from npuwatt.workload.ops import Op, OpTable, table

FIXED = settings(derandomize=True, deadline=None)
K, N = 10, 20  # sides of an expert's matrix, so that a row is 200 MACs and a matrix 200 numbers of 2 bytes
BLOCKS = Stack(expert_block_count={"bf16": 64}, expert_small_block_count={"bf16": 16})


def experts(tokens: Any, *, rows: Any, touched: Any = 4, dtype: str = "bf16") -> OpTable:
    """A grouped product in which each of `touched` experts has `rows` rows, beside a dense one."""
    macs = np.multiply(rows, touched) * K * N
    weight_bytes = np.multiply(touched, K * N * 2.0)
    kinds: list[Any] = ["experts", "matmul"]
    return table(
        [
            Op(kind, kind, dtype, tokens=tokens, macs=macs, weight_bytes=weight_bytes, operand_bytes=2.0, k=K, n=N)
            for kind in kinds
        ]
    )  # fmt: skip


def executed_rows(stack: Stack, ops: OpTable, local_experts: float, touched: float = 4) -> float:
    """Rows that each touched expert is multiplied with."""
    done = executed(stack, ops, local_experts)
    np.testing.assert_array_equal(done.macs[:, 1], ops.macs[:, 1])  # the dense product is left alone
    for name in ("weight_bytes", "activation_bytes", "tokens"):
        np.testing.assert_array_equal(getattr(done, name), getattr(ops, name))
    return float(done.macs[0, 0] / (touched * K * N))


@pytest.mark.parametrize(
    ("tokens", "rows", "local_experts", "expected"),
    [
        (6, 3, 8, 16),  # few tokens: one small block
        (8, 3, 8, 16),  # as many tokens as experts: still small
        (9, 3, 8, 64),  # one more: one large block
        (9, 3, 9, 16),  # a device with more experts switches later
        (6, 16, 8, 23.5),  # 16 rows in small blocks: (16 - 1) / 2 more on average
        (100, 40, 8, 71.5),  # 40 + (64 - 1) / 2, which is more than one block
        (100, 1000, 8, 1031.5),
    ],
)
def test_rows_of_an_expert_fill_whole_blocks(
    tokens: float, rows: float, local_experts: float, expected: float
) -> None:
    assert executed_rows(BLOCKS, experts(tokens, rows=rows), local_experts) == pytest.approx(expected)


def test_number_types_have_blocks_of_their_own_and_16_bits_share_them() -> None:
    stack = Stack(expert_block_count={"bf16": 64, "fp8": 128}, expert_small_block_count={"bf16": 16})
    ops = {dtype: experts(100, rows=1, dtype=dtype) for dtype in ("bf16", "fp16", "fp8", "int8")}
    filled = {dtype: executed_rows(stack, own, 8) for dtype, own in ops.items()}
    assert filled == {"bf16": 64, "fp16": 64, "fp8": 128, "int8": 1}  # int8 has no blocks
    assert executed_rows(stack, experts(2, rows=1, dtype="fp8"), 8) == 1  # and fp8 no small ones


@FIXED
@given(
    rows=st.floats(1e-3, 1e5), block=st.integers(1, 512), tokens=st.floats(1, 1e6), local=st.floats(1, 512)
)
def test_blocks_hold_all_rows_and_waste_less_than_one_of_them(
    rows: float, block: int, tokens: float, local: float
) -> None:
    stack = Stack(expert_block_count={"bf16": block}, expert_small_block_count={"bf16": block})
    done = executed_rows(stack, experts(tokens, rows=rows), local)
    assert max(block, rows) * (1 - 1e-9) <= done <= (rows + block) * (1 + 1e-9)


def test_points_equal_a_loop_over_them() -> None:
    tokens, rows = [1.0, 8.0, 9.0, 300.0], [0.5, 3.0, 20.0, 100.0]
    given_tokens = column(tokens)
    given_tokens.flags.writeable = False
    together = executed(BLOCKS, experts(given_tokens, rows=column(rows)), column([8.0] * 4)).macs[:, 0]
    alone = [
        executed(BLOCKS, experts(one, rows=row), 8.0).macs[0, 0]
        for one, row in zip(tokens, rows, strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_no_software_changes_nothing() -> None:
    ops = experts(100, rows=3)
    costs = op_costs(compute=[1.0], memory=[2.0])
    assert executed(IDEAL, ops, 8.0) is ops
    assert serialised(IDEAL, costs) is costs
    assert step_overhead_s(IDEAL, layers=32, collectives=64, expert_layers=32) == 0


def test_a_network_without_experts_has_no_blocks_to_fill() -> None:
    ops = table([Op("qkv", "matmul", "bf16", tokens=3.0, macs=600.0, weight_bytes=400.0)])
    assert executed(BLOCKS, ops, 0.0) is ops


def test_an_expert_without_rows_stays_without() -> None:
    done = executed(BLOCKS, experts(0.0, rows=0.0, touched=0.0), 8.0)
    assert done.macs.tolist() == [[0, 0]]


def op_costs(**limits: list[float]) -> OpCosts:
    limits_s = {name: np.array([times]) for name, times in limits.items()}
    time_s = np.max(list(limits_s.values()), axis=0)
    return OpCosts(time_s=time_s, limits_s=limits_s, energy_j={}, level_bytes={}, level_energy_j={})


@pytest.mark.parametrize(
    ("unoverlapped", "expected"), [(0.0, [4.0, 4.0, 9.0]), (1.0, [5.0, 5.0, 11.0]), (0.25, [4.25, 4.25, 9.5])]
)
def test_what_does_not_overlap_adds_to_the_longer_of_data_and_arithmetic(
    unoverlapped: float, expected: list[float]
) -> None:
    costs = op_costs(compute=[1.0, 4.0, 3.0], memory=[4.0, 1.0, 2.0], link=[0.0, 0.0, 9.0])
    done = serialised(Stack(unoverlapped_fraction=unoverlapped), costs)
    assert done.time_s.tolist() == [expected]
    assert done.limits_s is costs.limits_s  # what bounds an op stays what bounds it


def test_a_device_whose_arithmetic_is_its_memory_has_nothing_to_overlap() -> None:
    costs = op_costs(compute=[1.0, 4.0])
    assert serialised(Stack(unoverlapped_fraction=1.0), costs) is costs


def test_overheads_of_a_step_are_counted_by_hand() -> None:
    stack = Stack(step_time_s=1e-3, layer_time_s=2e-5, collective_time_s=3e-6, expert_layer_time_s=4e-6)
    found = step_overhead_s(stack, layers=10.0, collectives=20.0, expert_layers=5.0)
    assert found == pytest.approx(1e-3 + 10 * 2e-5 + 20 * 3e-6 + 5 * 4e-6)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"step_time_s": -1e-3}, "step_time: -0.001 given; expected a finite number, 0 or more"),
        ({"sequence_time_s": float("inf")}, "sequence_time: inf given"),
        ({"unoverlapped_fraction": 1.01}, "unoverlapped: 1.01 given; expected a share from 0 to 1"),
        ({"chunk_count": 0.0}, "chunk: 0 given"),
        ({"expert_block_count": {"bf16": 0.0}}, "expert_block: 0 given"),
        ({"expert_small_block_count": {"bf17": 16.0}}, "expert_small_block: number type 'bf17'"),
    ],
)
def test_numbers_that_no_software_has_are_refused(numbers: Mapping[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError, match=told):
        Stack(**numbers)
