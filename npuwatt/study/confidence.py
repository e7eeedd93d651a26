"""How far a prediction may be off: what the power meter said where this model had predicted before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array
from npuwatt.device.evaluate import Device
from npuwatt.errors import PresetError, shown
from npuwatt.preset import library
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen, load_constants
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.parameters import parameter_count
from npuwatt.workload.request import Request, width_bytes

if TYPE_CHECKING:
    from npuwatt.device.stack import Stack

CLASSES = ("known, in range", "known, extrapolated", "same family", "never measured")
METRICS = ("tpot_s", "tokens_per_s", "power_w", "energy_per_output_token_j", "energy_given_rate_j")
LEVEL = 0.9  # of measurements that an interval should hold
MARGIN = 2.0  # how far beyond the measured ends of batch, context and size still counts as in range
LONG_CONTEXT_TOKENS = 2500.0  # from where on runs differ: reasoning, whose answers are long
CELLS = (
    "one-short",
    "one-long",
    "several-short",
    "several-long",
    "narrow",
)  # devices, context, 8-bit weights
Ratios = Mapping[str, tuple[float, float]]
"""Metric -> lowest and highest measured over predicted."""


class NeverMeasured(Record):
    """Measured over predicted, least and greatest, on published figures of boards that nothing was fitted on."""

    low_ratio: Mapping[str, float]
    high_ratio: Mapping[str, float]

    kind: ClassVar[Literal["interval"]] = "interval"


class Confidence(Record):
    """The class of a prediction, and the factors of it between which most measurements should lie."""

    name: str
    ratios: dict[str, tuple[float, float]]


class Bounds(Record):
    """Classes and factors of many predictions; arrays are (R,)."""

    classes: npt.NDArray[np.int64]  # places in CLASSES
    low: dict[str, Array]
    high: dict[str, Array]


def confidence(
    device: Chosen[Device],
    network: Chosen[Network],
    request: Request,
    *,
    devices: float,
    stack: Chosen[Stack] | None,
) -> Confidence:
    """The class and interval of one prediction; without a stack, of what a server would show against the
    hardware's limit."""
    context = float(np.max(request.input_len)) + float(np.max(request.output_len)) / 2
    batch = np.array([float(np.max(request.batch))])
    found = bounds(
        device,
        network.record,
        request.weights,
        stack,
        batch=batch,
        devices=np.array([devices]),
        context=np.array([context]),
    )
    return Confidence(
        name=CLASSES[int(found.classes[0])],
        ratios={name: (float(found.low[name][0]), float(found.high[name][0])) for name in METRICS},
    )


def bounds(
    device: Chosen[Device],
    network: Network,
    weights: str,
    stack: Chosen[Stack] | None,
    *,
    batch: Array,
    devices: Array,
    context: Array,
) -> Bounds:
    """Classes and intervals of predictions for one network on one kind of device."""
    rows = batch.shape[0]
    if not network.decoder:  # only servers that generate tokens were measured
        return _everywhere(CLASSES.index("never measured"), _never_measured(), rows)
    if stack is not None and stack.preset.name == "ideal" and not stack.is_changed:
        stack = None
    own = calibrations(device)
    known = own.get(stack.preset.name if stack else "", None) or next(iter(own.values()), None)
    if device.is_changed or (stack is not None and stack.is_changed) or known is None:
        name, ratios = _from_relatives(device, stack)
        return _everywhere(CLASSES.index(name), ratios, rows)
    if stack is None:
        inside = outside = [_pairs(known["hardware"])] * len(CELLS)
    else:
        inside = [_pairs(known["known"][cell]) for cell in CELLS]
        outside = [_pairs(known["extrapolated"])] * len(CELLS)
    within = _within(known, network, weights, batch, devices, context)
    if stack is not None and stack.preset.name not in own:
        within = np.zeros(rows, dtype=bool)  # known silicon under software that it was not measured with
    cell = cells_of(devices, context, np.full(rows, width_bytes(weights) < 2))

    def end(name: str, side: int) -> Array:
        near = np.array([ratios[name][side] for ratios in inside])[cell]
        far = np.array([ratios[name][side] for ratios in outside])[cell]
        wider = np.minimum(near, far) if side == 0 else np.maximum(near, far)
        found: Array = np.where(within, near, wider)
        return found

    return Bounds(
        classes=np.where(within, 0, 1),
        low={name: end(name, 0) for name in METRICS},
        high={name: end(name, 1) for name in METRICS},
    )


def cells_of(devices: Array, context: Array, is_narrow: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The place in CELLS of each prediction: runs alike are off alike."""
    return np.where(is_narrow, CELLS.index("narrow"), 2 * (devices > 1) + (context > LONG_CONTEXT_TOKENS))


def _everywhere(place: int, ratios: Ratios, rows: int) -> Bounds:
    return Bounds(
        classes=np.full(rows, place),
        low={name: np.full(rows, ratios[name][0]) for name in METRICS},
        high={name: np.full(rows, ratios[name][1]) for name in METRICS},
    )


def calibrations(device: Chosen[Device]) -> dict[str, dict[str, Any]]:
    """What a device was calibrated on, by stack: the header that a calibration writes."""
    return entries(device.preset)


def entries(preset: library.Preset) -> dict[str, dict[str, Any]]:
    """The calibration section of a preset, by stack."""
    listed = preset.document.tree.get("calibration", [])
    wanted = {"stack", "known", "extrapolated", "family", "hardware"}
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and wanted <= one.keys() for one in listed
    ):
        raise PresetError(
            f"{preset.document.at('calibration')}: {shown(listed)} given; expected what calibrate writes"
        )
    return {str(one["stack"]): one for one in listed}


def _within(
    known: Mapping[str, Any], network: Network, weights: str, batch: Array, devices: Array, context: Array
) -> npt.NDArray[np.bool_]:
    """Whether predictions lie near enough to measured runs, in all that was varied."""
    parts = parts_of(network)
    fits = weights in known["types"] and set(parts) <= set(known["parts"])
    size = np.array([parameter_count(network)])
    near = np.full(batch.shape, fits)
    for name, values in (("batch", batch), ("context", context), ("parameters", size)):
        low, high = known[name]
        near = near & (values >= low / MARGIN) & (values <= high * MARGIN)
    low, high = known["devices"]
    found: npt.NDArray[np.bool_] = near & (devices >= low) & (devices <= high)
    return found


def parts_of(network: Network) -> list[str]:
    """What kinds of layers a network has besides ordinary ones."""
    if not isinstance(network, Transformer):
        return ["convolutions"]
    named = {
        "experts": network.experts,
        "state space": network.state_space,
        "latent attention": network.latent_attention,
    }
    return [name for name, part in named.items() if part] or ["dense"]


def _from_relatives(device: Chosen[Device], stack: Chosen[Stack] | None) -> tuple[str, Ratios]:
    """A device without runs of its own: as far off as its measured relatives when each was predicted by another,
    or as boards that nobody calibrated."""
    kin = device.preset.header("class")
    relatives: list[dict[str, Any]] = []
    for name, entry in library.index()["devices"].items():
        if kin and entry.get("evidence") == "calibrated" and entry.get("class") == kin:
            relatives += entries(library.find("devices", name)).values()
    if not relatives or device.record.kind != "accelerator":
        return "never measured", _never_measured()
    wanted = ["family"] if stack else ["family", "hardware"]
    each = [{name: _product(known, wanted, name) for name in METRICS} for known in relatives]
    return "same family", {
        name: (min(one[name][0] for one in each), max(one[name][1] for one in each)) for name in METRICS
    }


def _never_measured() -> Ratios:
    never = load_constants("never-measured", NeverMeasured).record
    return {name: (never.low_ratio[name], never.high_ratio[name]) for name in METRICS}


def _product(known: Mapping[str, Any], parts: Sequence[str], name: str) -> tuple[float, float]:
    low, high = 1.0, 1.0
    for part in parts:
        ends = _pairs(known[part])[name]
        low, high = low * ends[0], high * ends[1]
    return low, high


def _pairs(entry: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    return {name: (float(entry[name][0]), float(entry[name][1])) for name in METRICS}
