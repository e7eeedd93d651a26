"""The density file: what a scan writes is what is read, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.checkpoint import densities
from npuwatt.checkpoint.densities import read_densities
from npuwatt.checkpoint.scan import scan
from npuwatt.checkpoint.sources import open_checkpoint
from npuwatt.errors import NpuwattError
from npuwatt.report.scan import densities_text, scan_record

TENSOR: dict[str, Any] = {
    "name": "fc1.weight",
    "shape": [8, 4],
    "dtype": "BF16",
    "input_axis": 1,
    "op": "ffn_up",
    "density": 0.5,
    "conformity": {"1:2": 0.25, "2:4": 1, "4:8": None, "8:16": None},
    "density_by_input": [1, 0.5, 0.5, 0],
}


def document(*tensors: Any, **changes: Any) -> dict[str, Any]:
    return {"schema": "npuwatt.densities/1", "npuwatt": "0", "tensors": list(tensors or [TENSOR])} | changes


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read_it(content: Any) -> densities.Densities:
        path = tmp_path / "densities.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_densities(str(path))

    return read_it


@pytest.mark.parametrize("per_channel", [False, True])
def test_what_a_scan_writes_is_what_is_read(tmp_path: Path, packed: Any, per_channel: bool) -> None:
    rng = np.random.default_rng(6)
    weights = {
        f"{name}.weight": rng.integers(0, 3, (48, 64)).astype(np.uint16) for name in ("fc1", "fc2", "other")
    }
    path = tmp_path / "model.safetensors"
    path.write_bytes(packed({name: ("F16", values) for name, values in weights.items()}))
    found = scan(open_checkpoint(str(path), lambda name: []), per_channel=per_channel)
    (tmp_path / "densities.json").write_text(densities_text(scan_record(found)))
    back = read_densities(str(tmp_path / "densities.json"))
    for one, other in zip(found.tensors, back.tensors, strict=True):
        assert (one.name, one.shape, one.dtype, one.input_axis, one.op) == (
            other.name, other.shape, other.dtype, other.input_axis, other.op,
        )  # fmt: skip
        assert one.density_fraction == other.density_fraction
        assert one.conformity_fraction == other.conformity_fraction
        assert (other.by_input_fraction is not None) is per_channel
        if one.density_by_input_fraction is not None and other.by_input_fraction is not None:
            counts = np.count_nonzero(weights[one.name], axis=0)
            assert np.array_equal(np.rint(other.by_input_fraction * 48), counts)
    assert back.by_op().keys() == {"ffn_up", "ffn_down"}


def test_an_op_is_the_mean_of_its_tensors_by_their_size(read: Any) -> None:
    small = TENSOR | {"name": "a", "density": 1.0, "conformity": {}, "density_by_input": [1, 1, 1, 1]}
    large = TENSOR | {"name": "b", "shape": [24, 4], "density": 0.2, "density_by_input": [0.8, 0, 0, 0]}
    op = read(document(small, large)).by_op()["ffn_up"]
    assert op.elements == 128
    assert op.density_fraction == pytest.approx((32 * 1.0 + 96 * 0.2) / 128)
    assert op.by_input_fraction == pytest.approx([0.85, 0.25, 0.25, 0.25])
    assert op.by_input_fraction.mean() == pytest.approx(op.density_fraction)


def test_channels_that_differ_in_number_have_no_mean(read: Any) -> None:
    wider = TENSOR | {"name": "b", "shape": [8, 2], "density_by_input": [1, 1]}
    silent = TENSOR | {"name": "b", "density_by_input": None}
    for other in (wider, silent):
        assert read(document(TENSOR, other)).by_op()["ffn_up"].by_input_fraction is None


def test_a_pattern_is_an_ops_if_every_group_of_every_tensor_holds_it(read: Any) -> None:
    def patterns(*shares: dict[str, float | None]) -> tuple[str, ...]:
        tensors = [TENSOR | {"name": str(i), "conformity": share} for i, share in enumerate(shares)]
        found: tuple[str, ...] = read(document(*tensors)).by_op()["ffn_up"].patterns
        return found

    assert patterns({"1:2": 1, "2:4": 1, "4:8": 1}) == ("2:4", "4:8", "1:2")
    assert patterns({"2:4": 1, "4:8": 1}, {"2:4": 0.9999, "4:8": 1}) == ("4:8",)
    assert patterns({"2:4": 1}, {"2:4": None}) == ()
    assert read(document()).by_op()["ffn_up"].pattern == "2:4"


BAD = {
    "another schema": (document(schema="npuwatt.scan/1"), "schema 'npuwatt.scan/1' given; expected npuwatt.densities/1"),
    "no schema": ({}, "schema 'None' given"),
    "no tensors": (document(tensors=[]), "expected a list of at least one"),
    "tensors by name": (document(tensors={"a": TENSOR}), "expected a list"),
    "a number for a tensor": (document(7), "tensors.0: '7' given; expected an object"),
    "a density above 1": (document(TENSOR | {"density": 1.0001}), "tensors.0.density: '1.0001' given; expected a share from 0 to 1"),
    "a negative density": (document(TENSOR | {"density": -0.1}), "tensors.0.density"),
    "true for a density": (document(TENSOR | {"density": True}), "tensors.0.density"),
    "no density": (document({key: value for key, value in TENSOR.items() if key != "density"}), "density: missing; expected"),
    "not a number": (b'{"schema": NaN}', "NaN given; expected finite numbers"),
    "infinity": (json.dumps(document()).replace("0.25", "1e999").encode(), "tensors.0.conformity"),
    "too few channels": (document(TENSOR | {"density_by_input": [1, 1]}), "null, or 4 shares from 0 to 1"),
    "a channel above 1": (document(TENSOR | {"density_by_input": [1, 1, 1, 2]}), "null, or 4 shares"),
    "four axes": (document(TENSOR | {"shape": [1, 2, 3, 4]}), "two or three lengths"),
    "an absurd shape": (document(TENSOR | {"shape": [2**60, 4]}), "two or three lengths"),
    "no such axis": (document(TENSOR | {"input_axis": 2}), "expected 0 or 1"),
    "true for an axis": (document(TENSOR | {"input_axis": True}), "input_axis: 'True' given; expected 0 or 1"),
    "an axis in parts": (document(TENSOR | {"input_axis": 1.0}), "input_axis: '1.0' given; expected 0 or 1"),
    "an op of two lines": (document(TENSOR | {"op": "qkv\nffn"}), "op: 'qkv?ffn' given; expected an op's name"),
    "a name that clears the screen": (document(TENSOR | {"name": "\x1b[2J"}), "name: '?[2J' given; expected a tensor's"),
    "a name twice": (document(TENSOR, TENSOR), "a name stands twice"),
    "a key twice": (b'{"schema": 1, "schema": 1}', "'schema' stands twice"),
    "no JSON": (b"schema: 1", "is not JSON"),
    "a list": ([], "expected one JSON object"),
    "deep nesting": (b"[" * 100_000, "is not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_broken_file_is_one_line_that_names_it(read: Any, tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    with pytest.raises(NpuwattError) as caught:
        read(content)
    (line,) = caught.value.faults
    assert line.startswith(f"{tmp_path / 'densities.json'}: ")
    assert said in line
    assert len(line) < 500


def test_a_huge_file_is_refused_before_it_is_read(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(densities, "MOST_BYTES", 100)
    with pytest.raises(NpuwattError, match="expected at most"):
        read(document())
    monkeypatch.undo()
    monkeypatch.setattr(densities, "MOST_PARTS", 10)
    with pytest.raises(NpuwattError, match="more than 10 entries"):
        read(document())


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(key=st.sampled_from(sorted(TENSOR)), value=VALUES)
@settings(derandomize=True, deadline=None, max_examples=400)
def test_any_value_of_any_field_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-densities.json"
    path.write_text(json.dumps(document(TENSOR | {key: value})))
    try:
        found = read_densities(str(path))
    except NpuwattError as error:
        assert len(error.faults) == 1
    else:
        for op in found.by_op().values():
            assert 0 <= op.density_fraction <= 1


def test_a_density_that_its_pattern_cannot_have_is_refused(read: Any) -> None:
    with pytest.raises(NpuwattError, match=r"density: '0\.9' given; expected 0\.5 at most"):
        read(document(TENSOR | {"density": 0.9, "conformity": {"2:4": 1}, "density_by_input": None}))
