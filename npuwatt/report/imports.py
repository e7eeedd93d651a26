"""An imported network as a record and a report."""

from __future__ import annotations

from typing import Any

from npuwatt import __version__
from npuwatt.report.document import Report, Table
from npuwatt.study.imports import ImportedModel, size_line

Record = dict[str, Any]


def import_record(found: ImportedModel) -> Record:
    """Schema npuwatt.model-import/1."""
    size = size_line(found.parameters_count, found.active_parameters_count, found.cache_bytes_per_token)
    return {
        "schema": "npuwatt.model-import/1",
        "npuwatt": __version__,
        "networks": [
            {
                "name": found.name,
                "about": found.about,
                "kind": found.network.kind,
                "parameters_count": round(found.parameters_count),
                "active_parameters_count": round(found.active_parameters_count),
                "kv_cache_bytes_per_token": found.cache_bytes_per_token,
                "summary": f"{found.name}: {size}",
                "preset": found.preset,
            }
        ],
    }


def import_report(record: Record) -> Report:
    """The sizes to compare with the model card."""
    rows = tuple(
        (
            network["name"],
            f"{network['parameters_count']:,.0f}",
            f"{network['active_parameters_count']:,.0f}",
            f"{network['kv_cache_bytes_per_token']:,.0f} B",
        )
        for network in record["networks"]
    )
    table = Table(columns=("network", "parameters", "active a token", "bf16 KV cache a token"), rows=rows)
    heading = "; ".join(network["about"] for network in record["networks"])
    return Report(heading=heading, tables=(table,), wide=(table,))
