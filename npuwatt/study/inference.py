"""One request on one device: time to first token, time per token, energy per token, by op and by component."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from npuwatt.arrays import Array, Real, total
from npuwatt.device.costs import LIMITS, OpCosts, PhaseCosts, phase_costs
from npuwatt.device.evaluate import (
    Device,
    device_costs,
    host_of,
    kept_weights_ratio,
    static_power_w,
    weights_in_cells_count,
)
from npuwatt.device.parallel import (
    ALONE,
    Sharing,
    all_reduce,
    cache_copies,
    most_loaded_ratio,
    smallest_count,
)
from npuwatt.record import Record, replace
from npuwatt.workload.network import Experts, Network, Transformer
from npuwatt.workload.ops import STORED, Op, table
from npuwatt.workload.parameters import expert_parameter_count, stored_weights
from npuwatt.workload.request import Request, width_bytes
from npuwatt.workload.transformer import cache_bytes, decode_ops, experts_touched, prefill_ops

if TYPE_CHECKING:
    from npuwatt.device.stack import Stack


class Inference(Record):
    """What a request costs; every array is (P, 1). Points that do not fit hold NaN."""

    devices: Array
    devices_needed: Array  # infinity where no number of devices is enough
    fits: Array  # bool
    prefill: PhaseCosts
    decode: PhaseCosts | None  # None: the network answers in one pass
    ttft_s: Array
    tpot_s: Array
    request_s: Array
    output_tokens: Array  # of all sequences
    all_tokens: Array
    energy_j: dict[str, Array]  # of the whole batch, by component
    limit_s: dict[str, Array]  # time of the request by what sets it
    batch: Array

    @property
    def total_j(self) -> Array:
        """Energy of the whole batch."""
        return sum(self.energy_j.values(), start=np.zeros((1, 1)))

    def metrics(self) -> dict[str, Array]:
        """The named results, each (P, 1)."""
        total_j = self.total_j
        with np.errstate(all="ignore"):  # a device that spends nothing has no tokens per joule
            return self._metrics(total_j)

    def _metrics(self, total_j: Array) -> dict[str, Array]:
        per_output_token_j = total_j / self.output_tokens
        return {
            "ttft_s": self.ttft_s,
            "tpot_s": self.tpot_s,
            "tokens_per_s": self.output_tokens / self.request_s,
            "power_w": total_j / self.request_s,
            "energy_per_output_token_j": per_output_token_j,
            "energy_per_total_token_j": total_j / self.all_tokens,
            "energy_per_request_j": total_j / self.batch,
            "tokens_per_j": 1 / per_output_token_j,
        }

    def bound_by(self) -> Array:
        """Place in LIMITS of what sets most of the request's time: (P, 1)."""
        times = [
            np.broadcast_to(self.limit_s.get(name, np.zeros((1, 1))), self.request_s.shape) for name in LIMITS
        ]
        place: Array = np.argmax(np.concatenate(times, axis=-1), axis=-1, keepdims=True)
        return place


METRICS = (
    "ttft_s", "tpot_s", "tokens_per_s", "power_w", "energy_per_output_token_j", "energy_per_total_token_j",
    "energy_per_request_j", "tokens_per_j",
)  # fmt: skip


def fitted(network: Network, request: Request) -> Request:
    """The request as the network can take it: a network that answers in one pass gives one output."""
    if network.decoder:
        return request
    given = (network.tokens or request.input_len) if isinstance(network, Transformer) else 1.0
    return replace(request, input_len=given, output_len=1.0)


def phase_ops(network: Network, request: Request, phase: str) -> list[Op]:
    """Ops of one phase over the whole network and all sequences, on one device, with the zeros of the request.

    `phase` is prefill, decode (the mean step of the whole answer) or middle (one step at its middle).
    """
    ops = _dense_ops(network, request, phase)
    if request.zeros is None:
        return ops
    from npuwatt.workload.density import with_zeros

    return with_zeros(ops, request.zeros)


def _dense_ops(network: Network, request: Request, phase: str) -> list[Op]:
    if not isinstance(network, Transformer):
        from npuwatt.workload.convnet import convnet_ops

        return convnet_ops(network, request)
    if phase == "prefill":
        return prefill_ops(network, request)
    if phase == "decode":
        steps = np.asarray(request.output_len) - 1
        first = np.where(steps > 0, request.input_len, np.asarray(request.input_len) - 1)
        return decode_ops(network, request, first=first, last=np.where(steps > 0, first + steps, first + 1))
    context = request.input_len + np.floor_divide(request.output_len, 2)
    return decode_ops(network, request, first=context - 1, last=context)


def shared_ops(
    ops: list[Op], network: Network, request: Request, devices: Real, sharing: Sharing = ALONE
) -> list[Op]:
    """Ops of one phase on `devices` devices together.

    Each group of devices reads the weights for itself, the cache is copied where it cannot be split, and
    partial results are summed in between. Experts that lie whole on devices wait for the most loaded one.
    """
    if np.all(np.equal(devices, 1)):
        return ops
    groups = sharing.groups
    members = devices / groups
    copies = cache_copies(members, cache_shards(network))
    ops = [
        op._replace(
            weight_bytes=op.weight_bytes * (groups if op.kind != "embedding" else 1.0),
            kv_read_bytes=op.kv_read_bytes * copies,
            kv_written_bytes=op.kv_written_bytes * copies,
        )
        for op in ops
    ]
    wide = members
    if isinstance(network, Transformer) and network.experts:
        if sharing.expert_parallel and np.any(np.greater(sharing.data_parallel_count, 1)):
            wide = members * sharing.data_parallel_count
        ops = [_shared_experts(op, network.experts, wide, sharing) for op in ops]
    return [*ops, *_sums(ops, request, members, wide)]


def _shared_experts(op: Op, part: Experts, wide: Real, sharing: Sharing) -> Op:
    """An op of experts when each group, or under expert parallelism each pipeline stage, meets its own tokens."""
    if op.kind != "experts":
        return op
    holders = sharing.pipeline_count if sharing.expert_parallel else sharing.groups
    alone = experts_touched(part, op.tokens)
    touched = experts_touched(part, op.tokens / holders)
    op = op._replace(weight_bytes=op.weight_bytes / sharing.groups * holders * touched / alone)
    if not sharing.expert_parallel:
        return op
    return op._replace(uneven=most_loaded_ratio(touched / part.experts, part.experts, wide))


def _sums(ops: list[Op], request: Request, members: Real, wide: Real) -> Iterator[Op]:
    """Sums of partial results, over a group of devices, or over all that hold experts."""
    halves = [op for op in ops if op.name in SUMMED or op.kind == "convolution"]
    width = width_bytes(request.activations)
    for name, over, part in (
        ("all_reduce", members, [op for op in halves if op.kind != "experts" or wide is members]),
        ("experts_all_reduce", wide, [op for op in halves if op.kind == "experts" and wide is not members]),
    ):
        if part:
            layers = sum(float(np.max(op.layers)) for op in part)
            sums_bytes = sum((op.layers * op.tokens * op.n * width for op in part), start=np.zeros((1, 1)))
            yield all_reduce(layers=layers, sums_bytes=sums_bytes, devices=over)._replace(name=name)


SUMMED = ("attention_out", "ssm_out", "ffn_down", "experts_down")


def cache_shards(network: Network) -> float:
    """Over how many devices the cache can be split: its key-value heads; one latent vector cannot be."""
    if not isinstance(network, Transformer) or network.latent_attention:
        return 1.0
    if network.attention:
        return float(network.attention.kv_heads)
    return float(network.state_space.heads) if network.state_space else 1.0


def devices_needed(
    network: Network, request: Request, device: Device, sharing: Sharing = ALONE, stack: Stack | None = None
) -> Array:
    """Fewest devices that hold the weights and the cache of the request: (P, 1), infinity if none do.

    Each data-parallel group holds weights of its own and the cache of its own sequences, but experts
    that lie whole on devices are there once. Weights lie there as the stack stores them, without the zeros that
    the device's format leaves out.
    """
    copies = sharing.data_parallel_count
    held = cache_bytes(network, request) / copies if isinstance(network, Transformer) else 0.0
    in_cells = weights_in_cells_count(device)
    boards = np.ones((1, 1))
    if in_cells is not None:
        in_matrices = stored_weights(network).matrix - _spared(network, sharing)
        boards = np.maximum(boards, np.ceil(in_matrices / in_cells))
    memory_count = smallest_count(
        weights_in_memory_bytes(network, request, device, sharing, stack),
        held,
        capacity_bytes=host_of(device).memory.capacity_bytes,
        cache_shards=cache_shards(network),
    )
    return np.atleast_2d(np.maximum(boards, memory_count) * copies)


def weights_in_memory_bytes(
    network: Network, request: Request, device: Device, sharing: Sharing = ALONE, stack: Stack | None = None
) -> Real:
    """Weights of one data-parallel group that lie in main memory, as they are stored there; not those in cells that
    compute."""
    stored = stored_weights(network)
    if weights_in_cells_count(device) is not None:
        return (stored.embedding + stored.vector) * width_bytes(request.weights)
    spared = _spared(network, sharing)
    left: Real = stored_ratio(network, request, device, stack)
    return (sum(stored) - spared + (stored.matrix - spared) * (left - 1)) * width_bytes(request.weights)


def _spared(network: Network, sharing: Sharing) -> Real:
    """Weights of experts that other data-parallel groups hold."""
    if not sharing.expert_parallel:
        return 0.0
    return expert_parameter_count(network) * (1 - 1 / sharing.data_parallel_count)


def stored_ratio(network: Network, request: Request, device: Device, stack: Stack | None = None) -> Array:
    """Bytes of all weights in matrices as they lie in a device's memory, over those of the usual formats: (P, 1)."""
    if request.zeros is None and (stack is None or not stack.stored_bytes):
        return np.ones((1, 1))
    ops = table(
        [_one_token(op, network) for op in phase_ops(network, request, "prefill") if op.kind in STORED]
    )
    usual_bytes = total(ops.weight_bytes)
    if stack is not None:
        from npuwatt.device.stack import as_stored

        ops = as_stored(stack, ops)
    found: Array = total(ops.weight_bytes * kept_weights_ratio(device, ops)) / usual_bytes
    return found


def _one_token(op: Op, network: Network) -> Op:
    """An op with all of its weights, and as many MACs as one token has."""
    held = op.layers * op.k * op.n
    if op.kind == "experts" and isinstance(network, Transformer) and network.experts:
        held = held * network.experts.experts
    return op._replace(macs=held, weight_bytes=held * op.operand_bytes)


class Fit(Record):
    """How many devices a request gets, and whether they hold it; arrays are (P, 1)."""

    needed: Array  # infinity where no number of devices is enough
    chosen: Array
    fits: Array  # bool
    count: Real  # that compute: 1 where it does not fit

    @property
    def known(self) -> Array:
        """1 where the request fits, NaN where it does not and has no cost."""
        return np.where(self.fits, 1.0, np.nan)


def fitting(
    network: Network,
    request: Request,
    device: Device,
    devices: Real | None,
    sharing: Sharing,
    stack: Stack | None = None,
) -> Fit:
    """The devices asked for, or the fewest that hold weights and cache."""
    needed = devices_needed(network, request, device, sharing, stack)
    joined = host_of(device).link is not None
    chosen = np.atleast_2d(np.asarray(needed if devices is None else devices, dtype=np.float64))
    fits = np.isfinite(needed) & (needed <= chosen) & (joined | (chosen == 1))
    count: Real = np.where(fits, chosen, 1.0)
    if np.all(np.equal(count, 1)):
        count = 1.0
    return Fit(needed=needed, chosen=chosen, fits=fits, count=count)


def inference(
    network: Network,
    request: Request,
    device: Device,
    devices: Real | None = None,
    *,
    sharing: Sharing = ALONE,
    limits: bool = True,
) -> Inference:
    """What a request costs on `devices` devices, or on the fewest that hold it.

    Parameters
    ----------
    network, request, device
        Records whose numbers may be (P, 1) columns.
    devices : scalar, (P, 1) or None
        How many devices share the work; None for the fewest that hold weights and cache.
    sharing
        How they split it.
    limits
        Whether to note what sets the time, which costs as much as the time itself.

    Raises
    ------
    RequestError
        The device cannot compute the number types of the request.
    """
    request = fitted(network, request)
    fit = fitting(network, request, device, devices, sharing)
    prefill = _phase(network, request, device, fit.count, sharing, "prefill", limits)
    decode = (
        _phase(network, request, device, fit.count, sharing, "decode", limits) if network.decoder else None
    )
    steps = np.asarray(request.output_len, dtype=np.float64) - 1
    known = fit.known
    ttft_s = prefill.time_s * known
    tpot_s = decode.time_s * known if decode else np.full((1, 1), np.nan)
    request_s = ttft_s + tpot_s * steps if decode else ttft_s
    energy_j, limit_s = dict(prefill.energy_j), dict(prefill.limit_s)
    if decode:
        for sums, more in ((energy_j, decode.energy_j), (limit_s, decode.limit_s)):
            for name, value in more.items():
                sums[name] = sums.get(name, np.zeros((1, 1))) + value * steps
    batch = np.atleast_2d(np.asarray(request.batch, dtype=np.float64))
    return Inference(
        devices=fit.chosen,
        devices_needed=fit.needed,
        fits=fit.fits,
        prefill=prefill,
        decode=decode,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        request_s=request_s,
        output_tokens=batch * request.output_len,
        all_tokens=batch * (request.input_len + np.asarray(request.output_len)),
        energy_j={name: value * known for name, value in energy_j.items()},
        limit_s=limit_s,
        batch=batch,
    )


def _phase(
    network: Network,
    request: Request,
    device: Device,
    devices: Real,
    sharing: Sharing,
    phase: str,
    limits: bool,
) -> PhaseCosts:
    ops = shared_ops(phase_ops(network, request, phase), network, request, devices, sharing)
    return phase_costs(
        _costs_in_turn(device, ops, devices),
        static_power_w=static_power_w(device),
        clocks_power_w=host_of(device).clocks_power_w,
        power_cap_w=host_of(device).power_cap_w,
        devices=devices,
        limits=limits,
    )


def _costs_in_turn(device: Device, ops: list[Op], devices: Real) -> Iterator[OpCosts]:
    """Costs of all ops at once where there is one point, and op by op where there are many.

    Many points times all ops would leave the processor's cache; one op's column stays in it.
    """
    many = max(np.size(devices), *(getattr(value, "size", 1) for op in ops for value in op.numbers)) > 1
    many = many or np.size(device_costs(device, table(ops[:1]), devices).time_s) > 1
    for group in [[op] for op in ops] if many else [ops]:
        yield device_costs(device, table(group), devices)
