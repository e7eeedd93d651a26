"""A copy of a built-in preset: what was changed in it is no longer what the source says."""

from __future__ import annotations

from pathlib import Path

import pytest

from npuwatt.preset import library
from npuwatt.study.presets import check_presets

# Folder and name, what is changed, and what a check then says.
CHANGES = (
    ("devices", "h100-sxm", "bf16: 989 TFLOPS", "bf16: 1500 TFLOPS",
        "peak.bf16: 1.5 POPS given under 'source: nvidia-h100', where h100-sxm has 989 TOPS"),
    ("datacenters", "hyperscale", "pressure: {value: 400 Pa", "pressure: {value: 500 Pa",
        "parts.fans.pressure: 500 Pa given under 'source: lei-masanet', where hyperscale has 400 Pa"),
    ("grids", "us-states", "intensity: ", "intensity: 1", "given under 'source: "),
)  # fmt: skip


@pytest.mark.parametrize(("folder", "name", "before", "after", "told"), CHANGES)
def test_a_changed_number_of_a_copy_needs_a_source_of_its_own(
    folder: str, name: str, before: str, after: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    text = Path(library.presets_root(), folder, f"{name}.yaml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    (check,) = check_presets([str(path)])
    assert check.faults == ()
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    (check,) = check_presets([str(path)])
    (fault,) = check.faults
    assert fault.startswith(f"{path}:")
    assert told in fault
    assert fault.endswith("expected the source of this number, or assumed")


def test_a_copy_that_says_where_its_numbers_are_from_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = Path(library.presets_root(), "devices", "h100-sxm.yaml").read_text(encoding="utf-8")
    own = "bf16: {value: 1500 TFLOPS, source: assumed, where: a plan}"
    path.write_text(text.replace("bf16: 989 TFLOPS", own, 1), encoding="utf-8")
    (check,) = check_presets([str(path)])
    assert check.faults == ()
