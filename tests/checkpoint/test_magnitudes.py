"""Small weights, quantising and pruning, against plain arithmetic, closed forms and published tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.checkpoint import magnitudes, structure
from npuwatt.checkpoint.magnitudes import (
    ABSOLUTE,
    IN_SIGMAS,
    OF_LARGEST,
    QUANTISED,
    Magnitudes,
    sampled_part,
    sampling_stride,
    whole_part,
)
from npuwatt.checkpoint.number_formats import FORMATS, magnitude_words, magnitudes_of
from npuwatt.checkpoint.structure import merged, statistics

FIXED = settings(derandomize=True, deadline=None, max_examples=40)
Words = npt.NDArray[Any]
Numbers = npt.NDArray[np.float64]


def eight_bit_float(word: int, exponent_bits: int, infinite: bool) -> float:
    """A word by the OCP 8-bit floating point specification, table 1; NaN for what is no finite number."""
    mantissa_bits, bias = 7 - exponent_bits, 2 ** (exponent_bits - 1) - 1
    exponent, mantissa = (word & 0x7F) >> mantissa_bits, word & (2**mantissa_bits - 1)
    if (infinite and exponent == 2**exponent_bits - 1) or (not infinite and word & 0x7F == 0x7F):
        return math.nan
    fraction = mantissa / 2**mantissa_bits
    size = math.ldexp(fraction, 1 - bias) if exponent == 0 else math.ldexp(1 + fraction, exponent - bias)
    return -size if word & 0x80 else size


def numbers(words: Words, dtype: str) -> Numbers:
    """What words mean, each by its own definition."""
    if dtype in ("F8_E4M3", "F8_E5M2"):
        bits, infinite = (4, False) if dtype == "F8_E4M3" else (5, True)
        table = np.array([eight_bit_float(word, bits, infinite) for word in range(256)])
        return table[words]
    if dtype == "BF16":
        return (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    kind = {"F32": np.float32, "F16": np.float16, "U8": np.uint8, "I8": np.int8, "I4": np.int8}[dtype]
    return words.view(kind).astype(np.float64)


def bf16(values: Numbers) -> Words:
    """Values cut to bf16."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def by_arithmetic(values: Numbers) -> dict[str, Any]:
    """What `statistics` should find of an (outputs, inputs) matrix, sorted and looped over where it can be."""
    x = np.abs(values)
    x[~np.isfinite(x)] = np.nan
    finite = x[~np.isnan(x)]
    norm, sigma, largest = (finite**2).sum(), math.sqrt((finite**2).mean()), finite.max()
    limits = {name: np.float32(limit) for name, limit in ABSOLUTE.items()}
    limits |= {name: np.float32(factor * sigma) for name, factor in IN_SIGMAS.items()}
    limits |= {name: np.float32(factor * largest) for name, factor in OF_LARGEST.items()}
    zeros = dict.fromkeys(QUANTISED, 0)
    for name, (code, size) in QUANTISED.items():
        for start in range(0, x.shape[1], size):
            group = x[:, start : start + size]
            step = np.nanmax(np.nan_to_num(group), axis=1, keepdims=True) / code
            with np.errstate(divide="ignore", invalid="ignore"):
                zeros[name] += int((np.round(group / step) == 0).sum() + ((group == 0) & (step == 0)).sum())
    removed = {"50 %": (np.sort(finite)[: finite.size // 2] ** 2).sum()}
    for keep, of in ((2, 4), (4, 8)):
        padded = np.zeros((x.shape[0], -(-x.shape[1] // of) * of))
        padded[:, : x.shape[1]] = np.nan_to_num(x)
        removed[f"{keep}:{of}"] = (np.sort(padded.reshape(-1, of), axis=1)[:, : of - keep] ** 2).sum()
    return {
        "elements": finite.size,
        "sampled_elements": finite.size,
        "largest": largest,
        "mean_square": (finite**2).mean(),
        "below_fraction": {name: (finite < limit).mean() for name, limit in limits.items()},
        "below_norm_fraction": {n: (finite[finite < limit] ** 2).sum() / norm for n, limit in limits.items()},
        "quantised_zero_fraction": {name: zero / finite.size for name, zero in zeros.items()},
        "pruned_norm_fraction": {name: part / norm for name, part in removed.items()},
    }


def assert_equal(result: Magnitudes, expected: dict[str, Any], tolerance: float = 1e-6) -> None:
    for name, value in expected.items():
        assert getattr(result, name) == pytest.approx(value, rel=tolerance, abs=1e-12), name


def drawn_words(rng: np.random.Generator, dtype: str, shape: tuple[int, int]) -> Words:
    """Words of a format like those of a real tensor, some zero, some of them not finite."""
    if FORMATS[dtype].word is np.uint8:
        return rng.integers(0, 256, shape).astype(np.uint8)
    values = rng.normal(0, 0.02, shape) * (rng.random(shape) < 0.8)
    values[rng.random(shape) < 0.01] = rng.choice([np.inf, -np.inf, np.nan])
    if dtype == "F16":
        return values.astype(np.float16).view(np.uint16)
    return values.astype(np.float32).view(np.uint32) if dtype == "F32" else bf16(values)


@pytest.mark.parametrize("dtype", FORMATS)
def test_every_word_of_a_byte_and_of_half_a_word_means_what_its_format_says(dtype: str) -> None:
    words = np.arange(2**8 if FORMATS[dtype].word is np.uint8 else 2**16, dtype=FORMATS[dtype].word)
    if dtype == "F32":
        words = words * np.uint32(65537)
    with np.errstate(invalid="ignore"):
        expected = np.abs(numbers(words, dtype))
    magnitude = magnitude_words(words, dtype, out=np.empty_like(words))
    finite = magnitude < FORMATS[dtype].first_not_finite
    np.testing.assert_array_equal(finite, np.isfinite(expected))
    np.testing.assert_array_equal(magnitudes_of(magnitude, dtype)[finite], expected[finite])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "sampled"])
@pytest.mark.parametrize("shape", [(64, 256), (37, 200), (150, 5), (1, 1000)])
def test_magnitudes_of_a_small_tensor_are_those_of_plain_arithmetic(
    dtype: str, exact: bool, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "TILE", 2**14)
    monkeypatch.setattr(structure, "WHOLE_TILE", 2**14)
    words = drawn_words(np.random.default_rng(11), dtype, shape)
    for axis, matrix in ((1, words), (0, words.T)):
        with np.errstate(invalid="ignore"):
            expected = by_arithmetic(numbers(np.ascontiguousarray(matrix), dtype))
        assert_equal(statistics(words, dtype, input_axis=axis, exact_thresholds=exact).magnitudes, expected)


@pytest.mark.parametrize("axis", [0, 1])
def test_exact_thresholds_of_a_tensor_in_many_parts_are_those_of_plain_arithmetic(axis: int) -> None:
    words = bf16(np.random.default_rng(4).laplace(0, 0.03, (1030, 1000)))
    result = statistics(words, "BF16", input_axis=axis, exact_thresholds=True).magnitudes
    assert_equal(result, by_arithmetic(numbers(np.ascontiguousarray(words if axis else words.T), "BF16")))


@pytest.fixture(scope="module")
def gaussian() -> Magnitudes:
    words = np.random.default_rng(0).normal(0, 0.02, (2048, 2048)).astype(np.float32).view(np.uint32)
    return statistics(words, "F32", input_axis=1, exact_thresholds=True).magnitudes


def test_shares_of_gaussian_weights_are_those_of_the_error_function(gaussian: Magnitudes) -> None:
    assert gaussian.sigma == pytest.approx(0.02, rel=0.002)
    for name, factor in IN_SIGMAS.items():
        normal = math.erf(factor / math.sqrt(2))
        assert gaussian.below_fraction[name] == pytest.approx(normal, abs=1e-3)
        carried = normal - factor * math.sqrt(2 / math.pi) * math.exp(-(factor**2) / 2)
        assert gaussian.below_norm_fraction[name] == pytest.approx(carried, abs=1e-3)
    assert gaussian.below_fraction["1e-2"] == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=1e-3)


def test_zeros_after_quantising_gaussian_weights_are_those_of_the_integral(gaussian: Magnitudes) -> None:
    # P0 = E over the largest M of a group of G: 1/G for none, else ((G-1)/G) F(M / 2q) / F(M); F of the half-normal.
    x = (np.arange(400_000) + 0.5) * (8 / 400_000)
    below = np.array([math.erf(value / math.sqrt(2)) for value in x])
    density = math.sqrt(2 / math.pi) * np.exp(-(x**2) / 2) * (8 / 400_000)
    for name, (code, size) in QUANTISED.items():
        small = np.array([math.erf(value / math.sqrt(2)) for value in x[::100] / (2 * code)]).repeat(100)
        expected = ((size - 1) * density * below ** (size - 2) * small).sum()
        assert gaussian.quantised_zero_fraction[name] == pytest.approx(expected, abs=1e-3)
    assert gaussian.quantised_zero_fraction == pytest.approx(
        {"int8 g128": 0.0089, "int4 g32": 0.1324, "int4 g128": 0.1599}, abs=1e-3
    )


def test_pruning_gaussian_weights_removes_what_order_statistics_say(gaussian: Magnitudes) -> None:
    half = math.erf(0.67448975 / math.sqrt(2)) - 0.67448975 * math.sqrt(2 / math.pi) * math.exp(
        -(0.67448975**2) / 2
    )
    assert gaussian.pruned_norm_fraction["50 %"] == pytest.approx(half, abs=5e-4)
    assert gaussian.pruned_norm_fraction == pytest.approx(
        {"50 %": 0.0714, "4:8": 0.1032, "2:4": 0.1322}, abs=5e-4
    )


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_sample_speaks_for_the_whole(axis: int, dtype: str) -> None:
    rng = np.random.default_rng(6)
    shape = (2048, 2048)
    # Rows and columns of different size, as layers have them.
    values = rng.normal(0, 0.02, shape) * rng.lognormal(0, 0.2, (2048, 1)) * rng.lognormal(0, 0.2, (1, 2048))
    words = bf16(values) if dtype == "BF16" else values.astype(np.float32).view(np.uint32)
    sample = statistics(words, dtype, input_axis=axis).magnitudes
    whole = statistics(words, dtype, input_axis=axis, exact_thresholds=True).magnitudes
    assert 60_000 < sample.sampled_elements < 80_000
    assert whole.sampled_elements == sample.elements == words.size
    assert sample.largest == whole.largest  # always of all weights
    assert sample.mean_square == pytest.approx(whole.mean_square, rel=0.05)
    for name in ("below_fraction", "below_norm_fraction", "quantised_zero_fraction", "pruned_norm_fraction"):
        assert getattr(sample, name) == pytest.approx(getattr(whole, name), abs=0.01), name


@pytest.mark.parametrize("axis", [0, 1])
def test_a_sample_takes_inputs_evenly_where_its_stride_would_meet_the_same_ones_again(axis: int) -> None:
    # 2**20 weights: every 16th group, and 8 groups an output; without care only inputs 0 to 127 would be seen.
    values = np.zeros((1024, 1024))
    values[:, :128] = 1
    words = bf16(values if axis else values.T.copy())
    assert sampling_stride(words.size) == 16
    assert statistics(words, "BF16", input_axis=axis).magnitudes.mean_square == pytest.approx(1 / 8, rel=0.1)


@pytest.mark.parametrize(
    ("elements", "sampled"), [(1, 1), (65_536, 65_536), (2**24, 65_536), (2**26, 2**18), (2**32, 2**20)]
)
def test_a_sample_is_one_in_256_within_bounds(elements: int, sampled: int) -> None:
    assert elements / sampling_stride(elements) == pytest.approx(sampled, rel=0.01)


@FIXED
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 300),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(sorted(FORMATS)),
    axis=st.integers(0, 1),
)
def test_shares_grow_with_their_threshold(rows: int, columns: int, seed: int, dtype: str, axis: int) -> None:
    words = drawn_words(np.random.default_rng(seed), dtype, (rows, columns))
    result = statistics(words, dtype, input_axis=axis).magnitudes
    for name in ("below_fraction", "below_norm_fraction"):
        shares = getattr(result, name)
        for limits in (ABSOLUTE, IN_SIGMAS, OF_LARGEST):
            rising = [shares[limit] for limit in sorted(limits, key=lambda key: limits[key])]
            assert rising == sorted(rising)
            assert 0 <= rising[0] <= rising[-1] <= 1
    pruned = result.pruned_norm_fraction
    # The more freedom in what to remove, the less it carries; at most half of all.
    assert 0 <= pruned["4:8"] <= pruned["2:4"] * (1 + 1e-12) <= 0.5 * (1 + 1e-12)
    zeros = result.quantised_zero_fraction
    assert 0 <= zeros["int8 g128"] <= zeros["int4 g128"] <= 1
    assert zeros["int4 g32"] <= zeros["int4 g128"]


def test_zeros_stay_zero_whatever_is_done_to_them() -> None:
    result = statistics(np.full((64, 64), 0x8000, np.uint16), "F16", input_axis=1).magnitudes
    assert set(result.quantised_zero_fraction.values()) == {1.0}
    assert set(result.pruned_norm_fraction.values()) == {0.0}
    assert set(result.below_norm_fraction.values()) == {0.0}
    assert result.below_fraction["1e-3"] == 1
    assert result.below_fraction["1 sigma"] == 0  # nothing is below 0
    assert (result.largest, result.sigma) == (0, 0)


@pytest.mark.parametrize("exact", [True, False])
def test_a_tensor_without_finite_weights_has_no_shares(exact: bool) -> None:
    for words in (np.full((16, 16), 0x7FC0, np.uint16), np.empty((0, 16), np.uint16)):
        result = statistics(words, "BF16", input_axis=1, exact_thresholds=exact).magnitudes
        assert (result.elements, result.sampled_elements, result.largest, result.mean_square) == (0, 0, 0, 0)
        assert set(result.below_fraction.values()) | set(result.pruned_norm_fraction.values()) == {0.0}


def test_squares_of_the_largest_weights_do_not_overflow() -> None:
    words = np.full((16, 128), 3e38, np.float32).view(np.uint32)
    result = statistics(words, "F32", input_axis=1).magnitudes
    assert result.sigma == pytest.approx(3e38)
    assert result.pruned_norm_fraction == pytest.approx({"2:4": 0.5, "4:8": 0.5, "50 %": 0.5})


def test_a_pattern_that_holds_already_costs_nothing_to_prune_to() -> None:
    values = np.random.default_rng(8).normal(0, 1, (128, 256))
    values[:, 0::4] = values[:, 3::4] = 0
    along = statistics(bf16(values), "BF16", input_axis=1).magnitudes.pruned_norm_fraction
    across = statistics(bf16(values), "BF16", input_axis=0).magnitudes.pruned_norm_fraction
    assert along == {"2:4": 0, "4:8": 0, "50 %": 0}
    assert across["2:4"] > 0.1


@pytest.mark.parametrize("cut", [16, 112, 128])
def test_parts_of_the_outputs_merge_to_the_whole(cut: int) -> None:
    rng = np.random.default_rng(9)
    words = bf16(rng.normal(0, 0.02, (128, 384)) * np.linspace(0.2, 1, 128)[:, np.newaxis])
    whole = statistics(words, "BF16", input_axis=1, exact_thresholds=True).magnitudes
    parts = merged(
        [statistics(part, "BF16", input_axis=1, exact_thresholds=True) for part in (words[:cut], words[cut:])]
    ).magnitudes
    for name in ("elements", "sampled_elements", "largest", "mean_square", "quantised_zero_fraction"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name)), name
    for name in ABSOLUTE:
        assert parts.below_fraction[name] == pytest.approx(whole.below_fraction[name])
        assert parts.below_norm_fraction[name] == pytest.approx(whole.below_norm_fraction[name])
    for name in ("2:4", "4:8"):
        assert parts.pruned_norm_fraction[name] == pytest.approx(whole.pruned_norm_fraction[name])


def test_words_are_not_written_to() -> None:
    words = drawn_words(np.random.default_rng(1), "BF16", (300, 300))
    before = words.copy()
    for axis in (0, 1):
        for exact in (False, True):
            statistics(words, "BF16", input_axis=axis, exact_thresholds=exact, per_channel=True)
    np.testing.assert_array_equal(words, before)


@pytest.mark.parametrize(
    ("inputs", "width"), [(1, 8), (8, 8), (9, 16), (33, 64), (97, 128), (128, 128), (300, 128)]
)
def test_narrow_matrices_are_measured_in_rows_not_much_wider_than_they_are(inputs: int, width: int) -> None:
    words = np.full((50, inputs), 0x3F80, np.uint16)
    whole, finite = whole_part(words, "BF16", input_axis=1)
    sample, sampled = sampled_part(words, "BF16", input_axis=1, stride=1)
    assert finite == sampled == words.size
    assert whole.shape == sample.shape == (50 * -(-inputs // 128), width)
    assert whole.sum() == sample.sum() == words.size


@pytest.mark.parametrize("exact", [False, True])
def test_few_weights_that_are_sorted_and_many_that_are_counted_have_one_median(
    monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    rng = np.random.default_rng(6)
    for shape in ((40, 20), (30, 130)):
        words = bf16(rng.normal(0, 0.02, shape) * (rng.random(shape) < 0.7))
        found = []
        for few in (0, 2**13):
            monkeypatch.setattr(magnitudes, "FEW", few)
            found.append(statistics(words, "BF16", input_axis=1, exact_thresholds=exact).magnitudes)
        assert found[0] == found[1]
