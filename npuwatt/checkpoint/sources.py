"""A file, an index of shards, or a folder: which files a checkpoint is made of, and their tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from npuwatt.checkpoint.files import Stored, file_size, read_json, unreadable
from npuwatt.checkpoint.safetensors import read_safetensors
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record

INDEX = ".index.json"
PICKLED = (".bin", ".pt", ".pth")
_NOT_WEIGHTS = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")
MOST_CONFIG_BYTES = 10_000_000

ReadPickled = Callable[[str], list[Stored]]


class Checkpoint(Record):
    """The tensors of a model and the files that hold them."""

    path: str
    files: tuple[str, ...]
    tensors: tuple[Stored, ...]
    config: dict[str, Any]  # what the config.json beside the files says; empty where there is none


def open_checkpoint(path: str, read_pickled: ReadPickled) -> Checkpoint:
    """Find the files of a checkpoint and read their headers; no weight is read.

    A folder is read by its index of shards, else its model.safetensors, else all its *.safetensors, else its pickled
    files in the same order.

    read_pickled: reads a .bin, .pt or .pth file.
    """
    try:
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        inside = sorted(os.listdir(path)) if os.path.isdir(path) else None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    files = [path] if inside is None else [os.path.join(path, name) for name in _chosen(path, inside)]
    if files[0].endswith(INDEX):
        files, tensors = _sharded(files[0], read_pickled)
    else:
        tensors = _together(files, read_pickled)
    config = os.path.join(folder, "config.json")
    return Checkpoint(
        path=path,
        files=tuple(files),
        tensors=tuple(tensors),
        config=read_json(config, MOST_CONFIG_BYTES) if os.path.lexists(config) else {},
    )


def _chosen(path: str, inside: Sequence[str]) -> list[str]:
    """The files of a folder to be read: one index, or files that hold tensors."""
    kinds: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("model", (".safetensors",)),
        ("pytorch_model", PICKLED),
    )
    for name, suffixes in kinds:
        indices = [one for one in inside if one.endswith(tuple(suffix + INDEX for suffix in suffixes))]
        usual = [one for one in indices if one.startswith(name + ".")] or indices
        if len(usual) > 1:
            raise NpuwattError(f"{path}: has {len(usual)} indices; expected the path of one of them")
        found = [one for one in inside if one.endswith(suffixes) and one not in _NOT_WEIGHTS]
        whole = [one for one in found if one in [name + suffix for suffix in suffixes]]
        if usual or found:
            return usual or whole[:1] or found
    raise NpuwattError(
        f"{path}: holds no weights; expected *.safetensors, {', '.join('*' + s for s in PICKLED)}"
    )


def _read(path: str, read_pickled: ReadPickled) -> list[Stored]:
    file_size(path)
    return read_pickled(path) if path.endswith(PICKLED) else read_safetensors(path)


def _together(files: Iterable[str], read_pickled: ReadPickled) -> list[Stored]:
    """The tensors of several files; a name may stand in one of them only."""
    home: dict[str, str] = {}
    found: list[Stored] = []
    for file in files:
        for tensor in _read(file, read_pickled):
            if tensor.name in home:
                raise NpuwattError(
                    f"{file}: {shown(tensor.name)} stands in {home[tensor.name]} too; expected each tensor once, or an "
                    f"index that says which counts"
                )
            home[tensor.name] = file
            found.append(tensor)
    return found


def _sharded(index: str, read_pickled: ReadPickled) -> tuple[list[str], list[Stored]]:
    """Files and tensors as an index tells them."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise NpuwattError(f"{index}: has no weight_map; expected one of tensor names to files")
    wanted: dict[str, list[str]] = {}
    for name, shard in named.items():
        if not isinstance(shard, str) or not _is_plain_name(shard):
            raise NpuwattError(
                f"{index}: {shown(name)}: {shown(shard)} given; expected the name of a file beside the index"
            )
        wanted.setdefault(shard, []).append(name)
    files: list[str] = []
    found: list[Stored] = []
    for shard, names in sorted(wanted.items()):
        files.append(os.path.join(os.path.dirname(index), shard))
        held = {tensor.name: tensor for tensor in _read(files[-1], read_pickled)}
        missing = next((name for name in names if name not in held), None)
        if missing is not None:
            raise NpuwattError(f"{files[-1]}: does not hold {shown(missing)}; expected it, as {index} says")
        found += [held[name] for name in names]
    return files, found


def _is_plain_name(name: str) -> bool:
    return (
        name not in ("", ".", "..")
        and len(name) <= 255
        and name.isprintable()
        and not set(name) & {"/", "\\", ":"}
    )
