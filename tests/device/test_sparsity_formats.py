"""Formats of numbers with zeros among them: closed forms, an encoder bit by bit, and published ratios for range."""

from __future__ import annotations

from math import comb, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.device.formats import (
    FORMATS,
    Format,
    break_even_density,
    entropy_bits,
    metadata_bits,
    run_length_tokens,
    stored_bits,
    value_bits,
)
from npuwatt.errors import NpuwattError

FIXED = settings(derandomize=True, deadline=None)


# 2:4 with an index of 2 bits for each non-zero, as in sparse-24-bitmask of compressed-tensors: 1/2 + 1/b.
@pytest.mark.parametrize(("bits", "ratio"), [(16, 0.5625), (8, 0.625), (4, 0.75)])
def test_2_of_4_takes_half_the_bytes_and_one_bit_an_element(bits: int, ratio: float) -> None:
    assert stored_bits("n-m", 0.5, bits=bits, group=(2, 4)) / bits == ratio
    assert metadata_bits("n-m", 0.5, group=(2, 4)) == 1


@pytest.mark.parametrize(
    ("layout", "bits", "index_bits", "density"),
    [
        ("bitmask", 16, 0, 0.9375),
        ("bitmask", 8, 0, 0.875),
        ("bitmask", 4, 0, 0.75),
        ("coordinate", 16, 16, 0.5),
        ("coordinate", 8, 16, 1 / 3),
        ("run-length", 16, 5, 16 / 21),
    ],
)
def test_a_format_breaks_even_where_its_closed_form_says(
    layout: Format, bits: float, index_bits: float, density: float
) -> None:
    found = break_even_density(layout, bits=bits, index_bits=index_bits)
    assert found == pytest.approx(density, rel=1e-12)
    each = [stored_bits(layout, d, bits=bits, index_bits=index_bits) for d in (found - 1e-6, found + 1e-6)]
    assert each[0] < bits < each[1]


def test_short_runs_break_even_a_little_earlier_because_of_filler_tokens() -> None:
    found = break_even_density("run-length", bits=8, index_bits=4)
    assert found == pytest.approx(2 / 3, abs=1e-6)
    assert found < 2 / 3


def test_a_bitmask_beats_coordinates_above_one_in_as_many_as_an_index_has_bits() -> None:
    for index_bits in (4, 14, 16):
        for density, wins in ((1.01 / index_bits, True), (0.99 / index_bits, False)):
            mask = stored_bits("bitmask", density, bits=8)
            assert (mask < stored_bits("coordinate", density, bits=8, index_bits=index_bits)) == wins


def encoded_bits(stream: np.ndarray, bits: int, run_bits: int) -> int:
    """A stream as tokens of a run of zeros and the value behind it, written out one by one."""
    tokens, run = 0, 0
    for value in stream:
        if value == 0 and run < 2**run_bits - 1:
            run += 1
        else:  # a value, or a zero that a full run cannot hold
            tokens, run = tokens + 1, 0
    return (tokens + bool(run)) * (bits + run_bits)


@pytest.mark.parametrize("density", [0.0, 0.003, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize(("bits", "run_bits"), [(16, 5), (8, 4), (8, 2), (16, 1)])
def test_run_length_equals_an_encoder_that_writes_every_token(
    density: float, bits: int, run_bits: int
) -> None:
    length = 300_000
    stream = np.random.default_rng(5).uniform(size=length) < density
    found = stored_bits("run-length", stream.mean(), bits=bits, index_bits=run_bits).item()
    tokens = encoded_bits(stream, bits, run_bits) / (bits + run_bits)
    expected = found / (bits + run_bits) * length
    # tokens are a renewal count: its deviation is under the square root of the events that end them
    assert tokens == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - density)) + 2)
    if density in (0.0, 1.0):
        assert abs(tokens - expected) <= 1


# Chen et al., Eyeriss: DRAM traffic of AlexNet's convolutions with 16-bit data and 5-bit runs is 1.24, 1.70 and 1.94
# times smaller (Sparseloop artifact, table 7). Weights are dense there and what share of the traffic they are is not
# told, so the ratio of the activations alone bounds it from above.
@pytest.mark.parametrize(
    ("layer", "inputs", "outputs", "published"),
    [("conv1", 0.999, 0.378, 1.24), ("conv3", 0.275, 0.303, 1.70), ("conv5", 0.230, 0.100, 1.94)],
)
def test_run_lengths_of_alexnet_bound_what_eyeriss_saved(
    layer: str, inputs: float, outputs: float, published: float
) -> None:
    kept = [
        min(16.0, stored_bits("run-length", density, bits=16, index_bits=5).item()) / 16
        for density in (inputs, outputs)
    ]
    least, most = 1 / max(kept), 1 / min(kept)
    print(
        f"{layer}: inputs {1 / kept[0]:.2f}x, outputs {1 / kept[1]:.2f}x, published with dense weights {published}x"
    )
    assert 1 <= published <= most
    assert least >= 1


@pytest.mark.parametrize(
    ("group", "bits"), [((2, 4), 0.6462), ((4, 8), 0.7662), ((1, 4), 0.5), ((8, 16), 0.8532)]
)
def test_the_least_bits_of_a_pattern_count_its_choices(group: tuple[int, int], bits: float) -> None:
    most, of = group
    assert entropy_bits(most / of, group).item() == pytest.approx(bits, abs=1e-4)
    assert 2 ** (entropy_bits(0.5, group).item() * of) == pytest.approx(comb(of, most))


@FIXED
@given(
    density=st.floats(0.001, 1),
    bits=st.sampled_from([4, 8, 16, 32]),
    index_bits=st.integers(4, 16),
    layout=st.sampled_from([layout for layout in FORMATS if layout not in ("dense", "n-m")]),
)
def test_no_format_takes_less_than_its_values_and_the_entropy_of_their_places(
    density: float, bits: int, index_bits: int, layout: Format
) -> None:
    if layout == "coordinate" and 2**index_bits < 1 / density:
        return  # an index that short cannot tell the places
    least = stored_bits("ideal", density, bits=bits)
    if layout != "coordinate":  # coordinates of a piece as long as an index reaches, not of the whole tensor
        assert stored_bits(layout, density, bits=bits, index_bits=index_bits) >= least * (1 - 1e-9)
    assert least >= density * bits
    both = value_bits(layout, density, bits=bits, index_bits=index_bits) + metadata_bits(
        layout, density, index_bits=index_bits
    )
    assert both == stored_bits(layout, density, bits=bits, index_bits=index_bits)


@pytest.mark.parametrize("layout", FORMATS)
def test_a_column_of_densities_equals_a_loop(layout: Format) -> None:
    densities = np.linspace(0, 1, 7).reshape(-1, 1)
    densities.flags.writeable = False
    group = (2, 4) if layout == "n-m" else None
    together = stored_bits(layout, densities, bits=8, index_bits=4, group=group)
    alone = [
        stored_bits(layout, d, bits=8, index_bits=4, group=group).item() for d in densities[:, 0].tolist()
    ]
    np.testing.assert_allclose(together[:, 0], alone, rtol=1e-14)


def test_ends_of_the_densities_are_exact() -> None:
    assert stored_bits("dense", 0.3, bits=16) == 16
    assert run_length_tokens(0.0, 4).item() == pytest.approx(1 / 16, rel=1e-9)
    assert run_length_tokens(1.0, 4).item() == 1
    assert entropy_bits(0.5).item() == pytest.approx(1, rel=1e-12)
    assert entropy_bits(0.0).item() == pytest.approx(0, abs=1e-9)
    assert stored_bits("ideal", 0.25, bits=8).item() == pytest.approx(2 + 2 - 0.75 * log2(3), rel=1e-12)


@pytest.mark.parametrize("layout", ["dense", "n-m"])
def test_formats_without_a_break_even_say_so(layout: Format) -> None:
    with pytest.raises(NpuwattError, match=f"format: {layout} breaks even at no density; expected another"):
        break_even_density(layout, bits=16)


def test_an_n_m_format_needs_a_pattern() -> None:
    with pytest.raises(NpuwattError, match="format: n-m given for no N:M pattern; expected one like 2:4"):
        stored_bits("n-m", 0.5, bits=16)
