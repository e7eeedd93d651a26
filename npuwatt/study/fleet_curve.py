"""A device as one replica at growing batches: how many devices it takes, and what it then does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npuwatt.arrays import Array, column
from npuwatt.datacenter.serving import Curve, Limits, largest_batch, unmet
from npuwatt.device.evaluate import Device, host_of, static_power_w
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.record import replace
from npuwatt.study.inference import devices_needed
from npuwatt.study.modes import result_of
from npuwatt.study.question import Question
from npuwatt.study.scenario import Chosen
from npuwatt.workload.request import MOST_BATCH

_EACH_TO = 512  # every batch up to here is on the curve; beyond, each is a 256th larger
_STEP = 256
_TIMES = (1, 2, 4, 8)  # the fewest devices that hold a request, so many times


def replica(asked: Question, device: Chosen[Device], limits: Limits) -> tuple[Curve, int]:
    """The curve of the replica that serves most within the limits for each of its devices, and their number.

    Of the fewest devices that hold one request and of two, four and eight times as many; or of as many as
    were asked for.

    Raises
    ------
    RequestError
        No number of devices holds a request, or no batch meets the limits: which, and by how much.
    """
    curves = dict(_curves(asked, device, limits))
    if not curves:
        raise RequestError(
            f"device {shown(device.typed)} does not hold this network and its cache; expected another --devices"
        )
    best = {count: _within(curve, limits) / count for count, curve in curves.items()}
    count = max(best, key=lambda count: best[count])
    if not best[count] > 0:
        count = min(curves, key=lambda count: _excess(curves[count], limits))
        on = f"device {shown(device.typed)} on {count:.0f}"
        raise RequestError(*(f"{on}: {fault}" for fault in unmet(curves[count], limits)))
    return curves[count], count


def is_capped(curve: Curve, limits: Limits) -> bool:
    """Whether no limit and no memory holds the batch back, but only the most that a request may have."""
    return float(curve.batch[0, int(largest_batch(curve, limits).item())]) >= MOST_BATCH


def _curves(asked: Question, device: Chosen[Device], limits: Limits) -> Iterator[tuple[int, Curve]]:
    """Each number of devices that comes into question, with its curve up to the batch that it holds."""
    groups = float(np.max(asked.sharing.groups))
    first = replace(asked.request, batch=groups)
    needed = devices_needed(asked.network.record, first, device.record, asked.sharing).item()
    counts = (
        [needed * times for times in _TIMES if np.isfinite(needed)] if asked.count is None else [asked.count]
    )
    batches = _batches(groups)
    for count in counts:
        curve = _curve(asked, device, count, batches)
        if curve is not None:
            yield int(count), _with_the_largest(asked, device, count, curve, batches, limits)


def _batches(first: float) -> Array:
    """Batches from `first` to the most that a request may have, (P, 1): each one, then in steps of a 256th."""
    found = np.arange(first, max(_EACH_TO, first) + 1).tolist()
    while found[-1] < MOST_BATCH:
        found.append(min(found[-1] + found[-1] // _STEP, MOST_BATCH))
    return column(found)


def _with_the_largest(
    asked: Question, device: Chosen[Device], count: float, curve: Curve, batches: Array, limits: Limits
) -> Curve:
    """A curve with the very largest batch that fits and meets the limits, which may lie between two steps."""
    place = int(largest_batch(curve, limits).item())
    if place < 0 or place + 1 == len(batches) or batches[place + 1, 0] - batches[place, 0] <= 1:
        return curve
    between = np.arange(batches[place, 0], batches[place + 1, 0])
    fine = _curve(asked, device, count, column(between))
    if fine is None:
        return curve
    largest = fine.batch[0, int(largest_batch(fine, limits).item())]
    found = _curve(asked, device, count, column(np.union1d(curve.batch[0], [largest])))
    return curve if found is None else found


def _curve(asked: Question, device: Chosen[Device], count: float, batch: Array) -> Curve | None:
    """What so many devices do at the batches (P, 1) of them that they hold; None where they hold none."""
    try:
        with np.errstate(all="ignore"):
            found = result_of(
                replace(asked, count=count),
                device.record,
                request=replace(asked.request, batch=batch),
                limits=False,
            )
    except NpuwattError as error:
        raise RequestError(*(f"device {shown(device.typed)} {fault}" for fault in error.faults)) from error
    held = int(np.sum(np.broadcast_to(found.fits, batch.shape)))  # a larger batch never fits again
    if not held:
        return None
    at_rest_w = static_power_w(device.record) + host_of(device.record).clocks_power_w
    metrics = found.metrics()
    power_w, tokens_per_s, ttft_s, tpot_s = (
        np.broadcast_to(values, batch.shape)[:held].T
        for values in (metrics["power_w"], metrics["tokens_per_s"], found.ttft_s, found.tpot_s)
    )
    return Curve(
        batch=batch[:held].T, ttft_s=ttft_s, tpot_s=tpot_s, output_tokens_per_s=tokens_per_s, power_w=power_w,
        idle_w=count * float(np.max(at_rest_w)),
    )  # fmt: skip


def _within(curve: Curve, limits: Limits) -> float:
    """Output tokens per second at the largest batch that meets the limits; 0 where none does."""
    place = int(largest_batch(curve, limits).item())
    return float(curve.output_tokens_per_s[0, place]) if place >= 0 else 0.0


def _excess(curve: Curve, limits: Limits) -> float:
    """How far the best batch is over the limits."""
    over = np.maximum(curve.ttft_s / limits.ttft_s, curve.tpot_s / limits.tpot_s)
    return float(np.min(over))
