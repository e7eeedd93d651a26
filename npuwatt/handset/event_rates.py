"""Mean power over the rate of events is a line: the rates at which it crosses what is of interest."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, column
from npuwatt.handset.duty import Profile, Response, duty
from npuwatt.record import Record, replace

HALF = 0.5  # of mean power: from there on the device counts more than all else
_DAY_S = 86400.0


class EventRates(Record):
    """Mean power over the rate of events is a line; where it crosses what is of interest, in events a second."""

    asleep_w: float  # at no event at all
    added_per_event_j: float  # that one more event adds
    milliwatts_up_to_per_s: float  # NaN: not even at no event
    day_up_to_per_s: float  # for which a battery lasts a day; NaN: not even without events
    half_from_per_s: float  # from which the device decides half of all; infinite: never
    most_per_s: float  # that there is time for


def event_rates(profile: Profile, response: Response, *, milliwatts_w: float, day_w: float) -> EventRates:
    """The line of mean power over the rate of events, and where it crosses what is of interest.

    Parameters
    ----------
    profile, response
        Of one design point; what the profile says of events does not matter.
    milliwatts_w, day_w
        Mean power that counts as milliwatts, and that empties a battery in a day.
    """
    none, one = (
        duty(replace(profile, events_per_s=rate), response).busy_fraction for rate in (0.0, 1 / _DAY_S)
    )
    most = min(
        float(np.max((1 - none[name]) / ((one[name] - none[name]) * _DAY_S)))
        if np.any(one[name] > none[name])
        else np.inf
        for name in one
    )
    span = most / 2 if most < np.inf else 1.0
    ends = duty(replace(profile, events_per_s=column([0.0, span])), response)
    whole, own = (np.broadcast_to(part, (2, 1)).ravel() for part in (ends.mean_w, ends.device_w))
    slope = (whole[1] - whole[0]) / span
    half = _half_from(own - HALF * whole, span, most)

    def up_to(power_w: float) -> float:
        if whole[0] > power_w:
            return np.nan
        return float(np.clip((power_w - whole[0]) / slope if slope > 0 else np.inf, 0.0, most))

    return EventRates(
        asleep_w=float(whole[0]),
        added_per_event_j=float(slope),
        milliwatts_up_to_per_s=up_to(milliwatts_w),
        day_up_to_per_s=up_to(day_w),
        half_from_per_s=half if half <= most else np.inf,
        most_per_s=most,
    )


def _half_from(over_w: Array, span: float, most: float) -> float:
    """From which rate on the device is over half, by how far over it is at no event and at `span`; infinite: never, or not
    up to the `most` that there is time for."""
    grown_w = float(over_w[1] - over_w[0])
    crossing = -float(over_w[0]) / grown_w * span if grown_w else np.inf
    if grown_w > 0:
        return max(crossing, 0.0)
    return 0.0 if over_w[0] >= 0 and crossing >= most else np.inf
