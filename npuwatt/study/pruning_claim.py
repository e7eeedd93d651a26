"""Whether pruning saves as much as is claimed of it without loss, and under which condition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from npuwatt import require
from npuwatt.record import Record
from npuwatt.study.pruning import AccuracyEvidence, Pruned, effort
from npuwatt.study.sparse_software import SoftwareStatus

Verdict: TypeAlias = Literal["holds", "fails", "open"]

CLAIMED_FRACTION = 0.30  # the lower end of "30 to 50 % without loss"
LOSS_FRACTION = (
    0.03  # npuwatt's own cut-off of "without loss"; the best that was published lost 1.6 and 2.7 %
)
NARROW = (
    "int4",
    "fp4",
)  # number types whose loss comes on top, and was not measured together with that of pruning
NEAR_SIZE = 2.0  # how many times larger or smaller a measured network may be to say something of this one


class Part(Record):
    """The verdict on one part of a claim, and what it rests on."""

    verdict: Verdict
    about: Literal["saving", "software", "accuracy"]
    reason: str


class Judgement(Record):
    """The verdict on a claim as a whole, and on its parts."""

    is_ideal: bool = False  # of skipping that no software reaches

    verdict: Verdict
    parts: tuple[Part, ...]
    condition: str  # what has to be so for it to hold; '' where it does not

    @property
    def sentence(self) -> str:
        """The verdict with its condition, or with what speaks against it."""
        if self.verdict == "holds":
            return f"holds, {self.condition}"
        if self.is_ideal and all(part.verdict == "holds" for part in self.parts if part.about != "software"):
            return f"would hold if ideal, {self.parts[-1].reason}"
        return f"{self.verdict}: " + "; ".join(
            part.reason for part in self.parts if part.verdict == self.verdict
        )


def judge_claim(
    saving_fraction: float,
    evidence: AccuracyEvidence,
    software: Sequence[SoftwareStatus],
    *,
    ends: tuple[float, float] | None = None,
    is_stated: bool = True,
    is_ideal: bool = False,
    weights: str = "",
    claimed_fraction: float = CLAIMED_FRACTION,
    loss_fraction: float = LOSS_FRACTION,
) -> Judgement:
    """Whether a device saves what is claimed, by software that exists, with accuracy that was measured.

    The whole fails if a part fails, and is open if a part is. Accuracy holds if, after some amount of retraining, no
    metric of a network near in size lost more than `loss_fraction` by its best method; it fails if that was tried with
    retraining and without, and is open otherwise.

    Parameters
    ----------
    saving_fraction : float
        Energy saved against dense weights on the same device; below 0 where zeros cost energy.
    ends : (low, high)
        What it may be as well; None for nothing else. The saving is open if what is claimed lies between them.
    is_stated
        Whether anything is known of what the device does with zeros; if not, the saving is open.
    is_ideal
        Whether the saving is one that no software reaches; then the software is open.
    weights
        Their number type: pruning was measured with weights of 8 bits or more alone.
    evidence, software
        What `accuracy_evidence` and `software_status` know.
    """
    require.within(float("-inf"), 1, saving=saving_fraction)
    require.share(claimed=claimed_fraction, loss=loss_fraction)
    parts = (
        _saving(saving_fraction, ends or (saving_fraction, saving_fraction), claimed_fraction)
        if is_stated
        else Part(verdict="open", about="saving", reason="its preset states nothing"),
        Part(verdict="open", about="software", reason="ideal skipping is reached by none")
        if is_ideal
        else _software(software),
        Part(verdict="open", about="accuracy", reason=f"pruning and {weights} together were not measured")
        if weights in NARROW
        else _accuracy(evidence, loss_fraction),
    )
    verdicts = {part.verdict for part in parts}
    verdict: Verdict = "fails" if "fails" in verdicts else "open" if "open" in verdicts else "holds"
    condition = "; ".join(part.reason for part in parts[:0:-1]) if verdict == "holds" else ""
    return Judgement(verdict=verdict, parts=parts, condition=condition, is_ideal=is_ideal)


def _saving(saved: float, ends: tuple[float, float], claimed: float) -> Part:
    low, high = ends
    told = saving_words(saved, low, high)
    if low >= claimed:
        return Part(verdict="holds", about="saving", reason=told)
    verdict: Verdict = "open" if high >= claimed else "fails"
    return Part(verdict=verdict, about="saving", reason=f"{told}, where {100 * claimed:.3g} % is claimed")


def saving_words(saved: float, low: float, high: float) -> str:
    """A saving and what else it may be: 'saves 30 % (27 to 33)', 'costs 12 % more (-3 to 20)'."""
    sign = 1 if saved >= 0 else -1
    least, most = sorted(round(100 * sign * end, 6) + 0.0 for end in (low, high))
    span = f" ({least:.3g} to {most:.3g})" if least < most else ""
    return f"saves {100 * saved:.3g} %{span}" if saved >= 0 else f"costs {-100 * saved:.3g} % more{span}"


def _software(statuses: Sequence[SoftwareStatus]) -> Part:
    running = [one.path.software for one in statuses if one.runs]
    if running:
        return Part(verdict="holds", about="software", reason=f"run by {' or '.join(running)}")
    gone = [one.path for one in statuses if one.path.role == "runs"]
    if not gone:
        return Part(verdict="open", about="software", reason="no software is known to run it")
    told = ", ".join(f"{path.software} {path.as_of}" for path in gone)
    return Part(verdict="fails", about="software", reason=f"no supported software path ({told})")


def _accuracy(evidence: AccuracyEvidence, allowed: float) -> Part:
    near = [
        row
        for row in evidence.rows
        if row.loss_fraction is not None and 1 / NEAR_SIZE <= row.size_ratio <= NEAR_SIZE
    ]
    if not near:
        why = evidence.reason or f"nobody measured a network within {NEAR_SIZE:g} times of its size"
        return Part(verdict="open", about="accuracy", reason=why)
    by_effort = {how: _least_losses(near, how) for how in dict.fromkeys(effort(row.trial) for row in near)}
    for how, losses in by_effort.items():
        if max(loss for loss, _ in losses.values()) <= allowed:
            others = [row for row in near if row.trial.retrained and effort(row.trial) != how]
            against = [_contrary(row) for row in others if (row.loss_fraction or 0.0) > allowed]
            told = "; ".join([f"{how}: {_listed(losses)}", *against])
            return Part(verdict="holds", about="accuracy", reason=told)
    told = "; ".join(f"{how}: {_listed(losses)}" for how, losses in by_effort.items())
    tried = {row.trial.retrained for row in near}
    if tried == {True, False}:
        return Part(verdict="fails", about="accuracy", reason=told)
    untried = f"nobody measured it {'without' if True in tried else 'with'} retraining near this size"
    return Part(verdict="open", about="accuracy", reason=f"{told}; {untried}")


def _contrary(row: Pruned) -> str:
    """A measurement after other retraining that lost more."""
    told = f"{row.baseline:g} -> {row.trial.measured:g}" if row.baseline and row.trial.measured else "worse"
    return f"but otherwise retrained: {row.metric} {told}{' (secondary)' if row.secondary else ''}"


def _least_losses(rows: Iterable[Pruned], how: str) -> dict[str, tuple[float, str]]:
    """What the best method lost after this much retraining, and which network that was, by metric."""
    found: dict[str, tuple[float, str]] = {}
    for row in rows:
        if effort(row.trial) == how and row.loss_fraction is not None:
            loss = (row.loss_fraction, row.network)
            found[row.metric] = min(found.get(row.metric, loss), loss)
    return found


def _listed(losses: dict[str, tuple[float, str]]) -> str:
    """Losses as they are read: perplexity goes up, a score goes down."""
    return ", ".join(
        f"{metric} {100 * loss:.2g} % {'up' if 'perplexity' in metric else 'down'} on {network}"
        for metric, (loss, network) in losses.items()
    )
