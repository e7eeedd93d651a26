"""Steady continuous batching on equal devices: what a power meter sees while a server is full."""

from __future__ import annotations

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.device.costs import PhaseCosts, phase_costs
from npuwatt.device.evaluate import Device, device_costs, host_of, static_power_w
from npuwatt.device.parallel import ALONE, Sharing
from npuwatt.device.stack import Stack, executed, serialised, step_overhead_s
from npuwatt.errors import RequestError
from npuwatt.record import Record, replace
from npuwatt.study.inference import SUMMED, Inference, fitting, phase_ops, shared_ops
from npuwatt.workload.density import with_zeros
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.ops import STORED, Op, OpTable, table
from npuwatt.workload.request import Request
from npuwatt.workload.transformer import decode_ops, experts_touched


class Work(Record):
    """What a running batch asks of its devices in each step, whatever they are; columns are (P, 1)."""

    plain: OpTable  # a step without a prompt
    mixed: OpTable | None  # a step that takes prompts along; None: prompts are never taken
    mixed_fraction: Real  # of all steps
    prompt_steps: Real  # mixed steps until one prompt is through
    devices: Real
    groups: Real  # that deal the sequences between them
    batch: Real  # sequences of all groups
    layers: float  # attention and feed-forward together
    collectives: Real
    expert_layers: float
    local_experts: Real  # on one device, times the groups


class Serving(Inference):
    """An inference in steady state; `prefill` is a step that takes prompts along, `decode` the mean step."""

    itl_s: Array  # median gap between two tokens of a sequence
    mixed_fraction: Array
    software_time_fraction: Array | None = None  # of a step, against the same devices with no software
    software_energy_fraction: Array | None = None


def serving_work(
    network: Transformer,
    request: Request,
    *,
    devices: Real = 1.0,
    sharing: Sharing = ALONE,
    prefills_per_output_token: Real | None = None,
    context_tokens: Real | None = None,
    chunk_tokens: Real = 8192.0,
) -> Work:
    """The steps of a server that always runs `request.batch` sequences.

    Sequences end and prompts of `request.input_len` tokens take their place, at random moments: the
    share of steps that take prompts along is that of a Poisson process. Such a step reads its
    weights once for prompts and decode tokens (chunked prefill).

    Parameters
    ----------
    devices : scalar or (P, 1)
        Equal devices over all groups of `sharing`.
    prefills_per_output_token : scalar, (P, 1) or None
        Prompts taken in per generated token; None for one per `request.output_len`; 0 for none.
    context_tokens : scalar, (P, 1) or None
        Mean tokens a sequence looks back on; None for the mean over an answer of `request.output_len`.
    chunk_tokens : scalar or (P, 1)
        Most tokens that a step takes, decode tokens counted.
    """
    groups = sharing.groups
    rate = (
        1 / np.asarray(request.output_len) if prefills_per_output_token is None else prefills_per_output_token
    )
    if context_tokens is None:
        decode = phase_ops(network, request, "decode")
    else:
        decode = decode_ops(network, request, first=context_tokens - 0.5, last=context_tokens + 0.5)
        decode = with_zeros(decode, request.zeros)
    admitted = rate * np.asarray(request.batch) / groups  # prompts for each step of a group
    mixed, fraction, prompt_steps = None, np.zeros((1, 1)), np.ones((1, 1))
    if np.any(admitted):
        room = np.maximum(chunk_tokens - np.asarray(request.batch) / groups, 1.0)
        prompt_steps = np.maximum(request.input_len / room, 1.0)
        fraction = np.minimum(np.maximum(-np.expm1(-admitted), admitted * request.input_len / room), 1.0)
        together = np.where(fraction > 0, admitted * groups / np.maximum(fraction, 1e-300), 0.0)
        prefill = phase_ops(network, replace(request, batch=np.maximum(together, 1e-300)), "prefill")
        mixed = table(shared_ops(_mixed(network, decode, prefill), network, request, devices, sharing))
    plain = shared_ops(decode, network, request, devices, sharing)
    halves = sum(float(np.max(op.layers)) for op in decode if op.name in SUMMED)
    experts = network.experts
    members = devices / groups
    holders = members * sharing.data_parallel_count if sharing.expert_parallel else 1.0
    return Work(
        plain=table(plain),
        mixed=mixed,
        mixed_fraction=fraction,
        prompt_steps=prompt_steps,
        devices=devices,
        groups=groups,
        batch=request.batch,
        layers=halves / 2,
        collectives=np.where(np.greater(members, 1), halves, 0.0),
        expert_layers=float(experts.layers) if experts else 0.0,
        local_experts=experts.experts / holders * groups if experts else 0.0,
    )


def _mixed(network: Transformer, decode: list[Op], prefill: list[Op]) -> list[Op]:
    """Ops of a step that takes prompts along: tokens of both kinds pass the weights together, attention stays apart."""
    prompts = {op.name: op for op in prefill}
    found = []
    for op in decode:
        more = prompts[op.name]
        if op.kind not in (*STORED, "embedding"):
            found += [op, more._replace(name=f"prompt_{more.name}")]
            continue
        weight_bytes = op.weight_bytes
        if op.kind == "experts" and network.experts:
            touched = experts_touched(network.experts, np.asarray(op.tokens) + more.tokens)
            weight_bytes = weight_bytes * touched / experts_touched(network.experts, op.tokens)
        found.append(
            op._replace(
                tokens=op.tokens + more.tokens,
                macs=op.macs + more.macs,
                weight_bytes=weight_bytes,
                activation_bytes=op.activation_bytes + more.activation_bytes,
                kv_written_bytes=op.kv_written_bytes + more.kv_written_bytes,
            )
        )
    return found


def step_costs(ops: OpTable, work: Work, device: Device, stack: Stack, *, limits: bool = True) -> PhaseCosts:
    """One step of all devices under a serving stack."""
    costs = device_costs(device, executed(stack, ops, work.local_experts), work.devices)
    return phase_costs(
        [serialised(stack, costs)],
        static_power_w=static_power_w(device),
        clocks_power_w=host_of(device).clocks_power_w,
        power_cap_w=host_of(device).power_cap_w,
        devices=work.devices,
        limits=limits,
        overhead_s=overhead_s(work, stack),
        host_s=stack.sequence_time_s * work.batch / work.groups,
    )


def overhead_s(work: Work, stack: Stack) -> Real:
    """What the stack adds to one step on the devices, before the power cap stretches it."""
    return step_overhead_s(
        stack, layers=work.layers, collectives=work.collectives, expert_layers=work.expert_layers
    )


def mean_step(work: Work, plain: PhaseCosts, mixed: PhaseCosts | None) -> PhaseCosts:
    """The mean of steps with and without prompts."""
    if mixed is None:
        return plain
    share = work.mixed_fraction

    def mean(one: Array, other: Array) -> Array:
        found: Array = (1 - share) * one + share * other
        return found

    zero = np.zeros((1, 1))
    return PhaseCosts(
        time_s=mean(plain.time_s, mixed.time_s),
        energy_j={
            name: mean(plain.energy_j.get(name, zero), mixed.energy_j.get(name, zero))
            for name in plain.energy_j | mixed.energy_j
        },
        limit_s={
            name: mean(plain.limit_s.get(name, zero), mixed.limit_s.get(name, zero))
            for name in plain.limit_s | mixed.limit_s
        },
        stretch_ratio=mean(plain.stretch_ratio, mixed.stretch_ratio),
    )


def serving(
    network: Network,
    request: Request,
    device: Device,
    devices: Real | None = None,
    *,
    stack: Stack,
    sharing: Sharing = ALONE,
    prefills_per_output_token: Real | None = None,
    limits: bool = True,
) -> Serving:
    """What a running batch costs on `devices` devices, or on the fewest that hold it.

    Times and energies are those of the residence of one request in a full server, in which
    `request.batch` others run, each with `request.output_len` tokens to give.

    Raises
    ------
    RequestError
        The network does not generate tokens, or the device cannot compute the number types of the request.
    """
    if not isinstance(network, Transformer) or not network.decoder:
        raise RequestError("answers in one pass; expected a network that generates tokens, or --mode step")
    fit = fitting(network, request, device, devices, sharing, stack)
    work = serving_work(
        network,
        request,
        devices=fit.count,
        sharing=sharing,
        prefills_per_output_token=prefills_per_output_token,
        chunk_tokens=stack.chunk_count,
    )
    plain = step_costs(work.plain, work, device, stack, limits=limits)
    mixed = None if work.mixed is None else step_costs(work.mixed, work, device, stack, limits=limits)
    mean = mean_step(work, plain, mixed)
    known = fit.known
    batch = np.atleast_2d(np.asarray(request.batch, dtype=np.float64))
    steps = np.asarray(request.output_len, dtype=np.float64)
    return Serving(
        devices=fit.chosen,
        devices_needed=fit.needed,
        fits=fit.fits,
        prefill=mixed or plain,
        decode=mean,
        ttft_s=mixed.time_s * work.prompt_steps * known if mixed else np.full((1, 1), np.nan),
        tpot_s=mean.time_s * known,
        request_s=mean.time_s * steps * known,
        output_tokens=batch * request.output_len,
        all_tokens=batch * (request.input_len + np.asarray(request.output_len)),
        energy_j={name: value * steps * known for name, value in mean.energy_j.items()},
        limit_s={name: value * steps for name, value in mean.limit_s.items()},
        batch=batch,
        itl_s=median_step_s(work, plain, mixed) * known,
        mixed_fraction=np.atleast_2d(work.mixed_fraction),
    )


def median_step_s(work: Work, plain: PhaseCosts, mixed: PhaseCosts | None) -> Array:
    """The median step: the kind that is in the majority."""
    return plain.time_s if mixed is None else np.where(work.mixed_fraction < 0.5, plain.time_s, mixed.time_s)
