"""The phases of an answer, op by op: what compare folds by kind of op and estimate shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from npuwatt.arrays import Array, Real, total
from npuwatt.device.accelerator import dtype_for
from npuwatt.device.costs import OpCosts, PhaseCosts, phase_costs
from npuwatt.device.evaluate import Device, device_costs, host_of, static_power_w
from npuwatt.device.parallel import ALONE
from npuwatt.device.roofline import ridge_macs_per_byte
from npuwatt.record import Record, replace
from npuwatt.study.inference import Inference, phase_ops, shared_ops
from npuwatt.study.modes import work_of
from npuwatt.study.question import Question
from npuwatt.workload.ops import STORED, OpTable, table
from npuwatt.workload.request import arithmetic_dtype

if TYPE_CHECKING:
    from npuwatt.device.stack import Stack

PLACES = ("host", "banks", "arrays")
"""Where a board whose memory computes runs an op."""


class PhaseTable(Record):
    """The ops of one phase with their share of its time and energy; arrays are (1, L)."""

    name: str  # prefill or decode; in serving decode, a step without prompts, or mixed, one that takes some along
    context_tokens: float  # tokens a query can see at the end of the phase
    ops: OpTable
    costs: PhaseCosts
    time_s: Array  # power cap included; sums, with the software's, to costs.time_s
    energy_by_component_j: dict[str, Array]  # static by time; sums, with the software's, to costs.energy_j
    bound_by: tuple[str, ...]
    where: tuple[str, ...]  # each op runs, one of PLACES; empty where there is but one place
    moved_bytes: Array  # over the pins of main memory, from its banks to units beside them, and over links
    level_bytes: dict[str, Array]
    level_energy_j: dict[str, Array]
    ridge_macs_per_byte: Real
    steps_fraction: Array | None = None  # of all steps of a server; None in step mode, as the next two
    software_time_s: Array | None = None  # in which no op runs
    software_by_component_j: dict[str, Array] | None = None

    @property
    def energy_j(self) -> Array:
        """Energy of each op, static included."""
        return sum(self.energy_by_component_j.values(), start=np.zeros(1))

    @property
    def software_energy_j(self) -> Array:
        """Energy of the time in which no op runs."""
        return sum((self.software_by_component_j or {}).values(), start=np.zeros((1, 1)))


def phases_of(asked: Question, device: Device, result: Inference) -> tuple[PhaseTable, ...]:
    """What each op of an answer costs; on one device where the request does not fit.

    Every value is for the whole network, all sequences and all devices. Decode is one step of the
    batch at the middle of the answer, a context of input_len + output_len // 2 tokens. In serving
    both kinds of step are the mean over an answer, which is that of its middle.
    """
    if asked.stack is None:
        return tuple(_phases_of_request(asked, device, result))
    return tuple(_phases_of_server(asked, device, result, asked.stack.record))


def prompt_and_step_j(
    asked: Question, result: Inference, phases: Sequence[PhaseTable]
) -> tuple[Array | None, Array | None]:
    """Joules of reading one prompt and of one decode step of the whole batch, over all devices: (1, 1) each.

    A request spends the first once, and its part of the second for each token after the prompt. On a
    server a prompt costs what steps that take prompts along spend more than steps that do not, and the step
    is one without prompts. None where there is no such thing to tell apart.
    """
    if asked.stack is None:
        prompt_j = _spent_j(result.prefill) / result.batch
        return prompt_j, None if result.decode is None else _spent_j(result.decode)
    steps = {phase.name: phase for phase in phases}
    if "decode" not in steps:
        return None, None
    step_j = _spent_j(steps["decode"].costs)
    mixed = steps.get("mixed")
    if mixed is None or mixed.steps_fraction is None:
        return None, step_j
    more_j = (_spent_j(mixed.costs) - step_j) * mixed.steps_fraction
    return more_j * np.asarray(asked.request.output_len) / result.batch, step_j


def _spent_j(costs: PhaseCosts) -> Array:
    return sum(costs.energy_j.values(), start=np.zeros((1, 1)))


def _phases_of_request(asked: Question, device: Device, result: Inference) -> Iterator[PhaseTable]:
    network, request = asked.network.record, asked.request
    fits = bool(result.fits[0, 0])
    devices, sharing = (float(result.devices[0, 0]), asked.sharing) if fits else (1.0, ALONE)
    parts = [("prefill", "prefill", float(request.input_len))]
    if network.decoder:
        parts.append(("decode", "middle", _middle_tokens(asked)))
    for name, which, context_tokens in parts:
        ops = table(shared_ops(phase_ops(network, request, which), network, request, devices, sharing))
        costs = device_costs(device, ops, devices)
        whole = result.prefill if which == "prefill" else _step_costs(device, costs, devices)
        yield _taken_apart(asked, device, devices, name, context_tokens, ops, costs, whole)


def _phases_of_server(
    asked: Question, device: Device, result: Inference, stack: Stack
) -> Iterator[PhaseTable]:
    from npuwatt.device.stack import executed, serialised
    from npuwatt.study.serving import step_costs

    work = work_of(asked, stack, result)
    share = np.atleast_2d(work.mixed_fraction)
    for name, ops, steps_fraction in (("decode", work.plain, 1 - share), ("mixed", work.mixed, share)):
        if ops is None or not steps_fraction.any():
            continue
        whole = step_costs(ops, work, device, stack, limits=False)
        run = executed(stack, ops, work.local_experts)
        costs = serialised(stack, device_costs(device, run, work.devices))
        found = _taken_apart(asked, device, work.devices, name, _middle_tokens(asked), run, costs, whole)
        rest_s = whole.time_s - total(found.time_s)
        software_s = np.where(rest_s > 1e-12 * whole.time_s, rest_s, 0.0)
        yield replace(
            found,
            steps_fraction=steps_fraction,
            software_time_s=software_s,
            software_by_component_j=_rest_j(device, work.devices, software_s),
        )


def _step_costs(device: Device, costs: OpCosts, devices: Real) -> PhaseCosts:
    return phase_costs(
        [costs],
        static_power_w=static_power_w(device),
        clocks_power_w=host_of(device).clocks_power_w,
        power_cap_w=host_of(device).power_cap_w,
        devices=devices,
        limits=False,
    )


def _middle_tokens(asked: Question) -> float:
    """The context at the middle of the answer."""
    return float(asked.request.input_len) + float(asked.request.output_len) // 2


def _rest_j(device: Device, devices: Real, time_s: Array) -> dict[str, Array]:
    """What devices draw whatever they do, by component: clocks that stay up count as on-chip movement."""
    clocks_w = host_of(device).clocks_power_w
    return {"static": devices * static_power_w(device) * time_s} | (
        {"on_chip": devices * clocks_w * time_s} if np.any(clocks_w) else {}
    )


def _taken_apart(
    asked: Question,
    device: Device,
    devices: Real,
    name: str,
    context_tokens: float,
    ops: OpTable,
    costs: OpCosts,
    whole: PhaseCosts,
) -> PhaseTable:
    """One phase op by op: `costs` of its ops before the power cap, and `whole` after it."""
    time_s = costs.time_s * whole.stretch_ratio
    rest_j, nothing = _rest_j(device, devices, time_s), np.zeros((1, 1))
    limits, capped = list(costs.limits_s), whole.stretch_ratio.item() > 1 + 1e-9
    host, request = host_of(device), asked.request
    clocks_j = {"clocks": devices * host.clocks_power_w * whole.time_s} if "on_chip" in rest_j else {}
    dtype = dtype_for(host.peak_macs_per_s, arithmetic_dtype(request.weights, request.activations))
    return PhaseTable(
        name=name,
        context_tokens=context_tokens,
        ops=ops,
        costs=whole,
        time_s=time_s,
        energy_by_component_j={
            part: costs.energy_j.get(part, nothing) + rest_j.get(part, nothing) for part in whole.energy_j
        },
        bound_by=tuple("power" if capped else limits[int(place)] for place in costs.owners()[0]),
        where=_where(device, ops, costs.level_bytes),
        moved_bytes=_moved_bytes(device, ops, costs.level_bytes),
        level_bytes=costs.level_bytes | dict.fromkeys(clocks_j, np.zeros((1, 1))),
        level_energy_j=costs.level_energy_j | clocks_j,
        ridge_macs_per_byte=ridge_macs_per_byte(
            host.peak_macs_per_s[dtype], host.memory.bandwidth_bytes_per_s
        ),
    )


def _where(device: Device, ops: OpTable, level_bytes: Mapping[str, Array]) -> tuple[str, ...]:
    """Where each op runs; nothing on a board whose memory does not compute."""
    if device.kind == "crossbar":
        return tuple("arrays" if kind in STORED else "host" for kind in ops.kinds)
    if device.kind == "near-bank-pim":
        inside_bytes = np.broadcast_to(level_bytes["banks"], ops.macs.shape)[0].tolist()
        return tuple("banks" if inside else "host" for inside in inside_bytes)
    return ()


def _moved_bytes(device: Device, ops: OpTable, level_bytes: Mapping[str, Array]) -> Array:
    """What really crosses: weights in cells do not, and units beside banks read a weight again for each token."""
    main = next(iter(host_of(device).levels))
    found: Array = level_bytes[main] + level_bytes.get("banks", 0.0) + ops.link_bytes
    return found
