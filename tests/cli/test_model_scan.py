"""`npuwatt model scan`, from outside: formats, the density file, and checkpoints that would do harm."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # no stubs are needed for one call

from npuwatt.cli import progress

if TYPE_CHECKING:
    from conftest import Done, Quick, Run


@pytest.fixture
def model(tmp_path: Path, packed: Any) -> Path:
    """A model of four matrices and a norm: the first is 2:4, the second a quarter full, two are dense."""
    rng = np.random.default_rng(9)
    dense = rng.standard_normal((64, 64)).astype(np.float32)
    half, quarter = dense.copy(), dense.copy()
    half[:, ::2] = -0.0
    quarter[16:] = 0
    path = tmp_path / "model" / "model.safetensors"
    path.parent.mkdir()
    names = ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj", "extra")
    matrices = {
        f"model.layers.0.{name}.weight": ("F32", values)
        for name, values in zip(names, (half, quarter, dense, dense), strict=True)
    }
    path.write_bytes(packed(matrices | {"norm.weight": ("F32", dense[0])}))
    return path


def scanned(quick: Quick, path: Path, *more: str) -> Any:
    done = quick("model", "scan", str(path), "--json", *more)
    assert (done.code, done.err) == (0, "")
    return done.json()


def valid(quick: Quick, document: Any, name: str) -> None:
    schema = quick("schema", name).json()
    Draft202012Validator.check_schema(schema)
    assert document["schema"] == f"npuwatt.{name}/1"
    Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("more", [(), ("--per-channel",), ("--exact",)])
def test_json_passes_its_schema_and_counts_what_is_there(
    quick: Quick, model: Path, more: tuple[str, ...]
) -> None:
    document = scanned(quick, model, *more)
    valid(quick, document, "scan")
    assert [tensor["density"] for tensor in document["tensors"]] == [0.5, 0.25, 1, 1]
    assert [tensor["conformity"]["2:4"] for tensor in document["tensors"]] == [1, 0.75, 0, 0]
    assert {op["op"]: op["density"] for op in document["ops"]} == {
        "qkv": 0.5,
        "ffn_up": 0.25,
        "ffn_down": 1,
        None: 1,
    }
    assert document["linear_layers"]["density"] == 2.75 / 4
    assert document["linear_layers"]["zeros"] == 64 * 64 * 1.25
    assert document["other_tensors"] == 1
    channels = [tensor["density_by_input"] for tensor in document["tensors"]]
    assert channels[0] == ([0, 1] * 32 if "--per-channel" in more else None)


def test_jsonl_and_csv_hold_the_same_tensors(quick: Quick, model: Path) -> None:
    tensors = scanned(quick, model)["tensors"]
    assert quick("model", "scan", str(model), "--format", "jsonl").lines() == tensors
    rows = list(csv.DictReader(io.StringIO(quick("model", "scan", str(model), "--format", "csv").out)))
    assert [float(row["density"]) for row in rows] == [tensor["density"] for tensor in tensors]
    assert [float(row["below.1_sigma"]) for row in rows] == [tensor["below"]["1_sigma"] for tensor in tensors]


@pytest.mark.parametrize("style", ["plain", "table", "markdown"])
def test_people_see_layers_their_total_and_what_holds(quick: Quick, model: Path, style: str) -> None:
    done = quick("model", "scan", str(model), "--format", style)
    assert (done.code, done.err) == (0, "")
    text = done.out.replace("\\_", "_")
    assert "4 tensors of linear layers, 16,384 weights in F32" in text
    words = " ".join(text.split())
    assert (
        "Exact zeros: 31.2 %; 2:4 holds in 1 of 4 tensors (not in ffn_up, ffn_down, model.layers.0.extra.weight)."
        in words
    )
    assert "sorted by zeros" in words and "columns: held: " in words
    for name in (
        "qkv",
        "ffn_up",
        "ffn_down",
        "other layers",
        "linear layers",
        "model.layers.0.mlp.up_proj.weight",
    ):
        assert name in text


def test_a_folder_is_scanned_as_its_file(quick: Quick, model: Path) -> None:
    one, other = scanned(quick, model), scanned(quick, model.parent)
    assert one["tensors"] == other["tensors"]


def test_a_density_file_is_a_part_of_the_scan(quick: Quick, model: Path) -> None:
    path = model.parent / "densities.json"
    done = quick("model", "scan", str(model), "--per-channel", "--json", "--densities", str(path))
    assert (done.code, done.err) == (0, f"wrote {path}\n")
    document = json.loads(path.read_text())
    valid(quick, document, "densities")
    for tensor, scan in zip(document["tensors"], done.json()["tensors"], strict=True):
        assert tensor.items() <= scan.items()


@pytest.mark.parametrize("option", ["--output", "--densities"])
def test_a_checkpoint_is_not_overwritten_by_what_is_said_of_it(
    quick: Quick, model: Path, option: str
) -> None:
    before = model.read_bytes()
    link = model.parent / "link.json"
    link.symlink_to(model)
    for target in (model, link):
        done = quick("model", "scan", str(model.parent), option, str(target))
        assert done.code == 2
        assert "is a file of the checkpoint; expected another" in done.err
    assert model.read_bytes() == before


def test_a_density_file_nowhere_is_refused_before_any_work(quick: Quick, tmp_path: Path) -> None:
    done = quick("model", "scan", "nowhere.safetensors", "--densities", str(tmp_path / "no" / "d.json"))
    assert done.code == 2
    assert "--densities" in done.err


def test_weights_that_cannot_be_counted_are_named(quick: Quick, tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(
        packed({"fc1.weight": ("F32", np.ones((4, 4), np.float32)), "fc2.weight": ("F64", np.ones((4, 4)))})
    )
    assert "not counted: fc2.weight: numbers of type F64" in quick("model", "scan", str(path)).out
    assert scanned(quick, path)["unread"] == [
        {"name": "fc2.weight", "reason": "numbers of type F64 are not counted"}
    ]


def test_weights_that_are_infinite_or_no_number_are_counted_and_json_stays_strict(
    quick: Quick, tmp_path: Path, packed: Any
) -> None:
    path = tmp_path / "model.safetensors"
    values = np.full((16, 16), 3e38, np.float32)
    values[0, :2] = np.nan, -np.inf
    path.write_bytes(packed({"fc1.weight": ("F32", values)}))
    (tensor,) = scanned(quick, path)["tensors"]
    assert (tensor["not_finite"], tensor["zeros"]) == (2, 0)
    assert "2 weights are infinite or no number" in quick("model", "scan", str(path)).out


def refused(done: Done, name: str) -> str:
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert name in line
    assert line.isprintable()
    assert len(line) < 500
    return line


def header(length: int, text: bytes = b"{}") -> bytes:
    return length.to_bytes(8, "little") + text


HUGE = b'{"a.weight":{"dtype":"U8","shape":[1048576,1048576],"data_offsets":[0,1099511627776]}}'
HOSTILE = {
    "empty": b"",
    "a header of 2^63 bytes": header(2**63),
    "a header of 2^64 - 1 bytes": header(2**64 - 1),
    "a header over 100 MB": header(100_000_001),
    "a truncated header": header(1000),
    "no tensors": header(2),
    "no JSON": header(2, b"[}"),
    "deep nesting": header(200_000, b"[" * 200_000),
    "a tensor of 2^40 bytes": header(len(HUGE), HUGE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_line(quick: Quick, tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[name])
    refused(quick("model", "scan", str(path)), "hostile.safetensors")


def test_hostile_files_take_little_memory(run: Run, tmp_path: Path) -> None:
    half_a_gigabyte = 2**29

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (half_a_gigabyte, half_a_gigabyte))

    sparse = tmp_path / "sparse.safetensors"
    with open(sparse, "wb") as stream:
        stream.write((99_999_999).to_bytes(8, "little") + b"[")
        stream.truncate(2**40)
    nested = tmp_path / "nested.safetensors"
    text = b'{"a":[' + b"[]," * 20_000_000 + b"[]]}"
    nested.write_bytes(header(len(text), text))
    for path in (sparse, nested):
        refused(run("model", "scan", str(path), limits=limit), path.name)


def test_loops_pipes_and_ways_out_are_refused(quick: Quick, tmp_path: Path, packed: Any) -> None:
    loop, pipe, index = (
        tmp_path / "loop.safetensors",
        tmp_path / "pipe.safetensors",
        tmp_path / "x.safetensors.index.json",
    )
    loop.symlink_to(loop.name)
    os.mkfifo(pipe)
    (tmp_path / "inner").mkdir()
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    refused(quick("model", "scan", str(loop)), "symbolic links")
    refused(quick("model", "scan", str(pipe)), "not a plain file")
    refused(
        quick("model", "scan", str(index)),
        "'../../etc/passwd' given; expected the name of a file beside the index",
    )
    refused(quick("model", "scan", str(tmp_path / "inner")), "holds no weights")


class Code:
    """Makes a folder when it is unpickled by whoever lets it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_with_code_is_refused_with_or_without_torch(quick: Quick, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(pickle.dumps({"a": Code(mark)}))
    done = quick("model", "scan", str(path))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert not mark.exists()


def test_without_torch_a_pickled_file_needs_the_extra(run: Run, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda name, *more: None if name == 'torch' else find(name, *more)\n"
    )
    (tmp_path / "pytorch_model.bin").touch()
    done = run("model", "scan", str(tmp_path), env={"PYTHONPATH": str(tmp_path / "site")})
    assert (done.code, done.err) == (2, "npuwatt: this needs torch; install npuwatt[torch]\n")


def test_a_scan_needs_no_torch(run: Run, model: Path) -> None:
    done = run("model", "scan", str(model), python=("-X", "importtime"))
    assert done.code == 0
    assert "npuwatt.checkpoint.scan" in done.err
    assert "torch" not in done.err


@pytest.mark.parametrize("more", [(), ("--quiet",)])
def test_a_bar_is_shown_on_a_terminal_and_ends_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    times = iter(range(100))
    monkeypatch.setattr("npuwatt.cli.progress.time.monotonic", lambda: float(next(times)))
    bar = progress.Progress(4_000_000, "4 MB", quiet=bool(more))
    for done in (1_000_000, 4_000_000):
        bar(done)
    shown = capsys.readouterr().err
    assert shown == ("" if more else f"\r[{'#' * 8:<30}]  25 % of 4 MB\r[{'#' * 30}] 100 % of 4 MB\n")


def test_a_large_scan_stays_within_300_mb(tmp_path: Path) -> None:
    # 1.3 GB of zeros that take no place on disk; the process may hold no more than 300 MB, mapped pages among them.
    path = tmp_path / "large.safetensors"
    shape, size = [16384, 40960], 2 * 16384 * 40960
    text = json.dumps({"fc1.weight": {"dtype": "BF16", "shape": shape, "data_offsets": [0, size]}}).encode()
    with open(path, "wb") as stream:
        stream.write(header(len(text), text))
        stream.truncate(8 + len(text) + size)
    program = (  # the peak of this program alone: getrusage counts what its parent held when it was started
        "import sys\nfrom npuwatt.cli.app import invoke\ncode = invoke(['model', 'scan', sys.argv[1], '--json'])\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(peak.split()[1], file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["linear_layers"]["density"] == 0
    assert int(done.stderr) < 300_000


def test_densities_never_replace_what_is_no_file_of_theirs(quick: Quick, tmp_path: Path, packed: Any) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(packed({"fc1.weight": ("F32", np.ones((8, 8), np.float32))}))
    (tmp_path / "config.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    same = str(tmp_path / "same.json")
    for asked, said in (
        (("--densities", str(tmp_path / "pipe")), "is no plain file"),
        (("--densities", "-"), "is no plain file"),
        (("--densities", str(tmp_path / "config.json")), "is a file of the checkpoint"),
        (("-o", str(tmp_path / "config.json")), "is a file of the checkpoint"),
        (("--densities", same, "-o", same), "is --output too"),
    ):
        done = quick("model", "scan", str(model), *asked)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
    assert (tmp_path / "config.json").read_text() == "{}"


def test_where_the_table_cannot_be_written_no_density_file_is_left(
    run: Run, model: Path, tmp_path: Path
) -> None:
    scan = ("model", "scan", str(model), "--densities", "d.json")
    done = run(*scan, "-o", "/dev/full", cwd=tmp_path)
    assert (done.code, done.out) == (74, "")
    assert "no space left" in done.err
    command = [sys.executable, "-m", "npuwatt", *scan]
    with open("/dev/full", "w") as full:
        silent = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert silent.returncode == 74
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_reader_that_leaves_early_does_not_cost_the_density_file(model: Path, tmp_path: Path) -> None:
    script = (
        f"{sys.executable} -m npuwatt model scan {model} --densities d.json | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "wrote d.json\n")
    assert json.loads((tmp_path / "d.json").read_text())["schema"] == "npuwatt.densities/1"


def test_experts_that_are_stacked_in_part_are_not_read(quick: Quick, tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "model.safetensors"
    up, down = np.ones((4, 8, 16), np.float32), np.ones((4, 8), np.float32)
    path.write_bytes(
        packed({"m.experts.gate_up_proj": ("F32", up), "m.experts.down_proj.weight": ("F32", down)})
    )
    done = quick("model", "scan", str(path))
    assert done.code in (0, 2)
    assert "has a bug" not in done.err


def test_two_names_for_the_weights_of_one_module_are_one_line(
    quick: Quick, tmp_path: Path, packed: Any
) -> None:
    path = tmp_path / "model.safetensors"
    weights = np.ones((4, 8, 16), np.float32)
    names = ("m.experts.gate_up_proj", "m.experts.gate_up_proj.weight")
    path.write_bytes(packed(dict.fromkeys(names, ("F32", weights))))
    line = refused(quick("model", "scan", str(path)), "model.safetensors: 'm.experts.gate_up_proj")
    assert all(f"'{name}'" in line for name in names)
    assert "expected one of them" in line
