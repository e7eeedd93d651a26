"""JSON Schema of a comparison of fleets."""

from __future__ import annotations

from npuwatt.report.schema_parts import (
    COUNT,
    FLAG,
    MAYBE,
    NUMBER,
    TEXT,
    TEXTS,
    Schema,
    list_of,
    map_of,
    object_of,
)
from npuwatt.study.confidence import CLASSES
from npuwatt.study.fleet import METRICS
from npuwatt.study.fleet_figures import BASES, OWNERSHIPS, SAME

_TERMS = object_of(
    {"demand": TEXT, "same": {"enum": list(SAME)}, "ownership": {"enum": list(OWNERSHIPS)}, "basis": {"enum": list(BASES)}}
    | dict.fromkeys(
        (
            "mean_requests_per_s", "peak_ratio", "ttft_s", "tpot_s", "server_life_s", "headroom_fraction",
            "spares_fraction", "server_devices_count",
        ),
        NUMBER,
    )
)  # fmt: skip
_SITE = object_of(
    dict.fromkeys(("datacenter", "rung", "climate", "water", "grid", "region", "dated"), TEXT)
    | dict.fromkeys(("intensity_kg_per_j", "tariff_usd_per_j"), NUMBER)
    | {"tariff_basis": {"enum": ["grid", "given", "usual"]}}
)
_ENDS = object_of({"low": NUMBER, "high": NUMBER})
_SHARES = map_of(NUMBER)
_AMOUNTS = map_of({"type": "number", "minimum": 0})
_PRICE = object_of(
    {
        "basis": {"enum": ["given", "assumed", "sale", "list", "build-cost", "leak"]},
        "covers": TEXT,
        "dated": TEXT,
    }
    | dict.fromkeys(("purchase_usd", "rent_usd_per_s", "low", "high"), MAYBE)
)
_CONFIDENCE = object_of(
    {"class": {"enum": list(CLASSES)}, "level_fraction": NUMBER}
    | dict.fromkeys(
        ("energy_j_per_million_tokens", "water_l_per_million_tokens", "operational_kg_per_million_tokens"),
        _ENDS,
    )
)
_PUES = dict.fromkeys(("pue_before", "pue_after", "facility_ratio"), NUMBER) | {
    "causes_ratio": _SHARES,
    "cause_shares": _SHARES,
}
_COUNTS = (
    "devices_per_replica", "batch", "replicas_count", "spares_count", "devices_count", "servers_count",
)  # fmt: skip
_NUMBERS = (
    "ttft_s", "tpot_s", "mean_in_flight_count", "peak_in_flight_count", "mean_utilization_ratio", "peak_utilization_ratio", "tokens_per_s",
    "mean_it_w", "peak_it_w", "provisioned_it_w", "hall_it_w", "hall_load_fraction", "facility_mean_w", "facility_peak_w", "feed_w",
    "tokens_per_s_per_feed_w", "pue", "itue", "tue", "facility_j_per_year", "energy_j_per_million_tokens",
    "water_l_per_million_tokens", "site_water_l_per_million_tokens", "usd_per_million_tokens", "usd_per_device_hour", "energy_cost_fraction",
    "capital_usd", "kg_per_million_tokens", "coolant_needed_k",
)  # fmt: skip
_RESULT: Schema = (
    dict.fromkeys(_COUNTS, COUNT)
    | dict.fromkeys(_NUMBERS, NUMBER)
    | dict.fromkeys(
        (
            "die_flux_w_per_m2",
            "pays_back_s",
            "grid_water_l_per_million_tokens",
            "buying_break_even_s",
            "buying_npv_usd_per_device",
        ),
        MAYBE,
    )
    | dict.fromkeys(("facility_by_part_w", "cost_by_part_usd", "carbon_by_part_kg"), _AMOUNTS)
    | {
        "price": _PRICE,
        "ranges": object_of(dict.fromkeys(METRICS.values(), object_of({"low": NUMBER, "high": MAYBE}))),
        "is_carbon_of_making_assumed": FLAG,
        "takes_more_capital": FLAG,
        "confidence": _CONFIDENCE,
        "change": object_of(_PUES) | {"type": ["object", "null"]},
        "notes": TEXTS,
    }
)
_ASSUMPTION = {"assumption": TEXT, "unit": TEXT, "source": TEXT} | dict.fromkeys(
    ("value", "low", "high"), NUMBER
)
_RANKING = object_of(
    {
        "order": TEXTS,
        "gap_ratio": MAYBE,
        "turned_by": list_of(object_of(_ASSUMPTION | {"turned_at": NUMBER, "first": TEXT})),
        "narrowed_by": object_of(_ASSUMPTION | {"at": NUMBER, "gap_ratio": MAYBE})
        | {"type": ["object", "null"]},
    }
)
_CLAIMS = object_of(
    {
        "pue": object_of(
            _PUES
            | {"claimed": NUMBER, "holds_before": FLAG, "holds": FLAG}
            | {
                "halls": list_of(
                    object_of(
                        {"site": TEXT, "rung": TEXT, "climate": TEXT, "water": TEXT, "reached_in": TEXTS}
                        | dict.fromkeys(
                            (
                                "pue",
                                "pue_at_half",
                                "pue_at_half_and_warm",
                                "usual_coolant_k",
                                "allowed_full_k",
                                "allowed_half_k",
                            ),
                            NUMBER,
                        )
                    )
                )
            }
        ),
        "cost": list_of(
            object_of(
                {"device": TEXT, "against": TEXT, "holds": FLAG}
                | {"target_ratio": NUMBER}
                | dict.fromkeys(("now_ratio", "at_price_usd", "at_rent_usd_per_s", "at_speed_ratio"), MAYBE)
            )
        ),
    }
)
ABOUT = "Fleets of several devices for one demand; SI numbers, a million tokens being output tokens."


def fleet_root(request: Schema, device: Schema, used: Schema, sources: Schema) -> tuple[str, Schema, Schema]:
    """What a document holds, with the parts that other documents have too."""
    return (
        ABOUT,
        {
            "request": request,
            "terms": _TERMS,
            "site": _SITE,
            "assumptions": list_of(
                object_of(
                    dict.fromkeys(("address", "unit", "source"), TEXT)
                    | dict.fromkeys(("value", "low", "high"), NUMBER)
                )
            ),
            "results": list_of(object_of(device | _RESULT)),
            "rankings": object_of({"cost": _RANKING, "carbon": _RANKING}),
            "notes": TEXTS,
            "presets": used,
            "sources": sources,
        },
        {"claims": _CLAIMS},
    )
