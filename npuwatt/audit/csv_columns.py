"""CSV files with known columns, chunk by chunk: memory does not grow with the file."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from npuwatt import require
from npuwatt.arrays import Array
from npuwatt.errors import NpuwattError, did_you_mean, shown
from npuwatt.preset.load import MOST_FAULTS
from npuwatt.record import Record

MOST_ROW_BYTES = 1_000_000
_MOST_ROW = f"{MOST_ROW_BYTES / 1e6:g} MB"
MOST_COUNT = 1_000_000
# What a column of numbers accepts, in the words of its error lines.
COUNT = f"a whole number from 1 to {MOST_COUNT}"
POSITIVE = "a finite number above 0"
NOT_NEGATIVE = "a finite number, 0 or more"
SIZE = "a number from 1e-9 to 1e9"
BITS = "a number of bits from 1 to 64"
BITS_OR_NONE = "a number of bits from 0 to 64"
CELSIUS = "degrees Celsius from -50 to 150"
_ENDS = {COUNT: (1, MOST_COUNT), SIZE: (1e-9, 1e9), BITS: (1, 64), BITS_OR_NONE: (0, 64), CELSIUS: (-50, 150)}

_Row: TypeAlias = tuple[int, list[str]]  # the line a row starts on, and its cells
_STRICT = csv.reader((), strict=True).dialect  # made once: a reader for each quoted row is then cheap


class Columns(Record):
    """The columns of a kind of file that matter; all others are ignored."""

    texts: tuple[str, ...]
    numbers: Mapping[str, str]  # each numeric column, and what it accepts
    required: tuple[str, ...]
    row_is: str  # what a row stands for, in error lines
    elsewhere: Mapping[str, str]  # columns of other kinds of file, and how those are read


class Rows(Record):
    """Some rows of a file; arrays are (R,). The columns are those of `Columns`, present or not."""

    lines: npt.NDArray[np.int64]  # the line of the file where each row starts, counted from 1
    texts: dict[str, list[str]]  # '' where the file does not say
    numbers: dict[str, Array]  # NaN where the file does not say; the column's name tells the unit


class _Header(Record):
    """Where the columns that matter stand in a row of `width` cells."""

    label: str  # what error lines call the file
    line: int
    width: int
    places: dict[str, int]
    columns: Columns


def read_rows(path: str, columns: Columns, *, chunk_rows: int = 8192) -> Iterator[Rows]:
    """The rows of a CSV file, at most `chunk_rows` at a time; '-' is standard input.

    Lines that start with '#' and blank lines are skipped, columns that are not in `columns` ignored. Nothing is
    opened before the first chunk is asked for.

    Raises
    ------
    NpuwattError
        Before a chunk with a fault is given out, with the faults of that chunk: a line each, at most MOST_FAULTS
        and then how many more. Chunks before it were given out, those after it are not looked at.
    """
    require.counts(1, chunk_rows=chunk_rows)
    label = "standard input" if path == "-" else path
    with _opened(path, label) as stream:
        rows = _rows(stream, label)
        first = next(rows, None)
        if first is None:
            raise NpuwattError(
                f"{label}: holds no rows; expected a header of column names and a row for each {columns.row_is}"
            )
        header = _header(*first, label, columns)
        chunk, broken = _taken(rows, chunk_rows)
        if not (chunk or broken):
            raise NpuwattError(
                f"{label}:{header.line}: no rows below the header; expected one for each {columns.row_is}"
            )
        while chunk or broken:
            yield _checked(chunk, broken, header)
            chunk, broken = _taken(rows, chunk_rows)


def _opened(path: str, label: str) -> BinaryIO:
    """A plain file, or standard input, open for reading; the faults of `preset.load.read_bytes`."""
    try:
        if path == "-":
            return open(0, "rb", closefd=False)
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise NpuwattError(f"{label}: is a directory; expected a file")
        if not stat.S_ISREG(mode):
            raise NpuwattError(f"{label}: is not a plain file; expected one, or '-' for standard input")
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise _unreadable(error, label) from error


def _unreadable(error: Exception, label: str) -> NpuwattError:
    reason = getattr(error, "strerror", None) or "cannot be opened"
    return NpuwattError(f"{label}: {reason.lower()}; expected a readable file")


def _rows(stream: BinaryIO, label: str) -> Iterator[_Row]:
    """Rows of a CSV stream; what is neither quoted nor odd is split without the csv module, in half the time."""
    lines = _lines(stream, label)
    longest = csv.field_size_limit()
    for number, line in lines:
        row = line.rstrip("\r\n")
        if row.lstrip()[:1] in ("", "#"):
            continue
        if '"' in row or "\r" in row or len(row) > longest:
            try:
                yield number, next(csv.reader((line,), _STRICT))
            except csv.Error:
                yield number, _long_row(number, line, lines, label)
        else:
            yield number, row.split(",")


def _lines(stream: BinaryIO, label: str) -> Iterator[tuple[int, str]]:
    """Lines of a stream and their numbers; only the last one may have no end."""
    encoding = "utf-8-sig"  # a byte order mark opens the first line
    try:
        for number, raw in enumerate(iter(partial(stream.readline, MOST_ROW_BYTES + 1), b""), 1):
            if len(raw) > MOST_ROW_BYTES:
                raise NpuwattError(
                    f"{label}:{number}: a line of more than {_MOST_ROW}; expected a shorter one"
                )
            if b"\0" in raw:
                raise NpuwattError(f"{label}:{number}: holds a zero byte; expected UTF-8 text")
            try:
                yield number, raw.decode(encoding)
            except UnicodeDecodeError as error:
                raise NpuwattError(f"{label}:{number}: is not UTF-8 text; expected UTF-8") from error
            encoding = "utf-8"
    except OSError as error:
        raise _unreadable(error, label) from error


def _long_row(start: int, line: str, lines: Iterator[tuple[int, str]], label: str) -> list[str]:
    """The row that starts with `line` and goes on in `lines`, with a quote open; NpuwattError if it is faulty."""

    def asked_for() -> Iterator[str]:
        size = len(line)
        yield line
        for _, more in lines:
            size += len(more)
            if size > MOST_ROW_BYTES:
                raise NpuwattError(f"{label}:{start}: a row of more than {_MOST_ROW}; expected a shorter one")
            yield more

    try:
        return next(csv.reader(asked_for(), _STRICT))
    except csv.Error as error:
        raise NpuwattError(f"{label}:{start}: {_syntax_fault(str(error))}") from error


def _syntax_fault(problem: str) -> str:
    """What csv.Error tells, in the words of an error line."""
    if "unexpected end" in problem:
        return "a quoted field is still open at the end of the file; expected a closing '\"'"
    if "field limit" in problem:
        most = csv.field_size_limit()
        return (
            f"a field of more than {most} characters; expected a shorter one, or a closing '\"' before that"
        )
    if "expected after" in problem:
        return "text after a quoted field; expected ',' there, or '\"\"' for a quote within it"
    if "new-line" in problem:
        return "a carriage return within a row; expected lines that end in LF or CRLF"
    return f"{problem}; expected comma-separated values"


def _header(line: int, cells: list[str], label: str, columns: Columns) -> _Header:
    """Places of the known columns; NpuwattError if one stands twice or a required one is missing."""
    names = [cell.strip() for cell in cells]
    here = f"{label}:{line}"
    known = (*columns.texts, *columns.numbers)
    faults = [
        f"{here}: {name}: stands {names.count(name)} times in the header; expected once"
        for name in known
        if names.count(name) > 1
    ]
    missing = [name for name in columns.required if name not in names]
    if missing:
        listed = ", ".join(f"'{name}'" for name in missing)
        hint = next((f"; {how}" for name, how in columns.elsewhere.items() if name in names), "")
        faults.append(f"{here}: has no column {listed}; the header has {shown(', '.join(names), 200)}{hint}")
        unknown = [name for name in names[:200] if name not in known]
        closest = {name: did_you_mean(name, missing) for name in dict.fromkeys(unknown)}
        faults += [
            f"{here}: {shown(name)}: unknown column{close}" for name, close in closest.items() if close
        ]
    if faults:
        raise NpuwattError(*faults[:MOST_FAULTS])
    places = {name: place for place, name in enumerate(names) if name in known}
    return _Header(label=label, line=line, width=len(names), places=places, columns=columns)


def _taken(rows: Iterator[_Row], most: int) -> tuple[list[_Row], tuple[str, ...]]:
    """The next rows, and what is wrong if the file cannot be read on behind them."""
    taken: list[_Row] = []
    try:
        taken.extend(islice(rows, most))  # keeps what came before a fault
    except NpuwattError as error:
        return taken, error.faults
    return taken, ()


def _checked(chunk: list[_Row], broken: tuple[str, ...], header: _Header) -> Rows:
    """A chunk in columns; NpuwattError with its faults, those behind it last."""
    try:
        if broken:
            raise ValueError("the rows end in a fault")
        return _in_columns(chunk, header)
    except ValueError:
        faults = chain(_faults(chunk, header), broken)
        told = list(islice(faults, MOST_FAULTS))
        more = sum(1 for _ in faults)
        if not told:
            raise
        if more:
            told.append(f"{header.label}: and {more} more faults up to line {chunk[-1][0]}")
        raise NpuwattError(*told) from None


def _in_columns(chunk: list[_Row], header: _Header) -> Rows:
    """A chunk in columns; ValueError if a cell or a row is faulty."""
    lines, rows = zip(*chunk, strict=True)
    if set(map(len, rows)) != {header.width}:
        raise ValueError("ragged rows")
    cells = list(zip(*rows, strict=True))
    places, columns, count = header.places, header.columns, len(rows)
    return Rows(
        lines=np.array(lines, dtype=np.int64),
        texts={
            name: _texts(cells[places[name]], name, columns) if name in places else [""] * count
            for name in columns.texts
        },
        numbers={
            name: _numbers(cells[places[name]], name, columns) if name in places else np.full(count, np.nan)
            for name in columns.numbers
        },
    )


def _texts(cells: Sequence[str], name: str, columns: Columns) -> list[str]:
    """Cells without blanks around them, equal ones as one object; ValueError if one is due and missing."""
    stripped = {cell: cell.strip() for cell in set(cells)}
    if name in columns.required and "" in stripped.values():
        raise ValueError("empty")
    return list(map(stripped.__getitem__, cells))


def _numbers(cells: Sequence[str], name: str, columns: Columns) -> Array:
    """Cells as numbers, empty ones as NaN where the column may be; ValueError if one is not what it accepts."""
    together = "".join(cells)
    if "_" in together or not together.isascii():
        raise ValueError("float() takes 1_000 and digits of any script; a file of numbers has neither")
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
        is_absent = np.array(False)
    except ValueError:  # one is empty, or no number
        given = [cell.strip() for cell in cells]
        values = np.fromiter((float(cell) if cell else np.nan for cell in given), np.float64, len(cells))
        is_absent = np.array([not cell for cell in given]) & (name not in columns.required)
    if not np.all(_holds(values, columns.numbers[name]) | is_absent):
        raise ValueError("out of range")
    return values


def _holds(values: Array, wanted: str) -> npt.NDArray[np.bool_]:
    """Whether each value is what is wanted; NaN never is."""
    if wanted in _ENDS:
        low, high = _ENDS[wanted]
        is_right_kind = np.equal(np.floor(values), values) if wanted == COUNT else np.isfinite(values)
        return (values >= low) & (values <= high) & is_right_kind
    return np.isfinite(values) & (values > 0 if wanted == POSITIVE else values >= 0)


def _is_faulty(cells: Sequence[str], name: str, columns: Columns) -> bool:
    try:
        _numbers(cells, name, columns) if name in columns.numbers else _texts(cells, name, columns)
    except ValueError:
        return True
    return False


def _faults(chunk: list[_Row], header: _Header) -> Iterator[str]:
    """A line for each fault, row by row; only columns that hold one are looked at cell by cell."""
    columns = header.columns
    whole = [row for _, row in chunk if len(row) == header.width]
    suspects = [
        (name, place)
        for name, place in header.places.items()
        if _is_faulty([row[place] for row in whole], name, columns)
    ]
    for line, row in chunk:
        here = f"{header.label}:{line}"
        if len(row) != header.width:
            cells = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            yield f"{here}: {cells} given; expected {header.width}, as in the header"
            continue
        for name, place in suspects:
            if _is_faulty([row[place]], name, columns):
                given = shown(row[place].strip()) if row[place].strip() else "nothing"
                yield f"{here}: {name}: {given} given; expected {columns.numbers.get(name, 'text')}"
