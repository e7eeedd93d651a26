"""Frozen records that cost next to nothing to define.

A frozen dataclass compiles six methods for each class, about a millisecond each time a process starts; a command
defines some thirty records and is often over in a hundred milliseconds. These share one set of methods. A type checker
sees a frozen, keyword-only dataclass.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, dataclass_transform

T = TypeVar("T", bound="Record")


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=True)
class Record:
    """Base of all records: fields are the annotations of the class, in order, with or without a default.

    `__post_init__` checks a record once, when it is made. To change one, make another: `replace`.
    """

    _names: ClassVar[tuple[str, ...]] = ()
    _required: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = (name for name, kind in cls.__annotations__.items() if not str(kind).startswith("ClassVar"))
        cls._names = (*cls._names, *own)
        cls._required = frozenset(name for name in cls._names if not hasattr(cls, name))

    def __init__(self, **values: Any) -> None:
        if not self._required <= values.keys() <= set(self._names):
            wrong = sorted(self._required - values.keys() | values.keys() - set(self._names))
            raise TypeError(f"{type(self).__name__}: missing or unknown fields: {', '.join(wrong)}")
        self.__dict__.update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Raise NpuwattError if the numbers of the record do not go together."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; make another with replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen; make another with replace()")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._names)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._names))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names)
        return f"{type(self).__name__}({inner})"


def names_of(record: Record | type[Record]) -> tuple[str, ...]:
    """The fields of a record, in order."""
    return record._names


def is_required(kind: type[Record], name: str) -> bool:
    """Whether a field has no default."""
    return name in kind._required


def replace(record: T, /, **changes: Any) -> T:
    """Another record with some fields changed; its checks run again."""
    return type(record)(**{**record.__dict__, **changes})
