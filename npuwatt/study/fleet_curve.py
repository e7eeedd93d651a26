"""A device as one replica at growing batches: how many devices it takes, and what it then does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npuwatt.arrays import column
from npuwatt.datacenter.serving import Curve, Limits, largest_batch, unmet
from npuwatt.device.evaluate import Device, host_of, static_power_w
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.record import replace
from npuwatt.study.inference import devices_needed
from npuwatt.study.modes import result_of
from npuwatt.study.question import Question
from npuwatt.study.scenario import Chosen

MOST_BATCH = 512
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
    curves = dict(_curves(asked, device))
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


def _curves(asked: Question, device: Chosen[Device]) -> Iterator[tuple[int, Curve]]:
    """Each number of devices that comes into question, with its curve up to the batch that it holds."""
    groups = float(np.max(asked.sharing.groups))
    batch = column(np.arange(groups, max(MOST_BATCH, groups) + 1))
    first = replace(asked.request, batch=groups)
    needed = devices_needed(asked.network.record, first, device.record, asked.sharing).item()
    counts = (
        [needed * times for times in _TIMES if np.isfinite(needed)] if asked.count is None else [asked.count]
    )
    for count in counts:
        try:
            with np.errstate(all="ignore"):
                found = result_of(
                    replace(asked, count=count),
                    device.record,
                    request=replace(asked.request, batch=batch),
                    limits=False,
                )
        except NpuwattError as error:
            raise RequestError(
                *(f"device {shown(device.typed)} {fault}" for fault in error.faults)
            ) from error
        held = int(np.sum(np.broadcast_to(found.fits, batch.shape)))  # a larger batch never fits again
        if held:
            at_rest_w = static_power_w(device.record) + host_of(device.record).clocks_power_w
            metrics = found.metrics()
            power_w, tokens_per_s, ttft_s, tpot_s = (
                np.broadcast_to(values, batch.shape)[:held].T
                for values in (metrics["power_w"], metrics["tokens_per_s"], found.ttft_s, found.tpot_s)
            )
            yield int(count), Curve(
                batch=batch[:held].T, ttft_s=ttft_s, tpot_s=tpot_s, output_tokens_per_s=tokens_per_s,
                power_w=power_w, idle_w=count * float(np.max(at_rest_w)),
            )  # fmt: skip


def _within(curve: Curve, limits: Limits) -> float:
    """Output tokens per second at the largest batch that meets the limits; 0 where none does."""
    place = int(largest_batch(curve, limits).item())
    return float(curve.output_tokens_per_s[0, place]) if place >= 0 else 0.0


def _excess(curve: Curve, limits: Limits) -> float:
    """How far the best batch is over the limits."""
    over = np.maximum(curve.ttft_s / limits.ttft_s, curve.tpot_s / limits.tpot_s)
    return float(np.min(over))
