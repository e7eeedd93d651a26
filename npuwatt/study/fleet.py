"""Fleets for a demand, side by side: servers, halls, dollars, carbon and water, and what decides between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from npuwatt import units
from npuwatt.datacenter.change import Change, same_work
from npuwatt.datacenter.cooling import rungs_that_hold
from npuwatt.datacenter.facility import coolant_of
from npuwatt.datacenter.serving import Limits
from npuwatt.datacenter.tco import break_even_s
from npuwatt.device.evaluate import Device, host_of
from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.record import Record, replace
from npuwatt.study.confidence import Confidence, confidence
from npuwatt.study.fleet_curve import is_capped, replica
from npuwatt.study.fleet_figures import BASES, OWNERSHIPS, SAME, Case, Figures, Site, Terms, Unit, figures
from npuwatt.study.fleet_inputs import (
    Ground,
    Priced,
    changes_of_site,
    given_prices,
    ground,
    halls,
    made_kg,
    priced,
    ranged_site,
    requests_per_s,
    seconds,
)
from npuwatt.study.fleet_ranking import Ranking, rank
from npuwatt.study.question import Options, Question, check_dealt, is_one_device, question
from npuwatt.study.ranges import Ranged, together
from npuwatt.study.scenario import Chosen
from npuwatt.workload.request import MOST_BATCH

if TYPE_CHECKING:
    from npuwatt.study.fleet_claims import Claims

METRICS = {"cost": "usd_per_million_tokens", "carbon": "kg_per_million_tokens"}
_SPEED, _POWER = "tokens_per_s", "power_w"


class FleetAnswer(Record):
    """One device's fleet."""

    device: Chosen[Device]
    unit: Unit
    figures: Figures
    priced: Priced
    is_made_assumed: bool
    confidence: Confidence
    change: (
        Change | None
    )  # of the first fleet's hall from its load to this one's; None where it does not carry it
    pays_back_s: float | None  # of its larger capital over the first fleet's; None where nothing is bought
    notes: tuple[str, ...]


class Fleets(Record):
    """Fleets for one demand, in the order asked."""

    question: Question
    terms: Terms
    ground: Ground
    demand: str
    answers: tuple[FleetAnswer, ...]
    rankings: dict[str, Ranking]
    left_out: tuple[str, ...]  # numbers whose range no model takes
    claims: Claims | None = None

    @property
    def site(self) -> Site:
        """Where all stand, whichever fleet the hall is built for."""
        return self.ground.site


def fleet(
    names: Sequence[str],
    *,
    demand: str = "1e10token/day",
    peak: float | None = None,
    ttft: str = "2s",
    tpot: str = "50ms",
    site: str = "hyperscale",
    climate: str | None = None,
    water: str | None = None,
    grid: str = "united-states",
    years: float | None = None,
    prices: Sequence[str] = (),
    ownership: str = "owned",
    same: str = "work",
    basis: str = "location",
    claims: bool = False,
    **options: Unpack[Options],
) -> Fleets:
    """What fleets of several devices need, cost and emit for one demand within limits of latency.

    Parameters
    ----------
    names
        Devices by preset name, alias or path.
    demand, peak
        Requests or output tokens in a time, on average; and the peak over that.
    ttft, tpot
        Longest time to the first token, and for each further one.
    site, climate, water, grid
        A hall by preset name, what else its climate and use of water might be, and a region's electricity.
    years
        Life of servers; None: as usual.
    prices
        `DEVICE=USD` of the device alone, `DEVICE=USD/server` of a whole server, or `DEVICE=USD/h` for rent.
    ownership
        owned, colocation or rented.
    same
        work: each fleet meets the demand; power: each fills the hall that the first one needs.
    basis
        Of carbon of use: location, what the grid emits; market, what the contracts of its preset say.
    claims
        Whether to say under which conditions two common claims would hold: a PUE of 1.05 at half the chip
        power, and a cost 3 to 5 times lower.
    **options
        As for `npuwatt.study.question.question`; `changes` also of datacenter, grid, cooling, money, embodied
        and planning.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    for option, value, known in (
        ("--same", same, SAME),
        ("--ownership", ownership, OWNERSHIPS),
        ("--basis", basis, BASES),
    ):
        if value not in known:
            near = did_you_mean(value, known) or f"; expected one of {', '.join(known)}"
            raise RequestError(f"{option}: {shown(value)} given{near}")
    own, options["changes"] = changes_of_site(options.get("changes", ()), names)
    if len(set(names)) < len(names):
        raise RequestError("a device is named twice; expected each once")
    options.setdefault("mode", "serving")
    asked = question(names, **options)
    _check(asked)
    base = _ground(site, climate, water, grid, years, peak, own, options.get("presets", ()))
    output_len = float(asked.request.output_len)
    terms = Terms(
        mean_requests_per_s=requests_per_s(demand, output_len),
        input_len=float(asked.request.input_len),
        output_len=output_len,
        limits=Limits(ttft_s=seconds("--ttft", ttft), tpot_s=seconds("--tpot", tpot)),
        same=same,
        ownership=ownership,
        basis="market" if basis == "market" else "location",
        is_hall_given=base.is_given("datacenter", "parts.design_it"),
        is_tariff_given=base.is_given("money", "tariff"),
    )
    if terms.basis == "market" and base.site.grid.market_kg_per_j is None:
        raise RequestError(
            f"--basis market: no contracts are known for {base.site.grid.name}; expected --set "
            "grid.market=0gCO2e/kWh or what they say"
        )
    given = given_prices(prices, names, is_rent=ownership == "rented")
    faults: list[str] = []
    found = []
    for place, device in enumerate(asked.devices):
        try:
            found.append(_unit(asked, device, place, base, terms, given))
        except NpuwattError as error:
            faults += error.faults
    if faults:
        raise RequestError(*faults)
    _check_told_apart(found)
    try:
        with np.errstate(over="raise", divide="ignore", invalid="ignore"):
            return _answered(asked, terms, base, demand, found, with_claims=claims)
    except FloatingPointError:
        raise RequestError("costs or carbon beyond any number; expected smaller values of --set") from None
    except NpuwattError as error:  # of a hall that holds by itself, and not at this load
        where = f"the hall {shown(site)} under these devices"
        raise RequestError(
            *(
                f"{where}: {fault}" if fault.startswith(("pue:", "it_load:")) else fault
                for fault in error.faults
            )
        ) from error


def case_of(found: Fleets) -> Case:
    """The site and the devices of an answer, any number of which may be given other values."""
    return Case(site=found.site, units=tuple(answer.unit for answer in found.answers))


class _Found(Record):
    device: Chosen[Device]
    unit: Unit
    priced: Priced
    is_made_assumed: bool
    confidence: Confidence
    ranged: tuple[Ranged, ...]


def _check(asked: Question) -> None:
    if asked.stack is None or not asked.prefill:
        raise RequestError("a fleet serves and reads its prompts; expected serving mode with prefill")
    if asked.constants == "article":
        raise RequestError("--constants article: those energies are of no device; expected sourced")
    check_dealt(asked.sharing, replace(asked.request, batch=float(np.max(asked.sharing.groups))))


def _check_told_apart(found: Sequence[_Found]) -> None:
    for first, other in combinations(found, 2):
        if is_one_device(first.device, other.device) and first.priced.price == other.priced.price:
            raise RequestError(
                f"{first.device.typed} and {other.device.typed} are one device, {first.device.preset.name}, at one price; "
                "expected it once, or --price or --set that tell them apart"
            )


def _ground(
    site: str,
    climate: str | None,
    water: str | None,
    grid: str,
    years: float | None,
    peak: float | None,
    changes: Sequence[str],
    presets: Sequence[str],
) -> Ground:
    if years is not None and not 1e-6 <= years <= 100:
        raise RequestError(f"--years: {years:g} given; expected a life above 0 and at most 100 years")
    if peak is not None and not 1 <= peak <= 1e6:
        raise RequestError(f"--peak: {peak:g} given; expected a peak over the mean, 1 or more")
    more = [] if peak is None else [f"planning.peak={peak}"]
    return ground(
        site=site,
        climate=climate,
        water=water,
        grid=grid,
        life_s=None if years is None else years * units.parse("1 year", "_s"),
        changes=[*changes, *more],
        presets=presets,
    )


def _unit(
    asked: Question, device: Chosen[Device], place: int, base: Ground, terms: Terms, given: dict[str, Any]
) -> _Found:
    cost = priced(device, place, given, base, is_rent=terms.ownership == "rented")
    kg, is_assumed, of_making = made_kg(device, place, base)
    curve, count = replica(asked, device, terms.limits)
    sure = confidence(device, asked.network, asked.request, devices=float(count), stack=asked.stack)
    off = [
        Ranged(
            address=f"devices.{device.typed}.{key}, true over predicted",
            paths=(("units", str(place), key),), value=1.0, low=sure.ratios[metric][0], high=sure.ratios[metric][1],
            suffix="_ratio", source="",
        )
        for key, metric in (("speed", _SPEED), ("power", _POWER))
    ]  # fmt: skip
    area = base.site.planning.die_area_m2.get(device.preset.name)
    unit = Unit(
        curve=curve, devices_count=float(count), rated_w=float(np.max(host_of(device.record).power_cap_w)),
        price=cost.price, made_kg=kg, die_area_m2=area,
    )  # fmt: skip
    own = [item for item in (cost.ranged, of_making) if item is not None and item.low < item.high]
    return _Found(
        device=device,
        unit=unit,
        priced=cost,
        is_made_assumed=is_assumed,
        confidence=sure,
        ranged=(*own, *off),
    )


def _answered(
    asked: Question, terms: Terms, base: Ground, demand: str, found: Sequence[_Found], *, with_claims: bool
) -> Fleets:
    case = Case(site=base.site, units=tuple(one.unit for one in found))
    results = figures(case, terms)
    inputs = together([*ranged_site(base), *(item for one in found for item in one.ranged)])
    ranked = {name: rank(case, terms, inputs, metric) for name, metric in METRICS.items()}
    claims = None
    if with_claims:
        from npuwatt.study.fleet_claims import fleet_claims

        claims = fleet_claims(case, terms, results, halls(base))
    return Fleets(
        question=asked,
        terms=terms,
        ground=base,
        demand=demand,
        answers=tuple(
            _answer(one, result, results[0], base, terms) for one, result in zip(found, results, strict=True)
        ),
        rankings={name: ranking for name, (ranking, _) in ranked.items()},
        left_out=tuple(dict.fromkeys(address for _, left_out in ranked.values() for address in left_out)),
        claims=claims,
    )


def _answer(one: _Found, result: Figures, first: Figures, base: Ground, terms: Terms) -> FleetAnswer:
    change = None
    if np.all(result.metrics["provisioned_it_w"] <= first.metrics["hall_it_w"] * (1 + 1e-9)):
        change = same_work(
            first.hall,
            base.site.cooling,
            it_before_w=first.metrics["mean_it_w"],
            it_after_w=result.metrics["mean_it_w"],
        )
    pays_back = None
    if result is not first and terms.ownership == "owned":
        pays_back = _pays_back_s(result, first, base)
    return FleetAnswer(
        device=one.device, unit=one.unit, figures=result, priced=one.priced, is_made_assumed=one.is_made_assumed,
        confidence=one.confidence, change=change, pays_back_s=pays_back,
        notes=tuple(_notes(one, result, first, base, terms)),
    )  # fmt: skip


def _pays_back_s(own: Figures, first: Figures, base: Ground) -> float | None:
    """When more capital than the first fleet's has paid for itself by cheaper running, for the same tokens.

    None where the other one takes more capital.
    """
    ends = []
    for one in (own, first):
        rate = one.metrics["tokens_per_s"] / 1e6
        bought = ("servers", "network", "spares", "facility")
        running = sum(cost for name, cost in one.cost_usd.items() if name not in bought)
        ends.append((np.asarray(one.metrics["capital_usd"]) / rate, running))
    (own_capital, own_running), (first_capital, first_running) = ends
    if np.all(own_capital <= first_capital):
        return None
    return float(
        np.ravel(break_even_s(extra_capital_usd=own_capital - first_capital, saved_usd_per_s=first_running - own_running))[0]
    )  # fmt: skip


def _notes(one: _Found, result: Figures, first: Figures, base: Ground, terms: Terms) -> list[str]:
    cooling, metrics = base.site.cooling, result.metrics
    notes = []
    if is_capped(one.unit.curve, terms.limits):
        notes.append(
            f"a replica would take more than {MOST_BATCH:,} sequences, the most that is computed; no limit and no "
            "memory holds it back"
        )
    servers = metrics["provisioned_it_w"] / metrics["devices_count"] * base.site.planning.server_devices_count
    server_w = float(np.max(servers))
    if not np.all(rungs_that_hold(cooling, server_w)[result.hall.rung]):
        most_w = float(np.max(cooling.rungs[result.hall.rung].most_rack_w))
        notes.append(
            f"one server draws {units.show_in(server_w, 'W')}, more than the {units.show_in(most_w, 'W')} that a rack of "
            f"{result.hall.rung} may"
        )
    needed_k, usual_k = metrics["coolant_needed_k"], coolant_of(result.hall, cooling)
    if np.any(np.less(needed_k, usual_k)):
        notes.append(
            f"at its rating it needs coolant of {float(np.min(needed_k)) - 273.15:.3g} degC or less; the hall's is "
            f"{float(np.max(usual_k)) - 273.15:.3g} degC"
        )
    ratio = float(np.max(metrics["provisioned_it_w"] / first.metrics["hall_it_w"]))
    if ratio > 1 + 1e-9:
        notes.append(f"it needs {ratio:.3g} times the hall of the first fleet, which does not carry it")
    return notes
