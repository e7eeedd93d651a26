"""Where a number comes from and how far it may be off."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from npuwatt.record import Record

Quality: TypeAlias = Literal["measured", "calibrated", "datasheet", "derived", "simulated", "assumed"]
QUALITIES: tuple[str, ...] = get_args(Quality)

# The factor by which a number may be off either way where its preset states no range; counts and shapes are exact.
SPREAD: dict[str, float] = {
    "measured": 1.1,
    "calibrated": 1.15,
    "datasheet": 1.05,
    "derived": 1.25,
    "simulated": 1.5,
    "assumed": 2.0,
}


class Evidence(Record):
    """Range, source and quality of the number at one address, in SI."""

    value: float
    low: float
    high: float
    source: str  # a key of sources.yaml, or 'assumed'
    quality: str
    where: str = ""  # table, page or reasoning
    suffix: str = ""  # the unit it is in, as its field's name tells
    stated_range: bool = False  # False: the range follows from the quality
    is_celsius: bool = False  # written in degC: a temperature, and no difference of two
