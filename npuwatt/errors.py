"""What can go wrong by a user's hand: one line a fault, and what would be accepted instead."""

from __future__ import annotations

from collections.abc import Iterable


def say(line: str) -> None:
    """A line on standard error, whatever a user's text in it holds; where nobody can hear it, that changes nothing."""
    import sys
    from contextlib import suppress

    with suppress(OSError):
        print(printable(line), file=sys.stderr, flush=True)


class NpuwattError(Exception):
    """A fault that whoever runs npuwatt can mend.

    `faults` holds one line for each, whatever characters a path in it has: where, what was given, what would be
    accepted.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = tuple(map(printable, faults))
        super().__init__("\n".join(self.faults))


class PresetError(NpuwattError):
    """A preset, a network description or a change to one cannot be used."""


class RequestError(NpuwattError):
    """A request, a sweep or an option asks for something that has no answer."""


def did_you_mean(given: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'X'?` for the closest of `known`, or nothing if none is close."""
    from difflib import get_close_matches

    close = get_close_matches(given.lower()[:200], {name.lower(): name for name in known}, n=1, cutoff=cutoff)
    return f"; did you mean '{close[0]}'?" if close else ""


def shown(value: object, width: int = 60) -> str:
    """A user's text quoted for an error line: one line, printable, never longer than `width`."""
    text = value if isinstance(value, str) else repr(value)
    text = text if len(text) <= width else text[: width - 1] + "…"
    return f"'{printable(text)}'"


def printable(text: str) -> str:
    """The text in one line, with a question mark for each character that moves the cursor or cannot be seen."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
