"""Runs npuwatt as a user does, in a process of its own: in a pipe by `run`, on a terminal by `screen`."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import runpy
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, TextIO

import pytest

SECONDS = 120  # after which a process hangs; nothing here measures time
_CLEARED = re.compile(
    r"_?NPUWATT_.*|NO_COLOR|FORCE_COLOR|PY_COLORS|CLICOLOR.*|GITHUB_ACTIONS|CI|TERM|COLORTERM|COLUMNS|LINES|TTY_.*|_TYPER.*"
    r"|TYPER_.*|LC_ALL|LC_CTYPE|LANG|PYTHONUTF8|PYTHONIOENCODING|PYTHONHASHSEED|PYTHONWARNINGS"
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")

# https://huggingface.co/Qwen/Qwen2.5-0.5B/blob/main/config.json; its model card says 0.49 billion parameters.
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 24,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
    "use_mrope": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as strict JSON: one document, no NaN, no key twice."""
        return strict_json(self.out)

    def lines(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [strict_json(line) for line in self.out.splitlines()]


class Run(Protocol):
    """`run("compare", "gpu")`: in a pipe, in an empty folder, with a plain environment."""

    def __call__(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        python: tuple[str, ...] = (),
        limits: Any = None,
    ) -> Done: ...


class Quick(Protocol):
    """`quick("compare", "toaster")`: as `run`, without the time that loading takes."""

    def __call__(self, *args: str, cwd: Path | None = None) -> Done: ...


class Screen(Protocol):
    """`screen("compare", "gpu", width=40)`: on a terminal, whose text comes back with its escapes."""

    def __call__(
        self,
        *args: str,
        width: int = 80,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        piped: bool = False,
    ) -> Done: ...


def strict_json(text: str) -> Any:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        assert len(names) == len(set(names)), f"a key stands twice in {names}"
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment without whatever changes how npuwatt speaks."""
    return {name: value for name, value in os.environ.items() if not _CLEARED.fullmatch(name)}


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands run unless told otherwise: `python -m` must not find a checkout there."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="session")
def run(environment: dict[str, str], empty: Path) -> Run:
    known: dict[tuple[str, ...], Done] = {}  # what was asked in just these words before need not run again

    def run_it(
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        python: tuple[str, ...] = (),
        limits: Any = None,
    ) -> Done:
        plain = (env, cwd, stdin, python, limits) == (None, None, None, (), None)
        if plain and args in known:
            return known[args]
        given: Any = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [sys.executable, *python, "-m", "npuwatt", *args],
            **given,
            capture_output=True,
            encoding="utf-8",
            env=environment | dict(env or {}),
            cwd=cwd or empty,
            timeout=SECONDS,
            preexec_fn=limits,
            check=False,
        )
        found = Done(done.returncode, done.stdout, done.stderr)
        if plain:
            known[args] = found
        return found

    return run_it


@pytest.fixture(scope="session")
def quick(environment: dict[str, str], empty: Path) -> Quick:
    """Long tables of arguments: a copy of this process, with the commands loaded, becomes npuwatt."""
    before = dict(os.environ)
    _become(environment)
    importlib.import_module("npuwatt.cli.app")
    importlib.import_module("npuwatt.study.compare")
    _become(before)

    def run_it(*args: str, cwd: Path | None = None) -> Done:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # threads of a numeric library are not copied
                child = os.fork()
            if child == 0:
                _run_here(args, out.fileno(), err.fileno(), cwd or empty, environment)
            _, status = os.waitpid(child, 0)
            out.seek(0)
            err.seek(0)
            return Done(os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode())

    return run_it


def _become(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _stream(number: int, mode: str) -> TextIO:
    return open(number, mode, encoding="utf-8", closefd=False)  # type: ignore[return-value] # of text modes


def _run_here(
    args: tuple[str, ...], out: int, err: int, cwd: Path, environment: Mapping[str, str]
) -> NoReturn:
    """npuwatt in this process, which ends with it."""
    try:
        signal.alarm(SECONDS)
        warnings.resetwarnings()
        for ours, theirs in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(ours, theirs)
        sys.stdin, sys.stdout, sys.stderr = map(_stream, range(3), "rww")
        os.chdir(cwd)
        _become(environment)
        sys.argv = ["npuwatt", *args]
        runpy.run_module("npuwatt", run_name="__main__")
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:  # noqa: BLE001 (a copy of pytest must never run on)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


@pytest.fixture(scope="session")
def screen(environment: dict[str, str], empty: Path) -> Screen:
    def run_it(
        *args: str,
        width: int = 80,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        piped: bool = False,
    ) -> Done:
        out, err = os.pipe() if piped else _terminal(width), _terminal(width)
        process = subprocess.Popen(
            [sys.executable, "-m", "npuwatt", *args],
            stdin=subprocess.DEVNULL,
            stdout=out[1],
            stderr=err[1],
            env=environment | {"TERM": "xterm-256color"} | dict(env or {}),
            cwd=cwd or empty,
        )
        os.close(out[1])
        os.close(err[1])
        texts = _read_all([out[0], err[0]])
        return Done(process.wait(SECONDS), *texts)

    return run_it


def _terminal(width: int) -> tuple[int, int]:
    """Both ends of a terminal that shows each character as it was written."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    modes = termios.tcgetattr(theirs)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, modes)
    return ours, theirs


def _read_all(ends: list[int]) -> list[str]:
    found = dict.fromkeys(ends, b"")
    still = list(ends)
    while still:
        ready, _, _ = select.select(still, [], [], SECONDS)
        assert ready, f"nothing came for {SECONDS} s after {found}"
        for end in ready:
            try:
                part = os.read(end, 65536)
            except OSError:  # the last process has left the terminal
                part = b""
            found[end] += part
            if not part:
                os.close(end)
                still.remove(end)
    return [found[end].decode() for end in ends]


@pytest.fixture(scope="session")
def plain_text() -> Any:
    """Takes the escapes out of a terminal's text."""
    return lambda text: _ANSI.sub("", text)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A real config.json of a network that is not built in, in a folder of its own."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG, indent=2))
    return path


class Made(Protocol):
    """`made(path, {"step_time": 4e-3}, {"clocks_power": 80.0})`: a file of runs as my-stack and my-board, so changed,
    would do them."""

    def __call__(
        self,
        path: Path,
        stack: Mapping[str, float] | None = None,
        board: Mapping[str, float] | None = None,
        *,
        networks: Sequence[str] = ("llama-3.1-8b", "qwen3-14b"),
        batches: Sequence[float] = (2, 8, 32, 96, 256),
        counts: Sequence[int] = (1, 2),
    ) -> list[dict[str, Any]]: ...


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    """A folder of presets of its own, with a board and a stack of which no other test knows."""
    return Path(shutil.copytree(Path(__file__).parent / "audit" / "mine", tmp_path / "mine"))


@pytest.fixture
def made(presets: Path) -> Made:
    def make_runs(
        path: Path, stack: Any = None, board: Any = None, *, networks: Any = ("llama-3.1-8b", "qwen3-14b"),
        batches: Any = (2, 8, 32, 96, 256), counts: Any = (1, 2),
    ) -> list[dict[str, Any]]:  # fmt: skip
        from npuwatt.audit import measurements, runs
        from npuwatt.preset.paths import with_values

        asked = [
            {"model_id": network, "weight_precision": "bf16", "gpu": "my-board", "num_gpus": count, "avg_batch": batch,
             "avg_output_len": 300 + 7 * batch, "task": "chat"}
            for network in networks for count in counts for batch in batches
        ]  # fmt: skip
        write_runs(path, asked)
        (rows,) = measurements.read_measurements(str(path))
        for own in runs.sorted_into_kinds(rows, stack="my-stack", folders=[str(presets)]).runs:
            records = [
                with_values(
                    chosen.record, {tuple(name.split(".")): value for name, value in (new or {}).items()}
                )
                for chosen, new in ((own.kind.device, board), (own.kind.stack, stack))
            ]
            found = runs.answers(own.work, *records, tokens_per_s=own.context_tokens, dtype="bf16").metrics
            for place, *values in zip(own.places, *found.values(), strict=True):
                done = dict(zip(found, (float(value[0]) for value in values), strict=True))
                asked[place] |= {f"{name}_ms": 1e3 * done[f"{name}_s"] for name in ("median_itl", "avg_tpot")}
                asked[place] |= {name: done[name] for name in ("avg_power_w", "j_per_output_token")}
                asked[place]["output_tok_s"] = done["output_tokens_per_s"]
        write_runs(path, asked)
        return asked

    return make_runs


def write_runs(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def write() -> Any:
    """`write(path, rows)`: a measurement file."""
    return write_runs


def safetensors_bytes(tensors: Mapping[str, tuple[str, Any]]) -> bytes:
    """Arrays by name, each with its type, as the safetensors format lays them out."""
    header, data = {}, b""
    for name, (dtype, values) in tensors.items():
        place = [len(data), len(data) + values.nbytes]
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": place}
        data += values.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture(scope="session")
def packed() -> Any:
    return safetensors_bytes
