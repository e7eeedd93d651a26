"""Files that torch writes: tensors alone are read, and no code is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from npuwatt.checkpoint.scan import scan
from npuwatt.checkpoint.sources import open_checkpoint
from npuwatt.errors import NpuwattError

torch = pytest.importorskip("torch")  # of npuwatt[torch]

from npuwatt.extras.torch_checkpoint import read_pickled


def saved(path: Path, content: Any, **options: Any) -> str:
    torch.save(content, path, **options)
    return str(path)


@pytest.mark.parametrize(
    "name", ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8"]
)
def test_the_words_of_a_tensor_are_those_in_memory(tmp_path: Path, name: str) -> None:
    values = torch.arange(-6, 6, dtype=torch.float32).abs().to(getattr(torch, name)).reshape(3, 4)
    (found,) = read_pickled(saved(tmp_path / "a.bin", {"a": values}))
    assert found.shape == (3, 4)
    assert found.words().tobytes() == values.view(torch.uint8).numpy().tobytes()
    assert not found.words().flags.writeable


def test_a_pickled_file_is_scanned_as_one_of_safetensors(tmp_path: Path, packed: Any) -> None:
    weights = np.random.default_rng(8).integers(0, 3, (48, 64)).astype(np.float32)
    saved(tmp_path / "pytorch_model.bin", {"fc1.weight": torch.tensor(weights), "fc1.bias": torch.ones(48)})
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "model.safetensors").write_bytes(packed({"fc1.weight": ("F32", weights)}))
    one, other = (
        scan(open_checkpoint(str(path), read_pickled)).linear() for path in (tmp_path, tmp_path / "one")
    )
    assert one.conformity_fraction == other.conformity_fraction
    assert one.density_fraction == other.density_fraction < 1


def test_two_names_of_the_same_memory_count_once(tmp_path: Path) -> None:
    weights = torch.ones(8, 8)
    path = saved(tmp_path / "a.pt", {"model.embed_tokens.weight": weights, "lm_head.weight": weights})
    found = scan(open_checkpoint(path, read_pickled))
    assert found.linear().elements == 64
    assert [tensor.op for tensor in found.tensors] == ["lm_head"]


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_weights_within_what_a_training_script_saves_are_found(tmp_path: Path, key: str) -> None:
    path = saved(tmp_path / "a.pt", {key: {"fc1.weight": torch.ones(2, 2)}, "epoch": 3})
    assert [tensor.name for tensor in read_pickled(path)] == ["fc1.weight"]


def test_a_view_of_other_numbers_is_read_in_its_own_order(tmp_path: Path) -> None:
    (found,) = read_pickled(
        saved(tmp_path / "a.pt", {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3).T})
    )
    assert found.words().view(np.float32).tolist() == [0, 3, 1, 4, 2, 5]


class Code:
    """Runs when it is unpickled by whoever lets it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    path = saved(tmp_path / "pytorch_model.bin", {"a": Code(mark)})
    with pytest.raises(NpuwattError, match="code, which is not run"):
        read_pickled(path)
    assert not mark.exists()


def test_broken_files_are_one_line(tmp_path: Path) -> None:
    whole = Path(saved(tmp_path / "whole.bin", {"a": torch.ones(8, 8)})).read_bytes()
    old = Path(
        saved(tmp_path / "old.bin", {"a": torch.ones(8)}, _use_new_zipfile_serialization=False)
    ).read_bytes()
    for content in (b"", b"nothing", whole[: len(whole) // 2], old):
        path = tmp_path / "broken.bin"
        path.write_bytes(content)
        with pytest.raises(NpuwattError) as caught:
            read_pickled(str(path))
        assert len(caught.value.faults) == 1


MAKE = {
    "torch.qint8": lambda: torch.quantize_per_tensor(torch.ones(8, 8), 0.1, 0, torch.qint8),
    "torch.sparse_csr": lambda: torch.ones(8, 8).to_sparse_csr(),
    "torch.sparse_coo": lambda: torch.ones(8, 8).to_sparse(),
    "torch.nested": lambda: torch.nested.nested_tensor([torch.ones(8, 8)]),
    "torch.complex64": lambda: torch.ones(8, 8, dtype=torch.complex64),
}


@pytest.mark.parametrize("form", MAKE)
@pytest.mark.filterwarnings("ignore")  # of torch, as the file is written
def test_numbers_of_another_form_are_one_line_and_torch_is_silent(
    tmp_path: Path, run: Any, form: str
) -> None:
    saved(tmp_path / "a.bin", {"fc1.weight": torch.ones(8, 8), "fc2.weight": MAKE[form]()})
    done = run("model", "scan", "a.bin", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("npuwatt: a.bin: a tensor of type torch.")
    assert form in line


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2)])
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(NpuwattError, match="expected names and tensors"):
        read_pickled(saved(tmp_path / "a.pt", content))


def test_a_few_numbers_spread_over_a_large_shape_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"a": torch.ones(1).expand(10**6, 10**6)})
    with pytest.raises(NpuwattError, match="expected as many as it has numbers"):
        read_pickled(path)
