"""Where a request's saving comes from, and how much of its work is done at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npuwatt.arrays import Array, Real, total
from npuwatt.device.costs import OpCosts, PhaseCosts
from npuwatt.device.evaluate import Device, device_costs, host_of, rest_power_w
from npuwatt.device.savings import split
from npuwatt.device.sparsity import zero_work
from npuwatt.record import Record
from npuwatt.study.inference import Inference, phase_ops, shared_ops
from npuwatt.study.modes import work_of
from npuwatt.study.phases import PhaseTable
from npuwatt.study.question import Question
from npuwatt.workload.ops import OpTable, table

PARTS = ("arithmetic", "traffic", "static", "metadata", "imbalance", "kernels")


class Split(Record):
    """Joules that zeros save in a request by where, below 0 where they cost some; the parts add up to all that is saved."""

    arithmetic_j: float
    traffic_j: float  # bytes of weights that are not moved
    static_j: float  # drawn by time, if skipping were perfect and metadata free
    metadata_j: float  # brought, decoded and searched, and the time of that
    imbalance_j: float  # by time in which lanes wait for each other
    kernels_j: float  # by time that imperfect skipping or measured kernels take


def request_split(
    dense_asked: Question, asked: Question, device: Device, dense: Inference, sparse: Inference
) -> Split:
    """The energy of a request without zeros less that with them, on as many devices, taken apart."""
    if not (dense.fits[0, 0] and sparse.fits[0, 0]):
        return Split(**dict.fromkeys((f"{part}_j" for part in PARTS), float("nan")))
    rest_w = float(dense.devices[0, 0]) * rest_power_w(device)
    sums = dict.fromkeys(PARTS, 0.0)
    runs = zip(_runs(dense_asked, device, dense), _runs(asked, device, sparse), strict=True)
    for (before, before_stretch, software_s, times), (after, after_stretch, _, _) in runs:
        found = split(
            before,
            after,
            rest_power_w=rest_w,
            regulator_efficiency_fraction=host_of(device).regulator_efficiency_fraction,
            dense_stretch_ratio=before_stretch,
            sparse_stretch_ratio=after_stretch,
        )
        for part in PARTS:
            sums[part] += float((total(getattr(found, f"{part}_j")) * times)[0, 0])
        # A cap slows the clocks of a whole step, and with them what the stack adds to it.
        software_j = rest_w * software_s * (before_stretch - after_stretch)
        sums["static"] += float((software_j * times)[0, 0])
    return Split(**{f"{part}_j": joules for part, joules in sums.items()})


def _runs(asked: Question, device: Device, result: Inference) -> Iterator[tuple[OpCosts, Array, Real, Real]]:
    """Costs of each phase, how much the power cap stretches it, what software adds before that, and how often a request goes through it."""
    network, request, devices = asked.network.record, asked.request, result.devices[0, 0]
    if asked.stack is None:
        steps = np.asarray(request.output_len) - 1
        phases: list[tuple[str, PhaseCosts | None, Real]] = [
            ("prefill", result.prefill, 1.0), ("decode", result.decode, steps)
        ]  # fmt: skip
        for name, whole, times in phases:
            if whole is None:
                continue
            ops = shared_ops(phase_ops(network, request, name), network, request, devices, asked.sharing)
            yield device_costs(device, table(ops), devices), whole.stretch_ratio, 0.0, times
        return
    from npuwatt.device.stack import executed, serialised
    from npuwatt.study.serving import overhead_s, step_costs

    stack = asked.stack.record
    work = work_of(asked, stack, result)
    share = np.atleast_2d(work.mixed_fraction)
    for step, part in ((work.plain, 1 - share), (work.mixed, share)):
        if step is not None:
            costs = device_costs(device, executed(stack, step, work.local_experts), work.devices)
            stretch = step_costs(step, work, device, stack, limits=False).stretch_ratio
            yield (
                serialised(stack, costs),
                stretch,
                overhead_s(work, stack),
                part * np.asarray(request.output_len),
            )


def done_macs(device: Device, phase: PhaseTable) -> float:
    """MACs that a device does in a phase, whether their operands are zero or not."""
    ops = phase.ops
    done = _host_done(device, ops)
    if device.kind == "crossbar":
        done = np.ones(ops.macs.shape)
    elif device.kind == "near-bank-pim":
        from npuwatt.device.nearbank import kept_blocks

        inside = np.array([[where == "banks" for where in phase.where]])
        done = np.where(inside, kept_blocks(ops), done)
    return float((ops.macs * done).sum())


def _host_done(device: Device, ops: OpTable) -> Array:
    skipping = host_of(device).sparsity
    if skipping is None or not ops.has_zeros:
        return np.ones(ops.macs.shape)
    return zero_work(skipping, ops).done_ratio
