"""Whatever a preset, --set or --vary holds: an answer, or an error that its writer can mend."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from npuwatt.errors import NpuwattError
from npuwatt.explore.sweep import sweep
from npuwatt.preset.library import presets_root
from npuwatt.preset.load import Document, parse_yaml
from npuwatt.study.scenario import Chosen, load_device, load_network, load_stack

moderate = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
FOLDER = Path(presets_root())
DEVICES = [FOLDER / "devices" / f"{name}.yaml" for name in ("h100-sxm", "samsung-hbm2-pim", "ibm-hermes")]
NETWORK = FOLDER / "networks" / "smollm2-135m.yaml"
STACK = FOLDER / "stacks" / "vllm-0.11.yaml"

odd_numbers = st.sampled_from(
    [
        "0",
        "-1",
        "1e400",
        "1e-400",
        ".nan",
        ".inf",
        "-.inf",
        "0x10",
        "1_000",
        "9" * 50,
        "1e9999",
        "½",
        "1,5",
        "- 1",
        "+1",
        "1e",
        "true",
        "~",
    ]
)
units = st.sampled_from(
    ["", " ", "W", "GB/s", "TB/s", "pJ/bit", "pJ/MAC", "TOPS", "GiB", "%", "W/W", "/", "s", "µs", "QW", "W W"]
)
quantities = st.builds("{}{}".format, odd_numbers | st.floats().map(repr) | st.integers().map(str), units)
leaves: Any = (
    quantities
    | st.text(max_size=20)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates().map(str)
)
keys = st.sampled_from(
    [
        "kind",
        "value",
        "low",
        "high",
        "source",
        "quality",
        "where",
        "peak",
        "levels",
        "dram",
        "bandwidth",
        "sources",
        "aliases",
        "name",
    ]
) | st.text(max_size=8)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
)
addresses = st.lists(
    st.sampled_from(
        [
            "levels",
            "dram",
            "bandwidth",
            "peak",
            "int8",
            "bf16",
            "power_cap",
            "host",
            "banks",
            "step_time",
            "unoverlapped",
            "expert_block",
            "chunk",
            "value",
            "",
            "x",
            "link",
            "0",
        ]
    ),
    max_size=4,
).map(".".join)
pieces = quantities | st.text(max_size=6)
specs = (
    st.lists(pieces, max_size=3).map(",".join)
    | st.builds("{}..{}:{}{}".format, pieces, pieces, st.integers(-1, 10**13) | st.text(max_size=3), st.sampled_from(["", "log", "lin"]))
    | st.text(max_size=20)
)  # fmt: skip


def refused_or(work: Any) -> Any:
    """What `work` returns, or None where it is refused in lines that can be shown."""
    try:
        return work()
    except NpuwattError as error:
        assert error.faults
        assert all(fault and len(fault.splitlines()) == 1 for fault in error.faults)
        return None


def load(path: Path, changes: tuple[str, ...] = ()) -> Any:
    if path.parent.name == "networks":
        return load_network(str(path), changes=changes)
    if path.parent.name == "stacks":
        return load_stack(str(path), changes=changes)
    return load_device(str(path), changes=changes)


def load_text(text: str | bytes, folder: str) -> Any:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / folder / "mine.yaml"
        path.parent.mkdir()
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return refused_or(lambda: load(path))


@moderate
@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@example(b"a: &a [*a]")
@example(b"? [a]\n: 1")
@example(b"!!python/name:os.system")
@example(b"%YAML 9.9\n---\na: 1")
@example(b"a: 1\n...\n...\n")
@example(b"\xef\xbb\xbfa: 1")
@example(b"[" * 2000)
@example(b"{a: " * 2000)
def test_any_bytes_are_a_mapping_or_refused(content: bytes) -> None:
    found = refused_or(lambda: parse_yaml(content, "mine.yaml"))
    assert found is None or (isinstance(found, Document) and isinstance(found.tree, dict))


@moderate
@given(trees)
def test_any_tree_that_YAML_can_write_is_read_back_or_refused(tree: Any) -> None:
    found = refused_or(
        lambda: parse_yaml(
            yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"), "mine.yaml"
        )
    )
    assert found is None or isinstance(found.tree, dict)


@pytest.mark.parametrize("path", [*DEVICES, NETWORK, STACK], ids=lambda path: path.stem)
@moderate
@given(data=st.data())
def test_a_preset_with_any_part_replaced_is_read_or_refused(path: Path, data: st.DataObject) -> None:
    tree = yaml.safe_load(path.read_text())
    group = tree
    while True:  # down to a random key, whose content becomes something else
        key = data.draw(st.sampled_from(sorted(group)))
        if not isinstance(group[key], dict) or not group[key] or data.draw(st.booleans()):
            break
        group = group[key]
    if data.draw(st.booleans()):
        group[key] = data.draw(trees)
    else:
        del group[key]
    found = load_text(yaml.safe_dump(tree, allow_unicode=True), path.parent.name)
    assert found is None or isinstance(found, Chosen)
    if found is not None:
        assert all(math.isfinite(item.value) for item in found.evidence.values())


@pytest.mark.parametrize("path", [*DEVICES, NETWORK, STACK], ids=lambda path: path.stem)
@moderate
@given(address=addresses, value=quantities | st.text(max_size=10))
def test_any_change_is_taken_or_refused(path: Path, address: str, value: str) -> None:
    found = refused_or(lambda: load(path, (f"{address}={value}",)))
    if found is not None:
        assert all(math.isfinite(item.value) for item in found.evidence.values())


@moderate
@given(address=addresses, spec=specs, more=st.booleans())
@example(address="power_cap", spec="1W..1e400W:3", more=False)
@example(address="levels.dram.bandwidth", spec="1TB/s..2TB/s:999999999999", more=True)
@example(address="power_cap", spec="1e-300W..1e300W:9log", more=False)
def test_any_spec_of_an_address_is_swept_or_refused(address: str, spec: str, more: bool) -> None:
    check_swept(f"devices.{DEVICES[0]}.{address}={spec}", more)


@moderate
@given(
    name=st.sampled_from(["batch", "input_len", "output_len"]),
    spec=specs | st.sampled_from(["1..9:3", "1..99999:4log", "3,2,1", "1..1:2"]),
)
def test_any_spec_of_a_length_is_swept_or_refused(name: str, spec: str) -> None:
    check_swept(f"request.{name}={spec}", more=False)


@moderate
@given(st.text(max_size=30))
def test_any_text_to_vary_is_swept_or_refused(text: str) -> None:
    check_swept(text, more=False)


@moderate
@given(
    address=st.sampled_from(
        ["step_time", "layer_time", "sequence_time", "unoverlapped", "expert_block.bf16", "chunk"]
    )
    | addresses,
    spec=specs | st.sampled_from(["0s,1ms", "1us..1e300s:3log", "0..1:3", "1e-300,1e300", "1,8192"]),
    more=st.booleans(),
)
def test_any_spec_of_a_stack_is_swept_or_refused(address: str, spec: str, more: bool) -> None:
    check_swept(f"stack.{address}={spec}", more, stack=str(STACK))


def check_swept(vary: str, more: bool, **options: Any) -> None:
    """The first rows hold no infinity and no NaN, which JSON could not tell."""
    texts = (vary, "request.batch=1,2") if more else (vary,)
    found = refused_or(lambda: sweep([str(DEVICES[0])], vary=texts, network=str(NETWORK), **options))
    if found is None:
        return
    rows = next(found.chunks())
    for values in rows.values():
        assert all(math.isfinite(value) for value in values if isinstance(value, float))
