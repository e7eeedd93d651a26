"""Files of measured runs: what is read, and what a faulty one is told. All numbers here are made up."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from npuwatt.audit.csv_columns import MOST_ROW_BYTES
from npuwatt.audit.measurements import (
    NUMBERS,
    REQUIRED,
    TEXTS,
    Measurements,
    read_measurements,
    width_of,
)
from npuwatt.errors import NpuwattError, printable
from npuwatt.workload.request import Width

HEADER = "model_id,weight_precision,gpu,num_gpus,avg_batch,avg_output_len,ep,kv_pos_window,avg_power_w"
ROW = "vendor/model,bf16,H100,2,7.5,300,,0,512.25"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*lines: str | bytes, end: bytes = b"\n") -> None:
    Path("runs.csv").write_bytes(
        b"".join((line if isinstance(line, bytes) else line.encode()) + end for line in lines)
    )


def read(*lines: str | bytes, end: bytes = b"\n") -> Measurements:
    write(*lines, end=end)
    (found,) = read_measurements("runs.csv")
    return found


def faults(*lines: str | bytes) -> tuple[str, ...]:
    write(*lines)
    with pytest.raises(NpuwattError) as caught:
        list(read_measurements("runs.csv"))
    assert all(line.isprintable() and len(line) < 500 for line in caught.value.faults)
    return caught.value.faults


def with_cell(name: str, cell: str, row: str = ROW) -> str:
    cells = row.split(",")
    cells[HEADER.split(",").index(name)] = cell
    return ",".join(cells)


def check_same(one: Measurements, other: Measurements) -> None:
    assert one.texts == other.texts
    for name in NUMBERS:
        np.testing.assert_array_equal(one.numbers[name], other.numbers[name])


def test_a_row_is_read_and_what_the_file_does_not_say_is_nan_or_no_text() -> None:
    found = read(HEADER, ROW)
    assert found.lines.tolist() == [2]
    assert [found.texts[name] for name in TEXTS] == [["vendor/model"], ["bf16"], ["H100"], [""]]
    said = {"num_gpus": 2, "avg_batch": 7.5, "avg_output_len": 300, "kv_pos_window": 0, "avg_power_w": 512.25}
    assert tuple(found.texts) == TEXTS
    assert found.numbers.keys() == NUMBERS.keys()
    for name, values in found.numbers.items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, [said.get(name, np.nan)])


def test_the_order_of_columns_is_free_and_unknown_ones_are_ignored() -> None:
    names, cells = HEADER.split(","), ROW.split(",")
    turned = read(",".join(["note", *names[::-1], "note"]), ",".join(["a_b", *cells[::-1], "nan"]))
    check_same(turned, read(HEADER, ROW))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_and_both_ends_of_line_are_read(end: bytes, mark: str) -> None:
    for opening in ((), ("# a remark",)):
        lines = (*opening, HEADER, ROW, ROW)
        found = read(mark + lines[0], *lines[1:], end=end)
        assert found.lines.tolist() == [len(opening) + 2, len(opening) + 3]
        check_same(found, read(HEADER, ROW, ROW))


def test_the_last_line_needs_no_end() -> None:
    Path("runs.csv").write_text(f"{HEADER}\n{ROW}")
    assert [chunk.lines.tolist() for chunk in read_measurements("runs.csv")] == [[2]]


def test_remarks_and_blank_lines_are_skipped_and_counted() -> None:
    found = read("# one, two", "", HEADER, "  ", '# a "quote', ROW, "  # indented", ROW, "#")
    assert found.lines.tolist() == [6, 8]
    assert faults("# one", HEADER, "", ROW, "# two", with_cell("ep", "x")) == (
        "runs.csv:6: ep: 'x' given; expected a whole number from 1 to 1000000",
    )


def test_blanks_around_names_and_cells_do_not_count() -> None:
    spaced = read(HEADER.replace(",", " , "), ROW.replace(",", "\t, "))
    check_same(spaced, read(HEADER, ROW))


def test_quoted_cells_may_hold_commas_quotes_and_lines() -> None:
    model = '"a, ""b""\n# no remark\n\nc"'
    found = read(HEADER, with_cell("model_id", model), with_cell("gpu", '"H100"'), ROW)
    assert found.texts["model_id"][0] == 'a, "b"\n# no remark\n\nc'
    assert found.texts["gpu"] == ["H100"] * 3
    assert found.numbers["num_gpus"].tolist() == [2, 2, 2]
    assert found.lines.tolist() == [2, 6, 7]


@pytest.mark.parametrize("text", ['5" card', "\u00c5ngstr\u00f6m \u82af"])
def test_quotes_within_a_text_and_letters_of_any_script_are_kept(text: str) -> None:
    assert read(HEADER, with_cell("gpu", text), "# remark", ROW).texts["gpu"] == [text, "H100"]


@pytest.mark.parametrize("text", ["2", "2.0", "+2", "2e0", "0.2E1", " 2 "])
def test_a_whole_number_may_be_written_in_any_way(text: str) -> None:
    assert read(HEADER, with_cell("num_gpus", text)).numbers["num_gpus"].tolist() == [2]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 100])
def test_chunks_equal_one_chunk(rows: int) -> None:
    lines = [with_cell("avg_batch", f"{i + 0.5}", with_cell("ep", str(i or ""))) for i in range(7)]
    together = read("# remark", HEADER, *lines)
    chunks = list(read_measurements("runs.csv", chunk_rows=rows))
    assert [len(chunk.lines) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
    assert np.concatenate([chunk.lines for chunk in chunks]).tolist() == together.lines.tolist()
    for name in NUMBERS:
        joined = np.concatenate([chunk.numbers[name] for chunk in chunks])
        np.testing.assert_array_equal(joined, together.numbers[name])
    for name in TEXTS:
        assert [text for chunk in chunks for text in chunk.texts[name]] == together.texts[name]


def test_equal_texts_are_one_object() -> None:
    texts = read(HEADER, *[ROW] * 100).texts["model_id"]
    assert len(set(map(id, texts))) == 1


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(rows: int) -> int:
        write(HEADER, *[ROW] * rows)
        tracemalloc.start()
        for _ in read_measurements("runs.csv", chunk_rows=100):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(200)
    assert peak(5000) < 1.5 * peak(500)


WANTED = {
    "text": "model_id weight_precision gpu",
    "a whole number from 1 to 1000000": "num_gpus tp dp ep pp",
    "a finite number, 0 or more": "kv_pos_window",
    "a finite number above 0": "avg_batch avg_output_len avg_input_len prefills_per_output_token median_itl_ms"
    " avg_tpot_ms output_tok_s avg_power_w j_per_output_token",
}
BAD = {
    "text": [""],
    "a whole number from 1 to 1000000": ["0", "-1", "1.5", "1000001", "1e999", "nan", "inf", "two", "1_000"],
    "a finite number, 0 or more": ["-1", "-1e-300", "nan", "inf", "-inf", "1e999", "many"],
    "a finite number above 0": ["0", "-0.0", "1e-999", "-3", "nan", "NaN", "Infinity", "1e999", "1_000", "\u0663", "7 W", "0x1p3"],
}  # fmt: skip


def test_the_faults_below_are_of_all_columns() -> None:
    assert {*" ".join(WANTED.values()).split(), "task"} == {*TEXTS, *NUMBERS}


@pytest.mark.parametrize(
    ("name", "cell", "wanted"),
    [
        (name, cell, wanted)
        for wanted, names in WANTED.items()
        for name in names.split()
        for cell in BAD[wanted]
    ],
)
def test_a_cell_is_refused_by_place_name_and_what_is_wanted(name: str, cell: str, wanted: str) -> None:
    given = f"'{cell}'" if cell else "nothing"
    if name in HEADER.split(","):
        found = faults(HEADER, ROW, with_cell(name, cell), ROW)
    else:
        found = faults(f"{HEADER},{name}", f"{ROW},1", f"{ROW},{cell}", f"{ROW},1")
    assert found == (f"runs.csv:3: {name}: {given} given; expected {wanted}",)


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("cell", ["", "  ", '""'])
def test_an_empty_cell_of_a_required_column_is_refused(name: str, cell: str) -> None:
    (fault,) = faults(HEADER, ROW, with_cell(name, cell))
    assert fault.startswith(f"runs.csv:3: {name}: nothing given; expected ")


def test_all_faults_of_a_chunk_are_told_in_the_order_of_the_file() -> None:
    twice = with_cell("num_gpus", "0", with_cell("avg_power_w", "-1"))
    assert faults(HEADER, twice, ROW, ROW + ",5", with_cell("gpu", ""), ROW, "# remark", "alone") == (
        "runs.csv:2: num_gpus: '0' given; expected a whole number from 1 to 1000000",
        "runs.csv:2: avg_power_w: '-1' given; expected a finite number above 0",
        "runs.csv:4: 10 cells given; expected 9, as in the header",
        "runs.csv:5: gpu: nothing given; expected text",
        "runs.csv:8: 1 cell given; expected 9, as in the header",
    )


def test_of_more_than_20_faults_the_rest_is_counted() -> None:
    bad = with_cell("avg_batch", "x")
    assert len(faults(HEADER, *[bad] * 20)) == 20
    told = faults(HEADER, *[bad] * 25, ROW)
    assert told[19] == "runs.csv:21: avg_batch: 'x' given; expected a finite number above 0"
    assert told[20:] == ("runs.csv: and 5 more faults up to line 27",)


def test_chunks_before_a_fault_are_given_out_and_those_behind_it_not_looked_at() -> None:
    write(HEADER, ROW, ROW, ROW, with_cell("ep", "x"), with_cell("ep", "y"))
    chunks = read_measurements("runs.csv", chunk_rows=2)
    assert next(chunks).lines.tolist() == [2, 3]
    with pytest.raises(NpuwattError, match=r"^runs\.csv:5: ep: 'x' given; .*$"):
        next(chunks)


def test_a_long_cell_is_cut_and_a_control_character_not_printed() -> None:
    (fault,) = faults(HEADER, with_cell("avg_batch", "\x1b[31m" + "9" * 500 + "x"))
    assert fault.startswith("runs.csv:2: avg_batch: '?[31m999")
    assert len(fault) < 130


@pytest.mark.parametrize("lines", [(), ("",), ("# only", "", "# remarks"), ("\ufeff",)])
def test_a_file_without_a_header_is_refused(lines: tuple[str, ...]) -> None:
    assert faults(*lines) == (
        "runs.csv: holds no rows; expected a header of column names and a row for each run",
    )


def test_a_file_without_rows_is_refused() -> None:
    assert faults("# remark", HEADER, "", "# end") == (
        "runs.csv:2: no rows below the header; expected one for each run",
    )


def test_missing_columns_are_named_with_what_the_header_has() -> None:
    missing = "'weight_precision', 'num_gpus', 'avg_batch', 'avg_output_len'"
    assert faults("# remark", "model_id,gpu,tp", "a,b,1") == (
        f"runs.csv:2: has no column {missing}; the header has 'model_id, gpu, tp'",
    )


def test_a_name_close_to_a_missing_column_is_pointed_at() -> None:
    header = HEADER.replace("gpu,num_gpus", "GPU,num_gpu")
    assert faults(header, ROW) == (
        f"runs.csv:1: has no column 'gpu', 'num_gpus'; the header has '{header.replace(',', ', ')}'",
        "runs.csv:1: 'GPU': unknown column; did you mean 'gpu'?",
        "runs.csv:1: 'num_gpu': unknown column; did you mean 'num_gpus'?",
    )


def test_a_file_with_other_separators_shows_its_header_as_one_name() -> None:
    (fault,) = faults(HEADER.replace(",", ";"), ROW.replace(",", ";"))
    assert "the header has 'model_id;weight_precision;gpu;" in fault


def test_a_column_that_stands_twice_is_refused() -> None:
    assert faults(HEADER + ",ep , ep", ROW + ",,") == (
        "runs.csv:1: ep: stands 3 times in the header; expected once",
    )


BROKEN: dict[str, tuple[bytes, str]] = {
    "another encoding": (b"caf\xe9,bf16,H100,2,7.5,300,,0,512", "is not UTF-8 text; expected UTF-8"),
    "a zero byte": (b"a\0b,bf16,H100,2,7.5,300,,0,512", "holds a zero byte; expected UTF-8 text"),
    "an open quote": (
        b'"open,bf16,H100,2,7.5,300,,0,512',
        "a quoted field is still open at the end of the file; expected a closing '\"'",
    ),
    "a long field": (
        b"m" * 200_000 + b",bf16,H100,2,7.5,300,,0,512",
        "a field of more than 131072 characters; expected a shorter one, or a closing '\"' before that",
    ),
    "text after a quote": (
        b'"a"b,bf16,H100,2,7.5,300,,0,512',
        "text after a quoted field; expected ',' there, or '\"\"' for a quote within it",
    ),
    "a carriage return": (
        b"a\rb,bf16,H100,2,7.5,300,,0,512",
        "a carriage return within a row; expected lines that end in LF or CRLF",
    ),
    "a long line": (b"#" * (MOST_ROW_BYTES + 1), "a line of more than 1 MB; expected a shorter one"),
    "a long row": (
        b'"' + b'\n","' * (MOST_ROW_BYTES // 4 + 9),
        "a row of more than 1 MB; expected a shorter one",
    ),
}


@pytest.mark.parametrize(("line", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_read_on_is_refused_at_its_line(line: bytes, fault: str) -> None:
    assert faults(HEADER, ROW, line, "# remark") == (f"runs.csv:3: {fault}",)
    assert faults(HEADER, line)[0].startswith(f"runs.csv:2: {fault[:20]}")
    assert faults(line, ROW)[0].startswith(f"runs.csv:1: {fault[:20]}")


def test_faults_before_the_line_that_cannot_be_read_are_told_too() -> None:
    assert faults(HEADER, with_cell("ep", "x"), ROW, b"\xff") == (
        "runs.csv:2: ep: 'x' given; expected a whole number from 1 to 1000000",
        "runs.csv:4: is not UTF-8 text; expected UTF-8",
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_wider_encodings_are_refused_at_the_first_line(encoding: str) -> None:
    (fault,) = faults(f"{HEADER}\n{ROW}".encode(encoding))
    assert fault.startswith("runs.csv:1: ")
    assert fault.endswith(("expected UTF-8 text", "expected UTF-8"))


NOT_PLAIN = {
    "missing": "no such file or directory; expected a readable file",
    "folder": "is a directory; expected a file",
    "pipe": "is not a plain file; expected one, or '-' for standard input",
    "loop": "too many levels of symbolic links; expected a readable file",
    "memory": "input/output error; expected a readable file",  # opens, but cannot be read, even by root
    "a\0b": "cannot be opened; expected a readable file",
}


@pytest.mark.parametrize(("path", "fault"), NOT_PLAIN.items())
def test_what_is_no_readable_plain_file_is_refused(path: str, fault: str) -> None:
    os.mkdir("folder")
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    os.symlink("/proc/self/mem", "memory")
    with pytest.raises(NpuwattError) as caught:
        next(read_measurements(path))
    assert caught.value.faults == (f"{printable(path)}: {fault}",)


PRINTS_LINES = """
from npuwatt.audit.measurements import read_measurements
from npuwatt.errors import NpuwattError
try:
    print([chunk.lines.tolist() for chunk in read_measurements("-")])
except NpuwattError as error:
    print(error)
"""


def test_a_dash_is_standard_input() -> None:
    def said(given: str) -> str:
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            [sys.executable, "-c", PRINTS_LINES], input=given, env=os.environ | {"PYTHONPATH": root},
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    assert said(f"{HEADER}\n{ROW}\n{ROW}") == "[[2, 3]]"
    assert said(f"{HEADER}\n{with_cell('gpu', '')}") == "standard input:2: gpu: nothing given; expected text"


def test_the_file_is_closed_when_its_reader_stops_early() -> None:
    write(HEADER, *[ROW] * 10)
    chunks = read_measurements("runs.csv", chunk_rows=2)
    next(chunks)
    before = len(os.listdir("/proc/self/fd"))
    del chunks
    assert len(os.listdir("/proc/self/fd")) == before - 1


MEANT = {
    "bf16": "bfloat16 bf16 auto BF16",
    "fp16": "float16 fp16 half",
    "fp8": "fp8 FP8 float8 fp8_e4m3 FP8_E4M3",
    "int8": "int8 w8a8 W8A8",
    "fp4": "mxfp4 nvfp4 NVFP4 fp4",
    "int4": "int4 awq AWQ gptq w4a16",
    "fp32": "fp32 float32",
}


def test_every_number_type_has_its_names_and_others_have_none() -> None:
    assert MEANT.keys() == set(get_args(Width))
    for width, names in MEANT.items():
        assert {width_of(name) for name in names.split()} == {width}
    assert width_of(" bfloat16/float16 (not stated)") == "bf16"
    assert width_of("") is width_of("int3") is width_of("bf") is None
