"""A part's printed efficiency beside its board's."""

from __future__ import annotations

import numpy as np
import pytest

from npuwatt.report.records import compare_record
from npuwatt.study.compare import Comparison, compare
from npuwatt.study.inference import phase_ops
from npuwatt.study.per_macro import per_macro


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compare(["h100-sxm", "samsung-hbm2-pim", "isaac-rram", "sram-analog-cim", "a10"], batch=4)


def test_the_board_counts_every_mac_and_every_joule_of_the_request(found: Comparison) -> None:
    request, network = found.question.request, found.question.network.record
    macs = {
        phase: sum(float(np.sum(op.macs)) for op in phase_ops(network, request, phase))
        for phase in ("prefill", "decode")
    }
    for answer in found.answers[:4]:
        spent_j = answer.result.total_j.item()
        expected = 2 * (macs["prefill"] + 255 * macs["decode"]) / spent_j
        assert per_macro(found.question, answer).board_ops_per_j == pytest.approx(expected)


def test_a_part_always_promises_more_than_its_board_keeps(found: Comparison) -> None:
    for answer in found.answers[:4]:
        part = per_macro(found.question, answer)
        inside = part.macs_inside_fraction
        assert inside is not None
        if answer.device.record.kind == "near-bank-pim":  # of four sequences its host runs all sooner
            assert inside == 0
            assert part.gap_ratio is None
        else:
            assert 0.9 < inside <= 1
            assert part.gap_ratio is not None
            assert part.gap_ratio > 1


def test_a_gpu_is_printed_by_peak_and_power_limit(found: Comparison) -> None:
    # H100 SXM data sheet: 989 TFLOPS of dense bf16 at 700 W
    assert per_macro(found.question, found.answers[0]).part.ops_per_j == pytest.approx(
        989e12 / 700, rel=0.001
    )


def test_units_in_a_memory_are_printed_with_what_they_read(found: Comparison) -> None:
    # 0.75 pJ/bit for 16 bits of weight and 0.32 pJ a MAC
    assert per_macro(found.question, found.answers[1]).part.ops_per_j == pytest.approx(
        2 / (16 * 0.75e-12 + 0.32e-12)
    )


def test_records_carry_it_only_when_it_is_asked_for(found: Comparison) -> None:
    assert all("per_macro" not in result for result in compare_record(found)["results"])
    results = compare_record(found, per_macro=True)["results"]
    assert [result["per_macro"]["part"] for result in results] == [
        "peak over power limit", "units and what they read", "one array", "one array", "peak over power limit",
    ]  # fmt: skip
    ours = results[2]["per_macro"]
    assert ours["gap_ratio"] == pytest.approx(ours["ops_per_j"] / ours["board_ops_per_j"])
