"""npuwatt fleet from outside: every format, its schema, its width, its faults."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

import npuwatt
from npuwatt import schema_of

if TYPE_CHECKING:
    from conftest import Quick, Screen

CASES = (
    ("gpu",),
    ("gpu", "b200", "npu", "pim", "--claims"),
    ("gpu", "npu", "--same", "power", "--site", "immersion", "--grid", "us-texas", "--climate", "hot-dry"),
    ("gpu", "h200", "--rent", "--claims"),
    ("gpu", "npu", "--rent", "--price", "gpu=0USD/h", "--price", "npu=0USD/h", "--claims"),
    ("gpu", "pim", "--demand", "1e-3req/s"),
    ("gpu", "pim", "--colocation", "--price", "pim=3000", "--years", "5", "--peak", "2"),
    ("gpu", "--price", "gpu=300000USD/server", "--set", "datacenter.parts.design_it=1MW", "--claims"),
    ("gpu", "--set", "grid.market=0gCO2e/kWh", "--basis", "market", "--grid", "poland"),
    ("gpu", "--network", "qwen3-30b-a3b", "--devices", "8", "--data-parallel", "4", "--expert-parallel"),
    ("gpu", "npu", "--set", "datacenter.pue=1.3", "--set", "money.tariff=0.2USD/kWh"),
)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_its_json_passes_its_schema(quick: Quick, case: tuple[str, ...]) -> None:
    done = quick("fleet", *case, "--json")
    assert (done.code, done.err) == (0, "")
    record = done.json()
    Draft202012Validator(schema_of("fleet")).validate(record)
    for result in record["results"]:
        assert sum(result["cost_by_part_usd"].values()) == pytest.approx(result["usd_per_million_tokens"])
        assert sum(result["carbon_by_part_kg"].values()) == pytest.approx(result["kg_per_million_tokens"])
        assert result["pue"] >= 1
    assert ("claims" in record) == ("--claims" in case)
    assert {source["key"] for source in record["sources"]} >= {"epoch-cost-trends", "ecologits"}


def test_a_schema_refuses_a_document_without_a_price(quick: Quick) -> None:
    record = quick("fleet", "gpu", "--json").json()
    del record["results"][0]["price"]
    assert not Draft202012Validator(schema_of("fleet")).is_valid(record)


@pytest.mark.parametrize("style", ["table", "plain", "json", "jsonl", "csv", "markdown"])
def test_it_speaks_every_format(quick: Quick, style: str) -> None:
    done = quick("fleet", "gpu", "pim", "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "csv":
        rows = list(csv.DictReader(io.StringIO(done.out)))
        assert [row["device"] for row in rows] == ["gpu", "pim"]
        assert float(rows[0]["cost_by_part_usd.it_energy"]) > 0
    elif style == "jsonl":
        assert len(done.lines()) == 2
    elif style != "json":
        assert "is the cheapest" in done.out
        assert "emits least" in done.out
        assert "What decides it" in done.out


@pytest.mark.parametrize("width", [80, 190])
def test_it_fits_a_terminal(screen: Screen, plain_text: Any, width: int) -> None:
    done = screen("fleet", "gpu", "b200-sxm", "pim", "--claims", width=width)
    text = plain_text(done.out)
    assert done.code == 0
    assert max(map(len, text.splitlines())) <= width
    assert (
        "IT at mean" in next(line for line in text.splitlines() if "batch" in line and "TTFT" in line)
    ) == (width == 190)


def test_the_assumed_is_said_to_be_so(quick: Quick) -> None:
    out = quick("fleet", "gpu", "pim").out
    assert "gpu 37,500 USD, its share of a server included (sold 2022-09 to 2026-03)" in out
    assert "pim 10,000 USD (assumed for its class)" in out
    assert "pim 9,000 USD (given)" in quick("fleet", "gpu", "pim", "--price", "pim=9000USD").out
    assert "carbon of making is assumed by class for npu, pim" in quick("fleet", "gpu", "npu", "pim").out


def test_share_of_energy_is_printed(quick: Quick) -> None:
    record = quick("fleet", "gpu", "--json").json()
    share = record["results"][0]["energy_cost_fraction"]
    assert "share of energy" in quick("fleet", "gpu").out
    assert f"{100 * share:.0f} %" in quick("fleet", "gpu").out
    assert share < 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["gpu", "--tpot", "1ms"], "TPOT limit of 1 ms: no batch meets it; the least is"),
        (["gpu", "--ttft", "1ms"], "TTFT limit of 1 ms: no batch meets it; the least is"),
        (["gpu", "--grid", "frnace"], "unknown region 'frnace'; did you mean 'france'?"),
        (["gpu", "--site", "hyperscal"], "unknown datacenter 'hyperscal'; did you mean 'hyperscale'?"),
        (["gpu", "--site", "xyz"], "expected one of air-enterprise, direct-to-chip, hyperscale, immersion, or a path"),
        (["gpu", "--basis", "market"], "--basis market: no contracts are known for United States; expected --set grid.m"),
        (["gpu", "--basis", "markt"], "--basis: 'markt' given; did you mean 'market'?"),
        (["gpu", "--demand", "1e300req/s"], "--demand: '1e300req/s' given"),
        (["gpu", "--ttft", "1e-320s"], "--ttft: '1e-320s' given; expected a time above 0"),
        (["gpu", "--set", "money.tariff=1e300USD/J"], "costs or carbon beyond any number"),
        (["gpu", "--climate", "tempearte"], "--climate: 'tempearte' given; did you mean 'temperate'?"),
        (["gpu", "--set", "datacenter.coolant=27.1degC"],
            "hall 'hyperscale': coolant: 27.1 degC given; expected at most 27 degC, the warmest of contained-air"),
        (["gpu", "--set", "datacenter.rung=imersion"], "hall 'hyperscale': rung: 'imersion' given; did you mean 'immersion'?"),
        (["gpu", "--water", "wet"], "--water: 'wet' given; expected one of evaporative, hybrid, dry"),
        (["gpu", "--price", "gpu=-5"], "--price gpu: price: -5 given; expected a finite number, 0 or more"),
        (["gpu", "--price", "gpu=300EUR"], "--price gpu: '300EUR' is not in USD"),
        (["gpu", "--price", "gpu=3USD/h"], "--price 'gpu=3USD/h': a rent, and nothing is rented; expected --rent"),
        (["gpu", "--rent", "--price", "gpu=2USD/h/server"], "--price gpu: '2USD/h/server' has an unknown unit"),
        (["gpu", "--price", "gpuu=3"], "names no device asked for; did you mean 'gpu'?"),
        (["gpu", "--price", "3"], "names no device asked for; expected DEVICE=USD, as in gpu=30000USD"),
        (["gpu", "--years", "0"], "--years: 0 given; expected a life above 0"),
        (["gpu", "--set", "datacenter.pue=0.9"], "datacenter.pue: 0.9 given; expected a number from 1 to 100"),
        (["gpu", "--set", "money.average_power=120%"], "1.2 given; expected a share from 0 to 1"),
        (["gpu", "--set", "money.tariff=0.1EUR/kWh"], "is not in USD"),
        (["gpu", "--set", "money.tarif=1USD/kWh"], "did you mean 'tariff'?"),
        (["gpu", "--set", "money.tariff"], "--set 'money.tariff': expected ADDRESS=VALUE"),
        (["gpu", "--set", "money=5"], "--set 'money=5': expected ADDRESS=VALUE, as in money.tariff=0.10USD/kWh"),
        (["gpu", "--set", "MONEY.tariff=1USD/kWh"], "unknown address 'MONEY.tariff'; did you mean 'money.tariff'?"),
        (["gpu", "--set", "tariff=1USD/kWh"], "unknown address 'tariff'; expected one under datacenter, grid, "),
        (["gpu", "--set", "prices.devices.h100-sxm.purchase=1USD"], "expected --price, as in --price gpu=30000USD"),
        (["gpu", "--price", "gpu="], "--price 'gpu=': tells no amount; expected gpu=30000USD or the like"),
        (["gpu", "--price", "gpu=1e308"], "--price gpu: '1e308' given; expected at most 1e+12 USD"),
        (["gpu", "--demand", "5"], "--demand: '5' given; expected requests or output tokens in a time"),
        (["gpu", "--demand", "0req/s"], "--demand: '0req/s' given"),
        (["gpu", "--peak", "0.5"], "--peak: 0.5 given; expected a peak over the mean, 1 or more"),
        (["gpu", "--same", "thing"], "--same: 'thing' given; expected one of work, power"),
        (["pim", "--rent"], "device 'pim': nobody tells what it rents for; expected --price pim=2.5USD/h"),
        (["gpu", "--rent", "--colocation"], "one contradicts the other"),
        (["gpu", "gpu"], "a device is named twice"),
        (["gpu", "h100-sxm"], "gpu and h100-sxm are one device, h100-sxm, at one price; expected it once, or --price or --s"),
        (["npu", "gpu", "h100", "--price", "gpu=9USD", "--price", "h100=9USD"], "gpu and h100 are one device, h100-sxm"),
        (["gpu", "--network", "llama-3.1-405b", "--devices", "1"], "device 'gpu' does not hold this network"),
        (["gpu", "--network", "resnet-50"], "answers in one pass"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_a_fault_is_one_line(quick: Quick, options: list[str], said: str) -> None:
    done = quick("fleet", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.startswith("npuwatt: ")
    assert done.err.count("\n") == 1


def test_a_number_outside_its_range_is_warned_of(quick: Quick) -> None:
    done = quick("fleet", "gpu", "--set", "money.tariff=3USD/kWh")
    assert done.code == 0
    assert "warning: money.tariff: 3 USD/kWh is outside" in done.err


def test_the_library_offers_what_the_command_does(quick: Quick) -> None:
    found = npuwatt.fleet_record(npuwatt.fleet(["gpu", "npu"]))
    assert found == quick("fleet", "gpu", "npu", "--json").json()


def test_what_a_smaller_fleet_does_to_the_first_hall_is_told_with_causes(quick: Quick) -> None:
    out = quick("fleet", "pim", "npu").out
    assert "npu: in pim's hall it would be PUE 1.1" in out
    assert "raised by standing losses (0.0" in out
    assert "in gpu's hall" not in quick("fleet", "gpu", "h200").out  # by less than 0.002
    assert "pim: it needs 2.53 times the hall of the first fleet" in quick("fleet", "gpu", "pim").out


def test_claims_say_whom_they_are_about_and_by_how_much(quick: Quick) -> None:
    out = quick("fleet", "gpu", "b200", "pim", "--claims").out
    assert "claimed: PIM so many times cheaper than gpu" in out
    assert "tokens so many times cheaper than on gpu" in out
    assert "2.94x dearer" in out
    assert "no price, even 0" in out
    assert "gpu allows" in out
    assert "is at 1.05 or below already" not in out
    cold = ("--site", "immersion", "--climate", "cold", "--water", "hybrid")
    assert "immersion is at 1.05 or below already" in quick("fleet", "gpu", *cold, "--claims").out


def test_what_decides_is_told_in_words_with_its_range(quick: Quick) -> None:
    done = quick("fleet", "gpu", "npu")
    assert "Not robust: " in done.out
    assert "than predicted, or more (range " in done.out
    assert (
        "planning.purchase.data-centre-NPU, assumed 10000 USD, range 2000 USD to 30000 USD: npu is first at"
        in done.out
    )
    assert "npu: IT draws less at the peak than at the mean" in done.out
    record = quick("fleet", "gpu", "npu", "--json").json()
    ends = record["results"][0]["ranges"]["usd_per_million_tokens"]
    assert ends["low"] < record["results"][0]["usd_per_million_tokens"] < ends["high"]
    assert f"{ends['low']:.3g} to {ends['high']:.3g}" in done.out


def test_the_same_power_tells_what_is_delivered_and_provisioned(quick: Quick) -> None:
    out = quick("fleet", "gpu", "npu", "--same", "power").out
    assert "tokens/day" in out
    assert "provisioned" in out
    assert "tokens/day" not in quick("fleet", "gpu", "npu").out.replace("token/day", "").splitlines()[2]


def test_the_heading_tells_tariff_and_carbon_and_flags_a_stand_in(quick: Quick) -> None:
    def heading(*options: str) -> str:
        return quick("fleet", "gpu", *options).out.splitlines()[0]

    assert "grid of United States (384 gCO2e/kWh, 0.0826 USD/kWh), owned" in heading()
    assert "0.0826 USD/kWh, US mean: none known for Poland)" in heading("--grid", "poland")
    assert "0.2 USD/kWh, given)" in heading("--set", "money.tariff=0.2USD/kWh")
    assert "USD/kWh" not in heading("--rent")
    market = heading("--set", "grid.market=20gCO2e/kWh", "--basis", "market")
    assert "(20 gCO2e/kWh by contracts, " in market


def test_what_pays_back_only_after_its_life_never_does(quick: Quick) -> None:
    out = quick("fleet", "gpu", "npu").out
    assert (
        "npu takes more capital than gpu for the same tokens, and never pays it back within its 4 years."
        in out
    )
    record = quick("fleet", "gpu", "npu", "--json").json()
    assert [result["takes_more_capital"] for result in record["results"]] == [False, True]
    cheap = quick("fleet", "npu", "gpu", "--set", "money.tariff=0.2USD/kWh", "--price", "gpu=1").out
    assert "pays it back" not in cheap


def test_buying_against_renting_is_a_line(quick: Quick) -> None:
    out = quick("fleet", "gpu", "npu").out
    assert "gpu: buying is cheaper than renting at 2.46 USD/h after " in out
    assert "npu: buying" not in out


def test_the_main_assumptions_are_named_with_what_changes_them(quick: Quick) -> None:
    out = quick("fleet", "gpu", "--set", "money.cost_of_capital=6%").out
    (line,) = [line for line in out.splitlines() if line.startswith("note: assumed: ")]
    for address in (
        "money.cost_of_capital 0.06",
        "money.server_price",
        "money.facility",
        "money.network",
        "money.staff",
    ):
        assert address in line
    assert out.count("note: columns: ") == 1


@pytest.mark.parametrize(
    "change",
    ["parts.design_it=200MW", "parts.chiller.approach=298.15K", "coolant=1K", "parts.design_it=20kW"],
)
def test_a_hall_that_cannot_be_is_named_in_one_line(quick: Quick, change: str) -> None:
    done = quick("fleet", "gpu", "--set", f"datacenter.{change}")
    assert (done.code, done.out) == (2, "")
    told = done.err.strip().splitlines()
    assert told[-1].startswith("npuwatt: ")
    assert "hall" in told[-1]
    assert not [line for line in told if not line.startswith(("npuwatt: ", "warning: "))]


def test_a_coolant_as_warm_as_its_rung_takes_is_accepted(quick: Quick) -> None:
    for site, most in (("hyperscale", "27degC"), ("direct-to-chip", "45degC")):
        assert quick("fleet", "gpu", "--site", site, "--set", f"datacenter.coolant={most}").code == 0


def test_one_device_at_two_prices_or_with_two_powers_may_be_told_apart(quick: Quick) -> None:
    for apart in (("--price", "gpu=20000USD"), ("--set", "devices.gpu.power_cap=690W")):
        assert quick("fleet", "gpu", "h100-sxm", *apart).code == 0


def test_claims_look_at_all_halls_in_the_climate_that_was_asked_for_and_say_so_in_each_row(
    quick: Quick,
) -> None:
    asked = quick("fleet", "gpu", "--claims", "--climate", "cold", "--json").json()
    own = quick("fleet", "gpu", "--claims", "--json").json()
    for hall, usual in zip(asked["claims"]["pue"]["halls"], own["claims"]["pue"]["halls"], strict=True):
        assert (hall["climate"], usual["climate"]) == ("cold", "temperate")
        assert hall["water"] == usual["water"]  # nothing else was asked for
        alone = quick("fleet", "gpu", "--site", hall["site"], "--climate", "cold", "--json").json()
        assert hall["pue"] == pytest.approx(alone["results"][0]["pue"])
    out = quick("fleet", "gpu", "--claims", "--climate", "cold", "--water", "dry").out
    for site in ("air-enterprise", "direct-to-chip", "hyperscale", "immersion"):
        assert f"{site} (cold, dry)" in out
