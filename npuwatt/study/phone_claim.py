"""Whether a chip may work for some minutes at a share of its peak power before the skin is too warm, and for which peaks,
spreading and rooms that is so."""

from __future__ import annotations

from typing import Any

import numpy as np

from npuwatt.arrays import Array, column
from npuwatt.handset.network import Handset
from npuwatt.handset.thermal import power_reaching_w, sustainable
from npuwatt.record import Record, replace

SPREADING = (0.5, 0.75, 0.95)
"""Coefficient of thermal spreading: range and judgement of electronics-cooling.com 2023/10 and a vapour chamber at best."""
ROOMS_K = (288.15, 298.15, 303.15, 308.15)
_ROUNDS, _STEP = (
    5,
    0.8,
)  # leakage is a share of the peak that is sought; each round leaves an eighth of the error or less
_LEAST_W = 1e-3


class PeakClaim(Record):
    """Highest peak power for which the sentence is true, by spreading and room: (S, R), 0 where it never is."""

    share_fraction: float
    spreading_fraction: tuple[float, ...]
    rooms_k: tuple[float, ...]
    session_peak_w: Array
    steady_peak_w: Array


def peak_claim(
    handset: Handset, *, share: float, rated_w: float, limit_k: float, session_s: float, in_case: bool
) -> PeakClaim:
    """For which peaks a share of peak power holds the limit, for a session that starts at the room's temperature.

    A room as warm as the limit, or warmer, allows nothing.
    """
    rooms = tuple(room for room in ROOMS_K if room < limit_k)
    spreading = column(np.repeat(SPREADING, len(rooms)))
    ambient = column(np.tile(rooms, len(SPREADING)))
    body = replace(handset, surface=replace(handset.surface, spreading_fraction=spreading))
    setting: dict[str, Any] = {"ambient_k": ambient, "limit_k": limit_k, "in_case": in_case}
    session: Array = np.full_like(ambient, rated_w)
    steady = session
    for _ in range(_ROUNDS):
        found = (
            power_reaching_w(body, rated_w=np.maximum(session, _LEAST_W), time_s=session_s, **setting) / share
        )
        held = sustainable(body, rated_w=np.maximum(steady, _LEAST_W), **setting).power_w / share
        session, steady = session + _STEP * (found - session), steady + _STEP * (held - steady)
    shape = (len(SPREADING), len(rooms))
    return PeakClaim(
        share_fraction=share,
        spreading_fraction=SPREADING,
        rooms_k=rooms,
        session_peak_w=session.reshape(shape),
        steady_peak_w=steady.reshape(shape),
    )
