"""What products of some signal over noise are good for; the cut-offs are npuwatt's own."""

from __future__ import annotations

EXACT, TRAINABLE, INEXACT = "usable as is", "needs noise-aware training", "do not deploy"
FAULTLESS, UNKNOWN = "adds exactly", "unknown"  # gates; cells of which nobody published the noise
BANDS = ((25.0, EXACT), (15.0, TRAINABLE), (float("-inf"), INEXACT))
"""Signal over noise in dB from which on a verdict holds."""


def can_be_deployed(verdict: str) -> bool:
    """Whether a board may be called better than another: not where its products are too noisy, or may be."""
    return verdict not in (INEXACT, UNKNOWN)


def verdict_of(snr_db: float) -> str:
    """The verdict on products of this signal over noise."""
    return next(name for least, name in BANDS if snr_db >= least)
