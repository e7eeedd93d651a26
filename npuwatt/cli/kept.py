"""What a command reads is never what it writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from npuwatt.errors import NpuwattError, shown

_WRITTEN = {"output": "--output", "written": "--densities"}  # parameters of commands that name files to write
_FILES = (
    "config",
    "densities",
    "file",
    "path",
)  # those that name files to read; any other text may be a name or a path


def keeping(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, refusing to write onto a file that its own options or the environment name for it to read."""

    @wraps(command)
    def kept(**given: Any) -> Any:
        for name, option in _WRITTEN.items():
            target = given.get(name)
            if target and os.path.isfile(target) and _is_read(target, given):
                raise NpuwattError(
                    f"{option} {shown(target)}: is a file that this command reads; expected another"
                )
        return command(**given)

    return kept


def _is_read(target: str, given: Mapping[str, Any]) -> bool:
    from npuwatt.preset.library import is_path

    files = [
        os.path.expanduser(text)
        for name, value in given.items()
        if name not in _WRITTEN
        for text in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(text, str) and "\0" not in text and (name in _FILES or is_path(text))
    ]
    if any(os.path.isfile(file) and os.path.samefile(file, target) for file in files):
        return True
    if "presets" not in given or not target.endswith(".yaml"):
        return False
    from npuwatt.cli.options import folders

    place = os.path.realpath(target)
    return any(place.startswith(os.path.join(os.path.realpath(one), "")) for one in folders(given["presets"]))
