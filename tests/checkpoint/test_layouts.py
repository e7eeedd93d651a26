"""Packed and compressed weights: their zeros are those of the weights that were packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from npuwatt.checkpoint import layouts
from npuwatt.checkpoint.files import BITS, Stored
from npuwatt.checkpoint.layouts import LayoutError, Matrix, Unread, matrices

Values = npt.NDArray[Any]
Parts = dict[str, tuple[str, Values]]  # type and numbers of each tensor of a module
ROWS, COLUMNS = 48, 64


def stored(name: str, dtype: str, values: Values) -> Stored:
    flat = np.ascontiguousarray(values).ravel().view(f"u{BITS[dtype] // 8}")
    flat.flags.writeable = False
    return Stored(
        name=name, dtype=dtype, shape=values.shape, size_bytes=values.nbytes, words=lambda: flat
    )  # fmt: skip


def found_in(parts: Parts, **told: Any) -> Matrix | Unread:
    tensors = tuple(stored(f"layer.q_proj.{name}", dtype, values) for name, (dtype, values) in parts.items())
    (found,), _ = matrices(tensors, told)
    assert found.name == "layer.q_proj.weight"
    return found


def words_of(found: Matrix | Unread) -> Values:
    assert isinstance(found, Matrix), found
    assert found.chunks is not None
    return np.concatenate(list(found.chunks()))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(params=[2**25, 20 * COLUMNS])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, and in pieces of sixteen rows."""
    monkeypatch.setattr(layouts, "CHUNK", request.param)


def two_of_four(rng: np.random.Generator) -> Values:
    """Words of bf16, two of each four of them zero."""
    words = rng.integers(1, 2**15, (ROWS, COLUMNS)).astype(np.uint16)
    order = rng.permuted(np.tile([0, 0, 1, 1], (ROWS * COLUMNS // 4, 1)), axis=1)
    return words * order.reshape(words.shape).astype(np.uint16)


def as_bitmask(words: Values) -> Parts:
    return {
        "compressed": ("BF16", words[words != 0].reshape(ROWS, -1)),
        "bitmask": ("U8", np.packbits(words != 0, axis=1, bitorder="little")),
        "shape": ("I64", np.array([[ROWS], [COLUMNS]])),
    }


@pytest.mark.usefixtures("chunk")
def test_24_bitmask_gives_back_the_weights(rng: np.random.Generator) -> None:
    words = two_of_four(rng)
    found = found_in(as_bitmask(words))
    assert isinstance(found, Matrix)
    assert (found.layout, found.dtype, found.shape) == ("sparse-24-bitmask", "BF16", (ROWS, COLUMNS))
    assert np.array_equal(words_of(found), words)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("columns", [COLUMNS, 61])
def test_a_bitmask_gives_back_the_weights(rng: np.random.Generator, columns: int) -> None:
    words = rng.integers(0, 3, (ROWS, columns)).astype(np.uint16)
    found = found_in(
        {
            "compressed": ("BF16", words[words != 0]),
            "bitmask": ("U8", np.packbits(words != 0, axis=1, bitorder="little")),
            "shape": ("I64", np.array([ROWS, columns])),
            "row_offsets": ("I64", np.cumsum([0, *np.count_nonzero(words, axis=1)[:-1]])),
        }
    )
    assert isinstance(found, Matrix)
    assert found.layout == "sparse-bitmask"
    assert np.array_equal(words_of(found), words)


def test_the_parts_of_a_packed_weight_may_be_named_after_the_module_or_the_weight(
    rng: np.random.Generator,
) -> None:
    parts = as_bitmask(two_of_four(rng))
    names = []
    for prefix in ("fc1", "fc1.weight"):
        tensors = [stored(f"{prefix}.{name}", dtype, values) for name, (dtype, values) in parts.items()]
        names += [one.name for one in matrices(tuple(tensors), {})[0]]
    assert names == ["fc1.weight", "fc1.weight"]


def test_a_plain_weight_beside_its_packed_form_does_not_count_twice(rng: np.random.Generator) -> None:
    parts = as_bitmask(two_of_four(rng)) | {"weight": ("U8", BYTES)}
    tensors = [stored(f"fc1.{name}", dtype, values) for name, (dtype, values) in parts.items()]
    packed, plain = matrices(tuple(tensors), {})[0]
    assert isinstance(packed, Matrix)
    assert isinstance(plain, Unread)
    assert plain.reason == "stands beside its packed form"


@pytest.mark.parametrize("change", [0x00, 0xFF])
def test_a_bitmask_that_counts_otherwise_is_refused(rng: np.random.Generator, change: int) -> None:
    parts = as_bitmask(two_of_four(rng))
    parts["bitmask"][1][-1] = change
    with pytest.raises(LayoutError, match="does not count as many weights"):
        words_of(found_in(parts))


def test_marlin_24_is_half_full_by_its_form() -> None:
    kept = ROWS * COLUMNS // 2
    parts: Parts = {
        "weight_packed": ("I32", np.zeros((COLUMNS // 32, kept // 8 // (COLUMNS // 32)), np.int32)),
        "scale_packed": ("F16", np.zeros((1, ROWS), np.float16)),
        "meta": ("I16", np.zeros((COLUMNS, kept // 8 // COLUMNS), np.int16)),
    }
    found = found_in(parts)
    assert isinstance(found, Matrix)
    assert (found.layout, found.dtype, found.shape) == ("marlin-24", "I4", (ROWS, COLUMNS))
    assert found.chunks is None
    parts["meta"] = ("I16", np.zeros(7, np.int16))
    assert isinstance(found_in(parts), Unread)


def packed_rows(codes: Values) -> Values:
    """Eight neighbours of a row in a word, the first lowest."""
    eights = codes.reshape(codes.shape[0], -1, 8).astype(np.uint32)
    words: Values = np.bitwise_or.reduce(eights << (4 * np.arange(8, dtype=np.uint32)), axis=2)
    return words.view(np.int32)


def signed(words: Values) -> Values:
    return words.view(np.int8).astype(int)


@pytest.mark.usefixtures("chunk")
def test_pack_quantized_is_zero_at_eight(rng: np.random.Generator) -> None:
    codes = rng.integers(0, 16, (ROWS, COLUMNS))
    found = found_in(
        {
            "weight_packed": ("I32", packed_rows(codes)),
            "weight_scale": ("BF16", np.ones((ROWS, 2), np.uint16)),
            "weight_shape": ("I64", np.array([ROWS, COLUMNS])),
        }
    )
    assert isinstance(found, Matrix)
    assert (found.layout, found.dtype, found.shape) == ("pack-quantized", "I4", (ROWS, COLUMNS))
    assert np.array_equal(signed(words_of(found)), codes - 8)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_pack_quantized_with_zero_points_is_zero_at_those_of_its_group(
    rng: np.random.Generator, is_shuffled: bool
) -> None:
    codes, zeros = rng.integers(0, 16, (ROWS, COLUMNS)), rng.integers(0, 16, (ROWS, 4))
    group = np.repeat(np.arange(4), COLUMNS // 4)
    parts: Parts = {
        "weight_packed": ("I32", packed_rows(codes)),
        "weight_scale": ("BF16", np.ones((ROWS, 4), np.uint16)),
        "weight_shape": ("I64", np.array([ROWS, COLUMNS])),
        "weight_zero_point": ("I32", np.ascontiguousarray(packed_rows(zeros.T).T)),
    }
    if is_shuffled:
        group = rng.permutation(group)
        parts["weight_g_idx"] = ("I32", group.astype(np.int32))
    assert np.array_equal(signed(words_of(found_in(parts))), codes - zeros[:, group])


def gptq(codes: Values, zeros: Values, group: Values | None = None) -> Parts:
    """Codes (outputs, inputs) and stored zero points (groups, outputs) as GPTQ packs them."""
    parts: Parts = {
        "qweight": ("I32", np.ascontiguousarray(packed_rows(codes).T)),
        "qzeros": ("I32", packed_rows(zeros)),
        "scales": ("F16", np.ones(zeros.shape, np.float16)),
    }
    return parts if group is None else parts | {"g_idx": ("I32", group.astype(np.int32))}


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(
    ("told", "less"),
    [({"quant_method": "gptq"}, 1), ({"checkpoint_format": "gptq"}, 1), ({"checkpoint_format": "gptq_v2"}, 0)],
)  # fmt: skip
def test_gptq_is_zero_at_its_zero_points_and_the_first_version_stores_one_less(
    rng: np.random.Generator, told: dict[str, str], less: int
) -> None:
    codes, zeros = rng.integers(0, 16, (ROWS, COLUMNS)), rng.integers(0, 15, (4, ROWS))
    group = rng.permutation(np.repeat(np.arange(4), COLUMNS // 4))
    found = found_in(gptq(codes, zeros, group), **told)
    assert isinstance(found, Matrix)
    assert (found.layout, found.shape) == ("gptq", (ROWS, COLUMNS))
    assert np.array_equal(signed(words_of(found)), codes - (zeros[group].T + less))


@pytest.mark.parametrize("stored_zero", [7, 8])
def test_symmetric_gptq_tells_its_version_by_itself(rng: np.random.Generator, stored_zero: int) -> None:
    codes = rng.integers(0, 16, (ROWS, COLUMNS))
    found = found_in(gptq(codes, np.full((4, ROWS), stored_zero)))
    assert np.array_equal(signed(words_of(found)), codes - 8)


def test_gptq_of_an_unknown_version_is_not_guessed(rng: np.random.Generator) -> None:
    found = found_in(gptq(rng.integers(0, 16, (ROWS, COLUMNS)), rng.integers(0, 15, (4, ROWS))))
    assert isinstance(found, Unread)
    assert "version is not told" in found.reason


@pytest.mark.usefixtures("chunk")
def test_awq_is_zero_at_its_zero_points(rng: np.random.Generator) -> None:
    # AutoAWQ's order: the word's lowest four bits hold output 0, the next output 2, then 4, 6, 1, 3, 5, 7.
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    codes, zeros = rng.integers(0, 16, (ROWS, COLUMNS)), rng.integers(0, 16, (4, ROWS))

    def interleaved(rows: Values) -> Values:
        return packed_rows(rows.reshape(rows.shape[0], -1, 8)[:, :, order].reshape(rows.shape))

    found = found_in(
        {
            "qweight": ("I32", interleaved(codes.T)),
            "qzeros": ("I32", interleaved(zeros)),
            "scales": ("F16", np.ones((4, ROWS), np.float16)),
        }
    )
    assert isinstance(found, Matrix)
    assert (found.layout, found.shape) == ("awq", (ROWS, COLUMNS))
    assert np.array_equal(signed(words_of(found)), codes - np.repeat(zeros, COLUMNS // 4, axis=0).T)


BYTES = np.zeros((ROWS, COLUMNS), np.uint8)
UNREAD: dict[str, tuple[Parts, str]] = {
    "eight bits": (
        {"weight_packed": ("I32", np.zeros((ROWS, COLUMNS // 4), np.int32)), "weight_scale": ("F32", np.ones((ROWS, 1), np.float32)),
         "weight_shape": ("I64", np.array([ROWS, COLUMNS]))},
        "not four bits",
    ),
    "packed words alone": ({"weight_packed": ("I32", np.zeros((4, 4), np.int32))}, "without the tensors"),
    "codes of AWQ without scales": ({"qweight": ("I32", np.zeros((4, 4), np.int32))}, "without the tensors"),
    "AWQ of twelve outputs in words of eight": (
        {"qweight": ("I32", np.zeros((8, 1), np.int32)), "qzeros": ("I32", np.zeros((1, 1), np.int32)),
         "scales": ("F16", np.ones((1, 12), np.float16))},
        "outputs are no multiple of 8",
    ),
    "AWQ of twelve outputs in words for sixteen": (
        {"qweight": ("I32", np.zeros((8, 2), np.int32)), "qzeros": ("I32", np.zeros((1, 2), np.int32)),
         "scales": ("F16", np.ones((1, 12), np.float16))},
        "outputs are no multiple of 8",
    ),
    "GPTQ of twelve outputs": (
        {"qweight": ("I32", np.zeros((1, 12), np.int32)), "qzeros": ("I32", np.zeros((1, 1), np.int32)),
         "scales": ("F16", np.ones((1, 12), np.float16))},
        "outputs are no multiple of 8",
    ),
    "a shape of billions": (
        {"compressed": ("BF16", np.zeros(4, np.uint16)), "bitmask": ("U8", np.zeros((1, 1), np.uint8)),
         "shape": ("I64", np.array([2**40, 2**40]))},
        "lengths that no matrix has",
    ),
    "one row of more inputs than any matrix has, which would fill the memory": (
        {"compressed": ("BF16", np.zeros(4, np.uint16)), "bitmask": ("U8", np.zeros((1, 2**21), np.uint8)),
         "shape": ("I64", np.array([1, 2**24]))},
        "lengths that no matrix has",
    ),
    "a bitmask of another shape": (
        {"compressed": ("BF16", np.zeros(4, np.uint16)), "bitmask": ("U8", np.zeros((1, 1), np.uint8)),
         "shape": ("I64", np.array([2, 4]))},
        "does not fit the shape",
    ),
    "four-bit floats in bytes": ({"weight": ("U8", BYTES), "weight_scale": ("F8_E4M3", BYTES)}, "whose zero is not known"),
    "bitsandbytes": ({"weight": ("U8", BYTES), "weight.absmax": ("F32", np.ones(4, np.float32))}, "whose zero is not known"),
    "double precision": ({"weight": ("F64", np.ones((4, 4)))}, "numbers of type F64 are not counted"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREAD)
def test_what_cannot_be_told_is_said_and_not_guessed(name: str) -> None:
    parts, said = UNREAD[name]
    found = found_in(parts)
    assert isinstance(found, Unread)
    assert said in found.reason


def test_norms_biases_and_scales_are_no_matrices() -> None:
    parts: Parts = {
        "weight": ("F8_E4M3", BYTES),
        "weight_scale": ("F32", np.ones((ROWS, 1), np.float32)),
        "bias": ("F32", np.ones(ROWS, np.float32)),
    }
    tensors = tuple(stored(f"fc1.{name}", dtype, values) for name, (dtype, values) in parts.items())
    norm = stored("norm.weight", "F32", np.ones(ROWS, np.float32))
    found, others = matrices((*tensors, norm), {})
    assert [one.name for one in found] == ["fc1.weight"]
    assert sorted(one.name for one in others) == ["fc1.bias", "fc1.weight_scale", "norm.weight"]
