"""Constants that a fit may move, the rows it sees, and how far the model is off on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, column
from npuwatt.audit.runs import HOST_BOUND_RATIO, Chunk, Runs, answers, joined, measured
from npuwatt.device.evaluate import Device
from npuwatt.device.stack import IDEAL, Stack
from npuwatt.preset.paths import with_values
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen
from npuwatt.study.serving import Work
from npuwatt.workload.network import Network
from npuwatt.workload.parameters import parameter_count

Flags = npt.NDArray[np.bool_]

DEVICE_CONSTANTS = (
    "clocks_power", "levels.dram.utilization", "utilization", "experts_utilization", "cache_energy", "mac_energy.bf16",
    "mac_energy.fp8",
)  # fmt: skip
MOVEMENT = ("levels.path.read_energy", "levels.dram.read_energy")  # the first that a device has
STACK_CONSTANTS = (
    "step_time", "layer_time", "collective_time", "expert_layer_time", "sequence_time", "unoverlapped",
)  # fmt: skip
TARGETS = ("step_s", "output_tokens_per_s", "avg_power_w", "j_per_output_token_given_tok_s")
METRICS = (*TARGETS, "j_per_output_token")
PULL = 0.05  # of a constant towards the middle of its range, in residuals across the range


class Constant(Record):
    """One number to fit, in SI."""

    owner: str  # a preset's name
    path: tuple[str, ...]
    low: float
    high: float
    suffix: str

    @property
    def address(self) -> str:
        """Owner and path, as reports name it."""
        return f"{self.owner}.{'.'.join(self.path)}"


class Part(Record):
    """All rows of one device as one work; arrays are (R, 1)."""

    device: Chosen[Device]
    work: Work
    dtype: str
    measured: Mapping[str, Array]
    shapes: tuple[str, ...]
    lines: tuple[int, ...]
    context_tokens: Array
    parameters: Array
    types: tuple[str, ...]  # of the weights, by kind of run
    networks: tuple[Network, ...]  # by kind of run
    is_mixture: Flags
    is_hybrid: Flags
    is_fp8: Flags
    overhead_bound: Flags


def parts_of(chunk: Chunk, devices: Mapping[str, Chosen[Device]]) -> list[Part]:
    """The rows of each device, joined."""
    found = []
    truth = measured(chunk.rows)
    for name, device in devices.items():
        own = [runs for runs in chunk.runs if runs.kind.device.preset.name == name and runs.fits.all()]
        if not own:
            continue
        places = np.concatenate([runs.places for runs in own])
        work = joined([runs.work for runs in own])
        values = {metric: column(values[places]) for metric, values in truth.items()}
        values["step_s"] = np.where(
            np.isnan(values["median_itl_s"]), values["avg_tpot_s"], values["median_itl_s"]
        )
        roofline = np.concatenate(
            [
                answers(runs.work, device.record, IDEAL, tokens_per_s=np.ones((len(runs.places), 1)),
                        dtype=runs.kind.width, details=False).roofline_s
                for runs in own
            ]
        )  # fmt: skip
        found.append(
            Part(
                device=device,
                work=work,
                dtype="bf16",
                measured=values,
                shapes=tuple(runs.kind.network.preset.name for runs in own for _ in runs.places),
                lines=tuple(int(line) for line in chunk.rows.lines[places]),
                parameters=column(
                    [parameter_count(runs.kind.network.record) for runs in own for _ in runs.places]
                ),
                types=tuple(runs.kind.width for runs in own),
                networks=tuple(runs.kind.network.record for runs in own),
                context_tokens=np.concatenate([runs.context_tokens for runs in own]),
                is_mixture=_flag(own, lambda runs: bool(runs.kind.network.record.experts)),
                is_hybrid=_flag(own, lambda runs: bool(runs.kind.network.record.state_space)),
                is_fp8=_flag(own, lambda runs: runs.kind.width == "fp8"),
                overhead_bound=values["step_s"] > HOST_BOUND_RATIO * roofline,
            )
        )
    return found


def _flag(own: Sequence[Runs], claim: Callable[[Any], bool]) -> Flags:
    return np.array([[claim(runs)] for runs in own for _ in runs.places], dtype=bool)


def predicted(part: Part, device: Device, stack: Stack) -> dict[str, Array]:
    """What the model says of the rows of a device, by target."""
    found = answers(
        part.work,
        device,
        stack,
        tokens_per_s=part.measured["output_tokens_per_s"],
        dtype=part.dtype,
        details=False,
    ).metrics
    is_median = ~np.isnan(part.measured["median_itl_s"])
    return found | {"step_s": np.where(is_median, found["median_itl_s"], found["avg_tpot_s"])}


def residuals(
    values: Array,
    constants: Sequence[Constant],
    parts: Sequence[Part],
    masks: Sequence[Flags],
    stack: Chosen[Stack],
) -> Array:
    """Log ratios of predicted to measured, and the pull of each constant towards the middle of its range."""
    found = [PULL * (values - 0.5)]
    devices, software = with_constants(values, constants, parts, stack)
    for part, device, mask in zip(parts, devices, masks, strict=True):
        ours = predicted(part, device, software)
        for target in TARGETS:
            ratio = np.log(ours[target] / part.measured[target])
            found.append(ratio[mask & np.isfinite(ratio)])
    return np.concatenate(found)


def with_constants(
    values: Array, constants: Sequence[Constant], parts: Sequence[Part], stack: Chosen[Stack]
) -> tuple[list[Device], Stack]:
    """Devices and stack with constants at places 0 .. 1 of their ranges."""
    changes: dict[str, dict[tuple[str, ...], float]] = {}
    for constant, place in zip(constants, values, strict=True):
        changes.setdefault(constant.owner, {})[constant.path] = constant.low + float(place) * (
            constant.high - constant.low
        )
    devices = [
        with_values(part.device.record, changes[name])
        if (name := part.device.preset.name) in changes
        else part.device.record
        for part in parts
    ]
    own = changes.get(stack.preset.name)
    return devices, with_values(stack.record, own) if own else stack.record


def constants_of(owner: Chosen[Any], paths: Sequence[str]) -> list[Constant]:
    """Named numbers of a preset that have a range to fit them in."""
    return [
        Constant(
            owner=owner.preset.name,
            path=tuple(path.split(".")),
            low=evidence.low,
            high=evidence.high,
            suffix=evidence.suffix,
        )
        for path in paths
        if (evidence := owner.evidence.get(path)) is not None and evidence.high > evidence.low
    ]
