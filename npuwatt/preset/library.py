"""Presets by name: a path as given, the user's folders, then the built-in ones."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from npuwatt.errors import PresetError, did_you_mean, shown
from npuwatt.preset.load import Document, parse_yaml, read_bytes, read_yaml
from npuwatt.record import Record

FOLDERS = ("devices", "networks", "stacks", "handsets", "profiles", "datacenters", "grids", "constants")
EVIDENCE_CLASSES = ("calibrated", "datasheet", "projected")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# What may follow an exact family and size without changing any shape: how it was tuned, dated or quantised.
_VARIANTS = (
    "base", "instruct", "it", "pt", "chat", "thinking", "original", "hf", "0324", "0528", "0905", "2407", "2411", "2507",
    "bf16", "fp8", "fp8-dynamic", "fp8-block", "fp8-kv", "fp4", "nvfp4", "mxfp4", "int4", "int8", "4bit", "8bit",
    "awq", "gptq", "gptq-int4", "gptq-int8", "w4a16", "w8a8", "w8a16", "quantized.w4a16", "quantized.w8a8",
    "quantized.w8a16", "bnb-4bit", "unsloth", "unsloth-bnb-4bit", "mlx", "gguf", "qat-q4-0-gguf",
    "qat-q4-0-unquantized", "qat-int4-unquantized", "1m",
)  # fmt: skip
_LONGEST_NAME = 200


class Preset(Record):
    """One preset before it is read as a record: its plain data and what its header says."""

    name: str
    folder: str
    document: Document
    origin: str  # 'built-in', or the path it was read from
    sha256: str

    def header(self, key: str) -> str:
        """A header text, '' where the file has none."""
        value = self.document.tree.get(key, "")
        return value if isinstance(value, str) else ""


def presets_root() -> str:
    """The built-in presets: inside an installed package, else beside the package in a checkout."""
    packaged = os.path.join(_PACKAGE, "_presets")
    return packaged if os.path.isdir(packaged) else os.path.join(os.path.dirname(_PACKAGE), "presets")


def _compiled(relative: str) -> Any:
    """A JSON file that the build wrote beside the built-in presets, or None in a checkout."""
    path = os.path.join(presets_root(), "compiled", relative)
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as stream:
        return json.load(stream)


@cache
def index() -> dict[str, dict[str, Any]]:
    """Folder -> name -> summary of each built-in preset."""
    found = _compiled("index.json")
    return found if found is not None else build_index(Path(presets_root()))


def build_index(root: Path) -> dict[str, dict[str, Any]]:
    """The same from the YAML files themselves; the wheel's build calls it once."""
    found: dict[str, dict[str, Any]] = {folder: {} for folder in FOLDERS}
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*.yaml")):
            found[folder][path.stem] = summary(read_yaml(path).tree)
    return found


def summary(tree: dict[str, Any]) -> dict[str, Any]:
    """What a list of presets shows of one."""
    found = {key: tree[key] for key in ("kind", "name", "about", "evidence", "class") if key in tree}
    aliases = tree.get("aliases")
    return found | {"aliases": [str(alias) for alias in aliases] if isinstance(aliases, list) else []}


@cache
def sources() -> Mapping[str, dict[str, str]]:
    """Citations by key: `cite` and the `quality` of numbers taken from there."""
    found = _compiled("sources.json")
    if found is None:
        found = read_yaml(Path(presets_root()) / "sources.yaml").tree
    return dict(found)


def content_hash(content: bytes) -> str:
    """What ties a result to the exact preset it came from."""
    from hashlib import sha256

    return sha256(content).hexdigest()


def _read_path(path: Path, folder: str) -> Preset:
    content = read_bytes(path)
    document = parse_yaml(content, str(path))
    return Preset(
        name=path.stem,
        folder=folder,
        document=document,
        origin=str(path),
        sha256=content_hash(content),
    )


def _built_in(folder: str, name: str) -> Preset:
    found = _compiled(f"{folder}/{name}.json")
    if found is None:
        preset = _read_path(Path(presets_root()) / folder / f"{name}.yaml", folder)
        tree, lines, digest = preset.document.tree, preset.document.lines, preset.sha256
    else:
        tree, lines, digest = found["tree"], found["lines"], found["sha256"]
    document = Document(tree=tree, lines=lines, label=f"{name}.yaml")
    return Preset(name=name, folder=folder, document=document, origin="built-in", sha256=digest)


def is_path(text: str) -> bool:
    """Whether a name on the command line means a file: it says so by its ending or by starting with a folder."""
    return (
        text.endswith((".yaml", ".yml", ".json"))
        or text.startswith(("./", "../", "/", "~/"))
        or text in (".", "..")
    )


def user_file(folder: str, name: str, folders: Iterable[str]) -> Path | None:
    """The file in one of the user's folders that has this name, or says that it is an alias; None where none does."""
    is_file_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+\-]*", name) is not None
    for base in folders:
        places = (Path(base, folder), Path(base))
        for place in places:
            if is_file_name and (place / f"{name}.yaml").is_file():
                return place / f"{name}.yaml"
        for place in places:
            for path in sorted(place.glob("*.yaml")):
                if _has_alias(path, name):
                    return path
    return None


def _has_alias(path: Path, name: str) -> bool:
    """Whether a file that can be read says that it is called `name`, in any case."""
    try:
        content = read_bytes(path)
        if (
            name.lower().encode() not in content.lower()
        ):  # most files are told apart so, and need not be parsed
            return False
        aliases = summary(parse_yaml(content, str(path)).tree)["aliases"]
    except PresetError:
        return False
    return name.lower() in (alias.lower() for alias in aliases)


def find(folder: str, name: str, folders: Iterable[str] = ()) -> Preset:
    """The preset that `name` means in `folder`, or a PresetError that says which names are near."""
    if is_path(name):
        return _read_path(Path(os.path.expanduser(name)), folder)
    folders = tuple(folders)
    for base in folders:
        if not Path(base).is_dir():
            raise PresetError(f"presets folder {shown(base)} is not a folder; expected one with *.yaml files")
    own = user_file(folder, name, folders)
    if own is not None:
        return _read_path(own, folder)
    known = index()[folder]
    resolved = resolve(folder, name, known)
    if resolved is None:
        names = [*known, *(alias for entry in known.values() for alias in entry.get("aliases", ()))]
        names += [
            path.stem
            for base in folders
            for path in (*Path(base).glob("*.yaml"), *Path(base, folder).glob("*.yaml"))
        ]
        names = [near for near in names if near != name]
        plain = shape_name(name) if folder == "networks" else name
        what = folder.rstrip("s")
        near = did_you_mean(plain, names, cutoff=0.5) or "; 'npuwatt presets list' names them all"
        raise PresetError(f"unknown {what} {shown(name)}{near}")
    return _built_in(folder, resolved)


def resolve(folder: str, name: str, known: dict[str, Any]) -> str | None:
    """The built-in preset a name means: its own name, an alias, or for a network a variant of the same shape."""
    by_name = {stem.lower(): stem for stem in known}
    for stem, entry in known.items():
        for alias in entry.get("aliases", ()):
            by_name.setdefault(alias.lower(), stem)
    if folder != "networks":
        return by_name.get(name.lower())
    if len(name) > _LONGEST_NAME:
        return None
    if name.lower() in by_name:
        return by_name[name.lower()]
    probe = plain_name(name)
    while probe not in by_name:
        shorter = _without_variant(probe)
        if shorter == probe:
            return None
        probe = shorter
    return by_name[probe]


def plain_name(name: str) -> str:
    """A Hugging Face id or short name in the form presets are filed under: no owner, no maker's prefix."""
    plain = name.rpartition("/")[2].lower().replace("_", "-")
    for prefix, rest in (("meta-", "llama"), ("nvidia-", "nemotron")):
        if plain.startswith(prefix + rest):
            plain = plain[len(prefix) :]
    return plain


def shape_name(name: str) -> str:
    """The same without what changes no shape: family and size alone."""
    shape = plain_name(name[-_LONGEST_NAME:])
    while (shorter := _without_variant(shape)) != shape:
        shape = shorter
    return shape


def _without_variant(name: str) -> str:
    """A name without the longest variant it ends in."""
    for variant in sorted(_VARIANTS, key=len, reverse=True):
        if name.endswith(f"-{variant}"):
            return name[: -len(variant) - 1]
    return name
