"""What a handset is made of: nodes that store heat, links between them, a surface in air, a battery, limits and governors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from npuwatt import require
from npuwatt.arrays import Real
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record

MOST_NODES = 6
CASE = "case"  # the node that a case adds
_COLDEST_K, _HOTTEST_K = 200.0, 500.0


class Node(Record):
    """A part of one temperature."""

    capacity_j_per_k: Real

    def __post_init__(self) -> None:
        require.positive(capacity=self.capacity_j_per_k)


class Link(Record):
    """A way for heat between two nodes."""

    first: str
    second: str
    resistance_k_per_w: Real

    def __post_init__(self) -> None:
        require.positive(resistance=self.resistance_k_per_w)


class Surface(Record):
    """How the skin gives heat to the room: by natural convection and by radiation.

    Convection is h (rise / reference rise)^exponent; an exponent of 0 and an emissivity of 0 leave a
    constant coefficient. The limit holds at the hottest spot: only the share `spreading` of the surface,
    and of the skin behind it, is as warm as that spot (coefficient of thermal spreading).
    """

    area_m2: Real
    spreading_fraction: Real
    emissivity_fraction: Real
    convection_w_per_m2_k: Real  # at the reference rise over the room
    convection_rise_k: Real
    convection_exponent_ratio: Real  # 0.25 where the flow is laminar

    def __post_init__(self) -> None:
        require.positive(area=self.area_m2, convection_rise=self.convection_rise_k)
        require.fraction(spreading=self.spreading_fraction)
        require.share(emissivity=self.emissivity_fraction)
        require.positive(convection=self.convection_w_per_m2_k)
        require.within(0.0, 0.5, convection_exponent=self.convection_exponent_ratio)


class Case(Record):
    """A cover: one node more between skin and air, of the same outer surface."""

    capacity_j_per_k: Real
    resistance_k_per_w: Real  # skin to its outside

    def __post_init__(self) -> None:
        require.positive(capacity=self.capacity_j_per_k, resistance=self.resistance_k_per_w)


class Leakage(Record):
    """What leaks through a chip, as a share of its rated power, growing with its temperature.

    The power that a device model gives holds its leakage at the reference temperature; what comes on top
    at temperature T is share x rated x (exp(growth (T - reference)) - 1).
    """

    share_fraction: Real
    growth_per_k: Real
    reference_k: Real

    def __post_init__(self) -> None:
        require.share(share=self.share_fraction)
        require.not_negative(growth=self.growth_per_k)
        require.within(_COLDEST_K, _HOTTEST_K, reference=self.reference_k)


class Trip(Record):
    """A step of throttling: from `temperature` of the skin on, the chip may draw this share of its demand."""

    temperature_k: Real
    power_fraction: Real

    def __post_init__(self) -> None:
        require.within(_COLDEST_K, _HOTTEST_K, temperature=self.temperature_k)
        require.share(power=self.power_fraction)


class Trips(Record):
    """Governor by trip points: each is left again once the skin is cooler by the hysteresis."""

    steps: tuple[Trip, ...]
    hysteresis_k: Real

    def __post_init__(self) -> None:
        require.not_negative(hysteresis=self.hysteresis_k)
        if not self.steps:
            raise NpuwattError("steps: none given; expected at least one trip point")
        for cooler, warmer in zip(self.steps, self.steps[1:], strict=False):
            is_warmer = np.less(cooler.temperature_k, warmer.temperature_k)
            if not np.all(is_warmer & np.greater_equal(cooler.power_fraction, warmer.power_fraction)):
                raise NpuwattError("steps: out of order; expected warmer ones later, each with no more power")


class Allocator(Record):
    """Governor by a PID controller on the skin, as Linux calls it: power_allocator.

    Allowed power is sustainable + k_p e + k_i sum(e) + k_d change of e, with e = limit - skin temperature,
    k_p by the sign of e, and the sum only of errors below `integral_cutoff`. It acts from `switch_on_rise`
    below the limit on.
    """

    sustainable_w: Real
    switch_on_rise_k: Real
    overshoot_gain_w_per_k: Real  # k_po
    undershoot_gain_w_per_k: Real  # k_pu
    integral_gain_w_per_k: Real  # k_i, per period
    derivative_gain_w_per_k: Real  # k_d, per period
    integral_cutoff_k: Real

    def __post_init__(self) -> None:
        require.positive(sustainable=self.sustainable_w, switch_on_rise=self.switch_on_rise_k)
        require.not_negative(
            overshoot_gain=self.overshoot_gain_w_per_k,
            undershoot_gain=self.undershoot_gain_w_per_k,
            integral_gain=self.integral_gain_w_per_k,
            derivative_gain=self.derivative_gain_w_per_k,
            integral_cutoff=self.integral_cutoff_k,
        )


class Battery(Record):
    """What is stored, and what of it arrives at the parts."""

    energy_j: Real
    efficiency_fraction: Real

    def __post_init__(self) -> None:
        require.positive(energy=self.energy_j)
        require.fraction(efficiency=self.efficiency_fraction)


class Decoding(Record):
    """What a whole phone draws while it answers with a language model."""

    power_w: Real

    kind: ClassVar[Literal["phone-decoding"]] = "phone-decoding"

    def __post_init__(self) -> None:
        require.positive(power=self.power_w)


class Handset(Record):
    """A phone, a tablet, glasses: what heat does in it, and what it lets a model take of memory and battery.

    `heated` takes the power of the chip, `warmed` what everything else in use draws (`other`: display,
    radios, the rest of the system), `skin` faces the room. All by name of node.
    """

    nodes: Mapping[str, Node]
    links: tuple[Link, ...]
    surface: Surface
    case: Case
    heated: str
    warmed: str
    skin: str
    skin_limit_k: Real
    junction_limit_k: Real
    leakage: Leakage
    trips: Trips
    allocator: Allocator
    control_period_s: Real
    other_w: Real  # all but the chip, in use
    other_day_w: Real  # the same as mean over a day
    battery: Battery
    model_memory_bytes: Real
    network: str  # that a question means where it names none

    kind: ClassVar[Literal["handset"]] = "handset"

    def __post_init__(self) -> None:
        require.within(
            _COLDEST_K, _HOTTEST_K, skin_limit=self.skin_limit_k, junction_limit=self.junction_limit_k
        )
        require.positive(control_period=self.control_period_s, model_memory=self.model_memory_bytes)
        require.not_negative(other=self.other_w, other_day=self.other_day_w)
        if not 1 <= len(self.nodes) <= MOST_NODES - 1:  # a case is one more
            raise NpuwattError(f"nodes: {len(self.nodes)} given; expected 1 to {MOST_NODES - 1}")
        if CASE in self.nodes:
            raise NpuwattError(
                f"nodes: {shown(CASE)} given; expected another name, a case adds a node of this one"
            )
        for place in ("heated", "warmed", "skin"):
            self._check_node(place, getattr(self, place))
        for number, link in enumerate(self.links):
            self._check_node(f"links.{number}", link.first)
            self._check_node(f"links.{number}", link.second)
            if link.first == link.second:
                raise NpuwattError(f"links.{number}: joins {shown(link.first)} to itself; expected two nodes")
        if apart := set(self.nodes) - self._reached():
            raise NpuwattError(
                f"links: nothing joins {', '.join(sorted(apart))} to the skin; expected a way for its heat"
            )

    def _check_node(self, place: str, name: str) -> None:
        if name not in self.nodes:
            raise NpuwattError(f"{place}: {shown(name)} given; expected one of {', '.join(self.nodes)}")

    def _reached(self) -> set[str]:
        """Nodes that heat can go to from the skin."""
        found, grown = {self.skin}, True
        while grown:
            before = len(found)
            for link in self.links:
                if link.first in found or link.second in found:
                    found |= {link.first, link.second}
            grown = len(found) > before
        return found
