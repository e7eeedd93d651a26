"""Reports as aligned plain text (one record a line, for pipes) and as Markdown."""

from __future__ import annotations

from npuwatt.record import replace
from npuwatt.report.document import Report, Table


def plain(report: Report) -> str:
    """Aligned text without boxes or colours; tables keep one record a line however wide it is."""
    blocks = [[report.heading], *(_aligned(table) for table in report.wide), list(report.sentences)]
    blocks.append([f"note: {note}" for note in report.notes])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _told(table: Table) -> Table:
    """A table without what is only drawn."""
    if not table.drawn:
        return table
    kept = [i for i, name in enumerate(table.columns) if name not in table.drawn]
    return replace(
        table,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )


def _aligned(table: Table) -> list[str]:
    table = _told(table)
    grid = (table.columns, *table.rows)
    widths = [max(len(row[i]) for row in grid) for i in range(len(table.columns))]
    left = {0, *(i for i, name in enumerate(table.columns) if name in table.left)}
    lines = [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]
    return [table.title, *lines] if table.title else lines


def markdown(report: Report) -> str:
    """Tables as GitHub reads them."""
    blocks = [f"**{_escaped(report.heading)}**"]
    for table in map(_told, report.wide):
        aligns = [":--" if i == 0 or name in table.left else "--:" for i, name in enumerate(table.columns)]
        lines = [" | ".join(map(_escaped, row)) for row in (table.columns, *table.rows)]
        lines.insert(1, " | ".join(aligns))
        block = "\n".join(f"| {line} |" for line in lines)
        blocks.append(f"{_escaped(table.title)}\n\n{block}" if table.title else block)
    blocks += [_escaped(sentence) for sentence in report.sentences]
    if report.notes:
        blocks.append("\n".join(f"- {_escaped(note)}" for note in report.notes))
    return "\n\n".join(blocks) + "\n"


def _escaped(text: str) -> str:
    return (
        text.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("\n", " ")
        .replace("*", "\\*")
        .replace("_", "\\_")
    )
