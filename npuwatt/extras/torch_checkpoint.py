"""Pickled checkpoints (.bin, .pt, .pth) by torch, which unpickles tensors alone: npuwatt[torch]."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from npuwatt.checkpoint.files import BITS, Stored
from npuwatt.checkpoint.number_formats import Words
from npuwatt.errors import NpuwattError

_DTYPES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
_INNER = ("state_dict", "model", "module", "model_state_dict")  # where training scripts put the weights


def read_pickled(path: str) -> list[Stored]:
    """The tensors of a pickled file, mapped; two names for the same memory count once, by the first.

    Raises
    ------
    NpuwattError
        If it is none, or would run code to be read.
    """
    try:
        with warnings.catch_warnings():  # torch tells its own writers what it will drop, not whoever reads
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        raise NpuwattError(
            f"{path}: holds more than tensors, or code, which is not run; expected a file of weights alone"
        ) from error
    except Exception as error:  # what torch raises for a broken file has no common name
        raise NpuwattError(
            f"{path}: torch cannot map it; expected a file of torch.save in its format since 1.6"
        ) from error
    seen: set[tuple[int, Any, Any]] = set()
    stored = []
    for name, tensor in _tensors(path, found):
        _check_plain(path, name, tensor)
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape)
        if place not in seen or not tensor.numel():
            seen.add(place)
            stored.append(_stored(path, name, tensor))
    return stored


def _tensors(path: str, found: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for key in _INNER:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise NpuwattError(f"{path}: holds a {type(found).__name__}; expected names and tensors")
    for name, tensor in found.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor):
            yield name, tensor


def _check_plain(path: str, name: str, tensor: torch.Tensor) -> None:
    is_plain = tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_nested or tensor.is_neg())
    if not name.isprintable() or tensor.dtype not in _DTYPES or not is_plain:
        form = "torch.nested" if tensor.is_nested else tensor.layout
        raise NpuwattError(f"{path}: a tensor of type {tensor.dtype}, {form}; expected plain numbers")


def _stored(path: str, name: str, tensor: torch.Tensor) -> Stored:
    dtype = _DTYPES[tensor.dtype]
    size_bytes = tensor.numel() * tensor.element_size()
    if size_bytes > tensor.untyped_storage().nbytes():  # a few numbers spread out over a large shape
        raise NpuwattError(
            f"{path}: a tensor of {size_bytes} bytes in fewer; expected as many as it has numbers"
        )
    return Stored(
        name=name,
        dtype=dtype,
        shape=tuple(tensor.shape),
        size_bytes=size_bytes,
        words=partial(_words, tensor, np.dtype(f"u{BITS[dtype] // 8}")),
    )


def _words(tensor: torch.Tensor, word: np.dtype[Any]) -> Words:
    found: Words = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().view(word)
    found.flags.writeable = False
    return found
