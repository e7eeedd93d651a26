"""What people read: a heading, tables of finished texts, a sentence, notes."""

from __future__ import annotations

from npuwatt.record import Record


class Table(Record):
    """Rows of texts under column names; the first `keys` columns name the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    left: tuple[str, ...] = ()  # columns of words, set flush left; numbers are flush right
    keys: int = 1
    bars: tuple[str, ...] = ()  # columns of bars, whose letters a terminal colours
    drawn: tuple[str, ...] = ()  # columns of a chart, which only a terminal shows


class Report(Record):
    """One result for people. `wide` holds the same for pipes and Markdown: in one table, or each table with more
    columns, which a terminal that is wide enough gets too."""

    heading: str
    tables: tuple[Table, ...]
    wide: tuple[Table, ...]
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
