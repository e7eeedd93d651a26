"""The density file: how full each tensor of a model is, for questions about what its zeros save."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from npuwatt.arrays import Array
from npuwatt.checkpoint.files import read_json
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record

SCHEMA = "npuwatt.densities/1"
PATTERNS = ("2:4", "4:8", "1:2", "8:16")  # in the order in which devices take them
MOST_BYTES, MOST_PARTS = 400_000_000, 30_000_000  # densities by input channel of the largest models
MOST_LENGTH = 2**40


class TensorDensity(Record):
    """One matrix of weights, or a stack of them."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    input_axis: int  # of the last two axes: 1 for (outputs, inputs), 0 for (inputs, outputs)
    op: str | None
    density_fraction: float
    conformity_fraction: Mapping[
        str, float | None
    ]  # share of groups that hold a pattern; None: no whole groups
    by_input_fraction: Array | None  # (inputs,)

    @property
    def elements(self) -> int:
        """How many weights it holds."""
        return math.prod(self.shape)


class OpDensity(Record):
    """All tensors of one op together."""

    elements: int
    density_fraction: float  # weighted by elements
    patterns: tuple[str, ...]  # those that every group of every tensor holds, in the order of PATTERNS
    by_input_fraction: Array | None  # (inputs,), the mean over tensors, if all tell it for as many inputs

    @property
    def pattern(self) -> str | None:
        """The first pattern of all that hold."""
        return self.patterns[0] if self.patterns else None


class Densities(Record):
    """A density file."""

    path: str
    tensors: tuple[TensorDensity, ...]

    def by_op(self) -> dict[str, OpDensity]:
        """Densities of each op of workload/transformer.py that the file knows."""
        ops = dict.fromkeys(tensor.op for tensor in self.tensors if tensor.op is not None)
        return {op: _together([tensor for tensor in self.tensors if tensor.op == op]) for op in ops}


def read_densities(path: str) -> Densities:
    """A density file, as `npuwatt model scan --densities` writes it.

    Raises
    ------
    NpuwattError
        If it is not one, or holds a density outside 0 to 1.
    """
    found = read_json(path, MOST_BYTES, MOST_PARTS)
    if found.get("schema") != SCHEMA:
        raise NpuwattError(
            f"{path}: schema {shown(found.get('schema'))} given; expected {SCHEMA}, as npuwatt model scan --densities writes it"
        )
    entries = found.get("tensors")
    if not isinstance(entries, list) or not entries:
        raise NpuwattError(f"{path}: tensors: {shown(entries)} given; expected a list of at least one")
    tensors = [_tensor(f"{path}: tensors.{place}", entry) for place, entry in enumerate(entries)]
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise NpuwattError(f"{path}: tensors: a name stands twice; expected each tensor once")
    return Densities(path=path, tensors=tuple(tensors))


def _tensor(here: str, entry: Any) -> TensorDensity:
    if not isinstance(entry, dict):
        raise NpuwattError(f"{here}: {shown(entry)} given; expected an object")

    def given(key: str, is_right: bool, wanted: str) -> Any:
        if not is_right:
            what = shown(entry[key]) + " given" if key in entry else "missing"
            raise NpuwattError(f"{here}.{key}: {what}; expected {wanted}")
        return entry.get(key)

    shape = given("shape", _is_shape(entry.get("shape")), "two or three lengths")
    axis = given("input_axis", _is_axis(entry.get("input_axis")), "0 or 1")
    op = given("op", entry.get("op") is None or _is_name(entry["op"]), "an op's name or null")
    shares = given(
        "conformity", _are_shares(entry.get("conformity")), "shares from 0 to 1, or null, by pattern"
    )
    density = float(given("density", _is_share(entry.get("density")), "a share from 0 to 1"))
    most = min((_most(name) for name, share in shares.items() if share == 1), default=1.0)
    given("density", density <= most + 1e-6, f"{most:g} at most, as its pattern leaves")
    channels = entry.get("density_by_input")
    if channels is not None:
        inputs = shape[-1] if axis == 1 else shape[-2]
        is_right = isinstance(channels, list) and len(channels) == inputs and all(map(_is_share, channels))
        given("density_by_input", is_right, f"null, or {inputs} shares from 0 to 1")
    return TensorDensity(
        name=given("name", _is_name(entry.get("name")), "a tensor's name"),
        shape=tuple(shape),
        dtype=given("dtype", _is_name(entry.get("dtype")), "a number type"),
        input_axis=int(axis),
        op=op,
        density_fraction=density,
        conformity_fraction=shares,
        by_input_fraction=None if channels is None else np.array(channels, dtype=np.float64),
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_axis(value: Any) -> bool:
    return value in (0, 1) and isinstance(value, int) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _most(pattern: str) -> float:
    """Density that a pattern like 2:4 leaves at most."""
    kept, _, group = pattern.partition(":")
    return int(kept) / int(group) if kept.isdecimal() and group.isdecimal() and int(group) else 1.0


def _are_shares(values: Any) -> bool:
    return isinstance(values, dict) and all(value is None or _is_share(value) for value in values.values())


def _is_shape(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) in (2, 3)
        and all(
            isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_LENGTH
            for value in values
        )
    )


def _together(tensors: list[TensorDensity]) -> OpDensity:
    sizes = [tensor.elements for tensor in tensors]
    whole = sum(sizes)
    channels = [tensor.by_input_fraction for tensor in tensors]
    told = [one for one in channels if one is not None]
    is_even = len(told) == len(tensors) and len({one.size for one in told}) == 1
    return OpDensity(
        elements=whole,
        density_fraction=math.fsum(
            tensor.density_fraction * (size / whole) for tensor, size in zip(tensors, sizes, strict=True)
        ),
        patterns=tuple(
            name for name in PATTERNS if all(tensor.conformity_fraction.get(name) == 1 for tensor in tensors)
        ),
        by_input_fraction=np.average(told, axis=0, weights=sizes) if is_even else None,
    )
