"""Model against measurement: predicted beside measured, how far apart, and whether the interval held."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from npuwatt.arrays import Array
from npuwatt.audit.measurements import Measurements, read_measurements
from npuwatt.audit.runs import HOST_BOUND_RATIO, Chunk, Names, Runs, answered, measured, sorted_into_kinds
from npuwatt.errors import RequestError, did_you_mean, shown
from npuwatt.preset import library
from npuwatt.record import Record
from npuwatt.study.confidence import bounds
from npuwatt.study.scenario import load_stack
from npuwatt.workload.network import Transformer

CHUNK_ROWS = 32_768  # what each adds up to stays below 200 MB
# Metrics as a measurement file names them: what runs call them, how many of the file's units make one of SI, and which
# interval holds for them.
METRICS: dict[str, tuple[str, float, str]] = {
    "median_itl_ms": ("median_itl_s", 1e3, "tpot_s"),
    "avg_tpot_ms": ("avg_tpot_s", 1e3, "tpot_s"),
    "output_tok_s": ("output_tokens_per_s", 1.0, "tokens_per_s"),
    "avg_power_w": ("avg_power_w", 1.0, "power_w"),
    "j_per_output_token": ("j_per_output_token", 1.0, "energy_per_output_token_j"),
    "j_per_output_token_given_tok_s": ("j_per_output_token_given_tok_s", 1.0, "energy_given_rate_j"),
}
BASELINE = ("median_itl_ms", "avg_tpot_ms", "output_tok_s", "avg_power_w", "j_per_output_token")
SPLITS = ("gpu", "kind", "bound", "gpu, kind")
SEEN = (
    "the built-in runs are every fifth of those that the presets were fitted on; errors on networks that a fit never saw "
    "are larger: README, 'How it is held to the world'"
)
SHARES = (10, 25, 50)  # percent
NOT_FINITE = "its numbers lead to no finite prediction"
LINES_KEPT = 3  # of rows that cannot be predicted, for each reason


class Judged(Record):
    """Rows of a chunk beside their predictions; arrays are (R,), in the file's units, NaN where there is none."""

    rows: Measurements
    reasons: dict[int, str]  # why rows at these places cannot be predicted
    networks: list[str]
    devices: list[str]
    stacks: list[str]
    families: list[str]  # dense, MoE or hybrid
    bound_by: list[str]
    classes: npt.NDArray[np.int64]
    overhead_bound: npt.NDArray[np.bool_]
    measured: dict[str, Array]
    predicted: dict[str, Array]
    low: dict[str, Array]
    high: dict[str, Array]
    baseline: dict[str, Array]  # a datasheet roofline whose power is the board's limit

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self.rows.lines)


class Summary:
    """Errors of all rows so far, by split. Keeps about 100 bytes of each row."""

    def __init__(self) -> None:
        self.rows = 0
        self.refused: dict[str, int] = {}
        self.refused_lines: dict[str, list[int]] = {}  # the first few
        self.overhead_bound = 0
        self.notes: dict[str, None] = {}
        self._ratios: dict[str, list[Array]] = {name: [] for name in METRICS}  # NaN where one is not known
        self._naive: dict[str, list[Array]] = {name: [] for name in BASELINE}
        self._inside: dict[str, int] = dict.fromkeys(METRICS, 0)
        self._names: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
        self._labels: dict[str, list[npt.NDArray[np.int32]]] = {split: [] for split in SPLITS}

    def add(self, part: Judged) -> None:
        """Count the rows of a chunk."""
        self.rows += part.count
        for place, reason in sorted(part.reasons.items()):
            self.refused[reason] = self.refused.get(reason, 0) + 1
            if self.refused[reason] <= LINES_KEPT:
                self.refused_lines.setdefault(reason, []).append(int(part.rows.lines[place]))
        known = np.ones(part.count, dtype=bool)
        known[list(part.reasons)] = False
        self.overhead_bound += int((part.overhead_bound & known).sum())
        with np.errstate(all="ignore"):
            for name in METRICS:
                measured = part.measured[name]
                ratio = np.where(known, part.predicted[name] / measured, np.nan)
                ratio[~np.isfinite(ratio)] = np.nan
                self._ratios[name].append(ratio)
                inside = (part.low[name] <= measured) & (measured <= part.high[name])
                self._inside[name] += int((inside & np.isfinite(ratio)).sum())
                if name in BASELINE:
                    naive = part.baseline[name] / measured
                    self._naive[name].append(np.where(np.isfinite(ratio), naive, np.nan))
        bound = np.where(part.overhead_bound, "overhead-bound", "other").tolist()
        both = [f"{gpu}, {kind}" for gpu, kind in zip(part.devices, part.families, strict=True)]
        for split, labels in zip(SPLITS, (part.devices, part.families, bound, both), strict=True):
            names = self._names[split]
            for label in dict.fromkeys(labels):
                names.setdefault(label, len(names))
            self._labels[split].append(np.fromiter(map(names.__getitem__, labels), np.int32, part.count))

    def ratios(self, metric: str) -> Array:
        """Predicted over measured, of all rows that have both."""
        return _known(self._ratios[metric])

    def overall(self) -> dict[str, dict[str, float]]:
        """Metric -> statistics over all rows."""
        return {name: statistics(ratio) for name in METRICS if len(ratio := self.ratios(name))}

    def baseline(self) -> dict[str, dict[str, float]]:
        """The same of a datasheet roofline whose power is the board's limit."""
        return {name: statistics(ratio) for name in BASELINE if len(ratio := _known(self._naive[name]))}

    def errors(self, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """Label -> metric -> statistics, for one split."""
        if not self.rows:
            return {}
        found: dict[str, dict[str, dict[str, float]]] = {}
        labels = np.concatenate(self._labels[split])
        for name in METRICS:
            ratio = np.concatenate(self._ratios[name])
            usable = ~np.isnan(ratio)
            for label, number in self._names[split].items():
                own = ratio[usable & (labels == number)]
                if len(own):
                    found.setdefault(label, {})[name] = statistics(own)
        return dict(sorted(found.items()))

    def covered(self) -> dict[str, float]:
        """Share of rows inside their interval, by metric."""
        counts = {name: len(self.ratios(name)) for name in METRICS}
        return {name: self._inside[name] / count for name, count in counts.items() if count}


def _known(parts: Sequence[Array]) -> Array:
    """Parts as one, without NaN."""
    joined = np.concatenate([np.zeros(0), *parts])
    found: Array = joined[~np.isnan(joined)]
    return found


def statistics(ratio: Array) -> dict[str, float]:
    """How far predictions are off: mean, median and 90th percentile of the absolute error, shares within limits."""
    error = np.abs(ratio - 1)
    return {
        "rows": len(error),
        "mape": float(np.mean(error)),
        "median": float(np.median(error)),
        "p90": float(np.percentile(error, 90)),
        "bias": float(np.median(ratio) - 1),
        **{f"within_{share}_percent": float(np.mean(error <= share / 100)) for share in SHARES},
    }


def built_in() -> str:
    """The measurements that come with npuwatt."""
    return os.path.join(library.presets_root(), "measured", "ml-energy-v3.csv")


def judged(
    path: str | None = None,
    *,
    stack: str | None = None,
    input_tokens: float | None = None,
    folders: Sequence[str] = (),
    summary: Summary,
) -> Iterator[Judged]:
    """Predict each row of a measurement file, some thousand at a time; `summary` counts them.

    Parameters
    ----------
    path
        A measurement file; None for the built-in one.
    stack
        Serving software; None for the one that each task was run on.
    input_tokens
        Prompt tokens of every row; None for the file's own or those usual for its tasks.

    Raises
    ------
    NpuwattError
        A faulty file, with a line for each fault, before the chunk that holds them; or a stack that nobody knows.
    """
    if stack is not None:
        load_stack(stack, folders=folders)  # which is no fault of any row
    names = Names(folders)
    if path is None:
        summary.notes[SEEN] = None
    for rows in read_measurements(path or built_in(), chunk_rows=CHUNK_ROWS):
        chunk = sorted_into_kinds(rows, stack=stack, input_tokens=input_tokens, names=names)
        part = _judged(chunk)
        summary.add(part)
        summary.notes |= dict.fromkeys(chunk.notes)
        yield part


def check(path: str) -> None:
    """Raise NpuwattError if a row of a file is faulty; to be asked where what was printed cannot be taken back."""
    for _ in read_measurements(path, chunk_rows=CHUNK_ROWS):
        pass


def _judged(chunk: Chunk) -> Judged:
    rows, count = chunk.rows, len(chunk.rows.lines)
    truth = measured(rows)
    texts = {name: np.full(count, "", object) for name in ("network", "device", "stack", "family", "bound")}
    columns = {
        what: {name: np.full(count, np.nan) for name in METRICS}
        for what in ("predicted", "low", "high", "baseline")
    }
    classes, overhead = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
    step_s = np.where(np.isnan(truth["median_itl_s"]), truth["avg_tpot_s"], truth["median_itl_s"])
    with np.errstate(all="ignore"):
        for runs in chunk.runs:
            found, at = answered(runs, rows), runs.places
            limits = _limits(runs)
            batch = np.asarray(runs.work.batch)
            rate = batch / found.roofline_s
            plain = {
                "median_itl_s": found.roofline_s, "avg_tpot_s": found.roofline_s, "output_tokens_per_s": rate,
                "avg_power_w": found.roofline_w, "j_per_output_token": found.roofline_w / rate,
            }  # fmt: skip
            for name, (own, scale, interval) in METRICS.items():
                values = found.metrics[own][:, 0] * scale
                columns["predicted"][name][at] = values
                columns["low"][name][at] = values * limits.low[interval]
                columns["high"][name][at] = values * limits.high[interval]
                if own in plain:
                    columns["baseline"][name][at] = np.broadcast_to(plain[own], batch.shape)[:, 0] * scale
            classes[at] = limits.classes
            overhead[at] = step_s[at] > HOST_BOUND_RATIO * found.roofline_s[:, 0]
            _label(texts, runs, found.bound_by)
    known = np.isfinite(columns["predicted"]["avg_tpot_ms"] * columns["predicted"]["j_per_output_token"])
    endless = dict.fromkeys(np.flatnonzero(~known).tolist(), NOT_FINITE)
    return Judged(
        rows=rows,
        reasons=endless | chunk.reasons,
        networks=texts["network"].tolist(),
        devices=texts["device"].tolist(),
        stacks=texts["stack"].tolist(),
        families=texts["family"].tolist(),
        bound_by=texts["bound"].tolist(),
        classes=classes,
        overhead_bound=overhead,
        measured={name: truth[own] * scale for name, (own, scale, _) in METRICS.items()},
        **columns,
    )


def _limits(runs: Runs) -> Any:
    batch = np.asarray(runs.work.batch)
    return bounds(
        runs.kind.device,
        runs.kind.network.record,
        runs.kind.width,
        runs.kind.stack,
        batch=batch[:, 0],
        devices=np.broadcast_to(runs.work.devices, batch.shape)[:, 0],
        context=np.broadcast_to(runs.context_tokens, batch.shape)[:, 0],
    )


def _label(texts: Mapping[str, npt.NDArray[Any]], runs: Runs, bound_by: Sequence[str]) -> None:
    network = runs.kind.network.record
    assert isinstance(network, Transformer)  # others have a reason instead of an answer
    for name, chosen in (
        ("network", runs.kind.network),
        ("device", runs.kind.device),
        ("stack", runs.kind.stack),
    ):
        texts[name][runs.places] = chosen.preset.name
    texts["family"][runs.places] = "MoE" if network.experts else "hybrid" if network.state_space else "dense"
    texts["bound"][runs.places] = bound_by


def limits_of(texts: Sequence[str]) -> dict[str, float]:
    """`METRIC=VALUE` texts: the greatest mean absolute error each metric may have."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in METRICS:
            near = did_you_mean(name, METRICS) or f"; expected one of {', '.join(METRICS)}"
            raise RequestError(f"--max-mape {shown(text)}: unknown metric{near}")
        try:
            found[name] = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            found[name] = float("nan")
        if "_" in value or not value.isascii():  # float() takes 1_000 and digits of any script
            found[name] = float("nan")
        if not equals or not 0 <= found[name] < float("inf"):
            raise RequestError(
                f"--max-mape {shown(text)}: expected METRIC=VALUE with a share or a percentage, as 0.2 or 20%"
            )
    return found


def exceeded(summary: Summary, limits: Mapping[str, float]) -> list[str]:
    """A line for each metric whose mean absolute error is above its limit, or that no row has."""
    errors = summary.overall()
    lines = []
    for name, most in limits.items():
        if name not in errors:
            lines.append(f"{name}: no row of the file has it, and --max-mape limits it")
        elif errors[name]["mape"] > most:
            lines.append(f"{name}: MAPE {100 * errors[name]['mape']:.1f} % is above {100 * most:g} %")
    return lines
