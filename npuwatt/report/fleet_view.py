"""Fleets for people: servers, hall, dollars and grams side by side; who is first, and which assumption decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuwatt.report.document import Report, Table
from npuwatt.report.fleet_claims import causes, claim_notes, claim_tables
from npuwatt.report.words import counted, label, percent, quantity, ratio, request_line
from npuwatt.units import show_time, show_usual

Record = dict[str, Any]
_COLUMNS = {
    "rent": ("rent",),
    "servers": ("servers", "spares"),
    "network": ("network",),
    "hall": ("facility", "colocation"),
    "upkeep": ("facility_opex", "maintenance", "software"),
    "energy": ("it_energy", "overhead_energy"),
    "staff": ("staff",),
}
_WORDS = {"cost": ("cheapest", "USD"), "carbon": ("emits least", "gCO2e")}
_FIELDS = {"cost": ("usd_per_million_tokens", 1.0), "carbon": ("kg_per_million_tokens", 1e3)}
_MOST_TURNS = 3
_OVER_PREDICTED = ", true over predicted"
_LEAST_PUE = 0.002  # a change that counts


def fleet_report(record: Record) -> Report:
    """Fleets side by side: what each needs, draws, costs and emits."""
    results = record["results"]
    fleets, halls = _fleet_table(results), _hall_table(results, record["terms"]["same"])
    costs, carbon = _cost_table(results), _carbon_table(results)
    claims = claim_tables(record) if "claims" in record else ()
    notes = [f"{label(result)}: {note}" for result in results for note in result["notes"]]
    return Report(
        heading=_heading(record),
        tables=(fleets, halls, costs, carbon, *claims),
        wide=(_joined(fleets, halls), costs, carbon, *claims),
        sentences=tuple(_sentences(record)),
        notes=(
            *_usual_notes(record),
            _price_note(record),
            *_making_notes(record),
            *_falling_notes(results),
            *_change_notes(results),
            *notes,
            *record["notes"],
            *claim_notes(record),
        ),
    )


def _heading(record: Record) -> str:
    terms, site = record["terms"], record["site"]
    what = request_line(record["request"] | {"batch": 0}).replace(", batch 0 running", "")
    power = ": as much as fills the first one's hall for it" if terms["same"] == "power" else ""
    return (
        f"fleets for {terms['demand']}{power}, peak {terms['peak_ratio']:.3g} times the mean, TTFT within "
        f"{quantity(terms['ttft_s'], 's')} and TPOT within {quantity(terms['tpot_s'], 's')}: {what}; "
        f"{site['datacenter']} ({site['rung']}, {site['climate']}, {site['water']}), grid of "
        f"{_grid(site, terms)}, {terms['ownership']}, {show_time(terms['server_life_s'])}"
    )


def _grid(site: Record, terms: Record) -> str:
    """Region with its carbon and, where energy is paid for, its tariff; a stand-in is flagged."""
    carbon = f"{quantity(3.6e9 * site['intensity_kg_per_j'])} gCO2e/kWh"
    by_market = " by contracts" if terms["basis"] == "market" else ""
    told = f"{site['region']} ({carbon}{by_market}"
    if terms["ownership"] == "rented":
        return f"{told})"
    flags = {"usual": f", US mean: none known for {site['region']}", "given": ", given", "grid": ""}
    return f"{told}, {quantity(3.6e6 * site['tariff_usd_per_j'])} USD/kWh{flags[site['tariff_basis']]})"


def _fleet_table(results: Sequence[Record]) -> Table:
    rows = tuple(
        (
            label(result), str(result["devices_per_replica"]), str(result["batch"]),
            quantity(result["peak_in_flight_count"] / result["replicas_count"]),
            quantity(result["ttft_s"], "s"), quantity(result["tpot_s"], "s"),
            f"{result['replicas_count']}+{result['spares_count']}", str(result["devices_count"]),
            str(result["servers_count"]), percent(result["mean_utilization_ratio"]),
        )
        for result in results
    )  # fmt: skip
    names = (
        "device", "each", "batch at most", "in flight", "TTFT", "TPOT", "replicas", "devices", "servers", "used",
    )  # fmt: skip
    return Table(columns=names, rows=rows)


def _hall_table(results: Sequence[Record], same: str) -> Table:
    """Of the same power: also how much each fleet delivers, and what is provisioned for it in the one hall."""
    is_power = same == "power"
    rows = []
    for result in results:
        row = [
            label(result), quantity(result["mean_it_w"], "W"), quantity(result["peak_it_w"], "W"),
            quantity(result["hall_it_w"], "W"), percent(result["hall_load_fraction"]), f"{result['pue']:.3f}",
            f"{result['tue']:.3f}", quantity(result["facility_j_per_year"] / 3600, "Wh"),
            quantity(result["tokens_per_s_per_feed_w"]),
        ]  # fmt: skip
        if is_power:
            row[3:3] = [quantity(result["provisioned_it_w"], "W")]
            row[1:1] = [f"{86400 * result['tokens_per_s']:.3g}"]
        rows.append(tuple(row))
    names = ["device", "IT at mean", "IT at peak", "hall", "load", "PUE", "TUE", "a year", "Mtok/s per MW"]
    if is_power:
        names[3:3] = ["provisioned"]
        names[1:1] = ["tokens/day"]
    return Table(columns=tuple(names), rows=tuple(rows))


def _cost_table(results: Sequence[Record]) -> Table:
    shown = [
        name
        for name, parts in _COLUMNS.items()
        if any(result["cost_by_part_usd"].get(part) for result in results for part in parts)
    ]
    rows = tuple(
        (
            label(result), quantity(result["usd_per_million_tokens"]),
            _ends(result["ranges"]["usd_per_million_tokens"], 1.0),
            *(quantity(sum(result["cost_by_part_usd"].get(part, 0.0) for part in _COLUMNS[name])) for name in shown),
            "in rent" if "rent" in result["cost_by_part_usd"] else percent(result["energy_cost_fraction"]),
            quantity(result["usd_per_device_hour"]),
        )
        for result in results
    )  # fmt: skip
    return Table(
        columns=("device", "$/Mtoken", "low to high", *shown, "share of energy", "$/device-hour"),
        rows=rows,
        title="dollars for a million output tokens, by part",
    )


def _carbon_table(results: Sequence[Record]) -> Table:
    rows = []
    for result in results:
        parts = result["carbon_by_part_kg"]
        made = 1e3 * (parts["devices"] + parts["server"])
        flux = result["die_flux_w_per_m2"]
        rows.append(
            (
                label(result), quantity(1e3 * result["kg_per_million_tokens"], "g"),
                _ends(result["ranges"]["kg_per_million_tokens"], 1e3, "g"),
                quantity(1e3 * parts["operational"], "g"), quantity(made, "g"),
                quantity(result["site_water_l_per_million_tokens"], "L"),
                quantity(result["grid_water_l_per_million_tokens"], "L"),
                f"{result['coolant_needed_k'] - 273.15:.0f} degC",
                "-" if flux is None else f"{flux / 1e4:.0f} W/cm2",
            )
        )  # fmt: skip
    return Table(
        columns=(
            "device",
            "CO2e/Mtoken",
            "low to high",
            "use",
            "making",
            "water on site",
            "of electricity",
            "coolant up to",
            "die flux",
        ),
        rows=tuple(rows),
        title="carbon and water for a million output tokens; coolant that the chip allows",
    )


def _ends(ends: Record, scale: float, unit: str = "") -> str:
    """An interval; its upper end may be none, where an assumption at its end lets no batch meet the limits."""
    low = quantity(ends["low"] * scale, unit)
    return f"{low} up" if ends["high"] is None else f"{low} to {quantity(ends['high'] * scale, unit)}"


def _joined(one: Table, other: Table) -> Table:
    """Two tables of the same devices as one."""
    rows = tuple((*left, *right[1:]) for left, right in zip(one.rows, other.rows, strict=True))
    return Table(columns=(*one.columns, *other.columns[1:]), rows=rows)


def _sentences(record: Record) -> list[str]:
    labels = {result["device"]: label(result) for result in record["results"]}
    found = [_ranked(record, name, labels) for name in record["rankings"]]
    return [*found, *_paid(record), *_bought(record["results"], record["terms"])]


def _paid(record: Record) -> list[str]:
    """When the larger capital of a fleet has paid for itself, if it does while its servers live."""
    first, *others = record["results"]
    life_s = record["terms"]["server_life_s"]
    found = []
    for result in others:
        if result["takes_more_capital"]:
            after_s = result["pays_back_s"]
            never = after_s is None or after_s > life_s
            when = (
                f"never pays it back within its {show_time(life_s)}"
                if never
                else f"pays it back after {show_time(after_s)}"
            )
            found.append(
                f"{label(result)} takes more capital than {label(first)} for the same tokens, and {when}."
            )
    return found


def _bought(results: Sequence[Record], terms: Record) -> list[str]:
    """Hours of use from which on buying is cheaper than renting, where both prices are known."""
    life_s, found = terms["server_life_s"], []
    for result in results:
        worth_usd = result["buying_npv_usd_per_device"]
        if worth_usd is None:
            continue
        after_s, rent = result["buying_break_even_s"], result["price"]["rent_usd_per_s"]
        when = "never" if after_s is None else f"after {after_s / 3600:,.0f} h of use ({show_time(after_s)})"
        found.append(
            f"{label(result)}: buying is cheaper than renting at {3600 * rent:.3g} USD/h {when}; over {show_time(life_s)} it "
            f"is worth {worth_usd:,.0f} USD a device today."
        )
    return found


def _ranked(record: Record, name: str, labels: dict[str, str]) -> str:
    """Who is first by a metric, by how much, and which assumption decides that."""
    ranking = record["rankings"][name]
    (word, unit), (field, scale) = _WORDS[name], _FIELDS[name]
    by_device = {result["device"]: result for result in record["results"]}
    values = [quantity(by_device[device][field] * scale, unit) for device in ranking["order"][:2]]
    first, *others = ranking["order"]
    is_cheap = "is the cheapest" if name == "cost" else word
    if not others:
        return f"{labels[first]}: {values[0]} for a million tokens."
    head = f"{labels[first]} {is_cheap}: {values[0]} for a million tokens against {values[1]} on {labels[others[0]]}."
    return f"{head} {_decided(ranking, labels)}"


def _decided(ranking: Record, labels: dict[str, str]) -> str:
    turns = ranking["turned_by"]
    if turns:
        told = "; ".join(_turn(turn, labels) for turn in turns[:_MOST_TURNS])
        more = len(turns) - _MOST_TURNS
        rest = f"; and {counted(more, 'other')}" if more > 0 else ""
        count = counted(len(turns), "single assumption") + (" turns" if len(turns) == 1 else " turn")
        return f"Not robust: {count} it. What decides it, each alone within its range: {told}{rest}."
    narrows = ranking["narrowed_by"]
    if narrows is None:
        return "No number behind it has a range."
    off = _off(narrows, narrows["at"], labels)
    at = f"if {off}" if off else f"with {narrows['assumption']} at {_shown(narrows, narrows['at'])}"
    return f"No assumption alone turns that; {at} the second comes nearest, to {ratio(narrows['gap_ratio'])} the first."


def _turn(turn: Record, labels: dict[str, str]) -> str:
    """One assumption: what it is, its range, and from where on which device is first."""
    then, at = labels[turn["first"]], turn["turned_at"]
    off = _off(turn, at, labels)
    if off:
        return f"{then} is first if {off}, or more ({_factors(turn)})"
    by_price = " (--price)" if turn["assumption"].startswith("prices.") else ""
    return (
        f"{turn['assumption']}{by_price}, assumed {_shown(turn, turn['value'])}, range {_shown(turn, turn['low'])} to "
        f"{_shown(turn, turn['high'])}: {then} is first at {_shown(turn, at)} and "
        f"{'below' if at < turn['value'] else 'above'}"
    )


def _off(ranged: Record, value: float, labels: dict[str, str]) -> str:
    """How far off a prediction is, in words: 'npu is 18 % faster than predicted'; nothing for another assumption."""
    name, _, rest = ranged["assumption"].removeprefix("devices.").rpartition(".")
    words = {"speed": ("slower", "faster"), "power": ("less", "more")}.get(rest.partition(",")[0])
    if not rest.endswith(_OVER_PREDICTED) or words is None:
        return ""
    verb = "draws" if words[0] == "less" else "is"
    return f"{labels.get(name, name)} {verb} {percent(abs(value - 1.0))} {words[value > 1.0]} than predicted"


def _factors(ranged: Record) -> str:
    return f"range {ratio(ranged['low'])} to {ratio(ranged['high'])} the prediction"


def _shown(ranged: Record, value: float) -> str:
    return show_usual(value, ranged["unit"])


def _usual_notes(record: Record) -> list[str]:
    terms = record["terms"]
    energies = "; ".join(
        f"{label(result)} {_range(result['confidence']['energy_j_per_million_tokens'], 1 / 3600, 'Wh')} "
        f"({result['confidence']['class']})"
        for result in record["results"]
    )
    power = (
        "; provisioned, power kept for a fleet in the first one's hall" if terms["same"] == "power" else ""
    )
    return [
        (
            "columns: each, devices of a replica; in flight, requests of a replica at the peak, where TTFT and TPOT hold too, "
            "without waiting for a place; replicas, those that serve + spares; used, of capacity on average; hall, IT power it is built "
            "for; load, of it on average; TUE, PUE and the server's own fans and supplies; Mtok/s per MW, of the feed; low to "
            f"high, every ranged input alone, combined in squares{power}; coolant up to, at which the chip keeps its limit; "
            "die flux, rated power over die area"
        ),
        (
            f"{percent(terms['headroom_fraction'])} of capacity is left free at the peak; spares stand by, powered; a server "
            f"holds {terms['server_devices_count']:.3g} devices, one filled in part is paid for in part"
        ),
        f"energy of a million tokens: {energies}",
        "assumed: "
        + ", ".join(f"{one['address']} {_shown(one, one['value'])}" for one in record["assumptions"])
        + "; --set changes them",
    ]


_BASES = {
    "given": "given",
    "assumed": "assumed for its class",
    "sale": "sold",
    "list": "listed",
    "build-cost": "cost of making it, by estimate: nobody sells it",
    "leak": "leaked, of a whole chip",
}


def _price_note(record: Record) -> str:
    """What each device is taken to cost, and whose price that is."""
    told, is_rent = [], record["terms"]["ownership"] == "rented"
    for result in record["results"]:
        price = result["price"]
        amount = price["rent_usd_per_s"] if is_rent else price["purchase_usd"]
        shown = f"{3600 * amount:.3g} USD/h" if is_rent else f"{amount:,.0f} USD"
        share = ", its share of a server included" if price["covers"] == "server" and not is_rent else ""
        dated = f" {price['dated']}" if price["dated"] else ""
        told.append(f"{label(result)} {shown}{share} ({_BASES[price['basis']]}{dated})")
    alone = "" if is_rent else " (--price tells that of a device alone, USD/server of a whole server)"
    return f"prices of a device: {'; '.join(told)}{alone}"


def _range(ends: Record, scale: float, unit: str) -> str:
    return f"{quantity(ends['low'] * scale, unit)} to {quantity(ends['high'] * scale, unit)}"


def _making_notes(record: Record) -> list[str]:
    assumed = [label(result) for result in record["results"] if result["is_carbon_of_making_assumed"]]
    return [f"carbon of making is assumed by class for {', '.join(assumed)}"] if assumed else []


def _falling_notes(results: Sequence[Record]) -> list[str]:
    """Why some fleets draw less at the peak than at the mean."""
    names = ", ".join(label(result) for result in results if result["peak_it_w"] < result["mean_it_w"])
    told = "a larger batch reads the weights once for more requests, and its power falls while its rate grows"
    return [f"{names}: IT draws less at the peak than at the mean: {told}"] if names else []


def _change_notes(results: Sequence[Record]) -> list[str]:
    """What the first fleet's hall does at another fleet's load, and why."""
    notes = []
    first = label(results[0])
    for result in results[1:]:
        change = result["change"]
        if change is None or abs(change["pue_after"] - change["pue_before"]) < _LEAST_PUE:
            continue
        notes.append(
            f"{label(result)}: in {first}'s hall it would be PUE {change['pue_before']:.3f} -> {change['pue_after']:.3f} "
            f"and {percent(change['facility_ratio'])} of the energy: {causes(change)}"
        )
    return notes
