"""Stored tensors to matrices of weights: plain ones, and those that are packed or compressed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from npuwatt.checkpoint.files import Stored
from npuwatt.checkpoint.number_formats import FORMATS, Words
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

CHUNK = 2**25  # weights that are unpacked at a time
MOST_COLUMNS = CHUNK // 16  # of a packed matrix, sixteen rows of which are unpacked together
_AWQ_PLACES = [0, 4, 1, 5, 2, 6, 3, 7]  # where the eight neighbours of a word lie in it


class Matrix(Record):
    """A matrix of weights, or several stacked ones (experts), and how its words are had."""

    name: str
    layout: str  # 'plain', or the name of the packed or compressed form
    dtype: str  # of its words: a key of FORMATS
    shape: tuple[int, ...]  # as it is used: of a packed one (outputs, inputs)
    size_bytes: int
    # Words (rows, columns), all at once, an expert or some rows at a time; None if only the form is known.
    chunks: Callable[[], Iterator[Words]] | None


class LayoutError(NpuwattError):
    """Weights whose stored form does not tell what they are."""


class Unread(Record):
    """Weights that cannot be counted, and why."""

    name: str
    reason: str


Parts = Mapping[str, Stored]  # tensors of one module, by the last part of their names
Told = dict[str, Any]  # quantization_config of the config.json


def matrices(tensors: tuple[Stored, ...], told: Told) -> tuple[list[Matrix | Unread], list[Stored]]:
    """All matrices of a checkpoint, and what is left: norms, biases, scales.

    told: the quantization_config of the checkpoint's config.json, empty if it has none.
    """
    modules: dict[str, dict[str, Stored]] = {}
    for tensor in tensors:
        prefix, _, last = tensor.name.rpartition(".")
        modules.setdefault(prefix, {})[last] = tensor
    found: list[Matrix | Unread] = []
    others: list[Stored] = []
    for prefix, parts in modules.items():
        packed = _packed(prefix, parts, told)
        if packed is not None:
            found.append(packed)
        for last, part in parts.items():
            if packed is not None and last == "weight":
                found.append(Unread(name=part.name, reason="stands beside its packed form"))
            if packed is not None:
                continue
            one = _plain(part, parts, modules)
            if one is None:
                others.append(part)
            else:
                found.append(one)
    return found, others


def _packed(prefix: str, parts: Parts, told: Told) -> Matrix | Unread | None:
    """The matrix that a module holds in several parts; None if it holds none."""
    name = prefix if prefix.endswith("weight") else f"{prefix}.weight"
    readers: tuple[tuple[set[str], Callable[[str, Parts, Told], Matrix]], ...] = (
        ({"compressed", "bitmask", "shape"}, _bitmask),
        ({"weight_packed", "scale_packed", "meta"}, _marlin_24),
        ({"weight_packed", "weight_scale", "weight_shape"}, _pack_quantized),
        ({"qweight", "qzeros", "scales"}, _gptq_or_awq),
    )
    for needed, read in readers:
        if needed <= parts.keys():
            try:
                return read(name, parts, told)
            except LayoutError as error:
                return Unread(name=name, reason=str(error))
    odd = next((last for last in ("compressed", "weight_packed", "qweight") if last in parts), None)
    return Unread(name=name, reason=f"'{odd}' without the tensors that tell its form") if odd else None


def _plain(tensor: Stored, parts: Parts, modules: Mapping[str, Parts]) -> Matrix | Unread | None:
    """A tensor that is a matrix by its name and shape; None if it is something else."""
    name = tensor.name
    if name.endswith("_blocks") and f"{name.rpartition('.')[2][:-7]}_scales" in parts:
        return Unread(name=name, reason="blocks of four-bit numbers with shared scales are not unpacked")
    is_stack = len(tensor.shape) == 3 and "experts" in name and not name.endswith("bias")
    if not (is_stack or (len(tensor.shape) == 2 and name.endswith("weight"))) or not tensor.elements:
        return None
    if tensor.dtype not in FORMATS:
        return Unread(name=name, reason=f"numbers of type {tensor.dtype} are not counted")
    scaled = {"weight_scale", "weight_scale_2", "weight_scale_inv", "absmax"} & parts.keys()
    if tensor.dtype == "U8" and (scaled or name in modules):
        return Unread(name=name, reason="bytes of codes whose zero is not known")

    def chunks() -> Iterator[Words]:
        words = tensor.words().reshape(tensor.shape)
        return iter(words if is_stack else [words])

    return Matrix(
        name=name,
        layout="plain",
        dtype=tensor.dtype,
        shape=tensor.shape,
        size_bytes=tensor.size_bytes,
        chunks=chunks,
    )


def _bitmask(name: str, parts: Parts, told: Told) -> Matrix:
    """compressed-tensors sparse-24-bitmask and sparse-bitmask: values of a row one after another, a bit for each weight.

    Source
    ------
    compressed-tensors, https://github.com/neuralmagic/compressed-tensors, compressors/sparse_compressors.
    """
    values, mask = parts["compressed"], parts["bitmask"]
    rows, columns = _two(parts["shape"])
    if values.dtype not in FORMATS:
        raise LayoutError(f"numbers of type {values.dtype} are not counted")
    if mask.dtype != "U8" or mask.shape != (rows, -(-columns // 8)):
        raise LayoutError("a bitmask that does not fit the shape")
    is_24 = "row_offsets" not in parts
    if is_24 and values.shape != (rows, columns // 2):
        raise LayoutError("values that do not fit the shape")
    return Matrix(
        name=name,
        layout="sparse-24-bitmask" if is_24 else "sparse-bitmask",
        dtype=values.dtype,
        shape=(rows, columns),
        size_bytes=values.size_bytes + mask.size_bytes,
        chunks=partial(_scattered, values, mask, rows, columns),
    )


def _scattered(values: Stored, mask: Stored, rows: int, columns: int) -> Iterator[Words]:
    """Values at the places that a bitmask tells, zeros elsewhere."""
    words, bytes_of_bits = values.words(), mask.words().reshape(rows, -1)
    taken = 0
    for here in _steps(rows, columns):
        bits = np.unpackbits(bytes_of_bits[here], axis=1, count=columns, bitorder="little").view(bool)
        count = int(np.count_nonzero(bits))
        if taken + count > words.size:
            break
        dense = np.zeros(bits.shape, words.dtype)
        dense[bits] = words[taken : taken + count]
        taken += count
        yield dense
    else:
        if taken == words.size:
            return
    raise LayoutError("a bitmask that does not count as many weights as are stored")


def _marlin_24(name: str, parts: Parts, told: Told) -> Matrix:
    """compressed-tensors marlin-24: 2:4 by its form, with two bits of `meta` for each weight that is kept.

    Source
    ------
    Frantar et al., "MARLIN: mixed-precision auto-regressive parallel inference on large language models", PPoPP 2025.
    """
    kept = 4 * parts["meta"].size_bytes
    scales = parts["scale_packed"].shape
    bits = 8 * parts["weight_packed"].size_bytes / kept if kept else 0
    if len(scales) != 2 or not scales[1] or 2 * kept % scales[1] or bits not in (4, 8):
        raise LayoutError("marlin-24 of another shape than 4 or 8 bits a weight")
    return Matrix(
        name=name,
        layout="marlin-24",
        dtype=f"I{bits:.0f}",
        shape=(scales[1], 2 * kept // scales[1]),
        size_bytes=parts["weight_packed"].size_bytes + parts["meta"].size_bytes,
        chunks=None,
    )


def _pack_quantized(name: str, parts: Parts, told: Told) -> Matrix:
    """compressed-tensors pack-quantized: eight codes a word along the inputs; zero is the zero point, 8 if there is none.

    Source
    ------
    compressed-tensors, https://github.com/neuralmagic/compressed-tensors, compressors/quantized_compressors/pack_quantized.py.
    """
    packed, scale = parts["weight_packed"], parts["weight_scale"]
    outputs, inputs = _two(parts["weight_shape"])
    _check_words(packed, (outputs, -(-inputs // 8)))
    zeros: Words | None = None
    groups = scale.shape[1] if len(scale.shape) == 2 else 1
    if "weight_zero_point" in parts:
        points = parts["weight_zero_point"]
        _check_words(points, (-(-outputs // 8), groups))
        zeros = _nibbles(points.words().reshape(points.shape).T)[:, :outputs]
    return _four_bits(
        name, "pack-quantized", packed, zeros,
        of_input=_groups(inputs, groups, parts.get("weight_g_idx")),
        outputs=outputs,
        codes=lambda here: _nibbles(packed.words().reshape(packed.shape)[here])[:, :inputs],
    )  # fmt: skip


def _gptq_or_awq(name: str, parts: Parts, told: Told) -> Matrix:
    """GPTQ packs eight inputs a word and most files store a zero point less one; AWQ packs eight outputs, interleaved.

    Source
    ------
    AutoGPTQ, https://github.com/AutoGPTQ/AutoGPTQ, nn_modules/qlinear; AutoAWQ, https://github.com/casper-hansen/AutoAWQ,
    modules/linear/gemm.py.
    """
    packed, points, scales = parts["qweight"], parts["qzeros"], parts["scales"]
    if len(scales.shape) != 2 or len(packed.shape) != 2:
        raise LayoutError("codes or scales that are no matrix")
    groups, outputs = scales.shape
    if outputs % 8:  # eight zero points a word, and in AWQ eight codes
        raise LayoutError("packed codes whose outputs are no multiple of 8")
    _check_words(points, (groups, outputs // 8))
    zeros = _nibbles(points.words().reshape(points.shape))
    if packed.shape[1] == outputs and packed.shape[0] > 0:
        inputs = 8 * packed.shape[0]
        _check_words(packed, (inputs // 8, outputs))
        zeros = zeros + _less_than_zero(zeros, told)
        return _four_bits(
            name, "gptq", packed, zeros,
            of_input=_groups(inputs, groups, parts.get("g_idx")),
            outputs=outputs,
            codes=lambda here: _nibbles(packed.words().reshape(packed.shape)[:, here].T),
        )  # fmt: skip
    inputs = packed.shape[0]
    _check_words(packed, (inputs, outputs // 8))

    def codes(here: slice) -> Words:
        words = packed.words().reshape(packed.shape)[:, here.start // 8 : -(-here.stop // 8)]
        return _in_order(_nibbles(words)).T

    return _four_bits(
        name, "awq", packed, _in_order(zeros),
        of_input=_groups(inputs, groups, None), outputs=outputs, codes=codes,
    )  # fmt: skip


def _less_than_zero(zeros: Words, told: Told) -> Any:
    """How much less than the zero point GPTQ stores: 1, but 0 in files of its second version."""
    form = told.get("checkpoint_format")
    if form in ("gptq", "gptq_v2") or told.get("quant_method") == "gptq":
        return np.uint8(form != "gptq_v2")
    if np.all(zeros == 7) or np.all(zeros == 8):  # zero points of symmetric codes are 8
        return np.uint8(8 - int(zeros.flat[0]))
    raise LayoutError(
        "zero points of GPTQ whose version is not told; a config.json with checkpoint_format would"
    )


def _four_bits(
    name: str, layout: str, packed: Stored, zeros: Words | None, *, of_input: Words, outputs: int,
    codes: Callable[[slice], Words],
) -> Matrix:  # fmt: skip
    """Codes less their zero codes: `zeros` (groups, outputs) by the group `of_input` (inputs,), or 8 everywhere."""

    def chunks() -> Iterator[Words]:
        for here in _steps(outputs, len(of_input)):
            found = np.ascontiguousarray(codes(here))
            found -= np.uint8(8) if zeros is None else zeros[:, here].T[:, of_input]
            yield found

    return Matrix(
        name=name,
        layout=layout,
        dtype="I4",
        shape=(outputs, len(of_input)),
        size_bytes=packed.size_bytes,
        chunks=chunks,
    )


def _groups(inputs: int, groups: int, index: Stored | None) -> Words:
    """The group of each input: as an index tells it, else evenly."""
    if index is not None:
        told = index.words()
        if told.shape != (inputs,) or told.max(initial=0) >= groups:
            raise LayoutError("an index of groups that does not fit the shape")
        return told.astype(np.int64)
    size = -(-inputs // groups) if groups else 0
    if not size or -(-inputs // size) != groups:
        raise LayoutError("scales that do not fit the shape")
    return np.arange(inputs) // size


def _nibbles(words: Words) -> Words:
    """(rows, n) words of 32 bits as (rows, 8 n) codes, lowest first."""
    packed = np.ascontiguousarray(words).view(np.uint8)
    found = np.empty((packed.shape[0], 2 * packed.shape[1]), np.uint8)
    np.bitwise_and(packed, 15, out=found[:, 0::2])
    np.right_shift(packed, 4, out=found[:, 1::2])
    return found


def _in_order(codes: Words) -> Words:
    """Codes of AWQ, each eight of a word in the order of their outputs."""
    return codes.reshape(codes.shape[0], -1, 8)[:, :, _AWQ_PLACES].reshape(codes.shape)


def _steps(rows: int, columns: int) -> Iterator[slice]:
    """Rows by sixteens, about CHUNK weights at a time."""
    step = max(16, CHUNK // columns // 16 * 16)
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))


def _two(shape: Stored) -> tuple[int, int]:
    """The two lengths that a small tensor of integers holds."""
    if shape.dtype not in ("I64", "I32") or shape.elements != 2:
        raise LayoutError("a shape that is not two whole numbers")
    rows, columns = shape.words().tolist()
    if not (0 < rows < 2**31 and 0 < columns <= MOST_COLUMNS):
        raise LayoutError("a shape of lengths that no matrix has")
    return rows, columns


def _check_words(packed: Stored, shape: tuple[int, int]) -> None:
    if packed.dtype not in ("I32", "U32") or packed.shape != shape or not packed.elements:
        raise LayoutError("packed codes that are not four bits each in the shape told")
