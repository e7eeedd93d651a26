"""A network from outside: what a config.json describes, and whether it is the size its reader expects."""

from __future__ import annotations

import os
import re
from pathlib import Path

from npuwatt.errors import RequestError, shown
from npuwatt.preset.load import read_bytes
from npuwatt.record import Record
from npuwatt.workload.huggingface import read_config
from npuwatt.workload.network import Transformer
from npuwatt.workload.network_text import to_yaml
from npuwatt.workload.parameters import active_parameter_count, parameter_count
from npuwatt.workload.transformer import cache_bytes_per_token

_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


class ImportedModel(Record):
    """A network read from a config.json, its size, and the preset that describes it."""

    name: str
    about: str
    network: Transformer
    parameters_count: float
    active_parameters_count: float
    cache_bytes_per_token: float  # bf16
    preset: str


def import_model(path: str, *, name: str | None = None) -> ImportedModel:
    """The network that a Hugging Face config.json describes, and its preset as text.

    Raises
    ------
    PresetError
        The file cannot be read, is of an architecture npuwatt does not know, or holds a value no
        network has; one line for each fault.
    """
    found = read_config(read_bytes(os.path.expanduser(path)), path)
    network = found.network
    total, active = parameter_count(network), active_parameter_count(network)
    cache = cache_bytes_per_token(network, "bf16") if network.decoder else 0.0
    shown_name = name or found.name
    summary = f"{shown_name}: {size_line(total, active, cache)}"
    return ImportedModel(
        name=shown_name,
        about=found.about,
        network=network,
        parameters_count=total,
        active_parameters_count=active,
        cache_bytes_per_token=cache,
        preset=to_yaml(
            network,
            name=shown_name,
            about=found.about,
            cite=f"{Path(path).name} of {shown_name}",
            comment=summary,
        ),
    )


def size_line(total: float, active: float, cache_bytes: float) -> str:
    """Parameters and cache per token in words: what to hold against the model card."""
    part = "" if active == total else f" ({active:,.0f} active a token, embeddings counted)"
    cache = f", {cache_bytes:,.0f} bytes of bf16 KV cache a token" if cache_bytes else ""
    return f"{total:,.0f} parameters{part}{cache}"


def expected_count(text: str) -> float:
    """`8.03e9`, `8.03B` or `8030261248` as a number of parameters."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:[eE]\+?\d{1,2})?)\s*([KMBT]?)\s*", text, re.ASCII)
    if match is None or not 0 < float(match[1]) * _SCALES[match[2]] < 1e18:
        raise RequestError(f"--expect-params: {shown(text)} given; expected a count like 8.03e9 or 8.03B")
    return float(match[1]) * _SCALES[match[2]]
