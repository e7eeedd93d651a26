"""Constants fitted to runs that the model itself made: found again, whatever the order of rows and a few wild ones."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from npuwatt.audit.calibrate import Calibration, calibrate
from npuwatt.audit.made import presets_of
from npuwatt.audit.measured import Summary, judged
from npuwatt.audit.measurements import read_measurements
from npuwatt.audit.runs import sorted_into_kinds
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.preset.load import parse_yaml
from npuwatt.study.presets import check_presets
from npuwatt.study.scenario import load_device, load_stack

pytest.importorskip("scipy", reason="calibrating needs npuwatt[fit]")
if TYPE_CHECKING:
    from conftest import Made

FIT = ("my-board.clocks_power", "my-board.levels.dram.utilization", "my-stack.step_time")
TRUE_STACK, TRUE_BOARD = {"step_time": 4e-3}, {"clocks_power": 80.0, "levels.dram.utilization": 0.7}
TRUTH = (80.0, 0.7, 4e-3)
FITTED_IN_TURN = (
    "h100-sxm",
    "b200-sxm",
    "a100-sxm-40gb",
)  # --device of the shipped presets; it moves a fit by 1e-3


def fitted(path: Path, presets: Path, only: Sequence[str] = FIT, **options: Any) -> Calibration:
    from npuwatt.extras.fit import solve

    asked = {"devices": ["my-board"], "stack": "my-stack", "folders": [str(presets)]} | options
    return calibrate(str(path), solve=solve, only=only, **asked)


def values(found: Calibration) -> list[float]:
    return [found.value(one, place) for one, place in zip(found.constants, found.places, strict=True)]


def mape(parts: Sequence[dict[str, Any]], metric: str = "j_per_output_token") -> float:
    return float(np.mean(np.abs(np.expm1(np.concatenate([part[metric] for part in parts])))))


@pytest.fixture
def runs(tmp_path: Path, made: Made) -> Path:
    path = tmp_path / "runs.csv"
    made(path, TRUE_STACK, TRUE_BOARD)
    return path


def test_constants_that_made_the_runs_are_found_again(runs: Path, presets: Path) -> None:
    found = fitted(runs, presets)
    assert [one.address for one in found.constants] == list(FIT)
    assert values(found) == pytest.approx(TRUTH, rel=0.005)
    assert (found.errors < 0.01).all()
    assert found.remarks() == ["", "", ""]
    assert mape(found.inside) < 0.001


def test_without_a_choice_all_constants_with_a_range_are_found_and_what_no_run_tells_is_left(
    runs: Path, presets: Path
) -> None:
    found = fitted(runs, presets, only=())
    assert {one.address for one in found.unseen} == {
        "my-board.experts_utilization",
        "my-board.mac_energy.fp8",
    }
    fits = dict(zip((one.address for one in found.constants), values(found), strict=True))
    assert [fits[name] for name in FIT] == pytest.approx(TRUTH, rel=0.02)
    board, stack = (
        load(name, folders=[str(presets)]).evidence
        for load, name in ((load_device, "my-board"), (load_stack, "my-stack"))
    )
    for address in ("utilization", "mac_energy.bf16", "levels.dram.read_energy"):
        assert fits[f"my-board.{address}"] == pytest.approx(board[address].value, rel=0.02)
    for address in ("collective_time", "sequence_time", "unoverlapped"):
        assert fits[f"my-stack.{address}"] == pytest.approx(stack[address].value, rel=0.03)


def test_a_shape_that_no_fit_saw_is_predicted_as_well_where_the_model_holds(
    runs: Path, presets: Path
) -> None:
    found = fitted(runs, presets)
    for errors in (found.outside, found.spread):
        assert mape(errors) == pytest.approx(mape(found.inside), abs=0.003)
        assert errors[0]["step_s"].shape == found.inside[0]["step_s"].shape
    assert mape(found.hardware, "step_s") > 0.1  # without software every step is shorter
    assert (found.hardware[0]["step_s"] < 0).all()


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_a_few_wild_runs_move_constants_little(
    tmp_path: Path, presets: Path, made: Made, write: Any, factor: float
) -> None:
    path = tmp_path / "wild.csv"
    rows = made(path, TRUE_STACK, TRUE_BOARD)
    for row in random.Random(1).sample(rows, 3):
        row["median_itl_ms"] *= factor
        row["avg_tpot_ms"] *= factor
        row["avg_power_w"] *= factor
    write(path, rows)
    assert values(fitted(path, presets)) == pytest.approx(TRUTH, rel=0.05)


def test_runs_that_repeat_within_a_tenth_give_errors_that_hold_the_truth(
    tmp_path: Path, presets: Path, made: Made, write: Any
) -> None:
    path = tmp_path / "noisy.csv"
    rows = made(path, TRUE_STACK, TRUE_BOARD)
    rng = random.Random(7)
    for row in rows:
        step, power = (float(np.exp(rng.gauss(0, 0.05))) for _ in range(2))
        row["median_itl_ms"] *= step
        row["avg_tpot_ms"] *= step
        row["output_tok_s"] /= step
        row["avg_power_w"] *= power
        row["j_per_output_token"] *= power * step
    write(path, rows)
    found = fitted(path, presets)
    for one, value, truth, error in zip(found.constants, values(found), TRUTH, found.errors, strict=True):
        assert abs(value - truth) < 4 * error * (one.high - one.low)
    assert 0.02 < mape(found.inside) < 0.12


def test_the_order_of_rows_changes_nothing(runs: Path, presets: Path, tmp_path: Path) -> None:
    header, *lines = runs.read_text().splitlines()
    random.Random(3).shuffle(lines)
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join([header, *lines]) + "\n")
    one, other = fitted(runs, presets), fitted(shuffled, presets)
    np.testing.assert_allclose(other.places, one.places, rtol=1e-4)
    np.testing.assert_allclose(other.errors, one.errors, rtol=1e-2)
    assert mape(other.outside) == pytest.approx(mape(one.outside), rel=1e-2, abs=1e-6)


def test_a_constant_stays_within_its_range_and_says_when_it_stands_at_the_end(
    tmp_path: Path, presets: Path, made: Made
) -> None:
    path = tmp_path / "runs.csv"
    made(path, {"step_time": 30e-3}, networks=["llama-3.1-8b"])
    found = fitted(path, presets, only=["my-stack.step_time"])
    assert values(found) == pytest.approx([10e-3], rel=1e-3)
    assert found.remarks() == ["at the end of its range"]


def test_a_held_device_counts_for_the_stack_and_keeps_its_constants(
    runs: Path, presets: Path, tmp_path: Path
) -> None:
    other = presets / "devices" / "held-board.yaml"
    other.write_text((presets / "devices" / "my-board.yaml").read_text().replace("[board]", "[other]"))
    both = tmp_path / "both.csv"
    lines = runs.read_text().splitlines()
    both.write_text("\n".join([*lines, *(line.replace("my-board", "held-board") for line in lines[1:])]))
    found = fitted(both, presets, only=["my-stack.step_time"], hold=["held-board"])
    assert {part.device.preset.name for part in found.parts} == {"my-board", "held-board"}
    assert [device.preset.name for device in found.devices] == ["my-board"]
    with pytest.raises(NpuwattError, match=r"--fit 'held-board\.clocks_power': not a constant"):
        fitted(both, presets, only=["held-board.clocks_power"], hold=["held-board"])


def test_made_presets_are_sound_and_predict_the_runs(runs: Path, presets: Path, tmp_path: Path) -> None:
    texts = presets_of(fitted(runs, presets), str(runs), None)
    assert set(texts) == {"devices/my-board.yaml", "stacks/my-stack.yaml"}
    folder = tmp_path / "made"
    for relative, text in texts.items():
        (folder / relative).parent.mkdir(parents=True)
        (folder / relative).write_text(text)
    assert [check.faults for check in check_presets([str(folder / relative) for relative in texts])] == [
        (),
        (),
    ]
    device = load_device("my-board", folders=[str(folder)])
    assert device.trust == "calibrated"
    evidence = device.evidence["clocks_power"]
    assert evidence.value == pytest.approx(80, rel=0.005)
    assert (evidence.low, evidence.high, evidence.quality) == (0, 120, "calibrated")
    assert device.citations[evidence.source].startswith("measurements in runs.csv (sha256 ")
    summary = Summary()
    for part in judged(str(runs), stack="my-stack", folders=[str(folder)], summary=summary):
        assert not part.reasons
        assert set(part.classes.tolist()) == {0}  # known, in range
    assert all(stats["mape"] < 0.003 for stats in summary.overall().values())
    assert set(summary.covered().values()) == {1.0}


def test_a_made_preset_names_the_file_it_was_made_of(runs: Path, presets: Path) -> None:
    texts = presets_of(fitted(runs, presets), str(runs), "Somebody, some runs, 2026")
    tree = parse_yaml(texts["devices/my-board.yaml"].encode(), "my-board.yaml").tree
    (entry,) = tree["calibration"]
    assert entry["sha256"] == hashlib.sha256(runs.read_bytes()).hexdigest()
    assert (entry["stack"], entry["runs"]) == ("my-stack", 20)
    assert "Somebody, some runs, 2026" in json.dumps(tree["sources"])


def test_a_device_may_be_a_path_and_runs_may_name_it_by_an_alias(
    runs: Path, presets: Path, tmp_path: Path
) -> None:
    once = fitted(runs, presets)
    aliased = tmp_path / "aliased.csv"
    aliased.write_text(runs.read_text().replace("my-board", "Board"))
    device, stack = presets / "devices" / "my-board.yaml", presets / "stacks" / "my-stack.yaml"
    for path in (runs, aliased):
        found = fitted(path, presets, devices=[str(device)], stack=str(stack), folders=[])
        np.testing.assert_allclose(found.places, once.places, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"only": ["my-board.power"]}, "--fit 'my-board.power': not a constant that can be fitted"),
        ({"only": ["my-board.experts_utilization"]}, "no run in .* depends on it"),
        ({"devices": ["nobodys-board"]}, "unknown device 'nobodys-board'"),
        ({"devices": ["l4"]}, "has no run on l4 that can be predicted"),
        ({"hold": ["l4"]}, "has no run on l4 that can be predicted"),
        ({"stack": "nobodys-stack"}, "unknown stack 'nobodys-stack'"),
    ],
)
def test_what_cannot_be_fitted_is_told_in_one_line(
    runs: Path, presets: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(NpuwattError, match=told) as caught:
        fitted(runs, presets, **options)
    assert len(caught.value.faults) == 1


def test_too_few_runs_are_refused(tmp_path: Path, presets: Path, made: Made) -> None:
    path = tmp_path / "few.csv"
    made(path, networks=["llama-3.1-8b"], batches=[1, 2, 3], counts=[1])
    with pytest.raises(NpuwattError, match=r"3 runs to fit .* constants; expected at least"):
        fitted(path, presets, only=())
    assert len(values(fitted(path, presets, only=["my-stack.step_time"]))) == 1


def shipped() -> list[tuple[str, dict[str, Any]]]:
    """Device and calibration entry of each built-in preset that a calibration made."""
    return [
        (name, entry)
        for name, about in library.index()["devices"].items()
        if about.get("evidence") == "calibrated"
        for entry in library.find("devices", name).document.tree.get("calibration", [])
    ]


@pytest.mark.skipif(
    "NPUWATT_CALIBRATION_FILES" not in os.environ,
    reason="NPUWATT_CALIBRATION_FILES names no folder with the measurement files",
)
@pytest.mark.parametrize("digest", sorted({entry["sha256"] for _, entry in shipped()}))
def test_shipped_presets_are_made_again_from_their_files(digest: str) -> None:
    from npuwatt.extras.fit import solve

    folder = Path(os.environ["NPUWATT_CALIBRATION_FILES"])
    by_hash = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.glob("*.csv")}
    if digest not in by_hash:
        pytest.skip(f"{folder} has no file with the sha256 {digest}")
    own = {name: entry["stack"] for name, entry in shipped() if entry["sha256"] == digest}
    (stack,) = set(own.values())
    chunk = sorted_into_kinds(next(read_measurements(str(by_hash[digest]))))
    held = {runs.kind.device.preset.name for runs in chunk.runs} - own.keys()
    devices = sorted(own, key=FITTED_IN_TURN.index)
    found = calibrate(str(by_hash[digest]), solve=solve, devices=devices, hold=sorted(held), stack=stack)
    for relative, text in presets_of(found, str(by_hash[digest]), None).items():
        folder_name, _, name = relative.removesuffix(".yaml").partition("/")
        again = parse_yaml(text.encode(), relative).tree
        check_same(again, library.find(folder_name, name).document.tree, relative)


def check_same(new: Any, old: Any, at: str) -> None:
    """Numbers equal to 1e-6, whatever unit stands behind them; citations may differ."""
    if isinstance(old, dict):
        for key in old.keys() - {"source", "sources", "where"}:
            check_same(new[key], old[key], f"{at}: {key}")
    elif isinstance(old, list):
        assert len(new) == len(old), at
        for place, (one, other) in enumerate(zip(new, old, strict=True)):
            check_same(one, other, f"{at}[{place}]")
    else:
        (one, unit), (other, old_unit) = (split(value) for value in (new, old))
        assert unit == old_unit, at
        assert one == (pytest.approx(other, rel=1e-6) if isinstance(other, float) else other), at


def split(value: Any) -> tuple[Any, str]:
    """A quantity as number and unit; any other text stays whole."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value), ""
    head, _, unit = str(value).partition(" ")
    try:
        return float(head), unit
    except ValueError:
        return value, ""
