"""What courses, budgets and the records of a handset refuse: each in one line."""

from __future__ import annotations

from typing import Any

import pytest

from npuwatt.arrays import column
from npuwatt.errors import NpuwattError
from npuwatt.handset.network import Handset, Link, Node, Trip, Trips
from npuwatt.handset.thermal import Course, course, sustainable
from npuwatt.record import replace
from npuwatt.study.scenario import load_handset

PHONE = load_handset("large-phone").record
ROOM_K = 298.15


def ran(handset: Handset, *, duration_s: float) -> Course:
    return course(handset, power_w=3.0, rated_w=8.0, ambient_k=ROOM_K, duration_s=duration_s)


def refused(call: Any) -> str:
    with pytest.raises(NpuwattError) as told:
        call()
    text = str(told.value)
    assert "\n" not in text
    return text


def test_a_limit_below_the_room_is_refused() -> None:
    text = refused(lambda: sustainable(PHONE, rated_w=8.0, ambient_k=ROOM_K, limit_k=293.15))
    assert text == "limit: 20 degC given; expected above the 25 degC of the room"


def test_no_time_is_refused() -> None:
    assert refused(lambda: ran(PHONE, duration_s=0.0)) == "duration: 0 s given; expected a time above 0"


def test_more_periods_than_a_course_takes_are_refused() -> None:
    text = refused(lambda: ran(PHONE, duration_s=1e6))
    assert text == "duration: 1e+06 s given, 1000000 periods of control; expected at most 200000 of them"


def test_a_period_that_varies_is_refused() -> None:
    text = refused(lambda: ran(replace(PHONE, control_period_s=column([1.0, 2.0])), duration_s=600.0))
    assert text == "control_period: a column given; expected one number for all design points"


def test_a_negative_resistance_is_refused() -> None:
    text = refused(lambda: Link(first="die", second="skin", resistance_k_per_w=-1.0))
    assert text == "resistance: -1 given; expected a finite number above 0"


def test_a_node_that_stores_nothing_is_refused() -> None:
    assert (
        refused(lambda: Node(capacity_j_per_k=0.0)) == "capacity: 0 given; expected a finite number above 0"
    )


def test_a_node_that_nothing_joins_is_refused() -> None:
    nodes = {**PHONE.nodes, "camera": Node(capacity_j_per_k=1.0)}
    alone = {name: nodes[name] for name in ("die", "skin", "board", "spreader", "camera")}
    links = tuple(link for link in PHONE.links if "battery" not in (link.first, link.second))
    text = refused(lambda: replace(PHONE, nodes=alone, links=links))
    assert text == "links: nothing joins camera to the skin; expected a way for its heat"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"heated": "gpu"}, "heated: 'gpu' given; expected one of die, board, spreader, battery, skin"),
        ({"links": (Link(first="die", second="lid", resistance_k_per_w=1.0),)}, "links.0: 'lid' given; expected one of die"),
        ({"links": (Link(first="die", second="die", resistance_k_per_w=1.0),)}, "links.0: joins 'die' to itself; expected two"),
        ({"nodes": {}}, "nodes: 0 given; expected 1 to 5"),
        ({"nodes": {**PHONE.nodes, "lid": Node(capacity_j_per_k=1.0)}}, "nodes: 6 given; expected 1 to 5"),
    ],
    ids=lambda told: told if isinstance(told, str) else "",
)  # fmt: skip
def test_a_network_that_is_none_is_refused(change: dict[str, Any], said: str) -> None:
    assert refused(lambda: replace(PHONE, **change)).startswith(said)


def test_trips_that_are_none_or_allow_more_when_warmer_are_refused() -> None:
    assert (
        refused(lambda: Trips(steps=(), hysteresis_k=1.0))
        == "steps: none given; expected at least one trip point"
    )
    more = tuple(
        Trip(temperature_k=kelvin, power_fraction=share) for kelvin, share in ((312, 0.5), (316, 0.8))
    )
    text = refused(lambda: Trips(steps=more, hysteresis_k=1.0))
    assert text == "steps: out of order; expected warmer ones later, each with no more power"


def test_columns_of_different_lengths_are_refused() -> None:
    text = refused(
        lambda: sustainable(
            PHONE, rated_w=column([4.0, 8.0]), ambient_k=column([290.0, 295.0, 300.0]), limit_k=315.0
        )
    )
    assert text == "columns of 2, 3 design points given; expected one length"


def test_a_node_of_the_name_of_the_case_is_refused() -> None:
    links = (*PHONE.links, Link(first="case", second="skin", resistance_k_per_w=1.0))
    nodes = {name: PHONE.nodes[name] for name in ("die", "skin", "board", "spreader")}
    text = refused(lambda: replace(PHONE, nodes=nodes | {"case": Node(capacity_j_per_k=1.0)}, links=links))
    assert text.startswith("nodes: ")
    assert text.endswith("given; expected another name, a case adds a node of this one")
