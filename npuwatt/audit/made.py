"""Presets made by a calibration, as texts of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from npuwatt.audit.calibrate import Calibration
from npuwatt.audit.intervals import header
from npuwatt.preset import library
from npuwatt.preset.write import rewritten
from npuwatt.study.confidence import entries
from npuwatt.study.scenario import Chosen

OWN_SOURCE = "measurements"
RANGE = "range: "


def file_hash(path: str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def presets_of(found: Calibration, path: str, source: str | None) -> dict[str, str]:
    """Relative path -> content of each preset that the calibration makes: its devices and its stack."""
    digest = file_hash(path)
    named = f"{os.path.basename(path)} (sha256 {digest[:12]})"
    made = {}
    owners: list[tuple[str, Chosen[Any], dict[str, Any]]] = [
        ("devices", device, _calibration(found, device, digest)) for device in found.devices
    ]
    owners.append(("stacks", found.stack, {}))
    for folder, owner, own_header in owners:
        numbers = _numbers(found, owner, source)
        if not numbers:
            continue
        if folder == "devices":
            own_header |= {"evidence": "calibrated"}
        if source is None or source not in library.sources():
            cite = source or f"measurements in {named}"
            sources = dict(owner.preset.document.tree.get("sources", {}))
            own_header |= {"sources": sources | {OWN_SOURCE: {"cite": cite, "quality": "calibrated"}}}
        comment = "# Fitted numbers and the calibration section are written by npuwatt calibrate.\n"
        made[f"{folder}/{owner.preset.name}.yaml"] = rewritten(
            owner.preset.document, numbers, own_header, comment
        )
    return made


def _calibration(found: Calibration, device: Chosen[Any], digest: str) -> dict[str, Any]:
    """The calibration section of a device preset: one entry for each stack that it was measured with."""
    place = next(i for i, part in enumerate(found.parts) if part.device.preset.name == device.preset.name)
    stack = found.stack.preset.name
    before = entries(device.preset)
    entry = {"stack": stack, "sha256": digest} | _no_surer(header(found, place), before.get(stack), found)
    return {"calibration": [*(old for name, old in before.items() if name != stack), entry]}


def _no_surer(fresh: dict[str, Any], old: dict[str, Any] | None, found: Calibration) -> dict[str, Any]:
    """Intervals of a fit to part of the constants: what it did not fit was known from elsewhere, so that leaving a
    shape out says less, and no interval gets narrower than it was."""
    if old is None or not found.is_partial:
        return fresh

    def wider(one: Any, other: Any) -> Any:
        if isinstance(one, dict):
            return {key: wider(value, other[key]) for key, value in one.items()}
        return [min(one[0], other[0]), max(one[1], other[1])]

    return fresh | {
        part: wider(fresh[part], old[part]) for part in ("known", "extrapolated", "family", "hardware")
    }


def _numbers(
    found: Calibration, owner: Chosen[Any], source: str | None
) -> dict[str, tuple[float, str, str, str]]:
    key = source if source in library.sources() else OWN_SOURCE
    numbers = {}
    rows: Sequence[tuple[Any, float, float, str]] = list(
        zip(found.constants, found.places.tolist(), found.errors.tolist(), found.remarks(), strict=True)
    )
    for constant, place, error, remark in rows:
        if constant.owner == owner.preset.name:
            address = ".".join(constant.path)
            spread = f"standard error {min(100 * error, 100):.0f} % of the range"
            where = f"fitted, {spread}{'; ' + remark if remark else ''}"
            bounds = owner.evidence[address].where.partition(RANGE)[2]  # why the range is what it is
            where += f"; {RANGE}{bounds}" if bounds else ""
            numbers[address] = (
                found.value(constant, place),
                constant.suffix,
                str(key),
                where,
            )
    return numbers
