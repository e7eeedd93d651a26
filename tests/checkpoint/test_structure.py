"""Zeros and their pattern, against counting them one group at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.checkpoint import structure
from npuwatt.checkpoint.magnitudes import tiles
from npuwatt.checkpoint.number_formats import FORMATS
from npuwatt.checkpoint.structure import GROUPS, TensorStatistics, merged, statistics

FIXED = settings(derandomize=True, deadline=None, max_examples=60)
Words = npt.NDArray[Any]

# Sign, one, and what is no finite number, as each format spells them (OCP 8-bit floating point specification, table 1:
# e4m3 has no infinity and one NaN of either sign, e5m2 has both).
MINUS_ZERO = {
    "F32": 0x80000000, "F16": 0x8000, "BF16": 0x8000, "F8_E4M3": 0x80, "F8_E5M2": 0x80,
}  # fmt: skip
NOT_FINITE = {
    "F32": (0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF), "F16": (0x7C00, 0xFC00, 0x7E00, 0xFFFF),
    "BF16": (0x7F80, 0xFF80, 0x7FC0, 0xFFFF), "F8_E4M3": (0x7F, 0xFF), "F8_E5M2": (0x7C, 0xFC, 0x7D, 0xFF),
}  # fmt: skip
LARGEST_FINITE = {"F32": 0x7F7FFFFF, "F16": 0x7BFF, "BF16": 0x7F7F, "F8_E4M3": 0x7E, "F8_E5M2": 0x7B}


def random_words(rng: np.random.Generator, dtype: str, shape: tuple[int, int]) -> Words:
    """Every finite word of a format but the zeros."""
    signs = rng.integers(0, 2, shape).astype(FORMATS[dtype].word)
    if dtype not in LARGEST_FINITE:
        return rng.integers(1, 256, shape).astype(np.uint8)
    magnitudes = rng.integers(1, LARGEST_FINITE[dtype], shape, endpoint=True).astype(FORMATS[dtype].word)
    words: Words = magnitudes | signs * FORMATS[dtype].word(MINUS_ZERO[dtype])
    return words


def zeroed(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which weights of an (outputs, inputs) matrix are zero."""
    outputs, inputs = shape
    if kind in ("1:2", "2:4", "4:8"):
        keep, of = (int(part) for part in kind.split(":"))
        order = rng.random((outputs, -(-inputs // of), of)).argsort(axis=2)
        return (order >= keep).reshape(outputs, -1)[:, :inputs]
    if kind == "block":
        blocks = rng.random((-(-outputs // 16), -(-inputs // 16))) < 0.5
        return blocks.repeat(16, axis=0).repeat(16, axis=1)[:outputs, :inputs]
    if kind == "lines":
        return (rng.random((outputs, 1)) < 0.3) | (rng.random((1, inputs)) < 0.3)
    return rng.random(shape) < {"dense": 0.0, "half": 0.5, "rare": 0.001, "all": 1.0}[kind]


KINDS = ("dense", "half", "rare", "all", "1:2", "2:4", "4:8", "block", "lines")


def by_counting(zero: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """What `statistics` should find in an (outputs, inputs) matrix, by loops over its groups and blocks."""
    outputs, inputs = zero.shape
    corners = [(i, j) for i in range(0, outputs - 15, 16) for j in range(0, inputs - 15, 16)]
    groups = {}
    for m in GROUPS:
        counts = [0] * (m + 1)
        for row in zero if inputs % m == 0 else ():
            for start in range(0, inputs, m):
                counts[m - int(row[start : start + m].sum())] += 1
        groups[m] = tuple(counts)
    return {
        "elements": zero.size,
        "zeros": int(zero.sum()),
        "outputs": outputs,
        "zero_outputs": sum(bool(row.all()) for row in zero),
        "inputs": inputs,
        "zero_inputs": sum(bool(column.all()) for column in zero.T),
        "blocks": len(corners),
        "zero_blocks": sum(bool(zero[i : i + 16, j : j + 16].all()) for i, j in corners),
        "groups_by_nonzeros": groups,
    }


def found(result: TensorStatistics, names: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in names}


def counted(matrix: Words, dtype: str, input_axis: int, **options: Any) -> TensorStatistics:
    """Statistics of an (outputs, inputs) matrix, stored either way and not to be written to."""
    words = np.ascontiguousarray(matrix if input_axis == 1 else matrix.T)
    words.flags.writeable = False
    return statistics(words, dtype, input_axis=input_axis, **options)


def assert_counted(matrix: Words, zero: npt.NDArray[np.bool_], dtype: str) -> None:
    expected = by_counting(zero)
    for input_axis in (0, 1):
        result = counted(matrix, dtype, input_axis, per_channel=True)
        assert found(result, expected) == expected
        assert result.nonzeros_by_input is not None
        assert result.nonzeros_by_input.tolist() == (~zero).sum(axis=0).tolist()


@pytest.fixture(params=[(2**22, 2**19), (2**12, 2**7), (2**14, 2**12)], ids=str)
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiles and pieces of the usual size, and some so small that tensors are split both ways."""
    tile, piece = request.param
    monkeypatch.setattr(structure, "TILE", tile)
    monkeypatch.setattr(structure, "PIECE", piece)
    yield


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_brute_force(dtype: str, kind: str, chunks: None) -> None:
    rng = np.random.default_rng(7)
    for shape in ((64, 96), (48, 264), (33, 130)):
        zero = zeroed(rng, kind, shape)
        assert_counted(
            np.where(zero, 0, random_words(rng, dtype, shape)).astype(FORMATS[dtype].word), zero, dtype
        )


@pytest.mark.parametrize("few", [0, 2**13])
@pytest.mark.parametrize("kind", KINDS)
def test_patterns_of_small_tensors_are_those_of_large_ones(
    monkeypatch: pytest.MonkeyPatch, few: int, kind: str
) -> None:
    monkeypatch.setattr(structure, "FEW", few)
    rng = np.random.default_rng(9)
    for shape in ((1, 16), (7, 40), (48, 264)):
        zero = zeroed(rng, kind, shape)
        assert_counted(np.where(zero, 0, random_words(rng, "F16", shape)).astype(np.uint16), zero, "F16")


@FIXED
@given(
    outputs=st.integers(1, 200),
    inputs=st.integers(1, 200),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(sorted(FORMATS)),
    seed=st.integers(0, 99),
)
def test_counts_are_those_of_brute_force_for_any_shape(
    outputs: int, inputs: int, kind: str, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    zero = zeroed(rng, kind, (outputs, inputs))
    words = np.where(zero, 0, random_words(rng, dtype, zero.shape)).astype(FORMATS[dtype].word)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "TILE", 2**13)
        patch.setattr(structure, "PIECE", 2**9)
        assert_counted(words, zero, dtype)


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000, 1), (3, 70_001), (129, 5), (1, 1)])
def test_very_long_and_very_wide_tensors_are_counted_too(shape: tuple[int, int], chunks: None) -> None:
    rng = np.random.default_rng(3)
    zero = zeroed(rng, "half", shape)
    words = np.where(zero, 0, random_words(rng, "BF16", shape)).astype(np.uint16)
    for axis, matrix in ((1, zero), (0, zero.T)):
        result = statistics(words, "BF16", input_axis=axis)
        assert result.zeros == zero.sum()
        assert result.zero_outputs == matrix.all(axis=1).sum()
        assert result.zero_inputs == matrix.all(axis=0).sum()
        for m in GROUPS:
            whole = matrix.shape[1] % m == 0
            counts = (
                np.bincount(m - matrix.reshape(-1, m).sum(axis=1), minlength=m + 1)
                if whole
                else [0] * (m + 1)
            )
            assert result.groups_by_nonzeros[m] == tuple(counts)


@pytest.mark.parametrize("dtype", MINUS_ZERO)
def test_minus_zero_is_zero(dtype: str) -> None:
    words = np.full((32, 64), MINUS_ZERO[dtype], FORMATS[dtype].word)
    assert_counted(words, np.ones(words.shape, bool), dtype)
    assert statistics(words, dtype, input_axis=1).magnitudes.largest == 0


@pytest.mark.parametrize("dtype", ["I8", "U8", "I4"])
def test_the_word_that_is_minus_zero_elsewhere_is_a_number_among_integers(dtype: str) -> None:
    result = statistics(np.full((16, 16), 0x80, np.uint8), dtype, input_axis=1)
    assert (result.zeros, result.magnitudes.largest) == (0, 128)


@pytest.mark.parametrize("dtype", NOT_FINITE)
def test_infinite_weights_and_nan_are_not_zero_but_counted(dtype: str, chunks: None) -> None:
    rng = np.random.default_rng(5)
    zero = zeroed(rng, "2:4", (80, 72))
    words = np.where(zero, 0, 1).astype(FORMATS[dtype].word)
    odd = rng.choice(np.flatnonzero(~zero), 40, replace=False)
    words.ravel()[odd] = np.resize(np.array(NOT_FINITE[dtype], FORMATS[dtype].word), 40)
    assert_counted(words, zero, dtype)
    for axis in (0, 1):
        result = counted(words, dtype, axis)
        assert result.not_finite == 40
        assert result.magnitudes.elements == words.size - 40
        assert 0 < result.magnitudes.largest < 1


@pytest.mark.parametrize("dtype", LARGEST_FINITE)
def test_the_largest_finite_word_is_finite(dtype: str) -> None:
    largest = {"F32": 3.4028235e38, "F16": 65504, "BF16": 3.3895314e38, "F8_E4M3": 448, "F8_E5M2": 57344}
    words = np.full((8, 8), LARGEST_FINITE[dtype] | MINUS_ZERO[dtype], FORMATS[dtype].word)
    result = statistics(words, dtype, input_axis=1)
    assert result.not_finite == 0
    assert result.magnitudes.largest == pytest.approx(largest[dtype], rel=1e-6)


def test_a_group_that_does_not_fill_the_input_dimension_has_no_conformity() -> None:
    words = np.ones((16, 24), np.uint16)
    assert counted(words, "BF16", 1).conformity(8, 16) is None
    assert counted(words, "BF16", 1).conformity(4, 8) == 0
    assert counted(words, "BF16", 1).conformity(8, 8) == 1
    assert counted(words, "BF16", 0).conformity(8, 16) is None


@pytest.mark.parametrize("pattern", ["1:2", "2:4", "4:8"])
def test_a_pattern_conforms_along_its_inputs_and_not_along_its_outputs(pattern: str) -> None:
    rng = np.random.default_rng(2)
    words = np.where(zeroed(rng, pattern, (256, 256)), 0, np.uint16(0x3F80))
    keep, of = (int(part) for part in pattern.split(":"))
    for axis in (0, 1):
        assert counted(words, "BF16", axis).conformity(keep, of) == 1
        across = counted(words.T, "BF16", axis).conformity(keep, of)
        assert across is not None
        assert across < 0.8
    assert counted(words, "BF16", 1).density == pytest.approx(0.5)


def test_independent_halves_meet_a_pattern_as_often_as_the_binomial_tail() -> None:
    # At least M - N of M are zero: 68.75 % for 2:4, 63.67 % for 4:8, 75 % for 1:2.
    words = np.where(zeroed(np.random.default_rng(1), "half", (2048, 2048)), 0, np.uint16(1))
    for most, of in ((1, 2), (2, 4), (4, 8), (8, 16)):
        tail = sum(math.comb(of, n) for n in range(most + 1)) / 2**of
        for axis in (0, 1):
            assert counted(words, "F16", axis).conformity(most, of) == pytest.approx(tail, abs=0.002)


@FIXED
@given(outputs=st.integers(1, 90), inputs=st.sampled_from([16, 48, 128]), seed=st.integers(0, 99))
def test_parts_of_the_outputs_merge_to_the_whole(outputs: int, inputs: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    zero = zeroed(rng, "half", (16 * 6, inputs))
    words = np.where(zero, 0, random_words(rng, "F16", zero.shape)).astype(np.uint16)
    cut = 16 * (outputs % 5 + 1)
    parts = merged([counted(part, "F16", 1) for part in (words[:cut], words[cut:])])
    names = (
        "elements",
        "zeros",
        "not_finite",
        "outputs",
        "zero_outputs",
        "blocks",
        "zero_blocks",
        "groups_by_nonzeros",
    )
    assert found(parts, names) == found(counted(words, "F16", 1), names)
    assert parts.inputs == 2 * inputs
    assert parts.nonzeros_by_input is None


@pytest.mark.parametrize("shape", [(0, 16), (16, 0), (0, 0)])
def test_an_empty_tensor_has_nothing(shape: tuple[int, int]) -> None:
    result = statistics(np.empty(shape, np.uint16), "BF16", input_axis=1)
    assert (result.elements, result.zeros, result.density) == (0, 0, 1)
    assert result.conformity(2, 4) is None


def test_progress_hears_of_every_tile_and_ends_with_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "TILE", 2**14)
    heard: list[int] = []
    statistics(np.ones((300, 300), np.uint16), "BF16", input_axis=1, progress=heard.append)
    assert heard == sorted(set(heard))
    assert (len(heard) > 3, heard[-1]) == (True, 90_000)


@FIXED
@given(rows=st.integers(1, 3000), columns=st.integers(1, 3000), bits=st.integers(8, 16))
def test_tiles_cover_each_word_once_and_keep_groups_whole(rows: int, columns: int, bits: int) -> None:
    seen = np.zeros((rows, columns), np.uint8)
    for down, across in tiles((rows, columns), 2**bits):
        seen[down, across] += 1
        assert down.start % 128 == across.start % 128 == 0
        assert (down.stop % 128 == 0 or down.stop == rows) and (
            across.stop % 128 == 0 or across.stop == columns
        )
        assert seen[down, across].size <= max(2**bits, 128 * 128)
    assert (seen == 1).all()


def resident_bytes() -> int:
    """Memory of this process that is resident now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells resident memory on Linux only")
@pytest.mark.parametrize("options", [{}, {"exact_thresholds": True}], ids=["sampled", "exact"])
def test_a_mapped_file_is_not_kept_in_memory(tmp_path: Path, options: dict[str, bool]) -> None:
    path = tmp_path / "weights"
    np.full(2**26, 0x3F80, np.uint16).tofile(path)  # 128 MiB
    words = np.memmap(path, np.uint16, "r").reshape(8192, 8192)[1:]  # does not start on a page
    statistics(words[:256], "BF16", input_axis=1, exact_thresholds=True)
    before, most = resident_bytes(), 0

    def look(_: int) -> None:
        nonlocal most
        most = max(most, resident_bytes())

    result = statistics(words, "BF16", input_axis=1, progress=look, **options)
    assert max(most, resident_bytes()) - before < 64e6
    assert result.magnitudes.largest == 1
    assert words[0, 0] == 0x3F80  # given back, not lost


def test_memory_of_others_is_never_given_back() -> None:
    words = np.frombuffer(bytearray(b"\x01\x00" * 2**15), np.uint16).reshape(128, 256)
    statistics(words, "BF16", input_axis=1)
    assert (words == 1).all()


def test_a_private_mapping_keeps_what_was_written_to_it(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    np.zeros(2**16, np.uint16).tofile(path)
    mapped = np.memmap(path, np.uint16, "c").reshape(256, 256)
    mapped[:] = 5
    view = mapped.view()
    view.flags.writeable = False
    assert statistics(view, "BF16", input_axis=1).zeros == 0
    assert (mapped == 5).all()
