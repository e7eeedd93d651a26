"""Names and aliases in a user's folders come before the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from npuwatt.errors import PresetError
from npuwatt.preset import library


def preset(path: Path, *, aliases: str = "[]", kind: str = "accelerator") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"kind: {kind}\nname: Mine\naliases: {aliases}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("place", ["devices/mine.yaml", "mine.yaml"])
@pytest.mark.parametrize("name", ["gpu", "GPU", "h100-sxm", "My chip", "owner/chip"])
def test_an_alias_of_the_users_wins_over_a_built_in_name_or_alias(
    place: str, name: str, tmp_path: Path
) -> None:
    path = preset(tmp_path / place, aliases="[gpu, h100-sxm, my chip, Owner/Chip]")
    found = library.find("devices", name, [str(tmp_path)])
    assert (found.origin, found.name) == (str(path), "mine")
    assert library.find("devices", "npu", [str(tmp_path)]).origin == "built-in"


def test_a_file_of_that_name_wins_over_an_alias_in_the_same_folder(tmp_path: Path) -> None:
    preset(tmp_path / "devices" / "a.yaml", aliases="[gpu]")
    named = preset(tmp_path / "gpu.yaml")
    assert library.find("devices", "gpu", [str(tmp_path)]).origin == str(named)


def test_the_first_folder_that_knows_a_name_wins(tmp_path: Path) -> None:
    alias = preset(tmp_path / "first" / "a.yaml", aliases="[gpu]")
    preset(tmp_path / "second" / "gpu.yaml")
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    assert library.find("devices", "gpu", folders).origin == str(alias)


def test_a_file_that_cannot_be_read_has_no_aliases(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("aliases: [gpu, [", encoding="utf-8")
    (tmp_path / "binary.yaml").write_bytes(b"\xff gpu")
    assert library.find("devices", "gpu", [str(tmp_path)]).origin == "built-in"


def test_a_grid_is_found_by_an_alias_too(tmp_path: Path) -> None:
    from npuwatt.study.scenario import load_grid

    path = tmp_path / "grids" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(
        "kind: grid\nname: Mine\naliases: [france]\nintensity: {value: 1 gCO2e/kWh, source: assumed, where: a test}\n",
        encoding="utf-8",
    )
    assert load_grid("france", folders=[str(tmp_path)]).record.name == "Mine"
    with pytest.raises(PresetError, match="unknown region 'frnace'"):
        load_grid("frnace", folders=[str(tmp_path)])
