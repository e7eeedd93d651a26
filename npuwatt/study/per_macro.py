"""The efficiency of a computing part by itself, as papers count it, beside what its whole board reaches on a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npuwatt.arrays import Array, Real
from npuwatt.device.accelerator import dtype_for
from npuwatt.device.evaluate import Device
from npuwatt.record import Record
from npuwatt.study.compare import Answer
from npuwatt.study.inference import phase_ops
from npuwatt.study.phases import PhaseTable
from npuwatt.study.question import Question
from npuwatt.units import OPS_PER_MAC
from npuwatt.workload.request import arithmetic_dtype, width_bytes

if TYPE_CHECKING:
    from npuwatt.device.crossbar import Arrays

USUAL_V = 0.8  # of published chips, for arrays in which nothing is charged by a supply


class ChipsLike(Record):
    """Operations a joule of published chips that are organised as an array is: a second opinion on its parts."""

    ops_per_j: float
    low_ops_per_j: float  # four of five chips lie between these
    high_ops_per_j: float


class PartFigures(Record):
    """Operations of a part by itself, at its peak and without what feeds it; 2 operations to a MAC."""

    name: str
    ops_per_j: float | None  # none where a part takes nothing
    one_bit_ops_per_j: float | None = None  # as one-bit products, which papers on macros print
    ops_per_s_m2: float | None = None
    one_bit_ops_per_s_m2: float | None = None
    chip_area_m2: float | None = None
    chips_like: ChipsLike | None = None


class PerMacro(Record):
    """A part's figures and those of the board on a request."""

    part: PartFigures
    board_ops_per_j: float | None  # none where the request does not fit
    macs_inside_fraction: (
        float | None
    )  # of the request, by the part itself; the host of the board does the rest

    @property
    def gap_ratio(self) -> float | None:
        """How many times more the part alone promises; none where it does less than half of the work."""
        if not self.part.ops_per_j or not self.board_ops_per_j or (self.macs_inside_fraction or 0.0) < 0.5:
            return None
        return self.part.ops_per_j / self.board_ops_per_j


def per_macro(asked: Question, answer: Answer) -> PerMacro:
    """A device's computing part as papers count it, and what its board reaches."""
    result = answer.result
    reached = None
    if bool(result.fits[0, 0]):
        per_token_j = float(result.metrics()["energy_per_output_token_j"][0, 0])
        reached = _macs_per_output_token(asked) * OPS_PER_MAC / per_token_j
    return PerMacro(
        part=_part(asked, answer.device.record),
        board_ops_per_j=reached,
        macs_inside_fraction=None if reached is None else _inside_fraction(asked, answer.phases),
    )


def _inside_fraction(asked: Question, phases: Sequence[PhaseTable]) -> float:
    """Share of a request's MACs that do not run on the host of a board; all of them where there is but one place."""
    inside = every = 0.0
    for phase in phases:
        if phase.steps_fraction is not None:
            times = float(phase.steps_fraction.item())
        else:
            times = float(asked.request.output_len) - 1 if phase.name == "decode" else 1.0
        macs = np.broadcast_to(phase.ops.macs, phase.time_s.shape)[0] * times
        every += float(macs.sum())
        inside += float(macs[[place != "host" for place in phase.where]].sum() if phase.where else macs.sum())
    return inside / every if every else 1.0


def _macs_per_output_token(asked: Question) -> float:
    """MACs of a request, its prompt included if it is read here, for each token it generates."""
    network, request = asked.network.record, asked.request
    phases = {"prefill": 1.0 if asked.prefill else 0.0}
    if network.decoder:
        phases["decode"] = float(request.output_len) - 1
    macs = sum(
        times * float(op.macs) for phase, times in phases.items() for op in phase_ops(network, request, phase)
    )
    return macs / float(request.batch * request.output_len)


def _part(asked: Question, device: Device) -> PartFigures:
    """The part that papers and data sheets give figures of, counted as they do."""
    if device.kind == "crossbar":
        from npuwatt.device.per_macro import chip_area_m2
        from npuwatt.device.per_macro import per_macro as of_arrays

        with np.errstate(all="ignore"):
            figures = {name: _finite(value) for name, value in of_arrays(device.arrays).figures().items()}
        return PartFigures(
            name="one array",
            **figures,
            chip_area_m2=float(np.max(chip_area_m2(device.arrays))),
            chips_like=_chips_like(device.arrays),
        )
    dtype = arithmetic_dtype(asked.request.weights, asked.request.activations)
    if device.kind == "near-bank-pim":
        from npuwatt.device.nearbank import inside_energy_j_per_byte

        read_j = inside_energy_j_per_byte(device) * width_bytes(asked.request.weights)
        mac_j = read_j + device.banks.mac_energy_j_per_mac
        with np.errstate(divide="ignore"):
            return PartFigures(
                name="units and what they read", ops_per_j=_finite(np.divide(OPS_PER_MAC, mac_j))
            )
    peak = device.peak_macs_per_s[dtype_for(device.peak_macs_per_s, dtype)]
    return PartFigures(
        name="peak over power limit", ops_per_j=OPS_PER_MAC * float(np.max(peak / device.power_cap_w))
    )


def _finite(value: Real) -> float | None:
    found = float(np.max(value))
    return found if np.isfinite(found) else None


def _chips_like(arrays: Arrays) -> ChipsLike:
    """What the fit to published chips says of arrays of this organisation."""
    from npuwatt.device.crossbar import active_rows
    from npuwatt.device.macro import MacroConstants, Macros, interval_ratio, mac_energy_j
    from npuwatt.study.scenario import load_constants

    def one(value: Real) -> Array:
        return np.array([float(np.max(value))])

    is_digital, is_resistive = arrays.gates is not None, arrays.cell is not None
    constants = load_constants("cim-chips", MacroConstants).record
    macro = Macros(
        node_m=one(arrays.node_m),
        voltage_v=one(arrays.supply_v or USUAL_V),
        input_bits_count=one(arrays.input_bits),
        weight_bits_count=one(arrays.weight_bits),
        adc_bits_count=one(arrays.adc.bits_count if arrays.adc else 0.0),
        rows_count=one(active_rows(arrays)),
        is_digital=np.array([is_digital]),
        is_current=np.array([is_resistive]),
        is_magnetic=np.array([False]),
    )
    ops_per_j = OPS_PER_MAC / mac_energy_j(macro, constants).item()
    classes = ("SRAM digital",) if is_digital else ("RRAM", "PCM") if is_resistive else ("SRAM analog",)
    ends = [interval_ratio(constants, name) for name in classes]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return ChipsLike(ops_per_j=ops_per_j, low_ops_per_j=ops_per_j / high, high_ops_per_j=ops_per_j / low)
