"""A preset with other values at some addresses, as a file of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from npuwatt import units
from npuwatt.preset.load import Document

WIDTH = 100
_NUMBER = r"^\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?"


def rewritten(
    document: Document,
    numbers: Mapping[str, tuple[float, str, str, str]],
    header: Mapping[str, Any],
    comments: str,
) -> str:
    """YAML of a preset whose numbers at some addresses were replaced.

    Parameters
    ----------
    numbers
        Address -> value in SI, unit suffix of its field, source key and where in it. Ranges stay.
    header
        Keys that describe the preset, set or added.
    comments
        Lines for the top of the file, each with its '#'.
    """
    import yaml

    tree = dict(document.tree) | dict(header)
    for address, (value, suffix, source, where) in numbers.items():
        _put(tree, address.split("."), value, suffix, source, where)

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True  # presets are read without anchors

    body = yaml.dump(
        tree, Dumper=Plain, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True
    )
    return comments + str(body)


def _put(tree: dict[str, Any], path: list[str], value: float, suffix: str, source: str, where: str) -> None:
    inner = tree
    for key in path[:-1]:
        inner[key] = dict(inner[key])
        inner = inner[key]
    old = inner[path[-1]]
    leaf = dict(old) if isinstance(old, dict) else {"value": old}
    unit = re.sub(_NUMBER, "", str(leaf["value"]), count=1).strip()
    scale = units.parse(f"1 {unit}", suffix) if unit else 1.0
    amount = float(f"{value / scale:.9g}")
    leaf["value"] = f"{amount:.9g} {unit}" if unit else amount
    leaf |= {"source": source, "quality": "calibrated", "where": where}
    inner[path[-1]] = leaf
