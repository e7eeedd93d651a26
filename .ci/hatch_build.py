"""Build hook: writes the presets of a wheel as JSON too, so that a command reads small files and needs no YAML."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            from npuwatt.preset import library
            from npuwatt.preset.load import read_yaml
        finally:
            sys.path.pop(0)
        out = root / "build" / "compiled"
        shutil.rmtree(out, ignore_errors=True)
        presets = root / "presets"

        def write(relative: str, content: Any) -> None:
            path = out / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
            build_data["force_include"][str(path)] = f"npuwatt/_presets/compiled/{relative}"

        write("index.json", library.build_index(presets))
        write("sources.json", read_yaml(presets / "sources.yaml").tree)
        for folder in library.FOLDERS:
            for path in sorted((presets / folder).glob("*.yaml")):
                document = read_yaml(path)
                digest = library.content_hash(path.read_bytes())
                content = {"tree": document.tree, "lines": document.lines, "sha256": digest}
                write(f"{folder}/{path.stem}.json", content)
