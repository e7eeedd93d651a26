"""Rows of a measurement file as questions to the serving model, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, Real, column, total
from npuwatt.audit.measurements import Measurements, width_of
from npuwatt.device.accelerator import dtype_for
from npuwatt.device.costs import LIMITS, PhaseCosts
from npuwatt.device.evaluate import Device, host_of, rest_power_w
from npuwatt.device.parallel import Sharing
from npuwatt.device.stack import Stack
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record, names_of, replace
from npuwatt.study.inference import devices_needed
from npuwatt.study.scenario import Chosen, load_device, load_network, load_stack
from npuwatt.study.serving import Work, mean_step, median_step_s, serving_work, step_costs
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.ops import NUMBERS, WHOLE, OpTable, Pattern
from npuwatt.workload.ops import Kind as OpKind
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

    @property
    def activations(self) -> Width:
        """Number type of what passes from op to op: that of the weights where arithmetic is as narrow."""
        return self.width if self.width in ("fp8", "int8", "fp32", "fp16") else "bf16"

    @property
    def dtype(self) -> str:
        """Number type of the matrix products."""
        return arithmetic_dtype(self.width, self.activations)


class Runs(Record):
    """Rows of one kind; arrays are (R, 1)."""

    kind: Kind
    places: npt.NDArray[np.int64]  # of the rows in their chunk
    work: Work
    context_tokens: Array
    fits: npt.NDArray[np.bool_]  # whether a row can be predicted


class Chunk(Record):
    """Rows of a file, sorted into kinds, and why others cannot be predicted."""

    rows: Measurements
    runs: tuple[Runs, ...]
    reasons: dict[int, str]  # by place
    notes: tuple[str, ...]


class Names:
    """What the names in a file mean, each looked up once; `devices` are known before any preset is looked for."""

    def __init__(self, folders: Sequence[str] = (), devices: Iterable[Chosen[Device]] = ()) -> None:
        self.folders = tuple(folders)
        self.networks: dict[str, Chosen[Network]] = {}
        self.stacks: dict[str, Chosen[Stack]] = {}
        self.devices: dict[str, Chosen[Device]] = {}
        chosen = list(devices)
        for device in chosen:
            for alias in device.preset.document.tree.get("aliases") or ():
                self.devices[str(alias).lower()] = device
        self.devices |= {device.preset.name.lower(): device for device in chosen}
        self.kinds: dict[tuple[str, str, str, str, bool], Kind | str] = {}

    def kind(
        self, network: str, gpu: str, precision: str, software: str, expert_parallel: bool
    ) -> Kind | str:
        """The presets that a row names, or why there are none."""
        asked = (network, gpu, precision, software, expert_parallel)
        if asked not in self.kinds:
            self.kinds[asked] = self._kind(*asked)
        return self.kinds[asked]

    def _kind(
        self, network: str, gpu: str, precision: str, software: str, expert_parallel: bool
    ) -> Kind | str:
        width = width_of(precision)
        if width is None:
            return f"unknown weight_precision {shown(precision)}"
        try:
            if network not in self.networks:
                self.networks[network] = load_network(network, folders=self.folders)
            if gpu.lower() not in self.devices:
                self.devices[gpu.lower()] = load_device(gpu, folders=self.folders)
            if software not in self.stacks:
                self.stacks[software] = load_stack(software, folders=self.folders)
        except NpuwattError as error:
            return error.faults[0]
        found = self.networks[network]
        if not isinstance(found.record, Transformer) or not found.record.decoder:
            return f"network {shown(network)} does not generate tokens"
        return Kind(
            network=found, device=self.devices[gpu.lower()], stack=self.stacks[software], width=width,
            expert_parallel=expert_parallel,
        )  # fmt: skip


def sorted_into_kinds(
    rows: Measurements,
    *,
    stack: str | None = None,
    input_tokens: float | None = None,
    folders: Sequence[str] = (),
    names: Names | None = None,
) -> Chunk:
    """Find network, device and stack of each row, and what its steps have to do.

    `names` keeps from chunk to chunk what names mean; without it they are looked up in `folders`.
    """
    known = names or Names(folders)
    members: dict[tuple[str, str, str, str, bool], list[int]] = {}
    reasons: dict[int, str] = {}
    texts, numbers = rows.texts, rows.numbers
    software = [stack or STACKS.get(task, STACK) for task in texts["task"]]
    expert_parallel = (np.nan_to_num(numbers["ep"], nan=1.0) > 1).tolist()
    keys = zip(
        texts["model_id"], texts["gpu"], texts["weight_precision"], software, expert_parallel, strict=True
    )
    for place, key in enumerate(keys):
        if key in members:
            members[key].append(place)
        else:
            members[key] = [place]
    runs = []
    for key, listed in members.items():
        kind = known.kind(*key)
        with np.errstate(all="ignore"):  # of absurd numbers, which come out as NaN or infinity
            found = kind if isinstance(kind, str) else _runs(kind, np.array(listed), rows, input_tokens)
        if isinstance(found, str):
            reasons |= dict.fromkeys(listed, found)
            continue
        reasons |= _unfit(found, rows)
        runs.append(found)
    return Chunk(rows=rows, runs=tuple(runs), reasons=reasons, notes=tuple(_notes(rows, input_tokens)))


def _unfit(runs: Runs, rows: Measurements) -> dict[int, str]:
    """Why single rows of a kind cannot be predicted, by place."""
    if runs.fits.all():
        return {}
    found = {}
    for place in runs.places[~runs.fits[:, 0]].tolist():
        devices, dp, pp = (rows.numbers[name][place] for name in ("num_gpus", "dp", "pp"))
        if np.nan_to_num(dp, nan=1.0) * np.nan_to_num(pp, nan=1.0) > devices:
            found[place] = "more groups (dp times pp) than devices"
        elif devices > 1 and host_of(runs.kind.device.record).link is None:
            found[place] = f"{runs.kind.device.preset.name} has no link that joins several devices"
        else:
            found[place] = "its weights do not fit on its devices"
    return found


def _notes(rows: Measurements, input_tokens: float | None) -> Iterator[str]:
    """What was assumed of rows that do not say it."""
    if input_tokens is not None:
        return
    unsaid = np.isnan(rows.numbers["avg_input_len"]).tolist()
    tasks = {task for task, is_unsaid in zip(rows.texts["task"], unsaid, strict=True) if is_unsaid}
    if odd := sorted(tasks - INPUT_TOKENS.keys()):
        named = ", ".join(shown(task) if task else "no task" for task in odd[:5])
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        yield (
            f"{named}{more}: prompts assumed to have {OTHER_INPUT_TOKENS:.0f} tokens; --input-len says otherwise"
        )


def _given(rows: Measurements, name: str, places: npt.NDArray[np.int64], fallback: Array | float) -> Array:
    """A column of some rows, with what stands in where the file does not say."""
    values = column(rows.numbers[name][places])
    return np.where(np.isnan(values), fallback, values)


def _runs(
    kind: Kind, places: npt.NDArray[np.int64], rows: Measurements, input_tokens: float | None
) -> Runs | str:
    """The steps of rows of one kind, or why their device cannot run any."""
    network, device = kind.network.record, kind.device.record
    assert isinstance(network, Transformer)  # Names saw to it
    output_len = column(rows.numbers["avg_output_len"][places])
    if input_tokens is None:
        tasks = (rows.texts["task"][place] for place in places)
        usual = column([INPUT_TOKENS.get(task, OTHER_INPUT_TOKENS) for task in tasks])
        input_len = _given(rows, "avg_input_len", places, usual)
    else:
        input_len = np.full_like(output_len, input_tokens)
    position = np.maximum(_given(rows, "kv_pos_window", places, output_len), 1.0)
    devices = column(rows.numbers["num_gpus"][places])
    data, stages = (_given(rows, name, places, 1.0) for name in ("dp", "pp"))
    dealt = data * stages <= devices
    sharing = Sharing(
        data_parallel_count=np.where(dealt, data, 1.0),
        pipeline_count=np.where(dealt, stages, 1.0),
        expert_parallel=kind.expert_parallel,
    )
    request = Request(
        batch=column(rows.numbers["avg_batch"][places]),
        input_len=input_len,
        output_len=output_len,
        weights=kind.width,
        activations=kind.activations,
    )
    # A run that was measured found room for its cache, whose size is an estimate: only the weights can rule it out.
    needed = devices_needed(network, replace(request, batch=1e-6), device, sharing)
    work = serving_work(
        network,
        request,
        devices=devices,
        sharing=sharing,
        prefills_per_output_token=_given(rows, "prefills_per_output_token", places, 1 / output_len),
        context_tokens=input_len + position,
        chunk_tokens=kind.stack.record.chunk_count,
    )
    for dtype in dict.fromkeys(filter(None, work.plain.dtypes)):
        try:
            dtype_for(host_of(device).peak_macs_per_s, dtype)
        except NpuwattError:
            return f"{kind.device.preset.name} does not compute in {dtype}"
    joined_up = (devices == 1) | (host_of(device).link is not None)
    fits = np.broadcast_to(dealt & joined_up & (needed <= devices), devices.shape)
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
    cap_w = work.devices * host_of(device).power_cap_w
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
    kept = [_keys(ops) for ops in tables]
    places = {key: place for place, key in enumerate(dict.fromkeys(chain.from_iterable(kept)))}
    columns = {name: np.full((sum(points), len(places)), 1.0 if name in WHOLE else 0.0) for name in NUMBERS}
    start = 0
    for ops, keys, count in zip(tables, kept, points, strict=True):
        own = [places[key] for key in keys]
        for name, values in columns.items():
            values[start : start + count, own] = getattr(ops, name)
        start += count
    names, kinds, dtypes, stored, patterns, _ = zip(*places, strict=True)
    return OpTable(names=names, kinds=kinds, dtypes=dtypes, stored=stored, patterns=patterns, **columns)


_Key: TypeAlias = tuple[str, OpKind, str, str, Pattern, int]


def _keys(ops: OpTable) -> list[_Key]:
    """What ops of several tables are told by; of those that share a name, as sums over two groups, each by its turn."""
    found: list[_Key] = []
    for words in zip(ops.names, ops.kinds, ops.dtypes, ops.stored, ops.patterns, strict=True):
        turn = 0
        while (*words, turn) in found:
            turn += 1
        found.append((*words, turn))
    return found


def answered(runs: Runs, rows: Measurements) -> Answers:
    """The model's answers to runs as measured."""
    kind = runs.kind
    return answers(
        runs.work,
        kind.device.record,
        kind.stack.record,
        tokens_per_s=column(rows.numbers["output_tok_s"][runs.places]),
        dtype=kind.dtype,
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
