"""The article's constants, and what its two claims come to under them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.preset import library
from npuwatt.study.compare import Comparison, compare

FIXED = settings(derandomize=True, deadline=None)

INDEX = library.index()


@pytest.fixture(autouse=True, scope="module")
def one_reading() -> Any:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "index", lambda: INDEX)
        yield


def answered(batch: int = 1, names: tuple[str, ...] = ("gpu",), **options: Any) -> Comparison:
    return compare(names, constants="article", batch=batch, **options)


def share(found: Comparison, phase: str, key: str = "article_fraction") -> float:
    assert found.article is not None
    (value,) = (row[key] for row in found.article["movement_share"] if row["phase"] == phase)
    return float(value)


def test_a_byte_from_dram_costs_exactly_100_macs() -> None:
    article = answered().article
    assert article is not None
    assert article["dram_byte_to_mac_ratio"] == 100  # 10 pJ to move 8 bits over 0.1 pJ for an int8 MAC
    assert article["mac_energy_j"] == pytest.approx(0.1e-12, rel=1e-15)
    assert article["dram_energy_j_per_byte"] == pytest.approx(10e-12, rel=1e-15)


@given(batch=st.integers(1, 5000))
@settings(FIXED, max_examples=25)
def test_the_share_of_moving_weights_is_10_over_10_plus_a_tenth_of_the_batch(batch: int) -> None:
    assert share(answered(batch), "decode") == pytest.approx(10 / (10 + 0.1 * batch), rel=1e-12)


@pytest.mark.parametrize(("batch", "above"), [(1, True), (11, True), (12, False), (64, False)])
def test_more_than_90_percent_is_movement_up_to_batch_11(batch: int, above: bool) -> None:
    found = answered(batch)
    assert (share(found, "decode") > 0.9) == above
    assert found.article is not None
    assert found.article["above_90_percent_up_to_batch"] == 11


def test_at_batch_1_movement_is_99_percent_and_in_prefill_it_is_not_90() -> None:
    found = answered(1)
    assert round(share(found, "decode"), 2) == 0.99
    assert share(found, "prefill") < 0.9


def test_every_other_energy_is_zero() -> None:
    for answer in answered(names=("gpu", "npu", "pim", "crossbar", "h100-sxm-parts")).answers:
        spent = {name for name, joules in answer.result.energy_j.items() if joules.item() > 0}
        assert spent <= {"arithmetic", "dram"}, answer.device.typed
        assert "arithmetic" in spent


def test_the_article_counts_int8_unless_told_otherwise() -> None:
    request = answered().question.request
    assert (request.weights, request.activations, request.kv_cache) == ("int8", "int8", "int8")
    assert answered(weights="bf16").question.request.weights == "bf16"


def test_the_energy_of_a_step_is_that_of_its_macs_and_bytes() -> None:
    # By hand for batch 1: 7.505e9 weights of matrices, one MAC and one byte each; caches and activations add little.
    found = answered(input_len=1, output_len=2).answers[0].result.decode
    assert found is not None
    weights = 7_504_658_432  # 32 x (4096 x (4096 + 2048) + 4096^2 + 3 x 4096 x 14336) + 4096 x 128256
    assert found.energy_j["arithmetic"].item() == pytest.approx(weights * 0.1e-12, rel=1e-3)
    assert found.energy_j["dram"].item() == pytest.approx(weights * 10e-12, rel=1e-3)


def test_the_sourced_constants_stand_beside_the_article() -> None:
    found = answered()
    assert 0.8 < share(found, "decode", "sourced_fraction") < 1
    assert "article" in found.question.citations
    assert compare(["gpu"]).article is None


def test_the_article_changes_energies_and_no_time() -> None:
    # Caps aside: with so little energy none is reached.
    plain = compare(["gpu"], weights="int8", activations="int8", kv_cache="int8").answers[0].result
    assert answered().answers[0].result.tpot_s == pytest.approx(plain.tpot_s, rel=1e-12)


@pytest.mark.parametrize("name", ["pim", "hbm3-pim-bank", "hbm3-pim-bank-group"])
def test_units_in_a_memory_keep_their_pace_when_their_bits_cost_nothing(name: str) -> None:
    # Their power budget lets fewer banks read at once; energies of zero must not set them free.
    sourced, article = (
        compare([name], constants=constants, weights="bf16", activations="bf16", kv_cache="bf16")
        for constants in ("sourced", "article")
    )
    before, after = (found.answers[0].result.tpot_s.item() for found in (sourced, article))  # below any cap
    assert after == pytest.approx(before, rel=1e-9)


def test_the_sourced_share_of_a_board_that_computes_in_memory_counts_the_whole_way_to_its_host() -> None:
    # By hand, pJ for a weight of one byte: 3.59 to the pins, 0.29, 1.6 and 0.33 behind them, control and regulators.
    moving = 8 * (3.59 + 0.29 + 1.6 + 0.33) * (1 + 1.95) / 0.9
    multiplying = 0.0974
    found = 1 - share(answered(names=("hbm3-pim-bank",)), "decode", "sourced_fraction")
    assert found == pytest.approx(multiplying / (moving + multiplying / 0.9), rel=1e-3)
