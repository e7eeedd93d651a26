"""Who wins a phase and a kind of op: kinds sum to phases, winners are the least, and the reason given is the real one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.costs import COMPONENTS
from npuwatt.preset import library
from npuwatt.report.records import compare_record
from npuwatt.study.compare import compare
from npuwatt.study.winners import CLOSE, GROUPS, KindCosts, kinds_of, saved_on, together

INDEX = library.index()
BOARDS = ("gpu", "npu", "pim", "crossbar")
CASES: dict[str, dict[str, Any]] = {
    "chat": {},
    "many at once": {"batch": 64, "network": "mixtral-8x7b", "devices": 8},
    "most on one pass": {"network": "resnet-50"},
    "server": {"mode": "serving", "batch": 16},
    "server of experts": {"mode": "serving", "batch": 64, "network": "qwen3-30b-a3b"},
    "server that reads no prompts": {"mode": "serving", "prefill": False},
    "hybrid": {"network": "nemotron-nano-9b-v2", "batch": 5},
}
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


@pytest.fixture(scope="module", params=CASES)
def record(request: pytest.FixtureRequest) -> Row:
    return compare_record(compare(BOARDS, **CASES[request.param]))


def total_j(value: Any) -> float:
    return float(np.sum(np.asarray(value)))


def costs_of(record: Row, phase: str, kind: str | None) -> dict[str, Row]:
    """What each device that fits, can be deployed and has any spends on a kind of op, or on the whole phase."""
    return {
        result["device"]: one
        for result in record["results"]
        if result["fits"] and (result["exactness"] or {}).get("verdict") not in ("do not deploy", "unknown")
        for own in result["phases"] if own["phase"] == phase
        for one in (own, *own["kinds"]) if one.get("kind") == kind
    }  # fmt: skip


def winner_of(record: Row, phase: str, kind: str | None) -> Row:
    (found,) = (one for one in record["winners"] if (one["phase"], one["kind"]) == (phase, kind))
    return found  # type: ignore[no-any-return] # a row of the record


@given(
    batch=st.integers(1, 300),
    lengths=st.tuples(st.integers(1, 4000), st.integers(1, 2000)),
    device=st.sampled_from(BOARDS),
    mode=st.sampled_from(["step", "serving"]),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_kinds_sum_to_their_phase(batch: int, lengths: tuple[int, int], device: str, mode: str) -> None:
    asked: Row = {"batch": batch, "input_len": lengths[0], "output_len": lengths[1], "mode": mode}
    (answer,) = compare([device], devices=40, **asked).answers
    for phase in answer.phases:
        kinds = kinds_of(phase)
        assert set(kinds) - {"software"} == set(phase.ops.kinds)
        whole = together(kinds.values())
        assert whole.time_s == pytest.approx(phase.costs.time_s.item(), rel=1e-9)
        assert whole.energy_j == pytest.approx(sum(map(total_j, phase.costs.energy_j.values())), rel=1e-9)
        for name, joules in phase.costs.energy_j.items():
            assert whole.energy_by_component_j[name] == pytest.approx(joules.item(), rel=1e-9, abs=1e-12)


def test_static_energy_goes_with_time(record: Row) -> None:
    for result in record["results"]:
        for phase in result["phases"]:
            power_w = phase["energy_by_component_j"]["static"] / phase["time_s"]
            for kind in phase["kinds"]:
                assert kind["energy_by_component_j"]["static"] == pytest.approx(
                    power_w * kind["time_s"], rel=1e-9
                )


def test_a_winner_is_the_least_of_all_that_run_it(record: Row) -> None:
    assert {winner["phase"] for winner in record["winners"]} == {
        phase["phase"] for result in record["results"] for phase in result["phases"]
    }
    for winner in record["winners"]:
        costs = costs_of(record, winner["phase"], winner["kind"])
        assert winner["devices"] == list(costs)
        for field, what, unit in (("fastest", "time", "s"), ("least_energy", "energy", "j")):
            lead, values = winner[field], {name: one[f"{what}_{unit}"] for name, one in costs.items()}
            first, *others = sorted(values.values())
            assert values[lead["device"]] == first
            assert set(lead["close"]) == {name for name, one in values.items() if one <= CLOSE * first} - {
                lead["device"]
            }
            if others:
                assert values[lead["next"]] == others[0]
                assert lead[f"{what}_ratio"] == pytest.approx(others[0] / first, rel=1e-12)
            else:
                assert (lead["next"], lead[f"{what}_ratio"]) == (None, None)


def test_every_kind_that_a_device_runs_has_a_winner_once(record: Row) -> None:
    ran = {
        (phase["phase"], kind["kind"])
        for result in record["results"] if result["fits"] for phase in result["phases"] for kind in phase["kinds"]
    }  # fmt: skip
    won = [(winner["phase"], winner["kind"]) for winner in record["winners"] if winner["kind"]]
    assert len(won) == len(set(won))
    assert set(won) == ran


def test_what_sets_the_time_is_that_of_the_winner_and_of_the_next(record: Row) -> None:
    for winner in record["winners"]:
        lead, costs = winner["fastest"], costs_of(record, winner["phase"], winner["kind"])
        assert (lead["bound_by"], lead["where"]) == tuple(
            costs[lead["device"]][x] for x in ("bound_by", "where")
        )
        if lead["next"]:
            assert (lead["next_bound_by"], lead["next_where"]) == tuple(
                costs[lead["next"]][x] for x in ("bound_by", "where")
            )


def test_the_saving_is_the_greatest_and_all_savings_make_the_difference(record: Row) -> None:
    assert sorted(name for group in GROUPS for name in group) == sorted(COMPONENTS)
    for winner in (winner for winner in record["winners"] if len(winner["devices"]) > 1):
        lead, costs = winner["least_energy"], costs_of(record, winner["phase"], winner["kind"])
        own, other = (costs[lead[name]]["energy_by_component_j"] for name in ("device", "next"))
        saved = {group: sum(other.get(name, 0.0) - own.get(name, 0.0) for name in group) for group in GROUPS}
        assert lead["saved_j"] == pytest.approx(max(saved.values()), rel=1e-9)
        assert lead["saved_j"] == pytest.approx(saved[tuple(lead["saved_on"])], rel=1e-9)
        difference_j = costs[lead["next"]]["energy_j"] - costs[lead["device"]]["energy_j"]
        assert sum(saved.values()) == pytest.approx(difference_j, rel=1e-9, abs=1e-9 * sum(other.values()))


@pytest.mark.parametrize(
    ("change", "phase", "kind", "saved_on_first"),
    [
        ("mac_energy.bf16=9pJ/MAC", "prefill", "matmul", "arithmetic"),
        ("levels.dram.read_energy=400pJ/B", "decode", "matmul", "dram"),
        ("levels.l2.read_energy=90pJ/bit", "decode", "attention", "on_chip"),
        ("link.energy=9nJ/B", "prefill", "all-reduce", "links"),
        ("static_power=180W", "decode", None, "static"),
    ],
)
def test_the_reason_is_what_was_changed(
    change: str, phase: str, kind: str | None, saved_on_first: str
) -> None:
    # One board twice; of the second one number is worse, and no power cap stretches either.
    changes = [f"devices.{name}.power_cap=90kW" for name in ("gpu", "h100-sxm")]
    found = compare_record(
        compare(["gpu", "h100-sxm"], devices=2, changes=[*changes, f"devices.gpu.{change}"])
    )
    lead = winner_of(found, phase, kind)["least_energy"]
    assert (lead["device"], lead["next"], lead["saved_on"][0]) == ("h100-sxm", "gpu", saved_on_first)
    difference_j = np.subtract(
        *(costs_of(found, phase, kind)[name]["energy_j"] for name in ("gpu", "h100-sxm"))
    )
    assert lead["saved_j"] == pytest.approx(difference_j, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "phase", "bound_by"),
    [
        ("levels.dram.bandwidth=100GB/s", "decode", "memory"),
        ("peak.bf16=10TFLOPS", "prefill", "compute"),
        ("power_cap=200W", "prefill", "power"),
    ],
)
def test_the_loser_is_held_by_what_was_taken_from_it(change: str, phase: str, bound_by: str) -> None:
    changes = ["devices.h100-sxm.power_cap=90kW", f"devices.gpu.{change}"]
    lead = winner_of(compare_record(compare(["gpu", "h100-sxm"], changes=changes)), phase, "matmul")[
        "fastest"
    ]
    assert (lead["device"], lead["next"], lead["next_bound_by"]) == ("h100-sxm", "gpu", bound_by)
    assert lead["time_ratio"] > 1


def test_a_crossbar_runs_products_with_weights_in_its_arrays_and_the_rest_on_its_host(record: Row) -> None:
    (crossbar,) = (result for result in record["results"] if result["kind"] == "crossbar")
    for phase in crossbar["phases"]:
        for kind in phase["kinds"]:
            inside = kind["kind"] in ("matmul", "experts", "convolution")
            assert kind["where"] == (
                None if kind["kind"] == "software" else ["arrays"] if inside else ["host"]
            )
            # What runs in arrays and nothing else spends energy in converters.
            assert (kind["energy_by_component_j"]["conversion"] > 0) == inside


@pytest.mark.parametrize("batch", [1, 64])
def test_a_near_bank_board_says_where_bytes_are_read(batch: int) -> None:
    (answer,) = compare(["pim"], batch=batch, devices=8).answers
    for phase in answer.phases:
        inside_bytes = np.broadcast_to(phase.level_bytes["banks"], phase.time_s.shape)[0]
        for name, kind in kinds_of(phase).items():
            own = [bool(inside_bytes[i]) for i, other in enumerate(phase.ops.kinds) if other == name]
            assert set(kind.where) == {"banks" if inside else "host" for inside in own}
            assert sum(kind.place_s.values()) == pytest.approx(kind.time_s, rel=1e-12)
            assert [kind.place_s[place] for place in kind.where] == sorted(
                kind.place_s.values(), reverse=True
            )
    decode = kinds_of(answer.phases[1])["matmul"]
    assert decode.where == (
        ("banks",) if batch == 1 else ("host",)
    )  # a batch reuses weights, and banks do not


def test_boards_whose_memory_does_not_compute_have_one_place(record: Row) -> None:
    for result in (result for result in record["results"] if result["kind"] == "accelerator"):
        assert all(one["where"] is None for phase in result["phases"] for one in (phase, *phase["kinds"]))


def test_only_the_device_that_is_cut_over_boards_sums_over_links() -> None:
    # 141 GB of weights: two boards of 80 GB, or one of 141 GB or more.
    found = compare_record(compare(["h100-sxm", "b200-sxm"], network="llama-3.1-70b"))
    winner = winner_of(found, "decode", "all-reduce")
    assert winner["devices"] == ["h100-sxm"]
    assert (winner["fastest"]["next"], winner["least_energy"]["next"]) == (None, None)
    assert (winner["least_energy"]["saved_on"], winner["least_energy"]["saved_j"]) == (None, None)
    assert winner["why"] == "links"


def test_who_does_not_fit_takes_no_part() -> None:
    asked: Row = {"network": "llama-3.1-70b", "devices": 1}
    found = compare_record(compare(["gpu", "h200-sxm", "b200-sxm"], **asked))
    assert [result["fits"] for result in found["results"]] == [False, True, True]
    assert found["winners"]
    assert all(winner["devices"] == ["h200-sxm", "b200-sxm"] for winner in found["winners"])
    assert compare_record(compare(["gpu", "h200-sxm"], **asked))["winners"] == []


def test_equal_devices_are_equally_good() -> None:
    for winner in compare_record(compare(["gpu", "h100-sxm"]))["winners"]:
        for field, ratio in (("fastest", "time_ratio"), ("least_energy", "energy_ratio")):
            assert (winner[field]["close"], winner[field][ratio]) == (["h100-sxm"], 1.0)
        assert ";" not in winner["why"]  # nothing is saved


def test_a_saving_ignores_how_control_is_booked() -> None:
    # A board fitted as a whole holds its control in on-chip movement; one from parts has it apart.
    fitted, parts = (
        KindCosts(limit_s={}, place_s={}, energy_by_component_j=spent_j)
        for spent_j in (
            {"on_chip": 3.0, "overhead": 0.0, "dram": 2.0},
            {"on_chip": 1.0, "overhead": 2.0, "dram": 1.0},
        )
    )
    assert saved_on(parts, fitted) == (("dram",), 1.0)
