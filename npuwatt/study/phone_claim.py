"""Whether a chip may work for some minutes at a share of its peak power before skin or die is too warm, and for which peaks,
spreading and rooms that is so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, column
from npuwatt.handset.network import Handset
from npuwatt.handset.reaching import reaching
from npuwatt.handset.thermal import sustainable
from npuwatt.record import Record, replace

SPREADING = (0.5, 0.75, 0.95)
"""Coefficient of thermal spreading: range and judgement of electronics-cooling.com 2023/10 and a vapour chamber at best."""
ROOMS_K = (288.15, 298.15, 303.15, 308.15)
_ROUNDS, _STEP = (
    8,
    0.8,
)  # leakage is a share of the peak that is sought; each round leaves an eighth of the error or less
_LEAST_W = 1e-3


class PeakClaim(Record):
    """Highest peak power for which the sentence is true, by spreading and room: (S, R), 0 where it never is; and which of
    skin and die binds there."""

    share_fraction: float
    spreading_fraction: tuple[float, ...]
    rooms_k: tuple[float, ...]
    session_peak_w: Array
    session_bound_by: npt.NDArray[np.str_]
    steady_peak_w: Array
    steady_bound_by: npt.NDArray[np.str_]


def peak_claim(
    handset: Handset, *, share: float, room_k: float, limit_k: float, session_s: float, in_case: bool
) -> PeakClaim:
    """For which peaks a share of peak power holds the limits, for a session that starts at the room's temperature.

    The rooms are the usual ones and the one asked about; those as warm as the limit, which allow nothing, are left out.
    """
    rooms = tuple(room for room in sorted({*ROOMS_K, round(room_k, 6)}) if room < limit_k)
    spreading = column(np.repeat(SPREADING, len(rooms)))
    ambient = column(np.tile(rooms, len(SPREADING)))
    body = replace(handset, surface=replace(handset.surface, spreading_fraction=spreading))
    setting: dict[str, Any] = {"ambient_k": ambient, "limit_k": limit_k, "in_case": in_case}
    session = reaching(body, share_fraction=share, time_s=session_s, **setting)
    steady = session.power_w
    for _ in range(_ROUNDS):
        held = sustainable(body, rated_w=np.maximum(steady, _LEAST_W), **setting)
        steady = steady + _STEP * (held.power_w / share - steady)
    shape = (len(SPREADING), len(rooms))
    return PeakClaim(
        share_fraction=share,
        spreading_fraction=SPREADING,
        rooms_k=rooms,
        session_peak_w=session.power_w.reshape(shape),
        session_bound_by=session.bound_by.reshape(shape),
        steady_peak_w=steady.reshape(shape),
        steady_bound_by=held.bound_by.reshape(shape),
    )
