"""Single published figures of many devices, beside what npuwatt predicts for the same request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from npuwatt import require
from npuwatt.arrays import Array, column
from npuwatt.device.evaluate import Device
from npuwatt.device.parallel import Sharing
from npuwatt.device.stack import Stack
from npuwatt.errors import NpuwattError, PresetError, RequestError, did_you_mean, shown
from npuwatt.preset import library
from npuwatt.preset.evidence import Quality
from npuwatt.preset.load import MOST_FAULTS, Document, Loaded, Reader, read_yaml
from npuwatt.record import Record, names_of
from npuwatt.study.scenario import load_device, load_network, load_stack
from npuwatt.study.serving import serving
from npuwatt.units import key_of
from npuwatt.workload.network import Network
from npuwatt.workload.request import Request, Width

T = TypeVar("T", bound=Record)
Metrics: TypeAlias = Mapping[str, float]
"""Values by metric, whose name tells the unit."""
Spans: TypeAlias = Mapping[str, tuple[float, float]]
Boundary: TypeAlias = Literal["board", "module", "wall", "rail", "full stack", "none"]

LEAST_VALUES = 3
WIDE_FACTOR = 3.0  # either way, where fewer values than that are known
METRICS = ("tokens_per_s", "power_w", "energy_per_output_token_j")
_OTHER_BOUNDARIES = ("wall", "rail", "full stack")
_ASKED = ("batch", "input_len", "output_len")
_SECTIONS = ("sources", "anchors", "unasked")


class Source(Record):
    """Where an anchor was published."""

    cite: str
    quality: Quality


class Published(Record):
    """What a source printed, of all devices together."""

    tokens_per_s_count: float | None = None
    power_w: float | None = None
    energy_per_output_token_j: float | None = None

    def __post_init__(self) -> None:
        values = {key_of(name): getattr(self, name) for name in names_of(Published)}
        given = {key: value for key, value in values.items() if value is not None}
        if not given:
            raise NpuwattError(f"no value given; expected some of {', '.join(values)}")
        require.positive(**given)

    def given(self) -> dict[str, float]:
        """What was printed, by metric."""
        values = zip(METRICS, (getattr(self, name) for name in names_of(Published)), strict=True)
        return {metric: value for metric, value in values if value is not None}


class Anchor(Record):
    """One published operating point, as a question to npuwatt."""

    about: str
    device: str
    network: str
    weights: Width
    activations: Width
    kv_cache: Width
    devices_count: int
    batch: float
    input_len: float
    output_len: float
    stack: str
    published: Published
    boundary: Boundary
    comparable: bool
    trust: Literal["audited", "published", "weak"]
    source: str
    changes: tuple[str, ...] = ()  # of the network, as --set takes them
    data_parallel_count: int = 1
    pipeline_count: int = 1
    bounds: tuple[str, ...] = ()  # metrics published as "less than"
    note: str = ""

    def __post_init__(self) -> None:
        require.positive(batch=self.batch, input_len=self.input_len, output_len=self.output_len)
        require.counts(1, devices=self.devices_count)
        require.counts(1, self.devices_count, data_parallel=self.data_parallel_count)
        require.counts(1, self.devices_count, pipeline=self.pipeline_count)
        if self.comparable and self.boundary in _OTHER_BOUNDARIES:
            raise NpuwattError(
                f"comparable: true given for the boundary '{self.boundary}'; expected false, or board or module"
            )
        given = self.published.given()
        for metric in self.bounds:
            if metric not in given:
                raise NpuwattError(
                    f"bounds: {shown(metric)} is not published; expected some of {', '.join(given)}"
                )


class Unasked(Record):
    """A published figure that no preset can be asked for."""

    about: str
    why: str
    source: str


class Anchors(Record):
    """A file of anchors."""

    document: Document
    sources: Mapping[str, str]  # citations by key
    anchors: Mapping[str, Loaded[Anchor]]
    unasked: Mapping[str, Unasked]


class Judged(Record):
    """A prediction beside what was published."""

    name: str
    about: str
    device: str
    network: str
    stack: str
    trust: str  # of the device preset: calibrated, datasheet or projected
    source_trust: str  # of the published figures: audited, published or weak
    boundary: str
    comparable: bool
    published: Metrics
    bounds: tuple[str, ...]  # metrics published as "less than"
    predicted: Metrics  # empty where the device cannot run the request
    spans: (
        Spans  # of each prediction over the ranges of what the source does not say, where the device holds it
    )
    ratio: Metrics  # predicted over published, of what was published
    reason: str  # why nothing is predicted; '' where it is
    note: str
    source: str


def built_in_path(name: str) -> str:
    """The path of a file of measurements that npuwatt brings along."""
    return os.path.join(library.presets_root(), "measured", name)


def anchors(path: str = "") -> list[Judged]:
    """Every anchor of a file, or of the built-in one, held against its prediction.

    Raises
    ------
    PresetError
        With every fault of the file, a line each, or a device, network or stack that it names and nobody has.
    """
    book = read_anchors(path)
    return [
        _judged(name, loaded, book.document, book.sources[loaded.record.source])
        for name, loaded in book.anchors.items()
    ]


def never_measured_ratios(path: str = "") -> dict[str, tuple[float, float]]:
    """Lowest and highest measured over predicted, by metric, of devices whose energies were never fitted.

    Only comparable values count, and no bounds. Fewer than LEAST_VALUES of them say too little: the interval then
    reaches WIDE_FACTOR either way at least.
    """
    seen: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for one in anchors(path):
        if one.comparable and one.trust != "calibrated":
            for metric, ratio in one.ratio.items():
                if metric not in one.bounds:
                    seen[metric].append(1 / ratio)
    seen["tpot_s"] = [1 / ratio for ratio in seen["tokens_per_s"]]
    found = {}
    for metric, ratios in seen.items():
        known = ratios if len(ratios) >= LEAST_VALUES else [*ratios, 1 / WIDE_FACTOR, WIDE_FACTOR]
        found[metric] = (min(known), max(known))
    return found


def read_anchors(path: str = "") -> Anchors:
    """A file of anchors, or the built-in one; PresetError with all its faults."""
    document = read_yaml(path or built_in_path("anchors.yaml"), "" if path else "anchors.yaml")
    faults: list[tuple[str, str]] = [
        (key, f"unknown key{did_you_mean(key, _SECTIONS) or '; expected one of ' + ', '.join(_SECTIONS)}")
        for key in document.tree
        if key not in (*_SECTIONS, "about")
    ]
    own = _section(document, "sources", Source, {}, faults)
    built_in = library.sources()
    qualities = {key: entry["quality"] for key, entry in built_in.items()}
    qualities |= {key: loaded.record.quality for key, loaded in own.items()}
    asked = _section(document, "anchors", Anchor, qualities, faults)
    unasked = _section(document, "unasked", Unasked, qualities, faults)
    if faults:
        lines = [f"{document.at(address)}: {message}" for address, message in faults[:MOST_FAULTS]]
        if len(faults) > MOST_FAULTS:
            lines.append(f"{document.label}: and {len(faults) - MOST_FAULTS} more faults")
        raise PresetError(*lines)
    return Anchors(
        document=document,
        sources={key: entry["cite"] for key, entry in built_in.items()}
        | {key: loaded.record.cite for key, loaded in own.items()},
        anchors=asked,
        unasked={name: loaded.record for name, loaded in unasked.items()},
    )


def _section(
    document: Document, section: str, kind: type[T], known: Mapping[str, str], faults: list[tuple[str, str]]
) -> dict[str, Loaded[T]]:
    """The entries of one section as records; what is wrong with them is added to `faults`."""
    entries = document.tree.get(section)
    if entries is None and section != "anchors":
        return {}
    if not isinstance(entries, dict) or not entries:
        given = "nothing" if entries is None else shown(entries)
        faults.append((section, f"{given} given; expected a mapping of names to entries"))
        return {}
    found = {}
    for name, entry in entries.items():
        address = f"{section}.{name}"
        defaults: dict[str, Any] = entry if isinstance(entry, dict) else {}
        source = defaults.get("source")
        if not isinstance(source, str) or source not in known:
            if isinstance(source, str):
                close = did_you_mean(source, known) or "; expected a key of sources"
                faults.append((f"{address}.source", f"unknown source {shown(source)}{close}"))
            defaults = {"source": "assumed", "where": "said once, not at every number"}
        reader = Reader(known, defaults)
        record = reader.record(entry, kind, address, skip=("where",))
        faults += reader.faults
        if record is not None:
            found[name] = Loaded(record=record, evidence=reader.evidence)
    return found


def _judged(name: str, loaded: Loaded[Anchor], document: Document, citation: str) -> Judged:
    anchor = loaded.record
    here = f"anchors.{name}"
    with _named(document, f"{here}.device"):
        device = load_device(anchor.device)
    with _named(document, f"{here}.network"):
        network = load_network(anchor.network, changes=anchor.changes)
    with _named(document, f"{here}.stack"):
        stack = load_stack(anchor.stack)
    predicted: dict[str, float] = {}
    spans: dict[str, tuple[float, float]] = {}
    reason = ""
    try:
        points = _predicted(loaded, here, network.record, device.record, stack.record)
        predicted = {metric: float(values[0, 0]) for metric, values in points.items()}
        spans = {metric: (float(np.nanmin(p)), float(np.nanmax(p))) for metric, p in points.items()}
    except NpuwattError as error:
        reason = error.faults[0]
    published = anchor.published.given()
    return Judged(
        name=name,
        about=anchor.about,
        device=device.preset.name,
        network=anchor.network,
        stack=stack.preset.name,
        trust=device.trust,
        source_trust=anchor.trust,
        boundary=anchor.boundary,
        comparable=anchor.comparable,
        published=published,
        bounds=anchor.bounds,
        predicted=predicted,
        spans=spans,
        ratio={metric: predicted[metric] / published[metric] for metric in published if predicted},
        reason=reason,
        note=anchor.note,
        source=citation,
    )


@contextmanager
def _named(document: Document, address: str) -> Iterator[None]:
    """Faults of what an entry names, told at its line."""
    try:
        yield
    except NpuwattError as error:
        raise PresetError(*(f"{document.at(address)}: {fault}" for fault in error.faults)) from error


def _predicted(
    loaded: Loaded[Anchor], here: str, network: Network, device: Device, stack: Stack
) -> dict[str, Array]:
    """Each metric at the values of the request, then at the ends of the ranges they may lie in: (P, 1).

    Raises
    ------
    RequestError
        The device cannot run the request.
    """
    anchor = loaded.record
    known = [loaded.evidence[f"{here}.{key}"] for key in _ASKED]
    ends = [(item.low, item.high) if item.stated_range else (item.value,) for item in known]
    batch, input_len, output_len = map(
        column, zip([item.value for item in known], *product(*ends), strict=True)
    )
    request = Request(
        batch=batch, input_len=input_len, output_len=output_len,
        weights=anchor.weights, activations=anchor.activations, kv_cache=anchor.kv_cache,
    )  # fmt: skip
    sharing = Sharing(data_parallel_count=anchor.data_parallel_count, pipeline_count=anchor.pipeline_count)
    found = serving(network, request, device, float(anchor.devices_count), stack=stack, sharing=sharing)
    if not found.fits[0, 0]:
        needed = found.devices_needed[0, 0]
        wanted = f"{needed:.0f}, joined by links" if np.isfinite(needed) else "more than any number"
        raise RequestError(f"does not fit on {anchor.devices_count} of this device; it needs {wanted}")
    metrics = found.metrics()
    return {metric: metrics[metric] for metric in METRICS}
