"""Rows of a measurement file as questions to the serving model, and its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, Real, column, total
from npuwatt.audit.measurements import Measurements, width_of
from npuwatt.device.accelerator import dtype_for
from npuwatt.device.costs import LIMITS, PhaseCosts
from npuwatt.device.evaluate import Device, host_of, rest_power_w
from npuwatt.device.parallel import Sharing
from npuwatt.device.stack import Stack
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, names_of, replace
from npuwatt.study.inference import devices_needed
from npuwatt.study.scenario import Chosen, load_device, load_network, load_stack
from npuwatt.study.serving import Work, mean_step, median_step_s, serving_work, step_costs
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.ops import OpTable
from npuwatt.workload.request import Request, Width, arithmetic_dtype

INPUT_TOKENS = {"lm-arena-chat": 400.0, "chat": 400.0, "gpqa": 220.0, "v2-chat": 90.0, "v2-code": 160.0}
"""Prompt tokens to assume for a task. The first three are estimates for the data set's prompts; ShareGPT prompts of
ML.ENERGY v2 have 350 characters on average, about 90 tokens; HumanEval+ ones are assumed at 160."""
OTHER_INPUT_TOKENS = 400.0
STACKS = {"v2-chat": "vllm-0.5", "v2-code": "vllm-0.5"}
STACK = "vllm-0.11"
HOST_BOUND_RATIO = 5.0
"""A run is overhead-bound where its measured time per token is more than this many times the datasheet roofline."""


class Kind(Record):
    """What rows must share to be answered together."""

    network: Chosen[Network]
    device: Chosen[Device]
    stack: Chosen[Stack]
    width: Width
    expert_parallel: bool


class Runs(Record):
    """Rows of one kind; arrays are (R, 1)."""

    kind: Kind
    places: npt.NDArray[np.int64]  # of the rows in their chunk
    work: Work
    context_tokens: Array
    fits: npt.NDArray[np.bool_]


class Chunk(Record):
    """Rows of a file, sorted into kinds, and why others cannot be predicted."""

    rows: Measurements
    runs: tuple[Runs, ...]
    reasons: dict[int, str]  # by place
    notes: tuple[str, ...]


def sorted_into_kinds(
    rows: Measurements,
    *,
    stack: str | None = None,
    input_tokens: float | None = None,
    folders: Sequence[str] = (),
) -> Chunk:
    """Find network, device and stack of each row, and what its steps have to do."""
    members: dict[tuple[str, str, str, str, bool], list[int]] = {}
    reasons: dict[int, str] = {}
    texts, numbers = rows.texts, rows.numbers
    expert_parallel = np.nan_to_num(numbers["ep"], nan=1.0) > 1
    for place, (network, gpu, precision, task) in enumerate(
        zip(texts["model_id"], texts["gpu"], texts["weight_precision"], texts["task"], strict=True)
    ):
        software = stack or STACKS.get(task, STACK)
        members.setdefault((network, gpu, precision, software, bool(expert_parallel[place])), []).append(
            place
        )
    runs, notes = [], []
    for (network, gpu, precision, software, parallel), listed in members.items():
        kind = _kind(network, gpu, precision, software, parallel, tuple(folders))
        if isinstance(kind, str):
            reasons |= dict.fromkeys(listed, kind)
            continue
        places = np.array(listed, dtype=np.int64)
        found = _runs(kind, places, rows, input_tokens)
        if isinstance(found, str):
            reasons |= dict.fromkeys(listed, found)
            continue
        for place, fits in zip(listed, found.fits[:, 0], strict=True):
            if not fits:
                reasons[place] = "its weights do not fit on its devices"
        runs.append(found)
    if input_tokens is None and (odd := sorted({task for task in texts["task"] if task not in INPUT_TOKENS})):
        named = ", ".join(repr(task) for task in odd[:5] if task) or "no task"
        notes.append(
            f"{named}: prompts assumed to have {OTHER_INPUT_TOKENS:.0f} tokens; --input-len says otherwise"
        )
    return Chunk(rows=rows, runs=tuple(runs), reasons=reasons, notes=tuple(notes))


@cache
def _kind(
    network: str, gpu: str, precision: str, software: str, expert_parallel: bool, folders: tuple[str, ...]
) -> Kind | str:
    """The presets that a row names, or why there are none."""
    width = width_of(precision)
    if width is None:
        return f"unknown weight_precision '{precision}'"
    try:
        found = Kind(
            network=_network(network, folders),
            device=_device(gpu, folders),
            stack=load_stack(software, folders=folders),
            width=width,
            expert_parallel=expert_parallel,
        )
    except NpuwattError as error:
        return error.faults[0]
    if not isinstance(found.network.record, Transformer) or not found.network.record.decoder:
        return f"network '{network}' does not generate tokens"
    return found


@cache
def _network(name: str, folders: tuple[str, ...]) -> Chosen[Network]:
    return load_network(name, folders=folders)


@cache
def _device(name: str, folders: tuple[str, ...]) -> Chosen[Device]:
    return load_device(name, folders=folders)


def _given(rows: Measurements, name: str, places: npt.NDArray[np.int64], fallback: Array | float) -> Array:
    """A column of some rows, with what stands in where the file does not say."""
    values = rows.numbers[name][places].reshape(-1, 1)
    return np.where(np.isnan(values), fallback, values)


def _runs(
    kind: Kind, places: npt.NDArray[np.int64], rows: Measurements, input_tokens: float | None
) -> Runs | str:
    network = kind.network.record
    assert isinstance(network, Transformer)  # _kind saw to it
    output_len = column(rows.numbers["avg_output_len"][places])
    tasks = (rows.texts["task"][place] for place in places)
    usual = column([INPUT_TOKENS.get(task, OTHER_INPUT_TOKENS) for task in tasks])
    input_len = _given(rows, "avg_input_len", places, usual if input_tokens is None else input_tokens)
    position = np.maximum(_given(rows, "kv_pos_window", places, output_len), 1.0)
    devices = column(rows.numbers["num_gpus"][places])
    sharing = Sharing(
        data_parallel_count=np.minimum(_given(rows, "dp", places, 1.0), devices),
        pipeline_count=np.minimum(_given(rows, "pp", places, 1.0), devices),
        expert_parallel=kind.expert_parallel,
    )
    activations: Width = kind.width if kind.width in ("fp8", "int8", "fp32", "fp16") else "bf16"
    request = Request(
        batch=column(rows.numbers["avg_batch"][places]),
        input_len=input_len,
        output_len=output_len,
        weights=kind.width,
        activations=activations,
    )
    host = host_of(kind.device.record)
    try:
        dtype_for(host.peak_macs_per_s, arithmetic_dtype(request.weights, request.activations))
    except NpuwattError as error:
        return error.faults[0]
    # A run that was measured found room for its cache, whose size is an estimate: only the weights can rule it out.
    needed = devices_needed(network, replace(request, batch=1e-6), kind.device.record, sharing)
    work = serving_work(
        network,
        request,
        devices=devices,
        sharing=sharing,
        prefills_per_output_token=_given(rows, "prefills_per_output_token", places, 1 / output_len),
        context_tokens=input_len + position,
        chunk_tokens=kind.stack.record.chunk_count,
    )
    fits = np.broadcast_to(needed <= devices, devices.shape)
    return Runs(kind=kind, places=places, work=work, context_tokens=input_len + position, fits=fits)


class Answers(Record):
    """What the model says of runs; arrays are (R, 1), by metric of the file, in SI."""

    metrics: dict[str, Array]
    given_w: Array  # power of all devices, had the step taken the measured time
    roofline_s: Array  # of a step, from datasheet rates alone
    roofline_w: Real
    bound_by: list[str]
    software_fraction: Array  # of the mean step's time


def answers(
    work: Work, device: Device, stack: Stack, *, tokens_per_s: Array, dtype: str, details: bool = True
) -> Answers:
    """Predict runs, and their power at the measured rate of tokens."""
    plain = step_costs(work.plain, work, device, stack, limits=details)
    mixed = None if work.mixed is None else step_costs(work.mixed, work, device, stack, limits=details)
    mean = mean_step(work, plain, mixed)
    batch = np.asarray(work.batch)
    spent_j = sum(mean.energy_j.values(), start=np.zeros((1, 1)))
    power_w = spent_j / mean.time_s
    rest_w = work.devices * rest_power_w(device)
    measured_s = batch / tokens_per_s
    cap_w = work.devices * host_of(device).sustained_power_w
    given_w = np.minimum(rest_w + (spent_j - rest_w * mean.time_s) / measured_s, cap_w)
    rate = batch / mean.time_s
    return Answers(
        metrics={
            "median_itl_s": median_step_s(work, plain, mixed),
            "avg_tpot_s": mean.time_s,
            "output_tokens_per_s": rate,
            "avg_power_w": power_w,
            "j_per_output_token": power_w / rate,
            "j_per_output_token_given_tok_s": given_w / tokens_per_s,
        },
        given_w=given_w,
        roofline_s=datasheet_roofline_s(work, device, dtype),
        roofline_w=work.devices * host_of(device).power_cap_w,
        bound_by=_bounds(mean) if details else [],
        software_fraction=mean.limit_s.get("software", np.zeros((1, 1))) / mean.time_s,
    )


def datasheet_roofline_s(work: Work, device: Device, dtype: str) -> Array:
    """A step without a prompt at the full datasheet rates: weights and cache over the bandwidth, or MACs over the peak."""
    host, ops = host_of(device), work.plain
    moved = total(ops.weight_bytes + ops.kv_bytes)
    peak = host.peak_macs_per_s[dtype_for(host.peak_macs_per_s, dtype)]
    found: Array = (
        np.maximum(moved / host.memory.bandwidth_bytes_per_s, total(ops.macs) / peak) / work.devices
    )
    return found


def _bounds(mean: PhaseCosts) -> list[str]:
    times = np.concatenate(
        [np.broadcast_to(mean.limit_s.get(name, np.zeros((1, 1))), mean.time_s.shape) for name in LIMITS],
        axis=-1,
    )
    return [LIMITS[place] for place in np.argmax(times, axis=-1)]


def joined(parts: Sequence[Work]) -> Work:
    """Works side by side as one, so that one call answers all: an op that a row does not have is zero there.

    Only for devices that treat each op by its own numbers, as accelerators do.
    """

    def together(name: str) -> Any:
        return np.concatenate(
            [np.broadcast_to(np.asarray(getattr(part, name), float), (_points(part), 1)) for part in parts]
        )

    points = [_points(part) for part in parts]
    return Work(
        plain=_joined_ops([part.plain for part in parts], points),
        mixed=_joined_ops([part.mixed or part.plain for part in parts], points),
        **{name: together(name) for name in names_of(Work) if name not in ("plain", "mixed")},
    )


def _points(work: Work) -> int:
    return int(np.shape(work.batch)[0])


def _joined_ops(tables: Sequence[OpTable], points: Sequence[int]) -> OpTable:
    keys = list(
        dict.fromkeys(key for ops in tables for key in zip(ops.names, ops.kinds, ops.dtypes, strict=True))
    )
    places = {key: place for place, key in enumerate(keys)}
    columns = {
        name: np.full((sum(points), len(keys)), 1.0 if name == "uneven" else 0.0)
        for name in names_of(OpTable)
        if name not in ("names", "kinds", "dtypes")
    }
    start = 0
    for ops, count in zip(tables, points, strict=True):
        own = [places[key] for key in zip(ops.names, ops.kinds, ops.dtypes, strict=True)]
        for name, values in columns.items():
            values[start : start + count, own] = getattr(ops, name)
        start += count
    names, kinds, dtypes = zip(*keys, strict=True)
    return OpTable(names=names, kinds=kinds, dtypes=dtypes, **columns)


def answered(runs: Runs, rows: Measurements) -> Answers:
    """The model's answers to runs as measured."""
    kind = runs.kind
    return answers(
        runs.work,
        kind.device.record,
        kind.stack.record,
        tokens_per_s=column(rows.numbers["output_tok_s"][runs.places]),
        dtype=arithmetic_dtype(kind.width, "fp8" if kind.width == "fp8" else "bf16"),
    )


def measured(rows: Measurements) -> Mapping[str, Array]:
    """Measured values of rows by metric, in SI; NaN where the file does not say."""
    numbers = rows.numbers
    return {
        "median_itl_s": numbers["median_itl_ms"] / 1e3,
        "avg_tpot_s": numbers["avg_tpot_ms"] / 1e3,
        "output_tokens_per_s": numbers["output_tok_s"],
        "avg_power_w": numbers["avg_power_w"],
        "j_per_output_token": numbers["j_per_output_token"],
        "j_per_output_token_given_tok_s": np.where(
            np.isnan(numbers["output_tok_s"]), np.nan, numbers["j_per_output_token"]
        ),
    }


def chunks(
    parts: Iterator[Measurements], *, stack: str | None = None, input_tokens: float | None = None,
    folders: Sequence[str] = (),
) -> Iterator[Chunk]:  # fmt: skip
    """Chunks of a file, each sorted into kinds."""
    for rows in parts:
        yield sorted_into_kinds(rows, stack=stack, input_tokens=input_tokens, folders=folders)
