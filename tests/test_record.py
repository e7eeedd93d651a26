"""Records: frozen, checked when made, changed by making another."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from npuwatt import require
from npuwatt.errors import NpuwattError
from npuwatt.record import Record, is_required, names_of, replace


class Pair(Record):
    first: float
    second: float = 2.0
    kind: ClassVar[str] = "pair"

    def __post_init__(self) -> None:
        require.positive(first=self.first)


class Triple(Pair):
    third: tuple[int, ...] = ()


def test_fields_are_the_annotations_in_order_with_their_defaults() -> None:
    assert names_of(Triple) == names_of(Triple(first=1.0)) == ("first", "second", "third")
    assert (Triple(first=1.0).second, Triple(first=1.0).third) == (2.0, ())
    assert is_required(Triple, "first")
    assert not is_required(Triple, "second")
    assert repr(Pair(first=1.0)) == "Pair(first=1.0, second=2.0)"


def test_a_record_cannot_be_written_to() -> None:
    made: Any = Pair(first=1.0)
    with pytest.raises(AttributeError, match="frozen"):
        made.first = 3.0
    with pytest.raises(AttributeError, match="frozen"):
        made.new = 3.0
    with pytest.raises(AttributeError, match="frozen"):
        del made.first
    assert made.first == 1.0


def test_missing_and_unknown_fields_are_named() -> None:
    pair: Any = Pair
    with pytest.raises(TypeError, match="Pair: missing or unknown fields: first"):
        pair()
    with pytest.raises(TypeError, match="Pair: missing or unknown fields: frist"):
        pair(first=1.0, frist=2.0)
    with pytest.raises(TypeError, match="first, frist"):
        pair(frist=2.0)
    with pytest.raises(TypeError):
        pair(1.0)
    with pytest.raises(TypeError, match="kind"):
        pair(first=1.0, kind="other")


def test_records_are_equal_when_their_type_and_values_are() -> None:
    assert Pair(first=1.0) == Pair(first=1.0, second=2.0)
    assert Pair(first=1.0) != Pair(first=1.5)
    assert Pair(first=1.0) != Triple(first=1.0)
    assert Pair(first=1.0) != (1.0, 2.0)
    assert len({Pair(first=1.0), Pair(first=1.0), Pair(first=2.0)}) == 2


def test_replace_makes_another_and_checks_it_again() -> None:
    made = Triple(first=1.0, third=(4,))
    other = replace(made, second=5.0)
    assert (other.first, other.second, other.third) == (1.0, 5.0, (4,))
    assert made.second == 2.0
    assert type(other) is Triple
    with pytest.raises(NpuwattError, match="first: -1 given"):
        replace(made, first=-1.0)
    with pytest.raises(TypeError, match="fourth"):
        replace(made, fourth=1.0)


def test_a_record_that_cannot_be_is_never_made() -> None:
    with pytest.raises(NpuwattError, match="first: 0 given; expected a finite number above 0"):
        Pair(first=0.0)
