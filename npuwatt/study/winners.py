"""Who answers fastest and on the least energy, by phase and kind of op, and what makes the difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from npuwatt.arrays import Array
from npuwatt.record import Record
from npuwatt.study.phases import PhaseTable
from npuwatt.study.verdicts import can_be_deployed

if TYPE_CHECKING:
    from npuwatt.study.compare import Answer

CLOSE = 1.05  # times and energies closer than this are told apart by no constant here
GROUPS = (("arithmetic",), ("conversion",), ("dram",), ("on_chip", "overhead"), ("links",), ("static",))
"""What a difference is put down to. Constants fitted at the board hold control and regulators inside on-chip movement,
so the two are told apart for no device."""


class KindCosts(Record):
    """Ops of one kind together, or all of a phase."""

    limit_s: dict[str, float]  # time by what sets it
    place_s: dict[str, float]  # time by where ops run; empty where there is but one place
    energy_by_component_j: dict[str, float]  # static included, by time

    @property
    def time_s(self) -> float:
        """Time of all its ops."""
        return sum(self.limit_s.values())

    @property
    def energy_j(self) -> float:
        """Energy of all its ops."""
        return sum(self.energy_by_component_j.values())

    @property
    def bound_by(self) -> str:
        """What sets most of its time."""
        return max(self.limit_s, key=lambda name: self.limit_s[name])

    @property
    def where(self) -> tuple[str, ...]:
        """Places in which its ops run, that of the longest time first."""
        return tuple(sorted(self.place_s, key=lambda name: -self.place_s[name]))


class Contest(Record):
    """One kind of op in one phase on each device that has any of it, by the device's place in the comparison."""

    phase: str
    kind: str | None  # None: all of the phase
    costs: dict[int, KindCosts]

    def by_time(self) -> list[int]:
        """The devices, fastest first."""
        return sorted(self.costs, key=lambda place: self.costs[place].time_s)

    def by_energy(self) -> list[int]:
        """The devices, least energy first."""
        return sorted(self.costs, key=lambda place: self.costs[place].energy_j)


def kinds_of(phase: PhaseTable) -> dict[str, KindCosts]:
    """A phase by kind of op, with the software's time as one more kind; sums to the phase."""
    times_s, places = _by_op(phase.time_s, phase), phase.where
    energy_j = {name: _by_op(joules, phase) for name, joules in phase.energy_by_component_j.items()}
    kinds: dict[str, KindCosts] = {}
    for kind in dict.fromkeys(phase.ops.kinds):
        own = [i for i, other in enumerate(phase.ops.kinds) if other == kind]
        kinds[kind] = KindCosts(
            limit_s=_summed((phase.bound_by[i], times_s[i]) for i in own),
            place_s=_summed((places[i], times_s[i]) for i in own) if places else {},
            energy_by_component_j={name: sum(joules[i] for i in own) for name, joules in energy_j.items()},
        )
    if phase.software_time_s is not None:
        spent_j = {name: joules.item() for name, joules in (phase.software_by_component_j or {}).items()}
        kinds["software"] = KindCosts(
            limit_s={"software": phase.software_time_s.item()},
            place_s={},
            energy_by_component_j=dict.fromkeys(energy_j, 0.0) | spent_j,
        )
    return kinds


def together(parts: Iterable[KindCosts]) -> KindCosts:
    """Several costs added up."""
    costs = list(parts)
    return KindCosts(
        limit_s=_summed(item for part in costs for item in part.limit_s.items()),
        place_s=_summed(item for part in costs for item in part.place_s.items()),
        energy_by_component_j=_summed(item for part in costs for item in part.energy_by_component_j.items()),
    )


def contests(answers: Sequence[Answer], kinds: Sequence[Sequence[Mapping[str, KindCosts]]]) -> list[Contest]:
    """Each phase as a whole and by kind, on the devices that hold the request; none unless two or more do.

    Boards that cannot be deployed stay out of it where two or more others are left. `kinds` holds what `kinds_of` says of each answer's phases.
    """
    able = [place for place, answer in enumerate(answers) if answer.result.fits.item()]
    sound = [place for place in able if _is_sound(answers[place])]
    able = sound if len(sound) > 1 else able
    found: list[Contest] = []
    for i, phase in enumerate(answers[able[0]].phases if len(able) > 1 else ()):
        of_phase = {place: kinds[place][i] for place in able}
        whole = {place: together(costs.values()) for place, costs in of_phase.items()}
        found.append(Contest(phase=phase.name, kind=None, costs=whole))
        for kind in dict.fromkeys(kind for costs in of_phase.values() for kind in costs):
            of_kind = {place: costs[kind] for place, costs in of_phase.items() if kind in costs}
            found.append(Contest(phase=phase.name, kind=kind, costs=of_kind))
    return found


def _is_sound(answer: Answer) -> bool:
    return answer.exactness is None or can_be_deployed(answer.exactness.verdict)


def saved_on(own: KindCosts, other: KindCosts) -> tuple[tuple[str, ...], float]:
    """The components on which `own` spends most less than `other`, and how many joules."""

    def saved_j(group: tuple[str, ...]) -> float:
        return sum(
            other.energy_by_component_j.get(name, 0.0) - own.energy_by_component_j.get(name, 0.0)
            for name in group
        )

    most = max(GROUPS, key=saved_j)
    return tuple(most), saved_j(most)


def _summed(items: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in items:
        sums[name] = sums.get(name, 0.0) + value
    return sums


def _by_op(values: Array, phase: PhaseTable) -> list[float]:
    found: list[float] = np.broadcast_to(values, phase.ops.macs.shape)[0].tolist()
    return found
