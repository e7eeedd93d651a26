"""Fleets side by side as a record."""

from __future__ import annotations

from typing import Any

from npuwatt import __version__
from npuwatt.datacenter.carbon import intensity_kg_per_j
from npuwatt.datacenter.change import Change, cause_shares
from npuwatt.report.records import device_record, number, ranged_record, request_record, whole
from npuwatt.study.confidence import LEVEL
from npuwatt.study.fleet import METRICS, FleetAnswer, Fleets
from npuwatt.study.fleet_claims import PUE, Claims
from npuwatt.study.fleet_ranking import Ranking
from npuwatt.units import si_unit

Record = dict[str, Any]
ASSUMPTIONS = (
    "money.cost_of_capital", "money.server_price", "money.server_power", "money.facility", "money.network",
    "money.staff",
)  # fmt: skip
_COUNTS = ("batch", "replicas_count", "spares_count", "devices_count", "servers_count")
_INTERVALS = ("energy_j_per_million_tokens", "water_l_per_million_tokens")


def fleet_record(found: Fleets) -> Record:
    """Fleets as the record of schema npuwatt.fleet/1."""
    record = {
        "schema": "npuwatt.fleet/1",
        "npuwatt": __version__,
        "request": request_record(found.question),
        "terms": _terms_record(found),
        "site": _site_record(found),
        "assumptions": [_assumption_record(found, address) for address in ASSUMPTIONS],
        "results": [_result_record(answer, found, place) for place, answer in enumerate(found.answers)],
        "rankings": {name: _ranking_record(ranking, found) for name, ranking in found.rankings.items()},
        "notes": _notes(found),
        "presets": _preset_records(found),
        "sources": [{"key": key, "citation": text} for key, text in sorted(_citations(found).items())],
    }
    if found.claims is not None:
        record["claims"] = _claims_record(found, found.claims)
    return record


def _terms_record(found: Fleets) -> Record:
    terms, planning = found.terms, found.site.planning
    return {
        "demand": found.demand,
        "mean_requests_per_s": terms.mean_requests_per_s,
        "peak_ratio": number(planning.peak_ratio),
        "ttft_s": number(terms.limits.ttft_s),
        "tpot_s": number(terms.limits.tpot_s),
        "same": terms.same,
        "ownership": terms.ownership,
        "basis": terms.basis,
        "server_life_s": number(found.site.money.server_life_s),
        "headroom_fraction": number(planning.headroom_fraction),
        "spares_fraction": number(planning.spares_fraction),
        "server_devices_count": number(planning.server_devices_count),
    }


def _site_record(found: Fleets) -> Record:
    site, chosen = found.site, found.ground.chosen
    tariff = None if found.terms.is_tariff_given else site.grid.tariff_usd_per_j
    usual = "given" if found.terms.is_tariff_given else "usual"
    return {
        "datacenter": chosen["datacenter"].preset.name,
        "rung": site.hall.rung,
        "climate": site.hall.climate,
        "water": site.hall.water,
        "grid": chosen["grid"].preset.name,
        "region": site.grid.name,
        "dated": site.grid.dated,
        "intensity_kg_per_j": number(intensity_kg_per_j(site.grid, found.terms.basis)),
        "tariff_usd_per_j": number(site.money.tariff_usd_per_j if tariff is None else tariff),
        "tariff_basis": usual if tariff is None else "grid",
    }


def _assumption_record(found: Fleets, address: str) -> Record:
    owner, _, rest = address.partition(".")
    item = found.ground.chosen[owner].evidence[rest]
    return {
        "address": address,
        "unit": si_unit(item.suffix),
        "value": item.value,
        "low": item.low,
        "high": item.high,
        "source": item.source,
    }


def _result_record(answer: FleetAnswer, fleets: Fleets, place: int) -> Record:
    figures = answer.figures
    found: Record = {
        **device_record(answer.device),
        "devices_per_replica": whole(answer.unit.devices_count),
        **{
            name: None if value is None else whole(value) if name in _COUNTS else number(value)
            for name, value in figures.metrics.items()
        },
        "facility_by_part_w": {name: number(value) for name, value in figures.facility_w.items()},
        "cost_by_part_usd": {name: number(value) for name, value in figures.cost_usd.items()},
        "carbon_by_part_kg": {name: number(value) for name, value in figures.emitted_kg.items()},
        "ranges": {
            METRICS[name]: {
                end: number(figures.metrics[METRICS[name]] * ratio)
                for end, ratio in zip(("low", "high"), ranking.ends_ratio[place], strict=True)
            }
            for name, ranking in fleets.rankings.items()
        },
        "price": _price_record(answer),
        "is_carbon_of_making_assumed": answer.is_made_assumed,
        "confidence": _confidence_record(answer),
        "change": None if answer.change is None else _change_record(answer.change),
        "takes_more_capital": answer.pays_back_s is not None,
        "pays_back_s": None if answer.pays_back_s is None else number(answer.pays_back_s),
        "notes": list(answer.notes),
    }
    return found


def _change_record(change: Change) -> Record:
    return {
        "pue_before": number(change.pue_before),
        "pue_after": number(change.pue_after),
        "facility_ratio": number(change.facility_after_w / change.facility_before_w),
        "causes_ratio": {name: number(value) for name, value in change.causes_ratio.items()},
        "cause_shares": {name: number(value) for name, value in cause_shares(change).items()},
    }


def _price_record(answer: FleetAnswer) -> Record:
    priced = answer.priced
    price, ranged = priced.price, priced.ranged
    return {
        "purchase_usd": None if price.purchase_usd is None else number(price.purchase_usd),
        "rent_usd_per_s": None if price.rent_usd_per_s is None else number(price.rent_usd_per_s),
        "basis": priced.basis,
        "covers": price.covers,
        "dated": price.dated,
        "low": None if ranged is None else ranged.low,
        "high": None if ranged is None else ranged.high,
    }


def _confidence_record(answer: FleetAnswer) -> Record:
    """The class of the prediction, and what its interval of energy does to all that follows from energy."""
    low, high = answer.confidence.ratios["energy_per_output_token_j"]
    values = {name: number(answer.figures.metrics[name]) for name in _INTERVALS}
    values["operational_kg_per_million_tokens"] = number(answer.figures.emitted_kg["operational"])
    return {
        "class": answer.confidence.name,
        "level_fraction": LEVEL,
        **{
            name: {"low": None if value is None else low * value, "high": None if value is None else high * value}
            for name, value in values.items()
        },
    }  # fmt: skip


def _ranking_record(ranking: Ranking, found: Fleets) -> Record:
    names = [answer.device.typed for answer in found.answers]
    narrows = ranking.narrows
    return {
        "order": [names[place] for place in ranking.order],
        "gap_ratio": number(ranking.gap_ratio),
        "turned_by": [
            {**ranged_record(turn.ranged), "turned_at": turn.value, "first": names[turn.first]}
            for turn in ranking.turns
        ],
        "narrowed_by": None
        if narrows is None
        else {
            **ranged_record(narrows.ranged),
            "at": number(narrows.value),
            "gap_ratio": number(narrows.gap_ratio),
        },
    }


def _claims_record(found: Fleets, claims: Claims) -> Record:
    names = [answer.device.typed for answer in found.answers]
    return {
        "pue": {
            "claimed": PUE,
            "holds_before": claims.pue.holds_before,
            "holds": claims.pue.holds,
            **_change_record(claims.pue.change),
            "halls": [
                {
                    "site": hall.site,
                    "rung": hall.rung,
                    "climate": hall.climate,
                    "water": hall.water,
                    "pue": hall.pue_ratio,
                    "pue_at_half": hall.half_ratio,
                    "pue_at_half_and_warm": hall.warm_ratio,
                    "reached_in": [f"{climate}, {water}" for climate, water in hall.reached_in],
                    "usual_coolant_k": hall.usual_coolant_k,
                    "allowed_full_k": hall.allowed_full_k,
                    "allowed_half_k": hall.allowed_half_k,
                }
                for hall in claims.pue.halls
            ],
        },
        "cost": [
            {
                "device": names[claim.place],
                "against": names[0],
                "now_ratio": number(claim.now_ratio),
                "target_ratio": claim.target_ratio,
                "holds": claim.now_ratio >= claim.target_ratio,
                "at_price_usd": claim.at_price_usd,
                "at_rent_usd_per_s": claim.at_rent_usd_per_s,
                "at_speed_ratio": claim.at_speed_ratio,
            }
            for claim in claims.costs
        ],
    }


def _notes(found: Fleets) -> list[str]:
    notes = [*found.question.notes, *found.question.warnings, *found.ground.warnings]
    if found.site.grid.water_l_per_j is None:
        notes.append(
            f"what power plants of {found.site.grid.name} drink is not known: water is that of the site"
        )
    if found.left_out:
        notes.append(
            f"not varied, because at an end of its range there is no figure: {', '.join(found.left_out)}"
        )
    return notes


def _preset_records(found: Fleets) -> list[Record]:
    asked = found.question
    stack = (asked.stack.preset,) if asked.stack else ()
    known = (
        *(device.preset for device in asked.devices), asked.network.preset, *stack,
        *(chosen.preset for chosen in found.ground.chosen.values()),
    )  # fmt: skip
    return [{"name": one.name, "folder": one.folder, "sha256": one.sha256} for one in known]


def _citations(found: Fleets) -> dict[str, str]:
    cited = dict(found.question.citations)
    for chosen in found.ground.chosen.values():
        cited |= chosen.citations
    return cited
