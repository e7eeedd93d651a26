"""What zeroed weights and activations did to published language models: the nearest measurements to a question."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, TypeAlias, TypeVar

from npuwatt import require
from npuwatt.errors import NpuwattError, RequestError, did_you_mean, shown
from npuwatt.preset import library
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen, load_constants
from npuwatt.units import show_in

T = TypeVar("T", bound=Record)
Pattern: TypeAlias = Literal["unstructured", "1:2", "2:4", "4:8", "block"]
PATTERNS: tuple[Pattern, ...] = ("unstructured", "4:8", "2:4", "1:2", "block")

BY_SIZE = "magnitude"  # the method that looks at nothing but weights
SAME_DENSITY = 0.05  # how far a density may lie from a measured one
_LOOSER: Mapping[str, str] = {"1:2": "2:4", "2:4": "4:8", "4:8": "unstructured", "block": "unstructured"}
"""Weights of a pattern are also weights of the looser one, so pruning to it cannot lose less."""


class Trial(Record):
    """A network after pruning, as one row of a source prints it."""

    pattern: Pattern
    density_fraction: float
    method: str
    retrained: bool = False
    retrained_tokens_count: float | None = None  # None where a source does not say
    measured: float | None = None
    recovery_fraction: float | None = None  # where a source prints no more than that
    claim: str = ""  # where it prints no number

    def __post_init__(self) -> None:
        if [self.measured, self.recovery_fraction, self.claim or None].count(None) != 2:
            raise NpuwattError("expected one of measured, recovery and claim")
        if self.retrained_tokens_count is not None and not self.retrained:
            raise NpuwattError(
                "retrained_tokens: given without retrained; expected 'retrained: true' beside it"
            )


class Table(Record):
    """Trials of one network by one metric, from one source."""

    network: str
    parameters: float
    metric: str
    better: Literal["lower", "higher"]
    trials: tuple[Trial, ...]
    baseline: float | None = None  # the dense network
    chance_fraction: float | None = None  # what guessing scores
    secondary: bool = False  # told by somebody else than who measured

    def __post_init__(self) -> None:
        require.positive(parameters=self.parameters)
        if self.baseline is None and any(trial.measured is not None for trial in self.trials):
            raise NpuwattError("has no 'baseline'; expected the value of the dense network")


class PrunedAccuracy(Record):
    """All that is known of accuracy after pruning."""

    tables: Mapping[str, Table]

    kind: ClassVar[Literal["pruned-accuracy"]] = "pruned-accuracy"


class SparseActivations(Record):
    """Activations of published networks that are zero, and what that gained."""

    networks: str
    where_zero: str
    method: str
    retrained: bool
    density_fraction: float | None = None
    gain_ratio: float | None = None
    gain_of: str = ""
    secondary: bool = False


class ActivationSparsity(Record):
    """All that is known of zeros in activations."""

    rows: Mapping[str, SparseActivations]

    kind: ClassVar[Literal["activation-sparsity"]] = "activation-sparsity"


class Pruned(Record):
    """One measurement near a question."""

    network: str
    parameters: float
    size_ratio: float  # parameters of that network over those asked for
    metric: str
    baseline: float | None
    secondary: bool
    trial: Trial
    perplexity_ratio: float | None  # measured over dense, where lower is better
    recovery_fraction: float | None  # measured over dense, where higher is better
    above_chance_fraction: float | None  # the same of what guessing does not score
    source: str
    cite: str

    @property
    def loss_fraction(self) -> float | None:
        """What was lost: growth of perplexity, or score not recovered; None where no number was printed."""
        if self.perplexity_ratio is not None:
            return self.perplexity_ratio - 1
        return None if self.recovery_fraction is None else 1 - self.recovery_fraction


class AccuracyEvidence(Record):
    """Measurements nearest to a pattern and a size; with none, the reason."""

    pattern: str
    parameters: float
    rows: tuple[Pruned, ...]
    reason: str = ""


def accuracy_evidence(pattern: str, parameters: float, *, density: float | None = None) -> AccuracyEvidence:
    """What pruning to a pattern cost the published networks nearest in size.

    Of each metric, with retraining and without, the network whose size is nearest by ratio, by every method that was
    tried on it: 7B is not 70B, and `size_ratio` says how far it is.

    Raises
    ------
    RequestError
        An unknown pattern.
    NpuwattError
        A size that is not positive, or a density that is not from 0 to 1.
    """
    check_pattern(pattern)
    require.positive(parameters=parameters)
    if density is not None:
        require.share(density=density)
    measured = [row for row in _pruned(parameters) if row.trial.pattern == pattern]
    wanted = [row for row in measured if density is None or _is_near(row, density)]
    if not wanted:
        return AccuracyEvidence(
            pattern=pattern, parameters=parameters, rows=(), reason=_reason(pattern, measured, density)
        )
    nearest: dict[tuple[str, bool], float] = {}
    for row in wanted:
        group = (row.metric, row.trial.retrained)
        nearest[group] = min(nearest.get(group, math.inf), _distance(row))
    rows = [row for row in wanted if _distance(row) == nearest[row.metric, row.trial.retrained]]
    rows.sort(key=lambda row: (row.trial.retrained, _distance(row)))
    return AccuracyEvidence(pattern=pattern, parameters=parameters, rows=tuple(rows))


def activation_evidence() -> dict[str, tuple[SparseActivations, str]]:
    """Published zeros in activations by name, each with its citation."""
    chosen = load_measured("activation-sparsity", ActivationSparsity)
    sources = {name: next(one.source for at, one in chosen.evidence.items() if at.startswith(f"rows.{name}."))
               for name in chosen.record.rows}  # fmt: skip
    return {name: (row, chosen.citations[sources[name]]) for name, row in chosen.record.rows.items()}


def accuracy_sentences(found: AccuracyEvidence) -> list[str]:
    """A line for each metric, with retraining and without; or the reason why there is none."""
    if not found.rows:
        return [f"{found.pattern}: {found.reason}"]
    groups: dict[tuple[str, bool, str, bool], list[Pruned]] = {}
    for row in found.rows:
        key = (row.metric, row.trial.retrained, row.network, bool(row.trial.claim))
        groups.setdefault(key, []).append(row)
    return [f"{found.pattern} {_sentence(rows)}" for rows in groups.values()]


def effort(trial: Trial) -> str:
    """Whether and how long a network was trained after pruning."""
    if not trial.retrained:
        return "without retraining"
    tokens = trial.retrained_tokens_count
    return f"with {tokens / 1e9:g} B tokens of retraining" if tokens else "with retraining of unknown length"


def check_pattern(pattern: str) -> None:
    """Raise RequestError for a pattern that nobody prunes to."""
    if pattern not in PATTERNS:
        close = did_you_mean(pattern, PATTERNS) or f"; expected one of {', '.join(PATTERNS)}"
        raise RequestError(f"pattern: {shown(pattern)} given{close}")


def load_measured(name: str, kind: type[T]) -> Chosen[T]:
    """A built-in file of what others measured."""
    return load_constants(os.path.join(library.presets_root(), "measured", f"{name}.yaml"), kind)


def _pruned(parameters: float) -> Iterable[Pruned]:
    """Every trial as a measurement beside the size asked for."""
    chosen = load_measured("pruned-accuracy", PrunedAccuracy)
    for name, table in chosen.record.tables.items():
        source = chosen.evidence[f"tables.{name}.parameters"].source
        for trial in table.trials:
            ratio = table.baseline and trial.measured and trial.measured / table.baseline
            is_score = table.better == "higher"
            recovery = ratio if is_score and ratio else trial.recovery_fraction
            yield Pruned(
                network=table.network, parameters=table.parameters, size_ratio=table.parameters / parameters,
                metric=table.metric, baseline=table.baseline, secondary=table.secondary, trial=trial,
                perplexity_ratio=None if is_score else ratio, recovery_fraction=recovery,
                above_chance_fraction=_above_chance(table, trial), source=source, cite=chosen.citations[source],
            )  # fmt: skip


def _above_chance(table: Table, trial: Trial) -> float | None:
    if table.chance_fraction is None or table.baseline is None or trial.measured is None:
        return None
    chance = 100 * table.chance_fraction  # scores are in percent
    return (trial.measured - chance) / (table.baseline - chance)


def _distance(row: Pruned) -> float:
    return abs(math.log(row.size_ratio))


def _is_near(row: Pruned, density: float) -> bool:
    return abs(row.trial.density_fraction - density) <= SAME_DENSITY + 1e-9


def _reason(pattern: str, measured: list[Pruned], density: float | None) -> str:
    """Why nothing is known, and what is known nearest to it."""
    if measured:
        known = " and ".join(
            f"{value:g}" for value in sorted({row.trial.density_fraction for row in measured})
        )
        return f"nobody measured it at a density of {density:g}; it was at {known}"
    looser = _LOOSER.get(pattern, "")
    return f"nobody measured it; it cannot lose less than {looser}, which is looser"


def _sentence(rows: list[Pruned]) -> str:
    """One network, one metric: what it was, what it became, how far that size is from the one asked for."""
    first = rows[0]
    trial = first.trial
    how = effort(trial)
    far = (
        ""
        if 0.8 <= first.size_ratio <= 1.25
        else f", {show_in(first.size_ratio, '', 2)} of the size asked for"
    )
    told = f" on {first.network} ({first.parameters / 1e9:g} B parameters{far})"
    by_size = [row for row in rows if row.trial.method == BY_SIZE]
    rows = [row for row in rows if row not in by_size] or rows
    methods = " and ".join(row.trial.method for row in rows)
    tail = f", by {methods}{'; secondary' if first.secondary else ''}"
    if trial.claim:
        zeros = f" at {100 * (1 - trial.density_fraction):g} % zeros"
        return f"{how}: {first.metric}, {trial.claim}{zeros}{told}{tail}"
    values = [row.trial.measured for row in rows if row.trial.measured is not None]
    if first.perplexity_ratio is not None:
        naive = "".join(f"; {row.trial.measured:g} by {BY_SIZE} alone" for row in by_size if row not in rows)
        return f"{how}: {first.metric} {first.baseline:g} -> {_span(values)}{told}{tail}{naive}"
    recovered = _percent(row.recovery_fraction for row in rows)
    scores = f" ({first.baseline:g} -> {_span(values)})" if values else ""
    if first.above_chance_fraction is not None:
        scores += f", {_percent(row.above_chance_fraction for row in rows)} of what lies above guessing"
    return f"{how}: {recovered} of {first.metric} recovered{scores}{told}{tail}"


def _percent(fractions: Iterable[float | None]) -> str:
    return f"{_span([round(100 * fraction, 1) for fraction in fractions if fraction is not None])} %"


def _span(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
