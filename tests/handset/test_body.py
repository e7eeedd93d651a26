"""The laws at the surface and of leakage, each against its equation and its own slope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from npuwatt.arrays import Array
from npuwatt.handset.body import (
    Air,
    Leak,
    body,
    leaked_slope_w_per_k,
    leaked_w,
    shed_slope_w_per_k,
    shed_w,
)
from npuwatt.study.scenario import load_handset

PHONE = load_handset("large-phone").record
ROOMS_K = (273.15, 298.15, 318.15)
RISES_K = np.array([[-10.0, -1.0, 0.5, 5.0, 17.0, 40.0]])


def laws(room_k: float) -> tuple[Air, Leak]:
    parts = body(PHONE, rated_w=8.0, ambient_k=room_k, in_case=False)
    return parts.air, parts.leak


@pytest.mark.parametrize("room_k", ROOMS_K)
def test_the_surface_gives_off_what_convection_and_radiation_say(room_k: float) -> None:
    """Convection 4.5 W/m2/K at 17 K over the room, growing with rise^(1/4); Stefan and Boltzmann, CODATA 2018."""
    area = 0.0245 * 0.75
    convection = 4.5 * (np.abs(RISES_K) / 17.0) ** 0.25 * RISES_K
    radiation = 0.9 * 5.670374419e-8 * ((room_k + RISES_K) ** 4 - room_k**4)
    assert shed_w(laws(room_k)[0], RISES_K) == pytest.approx(area * (convection + radiation), rel=1e-9)


@pytest.mark.parametrize("room_k", ROOMS_K)
def test_a_chip_leaks_its_share_more_by_e_for_each_growth_length_and_no_more_beyond_500_k(
    room_k: float,
) -> None:
    """8 % of 8 W at 45 degC, exp(0.036 / K): by the temperature of the chip, whatever the room."""
    leak = laws(room_k)[1]
    chips_k = np.array([[318.15, 318.15 + 1.0 / 0.036, 298.15]])
    by_hand = 0.64 * np.array([[0.0, np.e - 1.0, np.exp(-0.72) - 1.0]])
    assert leaked_w(leak, chips_k - room_k) == pytest.approx(by_hand, abs=1e-12)
    assert leaked_w(leak, np.array([[499.9 - room_k]])) < leaked_w(leak, np.array([[500.0 - room_k]]))
    assert leaked_w(leak, np.array([[900.0]])) == leaked_w(leak, np.array([[500.0 - room_k]]))


@pytest.mark.parametrize(
    ("law", "slope", "place"), [(shed_w, shed_slope_w_per_k, 0), (leaked_w, leaked_slope_w_per_k, 1)]
)
def test_a_slope_is_what_a_little_more_gives(
    law: Callable[[Any, Array], Array], slope: Callable[[Any, Array], Array], place: int
) -> None:
    told = laws(298.15)[place]
    numeric = (law(told, RISES_K + 1e-4) - law(told, RISES_K - 1e-4)) / 2e-4
    assert slope(told, RISES_K) == pytest.approx(numeric, rel=1e-6)
