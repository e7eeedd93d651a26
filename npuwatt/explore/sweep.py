"""One question over many design points, in chunks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array, column
from npuwatt.device.costs import LIMITS
from npuwatt.device.evaluate import Device
from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.explore.points import Axis, Points, axis
from npuwatt.preset.paths import is_number_field, value_at, with_values
from npuwatt.record import Record, replace
from npuwatt.study.inference import METRICS, Inference
from npuwatt.study.modes import result_of
from npuwatt.study.question import Options, Question, check_dealt, question
from npuwatt.study.scenario import Chosen, split_address
from npuwatt.workload.request import MOST_BATCH, MOST_TOKENS, Request

if TYPE_CHECKING:
    from npuwatt.device.stack import Stack
    from npuwatt.study.serving import Serving
    from npuwatt.workload.density import Zeros

CHUNK = 32_768
_LENGTHS = {"batch": MOST_BATCH, "input_len": MOST_TOKENS, "output_len": MOST_TOKENS}
_SHARES = {"density": "weight_density", "activation_density": "activation_density"}  # and the fields of Zeros
MACRO = (
    "array_ops_per_j", "array_ops_per_s_m2", "array_area_m2", "array_snr_db", "array_snr_after_1_day_db",
    "array_snr_after_1_year_db",
)  # fmt: skip
LEAST = "array_area_m2"  # of MACRO, which all others are best at their most
COLUMNS = ("device", *METRICS, "bound_by", "fits", "devices", "devices_needed", "evidence")
Rows = dict[str, list[Any]]
"""Columns of equal length; None where a point has no value."""


class Sweep(Record):
    """A question and its design points; rows are computed as they are read."""

    question: Question
    points: Points
    best: str | None
    top: int
    per_macro: bool = False  # whether rows also tell of one array by itself

    @property
    def row_count(self) -> int:
        """Rows that a full run gives: each device at each point."""
        return self.points.count * len(self.question.devices)

    @property
    def columns(self) -> tuple[str, ...]:
        """The addresses as typed, then the names of the results."""
        place = len(METRICS) + 1
        served = () if self.question.stack is None else ("median_itl_s",)
        alone = MACRO if self.per_macro else ()
        return (
            *(one.address for one in self.points.axes),
            *COLUMNS[:place],
            *served,
            *COLUMNS[place:],
            *alone,
        )

    def chunks(self, progress: Callable[[int], None] = lambda done: None) -> Iterator[Rows]:
        """Rows in order, some thousand at a time; `progress` hears how many points were computed."""
        if self.best is None:
            done = 0
            for index in _indices(self.points.count):
                for device in self.question.devices:
                    yield self._rows(device, index)
                    done += len(index)
                    progress(done)
            return
        yield self._best_rows(progress)

    def _rows(self, device: Chosen[Device], index: npt.NDArray[np.int64]) -> Rows:
        columns = self.points.columns(index)
        result = self._result(device, columns)
        rows: Rows = {
            one.address: _listed(values) for one, values in zip(self.points.axes, columns, strict=True)
        }
        rows["device"] = [device.typed] * len(index)
        for name, values in result.metrics().items():
            rows[name] = _listed(_full(values, len(index)))
        if self.question.stack is not None:
            rows["median_itl_s"] = _listed(_full(cast("Serving", result).itl_s, len(index)))
        fits = _full(result.fits, len(index)).astype(bool)
        bounds = _full(result.bound_by(), len(index)).astype(int)
        rows["bound_by"] = [LIMITS[place] if fit else None for place, fit in zip(bounds, fits, strict=True)]
        rows["fits"] = fits.tolist()
        for name in ("devices", "devices_needed"):
            counts = _listed(_full(getattr(result, name), len(index)))
            rows[name] = [None if count is None else int(count) for count in counts]
        for one in self.points.axes:
            if one.is_whole:
                rows[one.address] = [int(value) for value in rows[one.address]]
        rows["evidence"] = [self._trust(device)] * len(index)
        if self.per_macro:
            alone, nothing = self._alone(device, columns), np.full((1, 1), np.nan)
            rows |= {name: _listed(_full(alone.get(name, nothing), len(index))) for name in MACRO}
        return rows

    def _trust(self, device: Chosen[Device]) -> str:
        """The class of a device's evidence: whatever it was, a device whose numbers are varied is a projection."""
        varied = any(one.owner == f"devices.{device.typed}" for one in self.points.axes)
        return "projected" if varied else device.trust

    def _alone(self, device: Chosen[Device], columns: Sequence[Array]) -> dict[str, Array]:
        """Figures of one array by itself; none where a device has no arrays."""
        record, _ = laid_over(device, self.question.request, self.points.axes, columns)
        if record.kind != "crossbar":
            return {}
        from npuwatt.study.designs import macro_figures

        with np.errstate(all="ignore"):
            return macro_figures(record.arrays)

    def _result(self, device: Chosen[Device], columns: Sequence[Array], **options: Any) -> Inference:
        asked, axes = self.question, self.points.axes
        record, request = laid_over(device, asked.request, axes, columns)
        stack = None if asked.stack is None else stack_over(asked.stack.record, axes, columns)
        with np.errstate(all="ignore"):  # what overflows has no value, and its row says so
            return result_of(asked, record, request=request, stack=stack, **options)

    def _best_rows(self, progress: Callable[[int], None]) -> Rows:
        """The rows worth keeping, best first."""
        owner, place = self._best(progress)
        ranked: dict[int, tuple[Any, ...]] = {}
        for number, device in enumerate(self.question.devices):
            own = np.flatnonzero(owner == number)
            for part in (own[start : start + CHUNK] for start in range(0, len(own), CHUNK)):
                ranked |= zip(
                    part.tolist(), zip(*self._rows(device, place[part]).values(), strict=True), strict=True
                )
        lines = [ranked[rank] for rank in range(len(place))]
        return {name: [line[i] for line in lines] for i, name in enumerate(self.columns)}

    def _best(self, progress: Callable[[int], None]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Device and point of each row worth keeping, best first."""
        is_most = str(self.best).startswith("tokens_") or (self.best in MACRO and self.best != LEAST)
        sign = -1.0 if is_most else 1.0
        score, owner, place = np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        done = 0
        for index in _indices(self.points.count):
            columns = self.points.columns(index)
            for number, device in enumerate(self.question.devices):
                found = _full(self._scored(device, columns), len(index)) * sign
                worst = score[-1] if len(score) == self.top else np.inf
                near = np.flatnonzero(np.isfinite(found) & (found < worst))
                if len(near) > self.top:
                    near = near[np.argsort(found[near], kind="stable")[: self.top]]
                if len(near):
                    score = np.concatenate([score, found[near]])
                    owner = np.concatenate([owner, np.full(len(near), number)])
                    place = np.concatenate([place, index[near]])
                    order = np.lexsort((owner, place, score))[: self.top]
                    score, owner, place = score[order], owner[order], place[order]
                done += len(index)
                progress(done)
        if not len(owner) and self.best in MACRO:
            raise RequestError(f"--best: no point has {self.best}; expected a figure that some device has")
        return owner, place

    def _scored(self, device: Chosen[Device], columns: Sequence[Array]) -> Array:
        """What rows are ranked by: not a finite number where a row has none."""
        if self.best in MACRO:
            return self._alone(device, columns).get(str(self.best), np.full((1, 1), np.nan))
        return self._result(device, columns, limits=False).metrics()[str(self.best)]


def sweep(
    names: Sequence[str],
    *,
    vary: Sequence[str],
    pair: bool = False,
    best: str | None = None,
    top: int = 1,
    per_macro: bool = False,
    **options: Unpack[Options],
) -> Sweep:
    """One request on one or more devices at many design points.

    Parameters
    ----------
    names
        Devices by preset name, alias or path.
    vary
        `ADDRESS=SPEC` texts; an address is devices.<name>.<path>, request.<batch|input_len|output_len|density|
        activation_density> or, in serving, stack.<path>; a spec is `a,b,c`, `lo..hi:N` or `lo..hi:Nlog`, with units. Several make a grid.
    pair
        Take the values of all addresses in step instead of as a grid.
    best, top
        Keep only the `top` points with the least (energy, time, power, area) or most (tokens, operations, signal
        over noise) of a metric or, with `per_macro`, of a figure in MACRO; a point that has none is never kept.
    per_macro
        Add the figures of one array by itself (MACRO): efficiency, density, area, and signal over noise of its
        products when written, a day and a year later.
    **options
        As for `npuwatt.compare`.

    Returns
    -------
    Sweep
        Rows are computed while `chunks()` is read, in bounded memory.

    Raises
    ------
    NpuwattError
        An address that is no number, a spec that cannot be read, a value that no record accepts.
    """
    asked = question(names, **options)
    ranks = (*METRICS, *MACRO) if per_macro else METRICS
    if best is not None and best not in ranks:
        near = did_you_mean(best, ranks) or f"; expected one of {', '.join(ranks)}"
        if best in MACRO:
            near = ", which is of one array alone; expected --per-macro with it"
        raise RequestError(f"--best: {shown(best)} given{near}")
    if not 1 <= top <= 1_000_000:
        raise RequestError(f"--top: {top} given; expected a whole number from 1 to 1000000")
    if not vary:
        raise RequestError("--vary: nothing to vary; expected ADDRESS=SPEC, as in request.batch=1..64:7log")
    points = Points(axes=tuple(_axis(asked, text) for text in vary), is_zip=pair)
    asked = _with_zeros_to_vary(asked, points.axes, options.get("pattern"))
    corners = points.corners()
    for device in asked.devices:
        try:
            _, request = laid_over(device, asked.request, points.axes, corners)
            check_dealt(asked.sharing, request)
            if asked.stack is not None:
                stack_over(asked.stack.record, points.axes, corners)
            with np.errstate(all="ignore"):  # what overflows has no value, and its rows say so
                result_of(asked, device.record)
        except NpuwattError as error:
            raise RequestError(*(f"--vary on {device.typed!r}: {fault}" for fault in error.faults)) from error
    return Sweep(question=asked, points=points, best=best, top=top, per_macro=per_macro)


def _axis(asked: Question, text: str) -> Axis:
    address, equals, spec = text.partition("=")
    address = address.strip()
    if not equals or not spec.strip():
        raise RequestError(f"--vary {shown(text)}: expected ADDRESS=SPEC, as in request.batch=1..64:7log")
    if address.startswith("request."):
        return _request_axis(asked, address, spec)
    names = [device.typed for device in asked.devices]
    owner, path = split_address(address, names, has_stack=asked.stack is not None)
    if owner == "network":
        raise RequestError(
            f"--vary: {shown(address)} is a shape, not a number to vary; expected one run for each network"
        )
    record: Any
    if address.startswith("devices."):  # whatever its name is, so even one called 'stack'
        record = next(device.record for device in asked.devices if device.typed == owner)
        owner = f"devices.{owner}"
    else:
        record = asked.stack.record if asked.stack else None
    keys = path.split(".")
    value, suffix = value_at(record, keys, address)
    if not is_number_field(record, keys) or not isinstance(value, (int, float)):
        raise RequestError(
            f"--vary: {shown(address)} is a choice or a group, not a number; expected one run for each choice"
        )
    return axis(address, owner, keys, spec, suffix=suffix, is_whole=False)


def _request_axis(asked: Question, address: str, spec: str) -> Axis:
    name, known = address.removeprefix("request."), (*_LENGTHS, *_SHARES)
    if name not in known:
        near = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
        raise RequestError(f"--vary: {shown(address)} is not a number to vary{near}")
    if name in _SHARES:
        return _share_axis(asked, address, name, spec)
    if name != "batch" and not asked.network.record.decoder:
        raise RequestError(f"--vary: {shown(address)} is fixed, because this network answers in one pass")
    found = axis(address, "request", (name,), spec, suffix="", is_whole=True)
    if found.ends()[1] > _LENGTHS[name]:
        raise RequestError(f"--vary {address}: expected at most {_LENGTHS[name]}")
    return found


def _share_axis(asked: Question, address: str, name: str, spec: str) -> Axis:
    from npuwatt.study.sparsity_asked import check_share

    if asked.densities is not None and name == "density":
        raise RequestError(
            f"--densities with --vary {address}: the file tells it of each op; expected one of the two"
        )
    found = axis(address, "request", (name,), spec, suffix="_fraction", is_whole=False)
    for end in found.ends():
        check_share(f"--vary {address}", end)
    return found


def _with_zeros_to_vary(asked: Question, axes: Sequence[Axis], pattern: str | None) -> Question:
    """The question with zeros whose densities can be varied; those of weights lie anywhere where no `pattern` is given."""
    varied = {one.path[0] for one in axes if one.owner == "request"} & set(_SHARES)
    if not varied:
        return asked
    from npuwatt.study.sparsity_asked import Asked
    from npuwatt.workload.density import Zeros

    told = asked.zeros or Asked(zeros=Zeros(), pattern="dense", density_fraction=1.0)
    if "density" in varied and pattern is None:
        told = replace(told, pattern="unstructured", zeros=replace(told.zeros, pattern="unstructured"))
    return replace(asked, zeros=told, request=replace(asked.request, zeros=told.zeros))


def laid_over(
    device: Chosen[Device], request: Request, axes: Sequence[Axis], columns: Sequence[Array]
) -> tuple[Device, Request]:
    """A device and a request with the values of a chunk of points in place of their numbers."""
    laid = [(one, column(values)) for one, values in zip(axes, columns, strict=True)]
    changes = {one.path: values for one, values in laid if one.owner == f"devices.{device.typed}"}
    asked: dict[str, Any] = {one.path[0]: values for one, values in laid if one.owner == "request"}
    shares = {_SHARES[name]: asked.pop(name) for name in _SHARES if name in asked}
    if shares:
        assert request.zeros is not None  # `sweep` saw to it
        asked["zeros"] = _zeros_over(request.zeros, shares)
    return with_values(device.record, changes) if changes else device.record, replace(request, **asked)


def _zeros_over(zeros: Zeros, shares: dict[str, Array]) -> Zeros:
    """Zeros with columns of densities; that of activations holds for ops that a file tells of, too."""
    by_op = zeros.by_op
    if "activation_density" in shares:
        inputs = shares["activation_density"]
        by_op = {name: replace(one, activation_density=inputs) for name, one in by_op.items()}
    return replace(zeros, by_op=by_op, **shares)


def stack_over(stack: Stack, axes: Sequence[Axis], columns: Sequence[Array]) -> Stack:
    """Serving software with the values of a chunk of points in place of its numbers."""
    changes = {
        one.path: column(values) for one, values in zip(axes, columns, strict=True) if one.owner == "stack"
    }
    found: Stack = with_values(stack, changes) if changes else stack
    return found


def _indices(count: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, count, CHUNK):
        yield np.arange(start, min(start + CHUNK, count))


def _full(values: Array, points: int) -> Array:
    return np.broadcast_to(values, (points, 1))[:, 0]


def _listed(values: Array) -> list[float | None]:
    """Finite numbers as they are, all else as None."""
    if np.isfinite(values).all():
        return values.tolist()  # type: ignore[no-any-return] # numpy types it as Any
    return [value if np.isfinite(value) else None for value in values.tolist()]
