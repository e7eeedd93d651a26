"""How sparse a checkpoint is: each matrix of weights, each op, and all linear layers together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from npuwatt.arrays import Array
from npuwatt.checkpoint.files import Stored
from npuwatt.checkpoint.layouts import LayoutError, Matrix, Unread, matrices
from npuwatt.checkpoint.naming import EMBEDDING, Placed, placed
from npuwatt.checkpoint.sources import Checkpoint
from npuwatt.checkpoint.structure import TensorStatistics, merged, statistics
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record, replace

PATTERNS = {"1:2": (1, 2), "2:4": (2, 4), "4:8": (4, 8), "8:16": (8, 16)}
_FORM_KEEPS = {"marlin-24": (0.5, ("2:4", "4:8", "8:16"))}  # density and patterns that a form guarantees

Progress = Callable[[int, int], None]
"""Hears how many bytes of how many have been counted."""


class ScannedTensor(Record):
    """One matrix of weights, or a stack of them, and its zeros."""

    name: str
    op: str | None
    layout: str
    dtype: str
    shape: tuple[int, ...]
    input_axis: int  # of the last two axes: 1 for (outputs, inputs), 0 for (inputs, outputs)
    elements: int
    density_fraction: float
    conformity_fraction: dict[
        str, float | None
    ]  # share of groups that hold each of PATTERNS; None: no whole groups
    statistics: TensorStatistics | None  # None where only the form is known
    density_by_input_fraction: Array | None = None  # (inputs,), if asked for


class Group(Record):
    """Several tensors together."""

    tensors: tuple[ScannedTensor, ...]
    elements: int
    density_fraction: float
    conformity_fraction: dict[str, float | None]
    statistics: TensorStatistics | None  # of those that have any


class Scan(Record):
    """A scanned checkpoint."""

    path: str
    files: tuple[str, ...]
    tensors: tuple[ScannedTensor, ...]
    unread: tuple[Unread, ...]
    others: int  # tensors that are no weights of layers: norms, biases, scales, tables of positions
    notes: tuple[str, ...]

    def linear(self) -> Group:
        """All weights of linear layers; an embedding counts if it is the head too."""
        return grouped([tensor for tensor in self.tensors if tensor.op != EMBEDDING])

    def by_op(self) -> dict[str | None, Group]:
        """Weights of each op, in the order of the file."""
        ops = dict.fromkeys(tensor.op for tensor in self.tensors)
        return {op: grouped([tensor for tensor in self.tensors if tensor.op == op]) for op in ops}


def scan(
    checkpoint: Checkpoint,
    *,
    per_channel: bool = False,
    exact: bool = False,
    progress: Progress | None = None,
) -> Scan:
    """Count zeros, patterns and small weights of each matrix of a checkpoint.

    per_channel: densities by input channel too. exact: small weights counted in all, not in a sample.

    Raises
    ------
    NpuwattError
        If the checkpoint has no matrix of weights that can be counted.
    """
    told = checkpoint.config.get("quantization_config")
    found, others = matrices(checkpoint.tensors, told if isinstance(told, dict) else {})
    whole = [one for one in found if isinstance(one, Matrix)]
    try:
        chosen, unread, notes = placed(whole, checkpoint.config)
    except NpuwattError as error:
        raise NpuwattError(f"{checkpoint.path}: {error}") from error
    looked_up = len(whole) - len(chosen) - len(unread)
    unread += [one for one in found if isinstance(one, Unread)]
    total, done = sum(one.matrix.size_bytes for one in chosen), 0
    tensors: list[ScannedTensor] = []
    for one in chosen:

        def tell(share: float, before: int = done, size: int = one.matrix.size_bytes) -> None:
            if progress:
                progress(min(before + round(share * size), total - 1), total)

        try:
            tensors.append(_scanned(one, per_channel, exact, tell))
        except LayoutError as error:
            unread.append(Unread(name=one.matrix.name, reason=str(error)))
        done += one.matrix.size_bytes
    if progress:
        progress(total, total)
    if not tensors:
        why = f" ({shown(unread[0].name)}: {unread[0].reason})" if unread else ""
        raise NpuwattError(
            f"{checkpoint.path}: no matrix of weights that can be counted{why}; expected a model"
        )
    return Scan(
        path=checkpoint.path,
        files=checkpoint.files,
        tensors=tuple(tensors),
        unread=tuple(unread),
        others=len(others) + looked_up,
        notes=(*notes, *_uncounted(others, tensors)),
    )


def grouped(tensors: Sequence[ScannedTensor]) -> Group:
    """Several tensors together, each weighted by its elements."""
    counted = [tensor.statistics for tensor in tensors if tensor.statistics is not None]
    return Group(
        tensors=tuple(tensors),
        elements=sum(tensor.elements for tensor in tensors),
        density_fraction=_mean((tensor.density_fraction, tensor.elements) for tensor in tensors) or 0.0,
        conformity_fraction={
            name: _mean(
                (share, tensor.elements)
                for tensor in tensors
                if (share := tensor.conformity_fraction[name]) is not None
            )
            for name in PATTERNS
        },
        statistics=merged(counted) if counted else None,
    )


def _scanned(one: Placed, per_channel: bool, exact: bool, tell: Callable[[float], None]) -> ScannedTensor:
    matrix = one.matrix
    elements = math.prod(matrix.shape)
    if matrix.chunks is None:
        density, held = _FORM_KEEPS[matrix.layout]
        return ScannedTensor(
            **_labels(one),
            elements=elements,
            density_fraction=density,
            conformity_fraction={name: 1.0 if name in held else None for name in PATTERNS},
            statistics=None,
        )
    parts: list[TensorStatistics] = []
    done = 0
    for words in matrix.chunks():

        def counted(count: int, before: int = done) -> None:
            tell((before + count) / elements)

        parts.append(
            statistics(
                words,
                matrix.dtype,
                input_axis=one.input_axis,
                exact_thresholds=exact,
                per_channel=per_channel or matrix.layout != "plain",
                progress=counted,
            )
        )
        done += words.size
    whole = parts[0] if len(parts) == 1 else _joined(parts, is_stack=len(matrix.shape) == 3)
    channels = whole.nonzeros_by_input if per_channel else None
    return ScannedTensor(
        **_labels(one),
        elements=elements,
        density_fraction=(elements - whole.zeros) / elements,
        conformity_fraction={name: whole.conformity(*pattern) for name, pattern in PATTERNS.items()},
        statistics=whole,
        density_by_input_fraction=None
        if channels is None
        else channels.astype(np.float64) / (elements // channels.size),
    )


def _labels(one: Placed) -> dict[str, Any]:
    matrix = one.matrix
    return {
        "name": matrix.name,
        "op": one.op,
        "layout": matrix.layout,
        "dtype": matrix.dtype,
        "shape": matrix.shape,
        "input_axis": one.input_axis,
    }


def _joined(parts: Sequence[TensorStatistics], *, is_stack: bool) -> TensorStatistics:
    """Parts of one tensor: stacked experts, each with inputs of its own, or rows that share theirs.

    Small weights are then those of each part, against its own sigma and largest.
    """
    whole = merged(parts)
    channels = [part.nonzeros_by_input for part in parts if part.nonzeros_by_input is not None]
    if not channels:
        return whole
    together = np.sum(channels, axis=0)
    if is_stack:
        return replace(whole, nonzeros_by_input=together)
    return replace(
        whole,
        inputs=parts[0].inputs,
        zero_inputs=int(np.count_nonzero(together == 0)),
        nonzeros_by_input=together,
    )


def _uncounted(others: Sequence[Stored], tensors: Sequence[ScannedTensor]) -> list[str]:
    """A note where what is left out is more than norms and biases come to."""
    left, counted = (sum(one.elements for one in several) for several in (others, tensors))
    return [
        f"{left:,} numbers of {len(others)} tensors that are no matrices by name and shape are not counted"
    ] * (left > counted / 20)


def _mean(weighted: Iterable[tuple[float, int]]) -> float | None:
    """Mean of values by their weights; None of none."""
    pairs = list(weighted)
    whole = sum(weight for _, weight in pairs)
    return math.fsum(value * weight for value, weight in pairs) / whole if whole else None
