"""How far a saving may lie from the number that is shown: the ranges of what a preset states about zeros."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npuwatt.arrays import column
from npuwatt.device.evaluate import Device
from npuwatt.errors import NpuwattError
from npuwatt.preset.evidence import Evidence
from npuwatt.preset.paths import value_at, with_value, with_values
from npuwatt.study.inference import Inference
from npuwatt.study.modes import result_of
from npuwatt.study.question import Question
from npuwatt.study.scenario import Chosen

Path = tuple[str, ...]


def saved_ends(
    asked: Question, device: Chosen[Device], dense: Inference, saved: float, count: float | None
) -> tuple[float, float]:
    """The least and the most saved of the energy, if each number that a device states about zeros lies anywhere in its
    range; twice `saved` where there are none.

    Each alone is put to both its ends; what they lose and what they win adds up in squares, as for numbers that know
    nothing of each other.
    """
    found = list(_ranges(device))
    if not found or not np.isfinite(saved):
        return saved, saved
    changes = {}
    for place, (path, item) in enumerate(found):
        values = np.full(1 + 2 * len(found), item.value)
        values[1 + 2 * place : 3 + 2 * place] = item.low, item.high
        changes[path] = column(values)
    varied = with_values(device.record, changes)
    sparse = result_of(asked, varied, devices=count, limits=False).total_j
    change = np.broadcast_to(sparse[:1] - sparse, (1 + 2 * len(found), 1)) / dense.total_j
    worse, better = (
        float(np.square(part).sum()) ** 0.5 for part in (np.minimum(change, 0), np.maximum(change, 0))
    )
    return saved - worse, min(1.0, saved + better)


def _ranges(device: Chosen[Device]) -> Iterator[tuple[Path, Evidence]]:
    """Numbers about zeros that the device still has as its preset states them, and that may lie at both their ends."""
    for address, item in device.evidence.items():
        path = tuple(address.split("."))
        if "sparsity" not in path[:2] or item.low == item.high:
            continue
        try:
            if value_at(device.record, path, address)[0] != item.value:
                continue
            for end in (item.low, item.high):
                with_value(device.record, path, end)
        except NpuwattError:  # ideal skipping has no kernels; a range may reach beyond what a record takes
            continue
        yield path, item
