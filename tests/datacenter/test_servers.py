"""Servers for a demand: limits, brute force, a simulated server against Little's law, power between the batches."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column, row
from npuwatt.datacenter.serving import (
    Curve,
    Demand,
    Fleet,
    Limits,
    demand_of_tokens,
    fleet,
    largest_batch,
    servers_in_feed,
    unmet,
)
from npuwatt.errors import NpuwattError, RequestError
from npuwatt.record import names_of, replace

FIXED = settings(derandomize=True, deadline=None)
BATCHES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def curve(step_s: float = 8e-3, more_s: float = 0.5e-3) -> Curve:
    """A server whose step takes longer with each sequence; it gives a token to each in every step."""
    batch = row(BATCHES)
    tpot_s = step_s + more_s * batch
    return Curve(
        batch=batch,
        ttft_s=0.05 + 0.004 * batch,
        tpot_s=tpot_s,
        output_tokens_per_s=batch / tpot_s,
        power_w=2000.0 + 1500.0 * np.sqrt(batch / 64),
        idle_w=600.0,
    )


CURVE = curve()
DEMAND = Demand(mean_requests_per_s=10.0, peak_requests_per_s=30.0, input_len=500.0, output_len=200.0)
ANY = Limits()


def test_the_largest_batch_within_both_limits_is_taken() -> None:
    # tpot 8 + b / 2 ms: batch 16 has 16 ms, batch 32 has 24; ttft 50 + 4 b ms: batch 8 has 82 ms, batch 16 has 114.
    chosen = {(t, p): float(fleet(DEMAND, CURVE, Limits(ttft_s=t, tpot_s=p)).batch.item())
              for t, p in ((np.inf, np.inf), (np.inf, 0.020), (np.inf, 0.016), (0.1, 0.016), (0.05401, 0.1))}  # fmt: skip
    assert list(chosen.values()) == [64, 16, 16, 8, 1]


@FIXED
@given(ttft_s=st.floats(0.03, 0.4), tpot_s=st.floats(0.004, 0.05))
def test_the_choice_of_batch_equals_brute_force(ttft_s: float, tpot_s: float) -> None:
    meets = [
        place
        for place in range(len(BATCHES))
        if CURVE.ttft_s[0, place] <= ttft_s and CURVE.tpot_s[0, place] <= tpot_s
    ]
    assert largest_batch(CURVE, Limits(ttft_s=ttft_s, tpot_s=tpot_s)).item() == max(meets, default=-1)


def test_servers_are_the_peak_over_what_one_can_do_with_room_and_spares() -> None:
    # Batch 16 in 16 ms is 1,000 tokens/s, 5 requests/s: 30 at the peak take 6, 8 with a fifth left free (7.5), and a
    # tenth of spares on top is one.
    limits = Limits(tpot_s=0.016)
    plain = fleet(DEMAND, CURVE, limits)
    assert (plain.servers_count.item(), plain.spares_count.item()) == (6, 0)
    roomy = fleet(DEMAND, CURVE, limits, headroom_fraction=0.2, spares_fraction=0.1)
    assert (roomy.servers_count.item(), roomy.spares_count.item()) == (8, 1)
    assert plain.mean_utilization_ratio.item() == pytest.approx(10 / 30)
    assert plain.peak_utilization_ratio.item() == pytest.approx(1.0)
    assert roomy.peak_utilization_ratio.item() == pytest.approx(0.75)


def test_a_full_fleet_draws_what_full_servers_draw_and_spares_idle_beside_it() -> None:
    limits = Limits(tpot_s=0.016)
    assert fleet(DEMAND, CURVE, limits).peak_w.item() == pytest.approx(6 * (2000 + 1500 / 2))
    spared = fleet(DEMAND, CURVE, limits, spares_fraction=0.5)
    assert spared.peak_w.item() == pytest.approx(6 * 2750 + 3 * 600)
    assert spared.mean_w.item() == pytest.approx(fleet(DEMAND, CURVE, limits).mean_w.item() + 3 * 600)


def test_between_batches_power_and_time_lie_between_theirs() -> None:
    # 10 requests/s on 6 servers are 333 tokens/s each: batch 2 gives 222.2, batch 4 gives 400.
    found = fleet(DEMAND, CURVE, Limits(tpot_s=0.016))
    share = (2000 / 6 - 2 / 0.009) / (4 / 0.010 - 2 / 0.009)
    power_w = CURVE.power_w[0, 1] + share * (CURVE.power_w[0, 2] - CURVE.power_w[0, 1])
    assert found.mean_w.item() == pytest.approx(6 * power_w, rel=1e-12)
    assert found.mean_tpot_s.item() == pytest.approx(0.009 + share * 0.001, rel=1e-12)


def test_below_the_smallest_batch_a_server_idles_at_times() -> None:
    # 0.1 requests/s of 200 tokens: 20 tokens/s where batch 1 gives 117.6, so busy 17 % of the time.
    rare = replace(DEMAND, mean_requests_per_s=0.1, peak_requests_per_s=0.1)
    found = fleet(rare, CURVE, ANY)
    busy = 20 * 0.0085
    assert found.servers_count.item() == 1
    assert found.mean_w.item() == pytest.approx(600 + busy * (CURVE.power_w[0, 0] - 600), rel=1e-12)
    assert found.mean_tpot_s.item() == 0.0085
    nothing = fleet(replace(rare, mean_requests_per_s=1e-12), CURVE, ANY)
    assert nothing.mean_w.item() == pytest.approx(600)


@pytest.mark.parametrize("tpot_s", [0.010, 0.016, 0.040])
def test_littles_law_holds_at_the_peak_of_a_full_fleet(tpot_s: float) -> None:
    # Requests in flight, counted from rate and time, are the batch of each server and those in their first token.
    place = largest_batch(CURVE, Limits(tpot_s=tpot_s)).item()
    batch, rate = CURVE.batch[0, place], 7 * CURVE.output_tokens_per_s[0, place] / 200
    found = fleet(
        replace(DEMAND, peak_requests_per_s=rate, mean_requests_per_s=rate), CURVE, Limits(tpot_s=tpot_s)
    )
    assert found.servers_count.item() == 7
    assert found.peak_in_flight_count.item() == pytest.approx(
        7 * batch + rate * CURVE.ttft_s[0, place], rel=1e-9
    )


def simulated(requests_per_s: float, output_len: int, seed: int = 3) -> tuple[float, float, float]:
    """Time in service, mean in flight and mean power of one server, step by step, under Poisson arrivals."""
    rng = np.random.default_rng(seed)
    count = 4000
    arrivals = np.cumsum(rng.exponential(1 / requests_per_s, count)).tolist()
    running: list[tuple[int, float]] = []  # last step, and when the request came
    now, step, place, weighted, in_service, energy = 0.0, 0, 0, 0.0, 0.0, 0.0
    while place < count or running:
        if not running and arrivals[place] > now:
            energy += CURVE.idle_w * (arrivals[place] - now)
            now = arrivals[place]
        while place < count and arrivals[place] <= now:
            heapq.heappush(running, (step + output_len, now))
            place += 1
        batch = len(running)
        time_s = 8e-3 + 0.5e-3 * batch
        now, step = now + time_s, step + 1
        weighted += batch * time_s
        energy += (2000.0 + 1500.0 * np.sqrt(batch / 64)) * time_s
        while running and running[0][0] <= step:
            in_service += now - heapq.heappop(running)[1]
    return in_service / count, weighted / now, energy / now


@pytest.mark.parametrize("requests_per_s", [1.0, 4.0, 6.0])
def test_a_simulated_server_keeps_littles_law_and_draws_what_was_foretold(requests_per_s: float) -> None:
    # Without a first phase (TTFT next to nothing), on one server whose batch goes where arrivals drive it.
    time_s, in_flight, power_w = simulated(requests_per_s, output_len=200)
    assert in_flight == pytest.approx(requests_per_s * time_s, rel=0.05)
    swift = replace(CURVE, ttft_s=np.full_like(CURVE.batch, 1e-9))
    one = Demand(mean_requests_per_s=requests_per_s, peak_requests_per_s=6.2, input_len=0.0, output_len=200.0)
    found = fleet(one, swift, Limits())
    assert found.servers_count.item() == 1
    assert found.mean_in_flight_count.item() == pytest.approx(in_flight, rel=0.1)
    # Chance makes batches uneven, and power bends down with batch: even arrivals draw more, least so when busy.
    assert 0.99 * power_w <= found.mean_w.item() <= (1.15 if requests_per_s < 2 else 1.03) * power_w


@FIXED
@given(
    mean=st.floats(0.01, 1e4), peak_ratio=st.floats(1, 20), tighter=st.floats(0.3, 1), room=st.floats(0, 0.5)
)
def test_laws_of_a_fleet(mean: float, peak_ratio: float, tighter: float, room: float) -> None:
    demand = demand_of_tokens(tokens_per_s=mean * 200, peak_ratio=peak_ratio, output_len=200.0)
    limits = Limits(tpot_s=0.040)
    found = fleet(demand, CURVE, limits, headroom_fraction=room)
    assert demand.mean_tokens_per_s == pytest.approx(mean * 200)
    assert (
        found.mean_utilization_ratio <= found.peak_utilization_ratio * (1 + 1e-9) <= (1 - room) * (1 + 1e-6)
    )
    assert found.servers_count * CURVE.idle_w <= found.mean_w <= found.peak_w * (1 + 1e-12)
    assert found.peak_tpot_s <= limits.tpot_s
    strict = fleet(demand, CURVE, Limits(tpot_s=0.03 * tighter), headroom_fraction=room)
    assert strict.servers_count >= found.servers_count


def table(one: Fleet) -> dict[str, Any]:
    return {name: np.broadcast_to(getattr(one, name), (30, 1)).ravel() for name in names_of(one)}


def test_points_equal_a_loop_also_where_no_batch_meets_the_limits() -> None:
    rng = np.random.default_rng(6)
    means, limits_s, rooms = rng.uniform(0.1, 100, 30), rng.uniform(0.005, 0.05, 30), rng.uniform(0, 0.4, 30)
    steps_s = rng.uniform(4e-3, 12e-3, 30)

    def of(mean: Any, limit_s: Any, room: Any, step_s: Any) -> Fleet:
        demand = Demand(
            mean_requests_per_s=mean, peak_requests_per_s=2 * mean, input_len=9.0, output_len=200.0
        )
        limits = Limits(tpot_s=limit_s)
        return fleet(demand, curve(step_s), limits, headroom_fraction=room, spares_fraction=0.1)

    together = table(of(*map(column, (means, limits_s, rooms, steps_s))))
    assert 0 < np.isnan(together["batch"]).sum() < 15
    for place, one in enumerate(zip(means, limits_s, rooms, steps_s, strict=True)):
        if np.isnan(together["batch"][place]):
            with pytest.raises(RequestError):
                of(*one)
        else:
            alone = of(*one)
            for name, values in together.items():
                assert values[place] == pytest.approx(getattr(alone, name).item(), rel=1e-12), name


def test_throughput_that_falls_with_batch_is_met_at_the_first_batch_that_reaches_it() -> None:
    bent = replace(
        CURVE,
        output_tokens_per_s=np.minimum(CURVE.output_tokens_per_s, row((900, 900, 900, 600, 500, 900, 900))),
    )
    rate = 2.4  # 480 tokens/s, between 400 at batch 4 and 600 at batch 8
    found = fleet(
        replace(DEMAND, mean_requests_per_s=rate, peak_requests_per_s=rate), bent, Limits(tpot_s=0.016)
    )
    assert found.batch.item() == 16
    assert found.mean_tpot_s.item() == pytest.approx(0.010 + 0.002 * 80 / 200, rel=1e-9)


def test_a_feed_carries_whole_servers_within_its_pue() -> None:
    # cooling-pue-ladder 1.0.0: 10 MW hold 628 nodes of 10.2 kW at PUE 1.56 and 816 at 1.2: 188 nodes, 1504 GPUs more.
    before, after = (float(servers_in_feed(10e6, server_w=10_200.0, pue_ratio=pue)) for pue in (1.56, 1.2))
    assert (before, after) == (628, 816)
    assert (after - before) * 8 == 1504


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (
            Limits(tpot_s=0.006),
            "TPOT limit of 6 ms: no batch meets it; the least is 8.5 ms at batch 1, 41.7% over",
        ),
        (
            Limits(ttft_s=0.027),
            "TTFT limit of 27 ms: no batch meets it; the least is 54 ms at batch 1, 100.0% over",
        ),
    ],
)
def test_a_limit_that_no_batch_meets_is_named_with_what_is_missing(limits: Limits, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        fleet(DEMAND, CURVE, limits)
    assert caught.value.faults == (told,)


def test_both_limits_are_named_where_both_are_missed() -> None:
    both = unmet(CURVE, Limits(ttft_s=0.001, tpot_s=0.001))
    assert [line[:4] for line in both] == ["TTFT", "TPOT"]


def test_limits_that_each_batch_misses_in_its_own_way_are_told_so() -> None:
    crossed = replace(CURVE, ttft_s=CURVE.ttft_s[:, ::-1])
    with pytest.raises(RequestError, match="no batch meets both at once; expected one of them looser"):
        fleet(DEMAND, crossed, Limits(ttft_s=0.1, tpot_s=0.0105))


def test_limits_that_are_met_have_no_lines() -> None:
    assert unmet(CURVE, Limits(tpot_s=0.02)) == ()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: replace(DEMAND, peak_requests_per_s=9.0), "peak_requests: below the mean; expected at least as many"),
        (lambda: replace(DEMAND, mean_requests_per_s=0.0), "mean_requests: 0 given; expected a finite number above 0"),
        (lambda: Limits(tpot_s=0.0), "tpot: 0 s given; expected a limit above 0"),
        (lambda: Limits(ttft_s=np.nan), "ttft: nan s given; expected a limit above 0"),
        (lambda: replace(CURVE, idle_w=-1.0), "idle: -1 given; expected a finite number, 0 or more"),
        (lambda: replace(CURVE, batch=CURVE.batch[:, ::-1]), "batch: not in order; expected each larger"),
        (
            lambda: replace(CURVE, output_tokens_per_s=1.1 * CURVE.output_tokens_per_s),
            "output_tokens: more than batch / tpot; expected at most one token per sequence in each tpot",
        ),
        (lambda: fleet(DEMAND, CURVE, ANY, headroom_fraction=1.0), "headroom: 1 given; expected a number from 0 to 0.99"),
        (lambda: fleet(DEMAND, CURVE, ANY, spares_fraction=-0.1), "spares: -0.1 given; expected a share from 0 to 1"),
        (
            lambda: demand_of_tokens(tokens_per_s=1.0, peak_ratio=0.5, output_len=1.0),
            "peak: 0.5 given; expected a number from 1",
        ),
        (lambda: servers_in_feed(1.0, server_w=1.0, pue_ratio=0.9), "pue: 0.9 given; expected a number from 1 to 100"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(made: Any, told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        made()
    assert len(caught.value.faults) == 1
    assert str(caught.value).startswith(told)
