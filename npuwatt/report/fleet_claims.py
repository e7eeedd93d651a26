"""Two common claims for people: a PUE of 1.05 at half the chip power, a cost 3 to 5 times lower."""

from __future__ import annotations

from typing import Any

from npuwatt.report.document import Table
from npuwatt.report.words import percent, quantity, ratio
from npuwatt.units import show_usual

Record = dict[str, Any]
_LEAST_CAUSE = 5e-4


def claim_tables(record: Record) -> tuple[Table, ...]:
    """The conditions under which each claim would hold."""
    claims = record["claims"]
    rungs = Table(
        title=f"a PUE of {claims['pue']['claimed']:g}: what each cooling rung needs for it",
        columns=("rung", "free cooling", "in this climate at", "chip allows", "at half power"),
        rows=tuple(_rung_row(rung) for rung in claims["pue"]["rungs"]),
    )
    if not claims["cost"]:
        return (rungs,)
    costs = Table(
        title=f"tokens so many times cheaper than on {claims['cost'][0]['against']}: what alone would do it",
        columns=("device", "claimed", "now", "price of a device", "tokens/s over predicted"),
        rows=tuple(
            (
                claim["device"], ratio(claim["target_ratio"]), ratio(claim["now_ratio"]),
                _price(claim),
                "none" if claim["at_speed_ratio"] is None else ratio(claim["at_speed_ratio"]),
            )
            for claim in claims["cost"]
        ),
    )  # fmt: skip
    return rungs, costs


def _price(claim: Record) -> str:
    if claim["at_rent_usd_per_s"] is not None:
        return show_usual(claim["at_rent_usd_per_s"], "USD/s")
    return "not for nothing" if claim["at_price_usd"] is None else quantity(claim["at_price_usd"], "USD")


def _rung_row(rung: Record) -> tuple[str, ...]:
    needed = rung["needed_free_fraction"]
    if needed is None:
        free, coolant = "its floor is above", "-"
    else:
        free = percent(needed)
        coolant = "none allowed" if rung["coolant_k"] is None else _celsius(rung["coolant_k"])
    return (rung["rung"], free, coolant, _celsius(rung["allowed_full_k"]), _celsius(rung["allowed_half_k"]))


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
    verdict = "holds" if pue["holds"] else "does not hold"
    alone = (
        f"half the chip power by itself brings the PUE from {pue['pue_before']:.3f} to {pue['pue_after']:.3f} "
        f"({causes(pue)}) and the hall's energy to {percent(pue['facility_ratio'])}: "
        f"the claim {verdict} here; what counts is the cooling, not the power"
    )
    notes = [alone]
    for rung in pue["rungs"]:
        if rung["reached_in"]:
            notes.append(f"{rung['rung']} reaches {pue['claimed']:g} in {'; '.join(rung['reached_in'])}")
    return notes
