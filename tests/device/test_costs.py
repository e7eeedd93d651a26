"""Phases of ops under a cap on mean power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column, row
from npuwatt.device.costs import OpCosts, PhaseCosts, phase_costs

FIXED = settings(derandomize=True, deadline=None)

times = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=6)
powers = st.floats(1e-3, 1e4)


def costs(compute_s: list[float], memory_s: list[float], energy_j: list[float]) -> OpCosts:
    limits = {"compute": row(compute_s), "memory": row(memory_s)}
    energy = {"arithmetic": row(energy_j), "dram": 2 * row(energy_j)}
    for array in (*limits.values(), *energy.values()):
        array.flags.writeable = False
    return OpCosts(
        time_s=np.maximum(*limits.values()),
        limits_s=limits,
        energy_j=energy,
        level_bytes={},
        level_energy_j={},
    )


def phase(part: OpCosts, static: float, cap: float, devices: float = 1.0) -> PhaseCosts:
    return phase_costs([part], static_power_w=static, power_cap_w=cap, devices=devices)


@FIXED
@given(memory=times, joules=st.floats(0, 1e6), static=powers, headroom=powers, devices=st.integers(1, 64))
def test_mean_power_never_exceeds_the_cap(
    memory: list[float], joules: float, static: float, headroom: float, devices: int
) -> None:
    part = costs([0.0] * len(memory), memory, [joules] * len(memory))
    found = phase(part, static, static + headroom, float(devices))
    total_j = sum(float(value.item()) for value in found.energy_j.values())
    assert total_j <= devices * (static + headroom) * found.time_s.item() * (1 + 1e-9)


@FIXED
@given(memory=times, joules=st.floats(0, 1e6), headroom=powers, gain=st.floats(1, 1e4))
def test_a_cap_stretches_time_and_leaves_dynamic_energy(
    memory: list[float], joules: float, headroom: float, gain: float
) -> None:
    part = costs([0.0] * len(memory), memory, [joules] * len(memory))
    tight, loose = phase(part, 10.0, 10.0 + headroom), phase(part, 10.0, 10.0 + gain * headroom)
    assert tight.time_s >= loose.time_s >= part.time_s.sum() * (1 - 1e-12)
    for name in ("arithmetic", "dram"):
        assert tight.energy_j[name] == loose.energy_j[name]
    assert tight.energy_j["static"] >= loose.energy_j["static"]


def test_a_phase_at_the_cap_by_hand() -> None:
    # 30 J of dynamic energy in 1 s want 30 W; 100 - 80 = 20 W are left, so it takes 1.5 s and 120 J of static energy.
    found = phase(costs([0.2, 0.0], [0.5, 0.5], [5.0, 5.0]), 80.0, 100.0)
    assert found.time_s.item() == pytest.approx(1.5)
    assert found.energy_j["static"].item() == pytest.approx(120)
    assert found.limit_s["power"].item() == pytest.approx(1.5)  # nothing but the cap sets the time
    assert found.stretch_ratio.item() == pytest.approx(1.5)


@FIXED
@given(compute=times, static=powers, headroom=powers, joules=st.floats(0, 1e4), seed=st.integers(0, 99))
def test_time_by_what_sets_it_sums_to_the_time(
    compute: list[float], static: float, headroom: float, joules: float, seed: int
) -> None:
    memory = np.random.default_rng(seed).permutation(compute).tolist()
    found = phase(costs(compute, memory, [joules] * len(compute)), static, static + headroom)
    assert sum(value.item() for value in found.limit_s.values()) == pytest.approx(
        found.time_s.item(), rel=1e-9
    )


def test_each_op_is_owned_by_the_limit_that_takes_longest() -> None:
    found = costs([3.0, 1.0, 2.0], [1.0, 4.0, 2.0], [0.0] * 3).owners()
    assert found.tolist() == [[0, 1, 0]]


def test_ops_one_by_one_cost_what_they_cost_together() -> None:
    together = costs([3.0, 1.0], [1.0, 4.0], [50.0, 7.0])
    apart = [costs([3.0], [1.0], [50.0]), costs([1.0], [4.0], [7.0])]
    one = phase(together, 5.0, 20.0)
    two = phase_costs(apart, static_power_w=5.0, power_cap_w=20.0, devices=1.0)
    assert one.time_s == two.time_s
    assert one.energy_j == two.energy_j
    assert one.limit_s == two.limit_s


def test_a_column_of_caps_equals_a_loop_over_them() -> None:
    part = costs([3.0, 1.0], [1.0, 4.0], [50.0, 7.0])
    static, caps = column([5.0, 5.0, 9.0]), column([6.0, 30.0, 500.0])
    static.flags.writeable = caps.flags.writeable = False
    together = phase_costs([part], static_power_w=static, power_cap_w=caps, devices=2.0)
    for place, (idle, cap) in enumerate([(5.0, 6.0), (5.0, 30.0), (9.0, 500.0)]):
        alone = phase(part, idle, cap, 2.0)
        assert together.time_s[place] == pytest.approx(alone.time_s[0], rel=1e-12)
        assert together.energy_j["static"][place] == pytest.approx(alone.energy_j["static"][0], rel=1e-12)
