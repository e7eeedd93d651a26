"""Servers for a demand: the batch that meets the limits of latency, how many servers, how busy they are, what they draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array, Real, total
from npuwatt.errors import NpuwattError, RequestError
from npuwatt.record import Record

_ROUNDING = 1e-9  # a count this little above a whole number is that number


class Demand(Record):
    """What users ask of a fleet."""

    mean_requests_per_s: Real
    peak_requests_per_s: Real
    input_len: Real
    output_len: Real

    def __post_init__(self) -> None:
        require.positive(
            mean_requests=self.mean_requests_per_s,
            peak_requests=self.peak_requests_per_s,
            output_len=self.output_len,
        )
        require.not_negative(input_len=self.input_len)
        if np.any(np.less(self.peak_requests_per_s, self.mean_requests_per_s)):
            raise NpuwattError("peak_requests: below the mean; expected at least as many")

    @property
    def mean_tokens_per_s(self) -> Real:
        """Output tokens in each second of an average day."""
        return self.mean_requests_per_s * self.output_len


class Limits(Record):
    """Longest waits that users accept; infinite: any."""

    ttft_s: Real = np.inf
    tpot_s: Real = np.inf

    def __post_init__(self) -> None:
        for name, limit in (("ttft", self.ttft_s), ("tpot", self.tpot_s)):
            if not np.all(np.greater(limit, 0)):
                raise NpuwattError(f"{name}: {np.min(limit):.6g} s given; expected a limit above 0")


class Curve(Record):
    """One server at growing batches, which are the last axis: (1, B), or (P, B) over design points."""

    batch: Array
    ttft_s: Array
    tpot_s: Array
    output_tokens_per_s: Array
    power_w: Array
    idle_w: Real  # with nothing to do

    def __post_init__(self) -> None:
        columns = (self.batch, self.ttft_s, self.tpot_s, self.output_tokens_per_s, self.power_w)
        if any(np.ndim(one) != 2 or one.shape[-1] != self.batch.shape[-1] for one in columns):
            raise ValueError("a curve holds tables of points by batches")
        require.positive(
            batch=self.batch,
            ttft=self.ttft_s,
            tpot=self.tpot_s,
            output_tokens=self.output_tokens_per_s,
            power=self.power_w,
        )
        require.not_negative(idle=self.idle_w)
        if np.any(np.diff(self.batch, axis=-1) <= 0):
            raise NpuwattError("batch: not in order; expected each larger than the one before")
        if np.any(self.output_tokens_per_s * self.tpot_s > self.batch * (1.0 + 1e-3)):
            raise NpuwattError(
                "output_tokens: more than batch / tpot; expected at most one token per sequence in each tpot"
            )


class Fleet(Record):
    """Servers that carry a demand; all (P, 1) or (1, 1), NaN where no batch meets the limits."""

    batch: Array  # the largest that meets the limits
    servers_count: Array  # that take requests
    spares_count: Array  # that stand by, powered and idle
    capacity_requests_per_s: Array  # of one server at that batch
    mean_utilization_ratio: Array  # of the capacity of all servers that take requests
    peak_utilization_ratio: Array
    mean_w: Array  # IT power of all servers, spares too
    peak_w: Array
    mean_in_flight_count: Array
    peak_in_flight_count: Array
    mean_ttft_s: Array
    mean_tpot_s: Array
    peak_ttft_s: Array
    peak_tpot_s: Array


def demand_of_tokens(
    *, tokens_per_s: Real, peak_ratio: Real, input_len: Real = 0.0, output_len: Real
) -> Demand:
    """A demand told in output tokens, `peak_ratio` times as many at the peak as on average."""
    require.positive(tokens=tokens_per_s, output_len=output_len)
    require.within(1.0, 1e6, peak=peak_ratio)
    mean = tokens_per_s / output_len
    return Demand(
        mean_requests_per_s=mean,
        peak_requests_per_s=mean * peak_ratio,
        input_len=input_len,
        output_len=output_len,
    )


def largest_batch(curve: Curve, limits: Limits) -> npt.NDArray[np.int64]:
    """Place on the curve of the largest batch that meets both limits, (P, 1); -1 where none does."""
    places = np.arange(np.shape(curve.batch)[-1])
    return np.asarray(np.max(np.where(_meets(curve, limits), places, -1), axis=-1, keepdims=True))


def unmet(curve: Curve, limits: Limits) -> tuple[str, ...]:
    """Why no batch meets the limits, a line for each limit that is missed, at the point that misses it least."""
    found = []
    for name, times_s, limit_s in (
        ("TTFT", curve.ttft_s, limits.ttft_s),
        ("TPOT", curve.tpot_s, limits.tpot_s),
    ):
        ratio = times_s / limit_s
        if np.all(ratio > 1.0):
            point, place = np.unravel_index(np.argmin(ratio), ratio.shape)
            least_s, batch = (
                np.broadcast_to(one, ratio.shape)[point, place] for one in (times_s, curve.batch)
            )
            found.append(
                f"{name} limit of {1e3 * least_s / ratio[point, place]:.4g} ms: no batch meets it; the least is "
                f"{1e3 * least_s:.4g} ms at batch {batch:.4g}, {ratio[point, place] - 1:.1%} over"
            )
    if not found and not np.any(_meets(curve, limits)):
        found.append("TTFT and TPOT limits: no batch meets both at once; expected one of them looser")
    return tuple(found)


def fleet(
    demand: Demand,
    curve: Curve,
    limits: Limits,
    *,
    headroom_fraction: Real = 0.0,
    spares_fraction: Real = 0.0,
) -> Fleet:
    """Servers needed for a demand within limits, and what they do at mean and at peak load.

    Requests are dealt evenly. A server that gets fewer than it could serve runs the smaller batch that
    serves just those; below the smallest batch of its curve it idles between requests. Arrivals are taken
    as even: random ones leave a server with next to nothing to do idle more often, and draw up to an
    eighth less. Waits for a free place are not in the curve: headroom is what keeps them short.

    Parameters
    ----------
    headroom_fraction : scalar or (P, 1)
        Of the capacity at the largest batch, left free at the peak: 0 to 0.99.
    spares_fraction : scalar or (P, 1)
        Spare servers over those that take requests, rounded up.

    Raises
    ------
    RequestError
        No batch meets the limits at any design point: which limit, and by how much.
    """
    require.within(0.0, 0.99, headroom=headroom_fraction)
    require.share(spares=spares_fraction)
    place = largest_batch(curve, limits)
    if np.all(place < 0):
        raise RequestError(*unmet(curve, limits))
    capacity = np.where(place < 0, np.nan, _at(curve.output_tokens_per_s, place)) / demand.output_len
    needed = demand.peak_requests_per_s / (capacity * (1.0 - headroom_fraction))
    servers = np.ceil(needed * (1.0 - _ROUNDING))
    spares = np.ceil(servers * spares_fraction * (1.0 - _ROUNDING))
    mean, peak = (
        _under_load(curve, rate * demand.output_len / servers)
        for rate in (demand.mean_requests_per_s, demand.peak_requests_per_s)
    )
    return Fleet(
        batch=np.where(place < 0, np.nan, _at(curve.batch, place)),
        servers_count=servers,
        spares_count=spares,
        capacity_requests_per_s=capacity,
        mean_utilization_ratio=demand.mean_requests_per_s / (servers * capacity),
        peak_utilization_ratio=demand.peak_requests_per_s / (servers * capacity),
        mean_w=servers * mean["power"] + spares * curve.idle_w,
        peak_w=servers * peak["power"] + spares * curve.idle_w,
        mean_in_flight_count=demand.mean_requests_per_s * _request_s(mean, demand),
        peak_in_flight_count=demand.peak_requests_per_s * _request_s(peak, demand),
        mean_ttft_s=mean["ttft"],
        mean_tpot_s=mean["tpot"],
        peak_ttft_s=peak["ttft"],
        peak_tpot_s=peak["tpot"],
    )


def servers_in_feed(feed_w: Real, *, server_w: Real, pue_ratio: Real) -> Array:
    """Whole servers that a feed carries when each draws `server_w` in the hall's PUE; scalar or (P, 1)."""
    require.positive(feed=feed_w, server=server_w)
    require.within(1.0, 100.0, pue=pue_ratio)
    return np.floor(feed_w / (pue_ratio * server_w) * (1.0 + _ROUNDING))


def _meets(curve: Curve, limits: Limits) -> npt.NDArray[np.bool_]:
    return (curve.ttft_s <= limits.ttft_s) & (curve.tpot_s <= limits.tpot_s)


def _at(values: Array, place: npt.NDArray[np.int64]) -> Array:
    """The value of each point at its place on the last axis; the first where the place is -1."""
    points = max(values.shape[0], place.shape[0])
    wide = np.broadcast_to(values, (points, values.shape[-1]))
    return np.take_along_axis(wide, np.broadcast_to(np.maximum(place, 0), (points, 1)), axis=-1)


def _under_load(curve: Curve, tokens_per_s: Array) -> dict[str, Array]:
    """Power, TTFT and TPOT of a server that has to give so many tokens per second, between the batches of its curve."""
    reached = np.maximum.accumulate(curve.output_tokens_per_s, axis=-1)
    above = total(np.where(reached < tokens_per_s * (1.0 - _ROUNDING), 1, 0)).astype(np.int64)
    above = np.minimum(above, curve.output_tokens_per_s.shape[-1] - 1)
    upper = _at(reached, above)
    lower = np.where(above > 0, _at(reached, above - 1), 0.0)  # below the smallest batch: idle at times
    share = (tokens_per_s - lower) / (upper - lower)

    def between(values: Array, at_rest: Real | Array) -> Array:
        start = np.where(above > 0, _at(values, above - 1), at_rest)
        return np.asarray(start + share * (_at(values, above) - start))

    return {
        "power": between(curve.power_w, curve.idle_w),
        "ttft": between(curve.ttft_s, curve.ttft_s[..., :1]),
        "tpot": between(curve.tpot_s, curve.tpot_s[..., :1]),
    }


def _request_s(load: dict[str, Array], demand: Demand) -> Array:
    """Time from the start of a request to its last token."""
    return load["ttft"] + load["tpot"] * demand.output_len
