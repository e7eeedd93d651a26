"""The safetensors format: what it allows is read as it is, what it forbids is one line."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.checkpoint.files import BITS
from npuwatt.checkpoint.safetensors import read_safetensors
from npuwatt.errors import NpuwattError

ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def file_of(header: Any, data: bytes = b"\0" * 16, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def other(**changes: Any) -> bytes:
    return file_of({"a": ENTRY | changes})


TWICE = b'{"a":' + json.dumps(ENTRY).encode() + b',"a":' + json.dumps(ENTRY).encode() + b"}"
BAD = {
    "nothing": (b"", "holds 0 bytes"),
    "seven bytes": (b"\0" * 7, "holds 7 bytes"),
    "a length of 2^63": (file_of({"a": ENTRY}, length=2**63), f"a header of {2**63} bytes"),
    "a header over 100 MB": (file_of({"a": ENTRY}, length=100_000_001), "at most 100 MB"),
    "a header that is cut": (file_of({"a": ENTRY}, b"", length=5000), "ends within its header"),
    "numbers that are cut": (file_of({"a": ENTRY}, b"\0" * 15), "holds 15 bytes of numbers; expected 16"),
    "bytes behind the end": (file_of({"a": ENTRY}, b"\0" * 17), "1 bytes behind the last tensor"),
    "no JSON": (file_of(b"{'a': 1}"), "header: is not JSON"),
    "no UTF-8": (file_of(b'{"\xff": 1}'), "header: is not JSON"),
    "a list": (file_of([ENTRY]), "expected one JSON object"),
    "deep nesting": (file_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "is not JSON"),
    "millions of lists": (file_of(b'{"a":[' + b"[]," * 1_600_000 + b"[]]}"), "more than 3,000,000 entries"),
    "a name twice": (file_of(TWICE), "'a' stands twice"),
    "not a number": (file_of(b'{"a":NaN}'), "NaN given"),
    "a digit after another": (file_of(b'{"a":' + b"9" * 10_000 + b"}"), "is not JSON"),
    "a tensor that is a number": (file_of({"a": 7}), "expected dtype, shape and data_offsets"),
    "no shape": (file_of({"a": {"dtype": "F32", "data_offsets": [0, 16]}}), "expected dtype, shape"),
    "an unknown dtype": (other(dtype="FP32"), "unknown dtype 'FP32'; expected one of BOOL, F4"),
    "a dtype that is a list": (other(dtype=["F32"]), "unknown dtype"),
    "a negative length": (other(shape=[-2, -2]), "shape '[-2, -2]' given"),
    "half a length": (other(shape=[2.0, 2]), "shape '[2.0, 2]' given"),
    "true for a length": (other(shape=[True, 4]), "shape '[True, 4]' given"),
    "an absurd length": (other(shape=[10**30]), "whole numbers"),
    "a thousand axes": (other(shape=[1] * 1000), "whole numbers"),
    "a shape of other bytes": (other(shape=[2, 3]), "16 bytes given; expected 24"),
    "bits that fill no byte": (other(dtype="F4", shape=[3]), "expected 1.5"),
    "offsets that descend": (other(data_offsets=[16, 0]), "two ascending whole numbers"),
    "one offset": (other(data_offsets=[16]), "two ascending whole numbers"),
    "offsets out of range": (other(data_offsets=[0, 2**62]), "data_offsets '[0, 46116860"),
    "offsets behind the file": (other(data_offsets=[0, 2**40], shape=[2**38]), "holds 16 bytes of numbers"),
    "a hole": (other(data_offsets=[8, 24]), "leaves a hole before it; expected 0"),
    "an overlap": (
        file_of({"a": ENTRY, "b": ENTRY | {"data_offsets": [8, 24]}}, b"\0" * 24),
        "'b': starts at 8 and overlaps the tensor before it; expected 16",
    ),
    "the same bytes twice": (file_of({"a": ENTRY, "b": ENTRY}), "overlaps"),
    "a name of escapes": (file_of({"\x1b[31ma": ENTRY}), "characters that cannot be shown"),
    "a name of half a character": (file_of(rb'{"\ud800":{}}'), "characters that cannot be shown"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_broken_file_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken.safetensors"
    content, said = BAD[name]
    path.write_bytes(content)
    with pytest.raises(NpuwattError) as caught:
        read_safetensors(str(path))
    (line,) = caught.value.faults
    assert line.startswith(f"{path}: ")
    assert said in line
    assert "expected" in line
    assert line.isprintable()
    assert len(line) < 500


def test_the_file_that_is_broken_above_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "sound.safetensors"
    path.write_bytes(file_of({"a": ENTRY}))
    (found,) = read_safetensors(str(path))
    assert (found.name, found.dtype, found.shape, found.size_bytes) == ("a", "F32", (2, 2), 16)


@pytest.mark.parametrize("dtype", BITS)
def test_every_type_of_the_format_is_read_as_its_words(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "one.safetensors"
    data = bytes(range(48))
    header = {"a": {"dtype": dtype, "shape": [48 * 8 // BITS[dtype]], "data_offsets": [0, 48]}}
    path.write_bytes(file_of(header, data))
    (found,) = read_safetensors(str(path))
    assert found.words().tobytes() == data
    assert found.words().itemsize == max(BITS[dtype] // 8, 1)


@pytest.mark.parametrize("padding", range(9))
def test_numbers_are_read_wherever_the_header_ends(tmp_path: Path, packed: Any, padding: int) -> None:
    path = tmp_path / "odd.safetensors"
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(5, dtype=np.uint16)
    content = packed({"a": ("F32", a), "empty": ("F32", np.empty((0, 3), np.float32)), "b": ("BF16", b)})
    size = int.from_bytes(content[:8], "little") + padding
    start = 8 + size - padding
    path.write_bytes(size.to_bytes(8, "little") + content[8:start] + b" " * padding + content[start:])
    found = {tensor.name: tensor.words() for tensor in read_safetensors(str(path))}
    assert np.array_equal(found["a"].view(np.float32), a.ravel())
    assert np.array_equal(found["b"], b)
    assert found["empty"].size == 0
    assert not found["a"].flags.writeable


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    path = tmp_path / "said.safetensors"
    path.write_bytes(file_of({"__metadata__": {"format": "pt"}, "a": ENTRY}))
    assert [tensor.name for tensor in read_safetensors(str(path))] == ["a"]


def test_a_file_that_shrinks_while_it_is_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "shrinks.safetensors"
    path.write_bytes(file_of({"a": ENTRY}))
    (found,) = read_safetensors(str(path))
    path.write_bytes(b"\0" * 20)
    with pytest.raises(NpuwattError, match="has become shorter"):
        found.words()


GOOD = file_of(
    {
        "__metadata__": {"format": "pt"},
        "a": ENTRY,
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
    },
    bytes(range(22)),
)
PIECES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b'"', b",", b":", b"-", b"1e999", b"NaN", b"null", b'"F4"', b'"shape"', b"9" * 30]
    ),
)  # fmt: skip
MUTATIONS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 24), PIECES), min_size=1, max_size=4)


@given(changes=MUTATIONS, keeps_length=st.booleans())
@settings(derandomize=True, deadline=None, max_examples=1500)
def test_a_changed_file_is_read_or_refused_and_nothing_else(
    changes: list[tuple[int, int, bytes]], keeps_length: bool
) -> None:
    content = GOOD
    for place, removed, added in changes:
        content = content[:place] + added + content[place + removed :]
    if keeps_length:  # so that more of them reach what lies behind the length
        length = len(content) - len(GOOD) + int.from_bytes(GOOD[:8], "little")
        content = max(length, 0).to_bytes(8, "little") + content[8:]
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        try:
            found = read_safetensors(file.name)
        except NpuwattError as error:
            assert all(line.isprintable() for line in error.faults)
        else:
            assert sum(tensor.words().nbytes for tensor in found) <= len(content)
