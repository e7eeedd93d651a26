"""The efficiency that is printed of a part, beside what the whole board reaches on this request."""

from __future__ import annotations

import numpy as np

from npuwatt.device.accelerator import dtype_for
from npuwatt.device.evaluate import Device
from npuwatt.record import Record
from npuwatt.study.compare import Answer
from npuwatt.study.inference import phase_ops
from npuwatt.study.question import Question
from npuwatt.units import OPS_PER_MAC
from npuwatt.workload.request import arithmetic_dtype, width_bytes


class PartFigures(Record):
    """Operations of a part by itself, at its peak and without what feeds it; 2 operations to a MAC."""

    part: str  # which
    ops_per_j: float
    one_bit_ops_per_j: float | None = None  # as one-bit products, which papers on macros print
    ops_per_s_m2: float | None = None
    one_bit_ops_per_s_m2: float | None = None


class PerMacro(Record):
    """A part's figures and those of the board on a request."""

    printed: PartFigures
    board_ops_per_j: float | None  # none where the request does not fit

    @property
    def gap_ratio(self) -> float | None:
        """How many times more the part alone promises."""
        return self.printed.ops_per_j / self.board_ops_per_j if self.board_ops_per_j else None


def per_macro(asked: Question, answer: Answer) -> PerMacro:
    """What is printed of a device's computing part, and what its board reaches."""
    result = answer.result
    reached = None
    if bool(result.fits[0, 0]):
        per_token_j = float(result.metrics()["energy_per_output_token_j"][0, 0])
        reached = _macs_per_output_token(asked) * OPS_PER_MAC / per_token_j
    return PerMacro(printed=_printed(asked, answer.device.record), board_ops_per_j=reached)


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


def _printed(asked: Question, device: Device) -> PartFigures:
    """The part that papers and data sheets print figures of."""
    if device.kind == "crossbar":
        from npuwatt.device.per_macro import per_macro as of_arrays

        return PartFigures(
            part="one array",
            **{name: float(np.max(value)) for name, value in of_arrays(device.arrays).figures().items()},
        )
    dtype = arithmetic_dtype(asked.request.weights, asked.request.activations)
    if device.kind == "near-bank-pim":
        from npuwatt.device.nearbank import inside_energy_j_per_byte

        read_j = inside_energy_j_per_byte(device) * width_bytes(asked.request.weights)
        mac_j = read_j + device.banks.mac_energy_j_per_mac
        return PartFigures(part="units and what they read", ops_per_j=OPS_PER_MAC / float(np.max(mac_j)))
    peak = device.peak_macs_per_s[dtype_for(device.peak_macs_per_s, dtype)]
    return PartFigures(
        part="peak over power limit", ops_per_j=OPS_PER_MAC * float(np.max(peak / device.power_cap_w))
    )
