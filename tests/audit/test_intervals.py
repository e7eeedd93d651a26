"""Intervals from residuals: how wide, and whether they hold what they should on shapes that were left out."""

from __future__ import annotations

import numpy as np
import pytest

from npuwatt.audit.intervals import AIM, MARGINS, coverage, margin_of
from npuwatt.study.confidence import CELLS, cells_of

SHAPES = tuple(f"shape-{i % 6}" for i in range(240))


def spread(between: float, within: float, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Log residuals of 240 runs of six shapes that differ from one another and in themselves."""
    rng = np.random.default_rng(seed)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = rng.normal(0, between, 6)[
        np.arange(240) % 6
    ] + rng.normal(0, within, 240)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_margin_is_the_least_that_holds_enough_of_left_out_shapes(seed: int) -> None:
    logs, cells = spread(0.3, 0.1, seed), np.zeros(240, dtype=np.int64)
    margin = margin_of(logs, cells, SHAPES)
    held, _ = coverage(logs, cells, SHAPES, margin)
    assert held >= AIM or margin == MARGINS[-1]
    if margin > 0:
        assert coverage(logs, cells, SHAPES, margin - 0.01)[0] < AIM


def test_runs_that_are_all_alike_need_no_margin() -> None:
    assert margin_of(spread(0.0, 0.2), np.zeros(240, dtype=np.int64), SHAPES) <= 0.02


def test_an_interval_is_never_narrower_than_runs_repeat() -> None:
    _, width = coverage(np.zeros(240), np.zeros(240, dtype=np.int64), SHAPES, 0.0)
    assert width == pytest.approx(np.exp(0.2), rel=1e-3)


def test_a_wider_margin_never_holds_less() -> None:
    logs, cells = spread(0.3, 0.2), np.zeros(240, dtype=np.int64)
    held = [coverage(logs, cells, SHAPES, float(margin))[0] for margin in MARGINS]
    assert held == sorted(held)


def test_runs_fall_into_cells_by_devices_context_and_width() -> None:
    devices, context = np.array([1.0, 1.0, 8.0, 8.0, 8.0]), np.array([900.0, 5000.0, 900.0, 5000.0, 900.0])
    narrow = np.array([False, False, False, False, True])
    assert [CELLS[place] for place in cells_of(devices, context, narrow)] == list(CELLS)
