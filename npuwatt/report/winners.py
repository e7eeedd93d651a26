"""Who wins each phase and kind of op, and why: as records, and as the tables made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from npuwatt.report.document import Table
from npuwatt.report.words import bound, factor, quantity, step_name
from npuwatt.study.compare import Answer
from npuwatt.study.winners import CLOSE, Contest, KindCosts, contests, saved_on, together

Record = dict[str, Any]
Kinds = Mapping[str, KindCosts]
SHOWN = 0.01  # of a phase's time or energy on some device: less decides nothing
LEGEND = (
    "who wins: factors are over the next best; why: what sets the time (of the fastest vs the next), then what the "
    "least energy saves most on against the next (on-chip: with control and regulators)"
)

_SAVED = {
    "arithmetic": "arithmetic",
    "conversion": "converters",
    "dram": "DRAM",
    "on_chip": "on-chip",  # control and regulators with it
    "links": "links",
    "static": "static",
}


def phase_records(answer: Answer, kinds: Sequence[Kinds]) -> list[Record]:
    """One device's phases by kind of op; null where the request does not fit."""
    fits = bool(answer.result.fits[0, 0])
    found = []
    for phase, of_kind in zip(answer.phases, kinds, strict=True):
        spent_j = {name: joules.item() for name, joules in phase.costs.energy_j.items()}
        record = {
            "phase": phase.name,
            "steps_fraction": None if phase.steps_fraction is None else phase.steps_fraction.item(),
            "context_tokens": round(phase.context_tokens),
            **_cost_record(together(of_kind.values()), fits=fits),
            "kinds": [{"kind": kind, **_cost_record(costs, fits=fits)} for kind, costs in of_kind.items()],
        }
        if fits:
            record["time_s"], record["energy_j"] = phase.costs.time_s.item(), sum(spent_j.values())
            record["energy_by_component_j"] = spent_j
        found.append(record)
    return found


def _cost_record(costs: KindCosts, *, fits: bool) -> Record:
    return {
        "time_s": costs.time_s if fits else None,
        "energy_j": costs.energy_j if fits else None,
        "energy_by_component_j": costs.energy_by_component_j if fits else None,
        "bound_by": costs.bound_by if fits else None,
        "where": list(costs.where) if fits and costs.where else None,
    }


def winner_records(answers: Sequence[Answer], kinds: Sequence[Sequence[Kinds]]) -> list[Record]:
    """Who is fastest and who needs the least energy, by phase and kind of op, with what makes the difference."""
    names = [answer.device.typed for answer in answers]
    found: list[Record] = []
    for contest in contests(answers, kinds):
        fastest, least = _fastest(contest, names), _least_energy(contest, names)
        found.append(
            {
                "phase": contest.phase,
                "kind": contest.kind,
                "devices": [names[place] for place in contest.costs],
                "fastest": fastest,
                "least_energy": least,
                "why": _why(fastest, least),
            }
        )
    return found


def _fastest(contest: Contest, names: Sequence[str]) -> Record:
    first, *others = contest.by_time()
    own, other = contest.costs[first], contest.costs[others[0]] if others else None
    return _lead(contest, names, [first, *others], "time", lambda costs: costs.time_s) | {
        "bound_by": own.bound_by,
        "where": list(own.where) or None,
        "next_bound_by": other.bound_by if other else None,
        "next_where": (list(other.where) or None) if other else None,
    }


def _least_energy(contest: Contest, names: Sequence[str]) -> Record:
    ranked = contest.by_energy()
    lead = _lead(contest, names, ranked, "energy", lambda costs: costs.energy_j)
    if len(ranked) == 1:
        return lead | {"saved_on": None, "saved_j": None}
    group, joules = saved_on(*(contest.costs[place] for place in ranked[:2]))
    return lead | {"saved_on": list(group), "saved_j": joules}


def _lead(
    contest: Contest,
    names: Sequence[str],
    ranked: Sequence[int],
    what: str,
    value: Callable[[KindCosts], float],
) -> Record:
    """Who is first, who is as good as first, who comes next and by what factor."""
    values = [value(contest.costs[place]) for place in ranked]
    return {
        "device": names[ranked[0]],
        "close": [
            names[place]
            for place, one in zip(ranked[1:], values[1:], strict=True)
            if one <= CLOSE * values[0]
        ],
        "next": names[ranked[1]] if len(ranked) > 1 else None,
        f"{what}_ratio": values[1] / values[0] if len(ranked) > 1 and values[0] > 0 else None,
    }


def _why(fastest: Record, least: Record) -> str:
    """What sets the time of the fastest, against the next where it differs; and what the energy is saved on."""
    own = _limit(fastest["bound_by"], fastest["where"])
    other = _limit(fastest["next_bound_by"], fastest["next_where"]) if fastest["next"] else own
    text = own if own == other else f"{own} vs {other}"
    if least["saved_on"] is None or least["close"]:
        return text
    return f"{text}; {_SAVED[least['saved_on'][0]]} -{quantity(least['saved_j'], 'J', 2)}"


def _limit(bound_by: str, where: Sequence[str] | None) -> str:
    """What sets the time; memory that is read from inside is told from memory read over its pins."""
    return "banks" if bound_by == "memory" and where and where[0] == "banks" else bound(bound_by)


def winner_tables(record: Record, labels: Mapping[str, str]) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    """Who wins and why: a table for each phase, and all in one that names the phase in each row."""
    names = ("op kind", "fastest", "least energy", "why")
    rows: dict[str, list[tuple[str, ...]]] = {}
    for winner in _that_matter(record):
        cells = [_named(winner, field, labels) for field in ("fastest", "least_energy")]
        rows.setdefault(winner["phase"], []).append((winner["kind"] or "all", *cells, winner["why"]))
    if not rows:
        return (), ()
    phases = {phase["phase"]: phase for result in record["results"] for phase in result["phases"]}
    narrow = tuple(
        Table(
            title=f"who wins {step_name(phases[name])}, and why",
            columns=names,
            rows=tuple(of_phase),
            left=names,
        )
        for name, of_phase in rows.items()
    )
    steps = " and ".join(step_name(phases[name]) for name in rows)
    wide = Table(
        title=f"who wins {steps}, and why",
        columns=("phase", *names),
        rows=tuple((name, *cells) for name, of_phase in rows.items() for cells in of_phase),
        left=names,
    )
    return narrow, (wide,)


def _that_matter(record: Record) -> list[Record]:
    """The winners of kinds with a share on any device, and of whole phases with more than one such kind."""
    weighty: dict[str, set[str | None]] = {}
    for phase in (phase for result in record["results"] if result["fits"] for phase in result["phases"]):
        kinds = weighty.setdefault(phase["phase"], set())
        for kind in phase["kinds"]:
            if any(kind[field] >= SHOWN * phase[field] for field in ("time_s", "energy_j")):
                kinds.add(kind["kind"])
    for kinds in weighty.values():
        if len(kinds) > 1:
            kinds.add(None)  # the phase as a whole
    return [winner for winner in record["winners"] if winner["kind"] in weighty[winner["phase"]]]


def _named(winner: Record, field: str, labels: Mapping[str, str]) -> str:
    """Who leads and by what factor over the next, or who are as good as one another."""
    lead = winner[field]
    name = labels[lead["device"]]
    if lead["next"] is None:
        return f"only {name}"
    if lead["close"]:
        even = len(lead["close"]) + 1 == len(winner["devices"])
        return "even" if even else ", ".join([name, *(labels[other] for other in lead["close"])])
    return f"{name} {factor(lead['time_ratio' if field == 'fastest' else 'energy_ratio'])}".rstrip()


def place_notes(record: Record, labels: Mapping[str, str]) -> list[str]:
    """Which ops a board whose memory computes runs there, and in which phases."""
    notes = []
    for result in record["results"]:
        inside: dict[str, list[str]] = {}
        for phase in result["phases"]:
            for kind in phase["kinds"]:
                if set(kind["where"] or ()) - {"host"}:
                    what = f"part of {kind['kind']}" if "host" in kind["where"] else kind["kind"]
                    inside.setdefault(what, []).append(phase["phase"])
        if inside:
            place = "its arrays run" if result["kind"] == "crossbar" else "units in its memory run"
            every = len(result["phases"])
            said = (
                what if len(phases) == every else f"{what} in {' and '.join(phases)}"
                for what, phases in inside.items()
            )
            notes.append(f"{labels[result['device']]}: {place} {', '.join(said)}; the host runs the rest")
    return notes
