"""Two common claims for people: a PUE of 1.05 at half the chip power, a cost 3 to 5 times lower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.report.document import Table
from npuwatt.report.words import label, percent, quantity, ratio
from npuwatt.units import show_usual

Record = dict[str, Any]
_LEAST_CAUSE = 5e-4
_IN_MEMORY = ("near-bank-pim", "crossbar")  # memory or cells compute


def claim_tables(record: Record) -> tuple[Table, ...]:
    """The conditions under which each claim would hold."""
    claims, results = record["claims"], record["results"]
    first = label(results[0])
    halls = Table(
        title=f"a PUE of {claims['pue']['claimed']:g}: halls built for {first}",
        columns=("site", "PUE", "at half power", "and warm coolant", "coolant now", f"{first} allows", "at half"),
        rows=tuple(
            (
                f"{hall['site']} ({hall['climate']}, {hall['water']})", f"{hall['pue']:.3f}", f"{hall['pue_at_half']:.3f}", f"{hall['pue_at_half_and_warm']:.3f}",
                *(_celsius(hall[name]) for name in ("usual_coolant_k", "allowed_full_k", "allowed_half_k")),
            )
            for hall in claims["pue"]["halls"]
        ),
    )  # fmt: skip
    computes = {result["device"] for result in results if result["kind"] in _IN_MEMORY}
    titles = (
        (f"claimed: PIM so many times cheaper than {first}; what alone would do it", True),
        (f"tokens so many times cheaper than on {first}: what alone would do it", False),
    )
    costs = [
        _cost_table(title, rows, {result["device"]: label(result) for result in results})
        for title, is_pim in titles
        if (rows := [claim for claim in claims["cost"] if (claim["device"] in computes) == is_pim])
    ]
    return (halls, *costs)


def _cost_table(title: str, claims: Sequence[Record], labels: dict[str, str]) -> Table:
    return Table(
        title=title,
        columns=("device", "times", "now", "price of a device", "tokens/s over predicted"),
        rows=tuple(
            (
                labels[claim["device"]], ratio(claim["target_ratio"]), _now(claim["now_ratio"]), _price(claim),
                "none" if claim["at_speed_ratio"] is None else ratio(claim["at_speed_ratio"]),
            )
            for claim in claims
        ),
    )  # fmt: skip


def _now(cheaper: float | None) -> str:
    if cheaper is None or cheaper == 0:
        return "-"
    return f"{cheaper:.3g}x cheaper" if cheaper >= 1 else f"{1 / cheaper:.3g}x dearer"


def _price(claim: Record) -> str:
    if claim["at_rent_usd_per_s"] is not None:
        return show_usual(claim["at_rent_usd_per_s"], "USD/s")
    return "no price, even 0" if claim["at_price_usd"] is None else quantity(claim["at_price_usd"], "USD")


def _celsius(temperature_k: float) -> str:
    return f"{temperature_k - 273.15:.0f} degC"


def causes(change: Record) -> str:
    """What raises and what lowers a PUE, the largest first, with the share of each."""
    found = sorted(change["causes_ratio"].items(), key=lambda one: -abs(one[1]))
    told = "; ".join(
        f"{word} by " + ", ".join(f"{name} ({sign * value:.3f})" for name, value in parts)
        for word, sign in (("raised", 1), ("lowered", -1))
        if (parts := [one for one in found if sign * one[1] >= _LEAST_CAUSE])
    )
    return told or "no part of it follows the load"


def claim_notes(record: Record) -> list[str]:
    """What halving the chip power does by itself, and where the claimed PUE is reached."""
    if "claims" not in record:
        return []
    pue = record["claims"]["pue"]
    here = record["site"]["datacenter"]
    verdict = "holds" if pue["holds"] else "does not hold"
    before = f"{here} is at {pue['claimed']:g} or below already; " if pue["holds_before"] else ""
    notes = [
        (
            f"{before}half the chip power by itself brings the PUE of {here} from {pue['pue_before']:.3f} to "
            f"{pue['pue_after']:.3f} ({causes(pue)}) and its energy to {percent(pue['facility_ratio'])}: a PUE of "
            f"{pue['claimed']:g} {verdict} here; compare PUE with 'at half power': what counts is the cooling, not the power"
        )
    ]
    reached = [
        f"{hall['site']} ({'; '.join(hall['reached_in'])})" for hall in pue["halls"] if hall["reached_in"]
    ]
    notes.append(
        f"at {pue['claimed']:g} or below with the chips as they are: {', '.join(reached) or 'no hall'}"
    )
    if record["claims"]["cost"]:
        notes.append(
            "compare 'now' with 'times': the price is that of a device alone (--price), everything else as it is; so is "
            "the speed, at the same power"
        )
    return notes
