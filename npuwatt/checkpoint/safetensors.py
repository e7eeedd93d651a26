"""Files of the safetensors format: a header of JSON, then numbers, mapped and never copied."""

from __future__ import annotations

import math
import mmap
from functools import partial
from typing import Any

import numpy as np

from npuwatt.checkpoint.files import BITS, MOST_JSON_BYTES, Stored, file_size, json_object, unreadable
from npuwatt.checkpoint.number_formats import Words
from npuwatt.errors import NpuwattError, shown

MOST_AXES = 16
MOST_LENGTH = 2**48  # of an axis, and of a file: more than any file system holds


def read_safetensors(path: str) -> list[Stored]:
    """The tensors of a file, in the order of their numbers.

    Raises
    ------
    NpuwattError
        If the file breaks a rule of the format: a header of at most 100 MB, known types, as many bytes as the shape
        takes, and tensors that follow each other without holes or overlaps to the end of the file.

    Source
    ------
    Hugging Face, "Safetensors", https://github.com/huggingface/safetensors, README, section Format.
    """
    size = file_size(path)
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8:
                raise NpuwattError(f"{path}: holds {size} bytes; expected a safetensors file")
            if length > MOST_JSON_BYTES:
                raise NpuwattError(
                    f"{path}: a header of {length} bytes given; expected a safetensors file, whose header has at most "
                    f"{MOST_JSON_BYTES / 1e6:g} MB"
                )
            content = stream.read(min(length, size))
    except OSError as error:
        raise unreadable(path, error) from error
    if len(content) < length:
        raise NpuwattError(f"{path}: ends within its header of {length} bytes; expected a whole file")
    header = json_object(content, f"{path}: header")
    start = 8 + length
    entries = sorted(
        (_entry(path, name, entry) for name, entry in header.items() if name != "__metadata__"),
        key=lambda entry: entry[3:],
    )
    _check_places(path, entries, size - start)
    return [
        Stored(
            name=name,
            dtype=dtype,
            shape=shape,
            size_bytes=stop - first,
            words=partial(mapped, path, dtype, stop - first, start + first),
        )
        for name, dtype, shape, first, stop in entries
    ]


def mapped(path: str, dtype: str, size_bytes: int, offset: int) -> Words:
    """Bytes of a file as unsigned words, mapped for reading."""
    word = np.dtype(f"<u{max(BITS[dtype] // 8, 1)}")
    if size_bytes == 0:
        return np.empty(0, word)
    try:
        with open(path, "rb") as stream:
            mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapping, word, size_bytes // word.itemsize, offset)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise NpuwattError(f"{path}: has become shorter; expected a file that stays as it is") from error


_Entry = tuple[str, str, tuple[int, ...], int, int]


def _entry(path: str, name: str, entry: Any) -> _Entry:
    """Name, type, shape, first byte and the one behind the last."""
    here = f"{path}: {shown(name)}"
    if not name.isprintable():
        raise NpuwattError(f"{here}: a name of characters that cannot be shown; expected printable ones")
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise NpuwattError(f"{here}: {shown(entry)} given; expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise NpuwattError(f"{here}: unknown dtype {shown(dtype)}; expected one of {', '.join(BITS)}")
    if not _are_lengths(shape) or len(shape) > MOST_AXES:
        raise NpuwattError(
            f"{here}: shape {shown(shape)} given; expected a list of whole numbers from 0 to 2^48"
        )
    if not _are_lengths(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise NpuwattError(
            f"{here}: data_offsets {shown(offsets)} given; expected two ascending whole numbers"
        )
    bits, given = math.prod(shape) * BITS[dtype], offsets[1] - offsets[0]
    if bits != 8 * given:
        raise NpuwattError(
            f"{here}: {given} bytes given; expected {bits / 8:.15g} for the shape {shown(shape)} of {dtype}"
        )
    return name, dtype, tuple(shape), offsets[0], offsets[1]


def _are_lengths(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_LENGTH
        for value in values
    )


def _check_places(path: str, entries: list[_Entry], size: int) -> None:
    """Raise unless the tensors fill the bytes behind the header, each where the one before ends."""
    end = 0
    for name, _, _, first, stop in entries:
        if first != end:
            what = "overlaps the tensor before it" if first < end else "leaves a hole before it"
            raise NpuwattError(f"{path}: {shown(name)}: starts at {first} and {what}; expected {end}")
        end = stop
    if end > size:
        raise NpuwattError(f"{path}: holds {size} bytes of numbers; expected {end}, as the header says")
    if end < size:
        raise NpuwattError(f"{path}: {size - end} bytes behind the last tensor; expected none")
