"""Reports on a terminal: tables that fit its width without cutting a number."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence

from npuwatt.report.document import Report, Table

MOST_WIDTH = 1000

_GAP = 2  # blanks between columns, as the table style sets them
_BAR_STYLES = {
    "A": "cyan", "V": "magenta", "C": "yellow", "D": "blue", "L": "green", "O": "red", "S": "bright_black",
}  # fmt: skip


def console(report: Report, *, width: int, color: bool, encoding: str = "utf-8") -> str:
    """A report as terminal text, at most `width` columns wide wherever a single value is not wider."""
    from rich.console import Console
    from rich.text import Text

    class _Stream(io.StringIO):
        encoding = ""

    stream = _Stream()
    stream.encoding = encoding
    width = min(max(width, 20), MOST_WIDTH)
    screen = Console(
        file=stream, width=width, force_terminal=color, color_system="standard" if color else None,
        highlight=False, no_color=not color, legacy_windows=False,
    )  # fmt: skip
    screen.print(Text(report.heading, style="bold"))
    screen.print()
    for table in _chosen(report, width):
        if table.title:
            screen.print(Text(table.title, style="italic" if color else ""))
        for part in fitting(table, width):
            _print_table(screen, part)
    for sentence in report.sentences:
        screen.print(Text(sentence))
    if report.notes:
        screen.print()
    for note in report.notes:
        screen.print(Text(f"- {note}", style="dim"))
    return stream.getvalue()


def _chosen(report: Report, width: int) -> list[Table]:
    """The tables of a report: its wide ones if all of them fit."""
    fits = all(fitting(table, width)[0].columns == table.columns for table in report.wide)
    return list(report.wide if fits else report.tables)


def _print_table(screen: object, table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    assert isinstance(screen, Console)  # for the type checker; the import must stay inside
    if len(table.columns) == 1:  # a card: one value a line
        for row in table.rows:
            screen.print(Text(row[0]), overflow="ignore", no_wrap=True, crop=False)
        return
    grid = Grid(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for i, name in enumerate(table.columns):
        grid.add_column(Text(name), justify="left" if i == 0 or name in table.left else "right", no_wrap=True)
    for row in table.rows:
        cells = [Text(cell) for cell in row]
        for name, cell in zip(table.columns, cells, strict=True):
            if name in table.bars:
                for run in re.finditer(r"(.)\1*", cell.plain):
                    cell.stylize(_BAR_STYLES.get(run[1], ""), *run.span())
        grid.add_row(*cells)
    screen.print(grid, crop=False)
    screen.print()


def fitting(table: Table, width: int) -> list[Table]:
    """The table as it is, or cut into tables of fewer columns, or as cards, so that nothing is cut off."""
    widths = [max(len(row[i]) for row in (table.columns, *table.rows)) for i in range(len(table.columns))]
    keys = table.keys if _row_width(widths, range(table.keys)) <= width / 2 else 1
    if any(_row_width(widths, (*range(keys), i)) > width for i in range(keys, len(widths))):
        return [_cards(table, width)]
    groups = _groups(widths, width, keys)
    # As even as can be, so that no part is left with a single column.
    for narrower in range(width - 1, 0, -1):
        evener = _groups(widths, narrower, keys)
        if len(evener) > len(groups):
            break
        groups = evener
    return [
        Table(
            columns=tuple(table.columns[i] for i in (*range(keys), *group)),
            rows=tuple(tuple(row[i] for i in (*range(keys), *group)) for row in table.rows),
            left=table.left,
            bars=table.bars,
        )
        for group in groups
    ]


def _row_width(widths: Sequence[int], columns: Iterable[int]) -> int:
    """Characters that some columns take side by side; the style leaves a blank after the last one."""
    own = [widths[i] for i in columns]
    return sum(own) + _GAP * (len(own) - 1) + 1


def _groups(widths: Sequence[int], width: int, keys: int) -> list[list[int]]:
    """Columns beside the first ones, in groups that fit a width with them."""
    groups: list[list[int]] = [[]]
    for i in range(keys, len(widths)):
        if groups[-1] and _row_width(widths, (*range(keys), *groups[-1], i)) > width:
            groups.append([])
        groups[-1].append(i)
    return groups


def _cards(table: Table, width: int) -> Table:
    """Each row as lines of name and value, on two lines where one is too short for both."""
    lines = []
    for row in table.rows:
        for name, cell in zip(table.columns, row, strict=True):
            if cell:
                lines += [f"{name}: {cell}"] if len(name) + 2 + len(cell) <= width else [f"{name}:", cell]
        lines.append("")
    return Table(columns=(table.columns[0],), rows=tuple((line,) for line in lines))
