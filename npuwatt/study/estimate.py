"""One request on one device, op by op and level by level."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.device.accelerator import dtype_for
from npuwatt.device.costs import PhaseCosts, phase_costs
from npuwatt.device.evaluate import Device, device_costs, host_of, static_power_w
from npuwatt.device.roofline import ridge_macs_per_byte
from npuwatt.record import Record
from npuwatt.study.compare import Answer, compare
from npuwatt.study.inference import phase_ops, shared_ops
from npuwatt.study.question import Options, Question
from npuwatt.workload.ops import OpTable, table
from npuwatt.workload.request import arithmetic_dtype


class PhaseTable(Record):
    """The ops of one phase with their share of its time and energy; arrays are (1, L)."""

    name: str
    context_tokens: float  # tokens a query can see at the end of the phase
    ops: OpTable
    costs: PhaseCosts
    time_s: Array  # power cap included; sums to costs.time_s
    energy_j: Array  # static included, by time; sums to the energy of the phase
    bound_by: tuple[str, ...]
    level_bytes: dict[str, Array]
    level_energy_j: dict[str, Array]
    ridge_macs_per_byte: Real


class Estimate(Record):
    """A request on one device, taken apart."""

    question: Question
    answer: Answer
    phases: tuple[PhaseTable, ...]


def estimate(name: str, **options: Unpack[Options]) -> Estimate:
    """What each op of a request costs on one device.

    Every value is for the whole network, all sequences and all devices. Decode is one step of the
    batch at the middle of the answer, a context of input_len + output_len // 2 tokens.

    Parameters
    ----------
    name
        A device by preset name, alias or path.
    **options
        As for `npuwatt.compare`.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    comparison = compare([name], **options)
    asked, answer = comparison.question, comparison.answers[0]
    middle = float(asked.request.input_len) + float(asked.request.output_len) // 2
    phases = [_phase(asked, answer, "prefill", "prefill", float(asked.request.input_len))]
    if asked.network.record.decoder:
        phases.append(_phase(asked, answer, "decode", "middle", middle))
    return Estimate(question=asked, answer=answer, phases=tuple(phases))


def _phase(asked: Question, answer: Answer, name: str, which: str, context_tokens: float) -> PhaseTable:
    device: Device = answer.device.record
    network, request = asked.network.record, asked.request
    devices = float(answer.result.devices[0, 0]) if answer.result.fits[0, 0] else 1.0
    ops = table(shared_ops(phase_ops(network, request, which), network, request, devices))
    costs = device_costs(device, ops, devices)
    static_w = static_power_w(device)
    whole = phase_costs(
        [costs], static_power_w=static_w, power_cap_w=host_of(device).sustained_power_w, devices=devices
    )
    time_s = costs.time_s * whole.stretch_ratio
    dynamic_j = sum(costs.energy_j.values(), start=np.zeros(1))
    limits, capped = list(costs.limits_s), whole.stretch_ratio.item() > 1 + 1e-9
    host = host_of(device)
    dtype = dtype_for(host.peak_macs_per_s, arithmetic_dtype(request.weights, request.activations))
    return PhaseTable(
        name=name,
        context_tokens=context_tokens,
        ops=ops,
        costs=whole,
        time_s=time_s,
        energy_j=dynamic_j + devices * static_w * time_s,
        bound_by=tuple("power" if capped else limits[int(place)] for place in costs.owners()[0]),
        level_bytes=costs.level_bytes,
        level_energy_j=costs.level_energy_j,
        ridge_macs_per_byte=ridge_macs_per_byte(
            host.peak_macs_per_s[dtype], host.memory.bandwidth_bytes_per_s
        ),
    )
