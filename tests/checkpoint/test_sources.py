"""Which files a checkpoint is made of, and names in an index that lead elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.checkpoint.files import Stored
from npuwatt.checkpoint.sources import open_checkpoint
from npuwatt.errors import NpuwattError

ONES = ("F32", np.ones((2, 2), np.float32))


def pickled(path: str) -> list[Stored]:
    """Stands for torch: one tensor, named after its file."""
    name = os.path.basename(path)
    return [Stored(name=name, dtype="F32", shape=(2, 2), size_bytes=16, words=lambda: np.ones(4, np.uint32))]


def names(path: Path) -> list[str]:
    return sorted(tensor.name for tensor in open_checkpoint(str(path), pickled).tensors)


def refused(path: Path) -> str:
    with pytest.raises(NpuwattError) as caught:
        open_checkpoint(str(path), pickled)
    (line,) = caught.value.faults
    assert line.isprintable()
    return line


@pytest.fixture
def put(tmp_path: Path, packed: Any) -> Any:
    """`put("x.safetensors", "a", "b")`: a file in a folder that holds tensors of these names; or an index of such."""

    def write(name: str, *tensors: str, weight_map: Any = None) -> Path:
        path = tmp_path / name
        if weight_map is not None:
            path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        else:
            path.write_bytes(packed(dict.fromkeys(tensors, ONES)))
        return path

    return write


def test_a_folder_is_read_by_its_index_else_its_model_else_all_files_else_pickled_ones(
    tmp_path: Path, put: Any
) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    (tmp_path / "training_args.bin").touch()
    assert names(tmp_path) == ["pytorch_model.bin"]
    put("one.safetensors", "a")
    put("two.safetensors", "b")
    assert names(tmp_path) == ["a", "b"]
    put("model.safetensors", "c")
    assert names(tmp_path) == ["c"]
    put("model.safetensors.index.json", weight_map={"a": "one.safetensors"})
    assert names(tmp_path) == ["a"]


def test_a_folder_of_pickled_files_takes_the_usual_one_or_all(tmp_path: Path) -> None:
    for name in ("optimizer.pt", "a.pt", "b.pth"):
        (tmp_path / name).touch()
    assert names(tmp_path) == ["a.pt", "b.pth"]
    (tmp_path / "pytorch_model.bin").touch()
    assert names(tmp_path) == ["pytorch_model.bin"]


def test_an_index_is_read_by_its_own_path_and_only_what_it_names_counts(tmp_path: Path, put: Any) -> None:
    put("one.safetensors", "a", "other")
    put("two.safetensors", "b")
    index = put("mine.index.json", weight_map={"a": "one.safetensors", "b": "two.safetensors"})
    assert names(index) == ["a", "b"]


def test_shards_may_be_links_to_files_elsewhere(tmp_path: Path, put: Any) -> None:
    # The cache of the Hugging Face hub keeps files in a folder of blobs and links to them.
    (tmp_path / "blobs").mkdir()
    put("blobs/0123", "a")
    (tmp_path / "one.safetensors").symlink_to("blobs/0123")
    put("model.safetensors.index.json", weight_map={"a": "one.safetensors"})
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "shard", ["../one.safetensors", "/etc/passwd", "..", ".", "", "in/one.safetensors", "C:one", "..\\one", "a\nb", 7, None]
)  # fmt: skip
def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path, put: Any, shard: Any) -> None:
    (tmp_path / "model").mkdir()
    put("one.safetensors", "a")
    put("model/model.safetensors.index.json", weight_map={"a": shard})
    assert "expected the name of a file beside the index" in refused(tmp_path / "model")


def test_what_an_index_names_must_be_there(tmp_path: Path, put: Any) -> None:
    put("model.safetensors.index.json", weight_map={"a": "one.safetensors"})
    assert "one.safetensors: no such file" in refused(tmp_path)
    put("one.safetensors", "b")
    assert "does not hold 'a'" in refused(tmp_path)


@pytest.mark.parametrize("weight_map", [None, {}, [], "one.safetensors"])
def test_an_index_without_a_map_is_refused(tmp_path: Path, weight_map: Any) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert "has no weight_map" in refused(tmp_path)


def test_loops_folders_and_pipes_are_no_shards(tmp_path: Path, put: Any) -> None:
    put("model.safetensors.index.json", weight_map={"a": "one.safetensors"})
    shard = tmp_path / "one.safetensors"
    shard.symlink_to("one.safetensors")
    assert "too many levels of symbolic links" in refused(tmp_path)
    assert "too many levels of symbolic links" in refused(shard)
    shard.unlink()
    shard.mkdir()
    assert "is a directory; expected a file" in refused(tmp_path)
    shard.rmdir()
    os.mkfifo(shard)
    assert "is not a plain file" in refused(tmp_path)


def test_a_tensor_in_two_files_without_an_index_is_refused(tmp_path: Path, put: Any) -> None:
    put("one.safetensors", "a")
    put("two.safetensors", "a")
    assert "'a' stands in" in refused(tmp_path)


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nowhere")
    assert "holds no weights" in refused(tmp_path)
    with pytest.raises(NpuwattError, match="expected a readable file"):
        open_checkpoint("a\0b", pickled)


def test_two_indices_and_none_of_the_usual_name_are_refused(tmp_path: Path, put: Any) -> None:
    for name in ("a.safetensors.index.json", "b.safetensors.index.json"):
        put(name, weight_map={"a": "one.safetensors"})
    assert "has 2 indices" in refused(tmp_path)


def test_the_config_beside_a_checkpoint_is_read_and_must_be_sound(tmp_path: Path, put: Any) -> None:
    path = put("model.safetensors", "a")
    assert open_checkpoint(str(path), pickled).config == {}
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert open_checkpoint(str(path), pickled).config == {"model_type": "llama"}
    assert open_checkpoint(str(tmp_path), pickled).config == {"model_type": "llama"}
    (tmp_path / "config.json").write_text("{")
    assert "config.json: is not JSON" in refused(path)
