"""fleet: servers and halls for a demand, and what a million tokens cost, emit and drink."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from npuwatt.cli import options as o
from npuwatt.cli.emit import check_format, check_output, emit
from npuwatt.cli.estimate import hint, warn

_ASKED, _SITE, _MONEY = "What is asked", "Where it stands", "What it costs"


def _option(name: str, metavar: str, text: str, panel: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel, **more)


_DEMAND = Annotated[
    str, _option("--demand", "RATE", "Requests or output tokens on average: 10req/s, 1e9token/day.", _ASKED)
]
_PEAK = Annotated[
    float | None, _option("--peak", "RATIO", "Demand at its peak over the mean.", _ASKED, show_default="1.5")
]
_TTFT = Annotated[str, _option("--ttft", "TIME", "Longest time to the first token.", _ASKED)]
_TPOT = Annotated[str, _option("--tpot", "TIME", "Longest time for each further token.", _ASKED)]
_SAME = Annotated[
    str,
    _option(
        "--same", "WHAT", "work: each meets the demand; power: each fills the hall that the first one needs.", _ASKED,
        autocompletion=lambda incomplete: ["work", "power"],
    ),
]  # fmt: skip
_CLAIMS = Annotated[
    bool,
    typer.Option(
        "--claims", rich_help_panel=_ASKED,
        help="Add when a PUE of 1.05 at half the chip power, and a cost 3 to 5 times lower, would hold.",
    ),
]  # fmt: skip
_HALL = Annotated[
    str,
    _option("--site", "NAME", "Hall: preset name or path.", _SITE, autocompletion=o.complete("datacenters")),
]
_CLIMATE = Annotated[
    str | None,
    _option(
        "--climate", "NAME", "cold, temperate, hot-dry or hot-humid.", _SITE, show_default="the hall's",
        autocompletion=lambda incomplete: ["cold", "temperate", "hot-dry", "hot-humid"],
    ),
]  # fmt: skip
_WATER = Annotated[
    str | None,
    _option(
        "--water", "NAME", "Use of water in cooling: evaporative, hybrid or dry.", _SITE, show_default="the hall's",
        autocompletion=lambda incomplete: ["evaporative", "hybrid", "dry"],
    ),
]  # fmt: skip
_GRID = Annotated[
    str, _option("--grid", "REGION", "Electricity: country, state of the USA or cloud region.", _SITE)
]
_BASIS = Annotated[
    str,
    _option(
        "--basis", "WHICH", "Carbon of use: location (what the grid emits) or market (contracts of the grid preset).",
        _SITE, autocompletion=lambda incomplete: ["location", "market"],
    ),
]  # fmt: skip
_YEARS = Annotated[float | None, _option("--years", "N", "Life of servers.", _MONEY, show_default="4")]
_PRICE = Annotated[
    list[str] | None,
    _option(
        "--price", "DEVICE=USD", "Price of a device alone, USD/server of a whole server, or USD/h of its rent. Repeatable.", _MONEY,
        show_default="of presets, or assumed by class",
    ),
]  # fmt: skip
_RENT = Annotated[bool, typer.Option("--rent", rich_help_panel=_MONEY, help="Rent devices by the hour.")]
_COLOCATION = Annotated[
    bool, typer.Option("--colocation", rich_help_panel=_MONEY, help="Own devices in a rented hall.")
]


def fleet(
    devices: o.DEVICES,
    demand: _DEMAND = "1e10token/day",
    peak: _PEAK = None,
    ttft: _TTFT = "2s",
    tpot: _TPOT = "50ms",
    same: _SAME = "work",
    claims: _CLAIMS = False,
    site: _HALL = "hyperscale",
    climate: _CLIMATE = None,
    water: _WATER = None,
    grid: _GRID = "united-states",
    basis: _BASIS = "location",
    years: _YEARS = None,
    price: _PRICE = None,
    rent: _RENT = False,
    colocation: _COLOCATION = False,
    network: o.NETWORK = "llama-3.1-8b",
    input_len: o.INPUT_LEN = None,
    output_len: o.OUTPUT_LEN = None,
    count: o.COUNT = None,
    stack: o.STACK = None,
    expert_parallel: o.EXPERT_PARALLEL = False,
    data_parallel: o.DATA_PARALLEL = 1,
    weights: o.WEIGHTS = None,
    activations: o.ACTIVATIONS = None,
    kv_cache: o.KV_CACHE = None,
    changes: o.SET = None,
    presets: o.PRESETS = None,
    style: o.FORMAT = None,
    as_json: o.JSON = False,
    output: o.OUTPUT = None,
    no_color: o.NO_COLOR = False,
    debug: o.DEBUG = False,
) -> None:
    """Servers, hall, dollars, carbon and water for a demand, device by device.

    \b
      npuwatt fleet gpu npu pim
      npuwatt fleet h100-sxm b200-sxm --network llama-3.3-70b --demand 100req/s --ttft 1s --tpot 40ms
      npuwatt fleet gpu pim --site direct-to-chip --climate cold --grid norway --price pim=8000USD
      npuwatt fleet gpu npu --same power --set money.tariff=0.20USD/kWh
      npuwatt fleet gpu pim --claims
    """
    style = check_format(style, as_json)
    check_output(output)
    from npuwatt.errors import RequestError
    from npuwatt.report.fleet import fleet_record
    from npuwatt.report.fleet_view import fleet_report
    from npuwatt.study.fleet import fleet as answer

    if rent and colocation:
        raise RequestError("--rent with --colocation: one contradicts the other; expected one of the two")
    found = answer(
        devices, demand=demand, peak=peak, ttft=ttft, tpot=tpot, same=same, basis=basis, claims=claims, site=site,
        climate=climate, water=water, grid=grid, years=years, prices=price or (),
        ownership="rented" if rent else "colocation" if colocation else "owned", network=network,
        input_len=input_len, output_len=output_len, devices=count, stack=stack, expert_parallel=expert_parallel,
        data_parallel=data_parallel, weights=weights, activations=activations, kv_cache=kv_cache,
        changes=changes or (), presets=o.folders(presets),
    )  # fmt: skip
    warn([*found.question.warnings, *found.ground.warnings])
    emit(fleet_record(found), fleet_report, style=style, output=output, no_color=no_color)
    hint(f"npuwatt estimate {devices[0]} --serving", "shows where the time and energy of a step go")
