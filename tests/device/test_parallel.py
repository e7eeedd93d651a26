"""Several devices on one network: what each holds, what each sends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.device.parallel import all_reduce, cache_copies, smallest_count

FIXED = settings(derandomize=True, deadline=None)

sizes = st.integers(0, 10**6)


def holds(weights: float, cache: float, capacity: float, shards: int, count: int) -> bool:
    return weights / count + cache / min(count, shards) <= capacity


@FIXED
@given(weights=st.integers(1, 10**5), cache=sizes, capacity=st.integers(1, 10**5), shards=st.integers(1, 64))
def test_the_smallest_count_is_the_first_that_holds_everything(
    weights: int, cache: int, capacity: int, shards: int
) -> None:
    found = float(smallest_count(weights, cache, capacity_bytes=capacity, cache_shards=shards).item())
    if math.isinf(found):
        assert not any(holds(weights, cache, capacity, shards, count) for count in (*range(1, 2000), 10**6))
        return
    assert found == int(found) >= 1
    slack = 1 + 1e-9
    assert holds(weights, cache, capacity * slack, shards, int(found))
    below = range(max(1, int(found) - 3000), int(found))
    assert not any(holds(weights, cache, capacity / slack, shards, count) for count in below)


@pytest.mark.parametrize(
    ("weights", "cache", "capacity", "shards", "expected"),
    [
        (160, 0, 80, 8, 2),  # just fits
        (161, 0, 80, 8, 3),
        (100, 640, 80, 8, math.inf),  # an eighth of the cache fills a device, with no room for weights
        (100, 560, 80, 8, 10),  # 70 of cache each: 10 left for weights
        (100, 70, 80, 1, 10),  # a cache that cannot be split lies on every device
    ],
)
def test_a_cache_is_split_over_at_most_its_heads(
    weights: float, cache: float, capacity: float, shards: int, expected: float
) -> None:
    found = smallest_count(weights, cache, capacity_bytes=capacity, cache_shards=shards)
    assert float(found.item()) == expected


def test_counts_of_a_column_equal_a_loop_over_it() -> None:
    caches = [0.0, 70.0, 560.0, 9000.0]
    given = column(caches)
    given.flags.writeable = False
    together = smallest_count(100, given, capacity_bytes=80, cache_shards=8)
    alone = [float(smallest_count(100, one, capacity_bytes=80, cache_shards=8).item()) for one in caches]
    assert together[:, 0].tolist() == alone


@pytest.mark.parametrize(("devices", "copies"), [(1, 1.0), (8, 1.0), (12, 1.5), (16, 2.0)])
def test_more_devices_than_cache_heads_keep_copies(devices: int, copies: float) -> None:
    assert cache_copies(devices, 8) == copies


@FIXED
@given(devices=st.integers(2, 1000), summed=st.floats(1, 1e12), layers=st.integers(1, 200))
def test_each_device_sends_2_n_minus_1_nths_of_the_sum_in_2_log_n_messages(
    devices: int, summed: float, layers: int
) -> None:
    # Thakur et al., Int. J. High Perform. Comput. Appl. 19(1), 2005: 2 (n - 1) / n of the data, 2 log2 n messages.
    op = all_reduce(layers=layers, sums_bytes=summed, devices=float(devices))
    assert float(op.link_bytes) / devices == pytest.approx(2 * (devices - 1) / devices * summed)
    assert op.link_steps == layers * 2 * math.ceil(math.log2(devices))


def test_one_device_sends_nothing() -> None:
    op = all_reduce(layers=32, sums_bytes=1e9, devices=1.0)
    assert (op.link_bytes, op.link_steps) == (0, 0)
    assert np.all(np.equal(op.macs, 0))
