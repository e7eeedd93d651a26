"""Checked reading of a Hugging Face config.json: JSON text to data, and its keys one by one, all faults at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from npuwatt.errors import PresetError, shown

MOST_BYTES = 1_000_000
MOST_LAYERS = 10_000
MOST_HEADS = 100_000
MOST_WIDTH = 10_000_000
MOST_ROWS = 100_000_000  # of a vocabulary or a position table
MOST_TOKENS = 10**9  # of context


def parse_json(content: bytes, label: str) -> dict[str, Any]:
    """JSON text as one object; no key twice, at most 1 MB. Anything else is a PresetError of one line."""
    if len(content) > MOST_BYTES:
        raise PresetError(f"{label}: is over {MOST_BYTES / 1e6:g} MB; expected a config.json of a few kB")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise PresetError(f"{label}: the key {shown(key)} stands twice; expected each key once")
            found[key] = value
        return found

    try:
        tree = json.loads(content.decode("utf-8-sig"), object_pairs_hook=once, parse_int=_whole)
    except UnicodeDecodeError as error:
        raise PresetError(f"{label}: is not UTF-8 text; expected a JSON object") from error
    except RecursionError as error:
        raise PresetError(f"{label}: is nested too deep; expected a flat JSON object") from error
    except json.JSONDecodeError as error:
        raise PresetError(f"{label}:{error.lineno}: {error.msg.lower()}; expected a JSON object") from error
    if not isinstance(tree, dict):
        raise PresetError(f"{label}: holds {given(tree)}; expected a JSON object")
    return tree


def _whole(text: str) -> int | float:
    """A whole number of a length that is quick to convert; a longer one is as absurd as infinity."""
    return int(text) if len(text) <= 20 else float(text)


def given(value: object) -> str:
    """A value of a config for an error line; short, whatever it is."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, (str, float)):
        return shown(value)
    if isinstance(value, int):
        return shown(value) if value.bit_length() < 100 else "a number of over 30 digits"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else "something else"


class Keys:
    """The keys of one config object. What is wrong is noted, and a stand-in returned, so that reading goes on."""

    def __init__(
        self,
        config: Mapping[str, Any],
        label: str,
        *,
        prefix: str = "",
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self.config, self.label, self.prefix = config, label, prefix
        self.renamed = renamed or {}  # what this family calls a key that most call otherwise
        self.faults: list[str] = []

    def name(self, key: str) -> str:
        """What this family calls `key`."""
        return self.renamed.get(key, key)

    def get(self, key: str) -> Any:
        """The value as it stands; None where it is absent or null."""
        return self.config.get(self.name(key))

    def fault(self, key: str, message: str) -> None:
        self.faults.append(f"{self.label}: {self.prefix}{self.name(key)}: {message}")

    def count(self, key: str, default: int | None = None, *, least: int = 1, most: int = MOST_WIDTH) -> int:
        """A whole number; `default` where the key is absent or null, a fault if there is no default."""
        value = self.get(key)
        wanted = f"expected a whole number from {least} to {most}"
        if value is None:
            if default is None:
                what = "null" if self.name(key) in self.config else "nothing"
                self.fault(key, f"{what} given; {wanted}")
            return least if default is None else default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fault(key, f"{given(value)} given; {wanted}")
            return least
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false; `default` where the key is absent or null."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, f"{given(value)} given; expected true or false")
            return default
        return value

    def listing(self, key: str, most: int = MOST_LAYERS) -> list[Any]:
        """A list of at most `most` entries; empty where the key is absent or null."""
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, (list, tuple)) or len(value) > most:
            self.fault(key, f"{given(value)} given; expected a list of at most {most} entries")
            return []
        return list(value)

    def choices(self, key: str, layers: int, known: Iterable[str]) -> list[str]:
        """A list with one of `known` for each layer; empty where the key is absent or null."""
        found = self.listing(key)
        known = tuple(known)
        for item in found:
            if not isinstance(item, str) or item not in known:
                self.fault(key, f"{given(item)} given; expected a list of {', '.join(known)}")
                return []
        if found and len(found) != layers and not self.faults:
            self.fault(key, f"{len(found)} entries given; expected one for each of {layers} layers")
            return []
        return found

    def indices(self, key: str, layers: int) -> set[int]:
        """A list of layer numbers; empty where the key is absent or null."""
        found = self.listing(key)
        for item in found:
            if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < MOST_LAYERS:
                self.fault(key, f"{given(item)} given; expected a list of layer numbers from 0")
                return set()
        return {item for item in found if item < layers}
