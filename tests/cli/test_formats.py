"""One record behind every format: each parses, and each shows the same numbers."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Run

Row = dict[str, Any]
PREFIXES = {"a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0,
            "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}  # fmt: skip
UNITS = (
    "FLOPS",
    "OPS",
    "J/bit",
    "MAC/B",
    "MAC/s",
    "J/MAC",
    "J/B",
    "B/s",
    "MAC",
    "Hz",
    "W",
    "J",
    "s",
    "B",
    "m",
    "x",
    "%",
    "",
)
# The list of a JSON document that the other formats show row by row.
ASKED = {
    "compare": (("compare", "gpu", "npu", "pim", "crossbar"), "results"),
    "estimate": (("estimate", "gpu", "--batch", "4"), "phases"),
    "sweep": (("sweep", "gpu", "pim", "--vary", "request.batch=1,8,64", "--devices", "1"), "results"),
    "compare serving": (("compare", "gpu", "pim", "--serving", "--batch", "16"), "results"),
    "estimate serving": (("estimate", "gpu", "--serving", "--batch", "16"), "phases"),
    "sweep serving": (("sweep", "gpu", "--serving", "--vary", "request.batch=1,8,64"), "results"),
    "list": (("presets", "list"), "presets"),
    "list stacks": (("presets", "list", "stacks"), "presets"),
    "show": (("presets", "show", "h100-sxm"), "numbers"),
    "show stack": (("presets", "show", "vllm-0.11"), "numbers"),
    "check": (("presets", "check", "h100-sxm", "llama-3.1-8b"), "presets"),
    "path": (("presets", "path"), "paths"),
}
FOR_PEOPLE = ("plain", "table", "markdown")
# Columns for people, and the JSON fields whose numbers they show.
COLUMNS = {
    "compare": {"TTFT": "ttft_s", "TPOT": "tpot_s", "tokens/s": "tokens_per_s", "power": "power_w",
                "J/token": "energy_per_output_token_j", "tokens/J": "tokens_per_j", "to gpu": "energy_ratio_to_first"},
    "estimate": {"MACs": "macs", "MAC/B": "intensity_macs_per_byte", "time": "time_s", "energy": "energy_j", "layers": "count"},
    "compare serving": {"TTFT": "ttft_s", "TPOT": "tpot_s", "ITL": "median_itl_s", "power": "power_w"},
    "estimate serving": {"MACs": "macs", "time": "time_s", "energy": "energy_j"},
    "show": {"value": "value"},
    "show stack": {"value": "value"},
}  # fmt: skip


def test_every_format_of_a_result_command_is_offered(run: Run) -> None:
    for command in (
        "compare",
        "estimate",
        "sweep",
        "presets list",
        "presets show",
        "presets check",
        "presets path",
    ):
        text = " ".join(run(*command.split(), "-h").out.split())
        assert "table, plain, json, jsonl, csv or markdown" in text


@pytest.mark.parametrize("style", ["json", "jsonl", "csv", *FOR_PEOPLE])
@pytest.mark.parametrize("name", ASKED)
def test_every_format_of_every_result_exits_0_and_says_no_more(run: Run, name: str, style: str) -> None:
    done = run(*ASKED[name][0], "--format", style)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")


@pytest.mark.parametrize("name", ASKED)
def test_short_json_is_format_json(run: Run, name: str) -> None:
    asked, _ = ASKED[name]
    assert run(*asked, "--json").out == run(*asked, "--format", "json").out


@pytest.mark.parametrize("name", ASKED)
def test_json_lines_are_the_rows_of_the_json_document(run: Run, name: str) -> None:
    assert run(*ASKED[name][0], "--format", "jsonl").lines() == records(run, name)


@pytest.mark.parametrize("name", ASKED)
def test_csv_rows_are_the_rows_of_the_json_document(run: Run, name: str) -> None:
    expected = [flat(record) for record in records(run, name)]
    rows = list(csv.DictReader(io.StringIO(run(*ASKED[name][0], "--format", "csv").out)))
    assert len(rows) == len(expected) > 0
    for row, record in zip(rows, expected, strict=True):
        assert {key: row[key] for key in record} == {key: csv_text(value) for key, value in record.items()}
        assert all(row[key] == "" or key.startswith("request.") for key in row.keys() - record.keys())


def test_csv_rows_of_several_comparisons_can_be_told_apart(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("compare", "gpu", "--batch", "7", "--format", "csv").out)))
    assert [(row["request.batch"], row["request.network"]) for row in rows] == [("7", "llama-3.1-8b")]


@pytest.mark.parametrize("style", FOR_PEOPLE)
@pytest.mark.parametrize("name", COLUMNS)
def test_people_see_the_numbers_of_the_json_document(run: Run, name: str, style: str) -> None:
    done = run(*ASKED[name][0], "--format", style)
    beside = {"compare": "device", "estimate": "op"}.get(name.split()[0], "address")
    for column, field in COLUMNS[name].items():
        values = numbers_of(done.out, column, beside)
        exact = [record[field] for record in records(run, name)]
        assert values == pytest.approx(exact, rel=6e-3, abs=1e-30), field


@pytest.mark.parametrize("style", FOR_PEOPLE)
@pytest.mark.parametrize("name", ["compare", "compare serving"])
def test_people_see_who_wins_each_kind_that_matters_and_why(run: Run, name: str, style: str) -> None:
    asked, _ = ASKED[name]
    document = run(*asked, "--format", "json").json()
    shown = [cells(line) for line in run(*asked, "--format", style, env={"COLUMNS": "200"}).out.splitlines()]
    for winner in document["winners"]:
        shares = [
            kind[field] / phase[field]
            for result in document["results"] for phase in result["phases"] for kind in phase["kinds"]
            for field in ("time_s", "energy_j") if (phase["phase"], kind["kind"]) == (winner["phase"], winner["kind"])
        ]  # fmt: skip
        rows = [row for row in shown if row[:2] == [winner["phase"], winner["kind"] or "all"]]
        if shares and max(shares) < 0.01:
            assert not rows
        else:
            assert winner["why"] in [row[-1] for row in rows]
            assert any(says(row[-3], winner["fastest"], "time") for row in rows)
            assert any(says(row[-2], winner["least_energy"], "energy") for row in rows)


def says(cell: str, lead: Row, what: str) -> bool:
    """Whether a cell names the leading device with its factor, or those that are as good."""
    cell = cell.replace("!", "")  # marks products that are too noisy
    if lead["close"]:
        return cell == "even" or cell == ", ".join([lead["device"], *lead["close"]])
    name, ratio = cell.rsplit(" ", 1)
    return name == lead["device"] and quantity(ratio) == pytest.approx(lead[f"{what}_ratio"], rel=0.05)


@pytest.mark.parametrize("style", FOR_PEOPLE)
@pytest.mark.parametrize(
    "more", [("gpu",), ("gpu", "h200-sxm", "--network", "llama-3.1-70b", "--devices", "1")]
)
def test_nobody_wins_alone(run: Run, more: tuple[str, ...], style: str) -> None:
    assert run("compare", *more, "--json").json()["winners"] == []
    assert "who wins" not in run("compare", *more, "--format", style).out


def test_a_line_of_a_comparison_has_no_phases(run: Run) -> None:
    asked, _ = ASKED["compare"]
    assert "phases" in run(*asked, "--json").json()["results"][0]
    assert all("phases" not in line for line in run(*asked, "--format", "jsonl").lines())
    assert "phases" not in run(*asked, "--format", "csv").out.splitlines()[0].split(",")


@pytest.mark.parametrize("style", FOR_PEOPLE)
def test_people_see_the_rows_of_a_sweep(run: Run, style: str) -> None:
    asked, _ = ASKED["sweep"]
    shown = run(*asked, "--format", style).out
    expected = records(run, "sweep")
    fields = {
        "ttft_s": "TTFT",
        "tokens_per_s": "tokens/s",
        "energy_per_output_token_j": "J/token",
        "devices_needed": "needed",
    }
    for field, words in fields.items():
        exact = [record[field] for record in expected if record[field] is not None]
        assert numbers_of(shown, words) == pytest.approx(exact, rel=6e-3), field


@pytest.mark.parametrize("style", FOR_PEOPLE)
@pytest.mark.parametrize("name", ["list", "list stacks", "path"])
def test_people_see_every_name_and_path(run: Run, name: str, style: str) -> None:
    shown = run(*ASKED[name][0], "--format", style, env={"COLUMNS": "200"}).out.replace("\\_", "_")
    words = set(re.split(r"[\s|*]+", shown))
    assert {next(iter(record.values())) for record in records(run, name)} <= words


@pytest.mark.parametrize("style", FOR_PEOPLE)
def test_people_see_the_totals_of_a_check(run: Run, style: str) -> None:
    checked = records(run, "check")
    shown = run(*ASKED["check"][0], "--format", style).out
    assert sum(numbers_of(shown, "numbers")) == sum(preset["numbers"] for preset in checked)
    assert sum(numbers_of(shown, "assumed")) == sum(
        preset["qualities"].get("assumed", 0) for preset in checked
    )


@pytest.mark.parametrize("style", ["json", "jsonl", "csv", *FOR_PEOPLE])
def test_an_import_shows_the_same_size_in_every_format(run: Run, config: Path, style: str) -> None:
    done = run("model", "import", str(config), "--format", style)
    assert (done.code, done.err) == (0, "")
    if style == "json":
        (network,) = done.json()["networks"]
    elif style == "jsonl":
        (network,) = done.lines()
    elif style == "csv":
        (network,) = csv.DictReader(io.StringIO(done.out))
    else:
        (count,) = re.findall(r"494,\d{3},\d{3}", done.out.partition("active")[2])[:1]
        network = {"parameters_count": count.replace(",", "")}
    # Qwen2.5-0.5B's safetensors hold 494,032,768 parameters (Hugging Face hub, model page).
    assert float(network["parameters_count"]) == pytest.approx(494_032_768, rel=1e-3)


@pytest.mark.parametrize("name", ASKED)
def test_markdown_tables_have_as_many_cells_in_every_row(run: Run, name: str) -> None:
    done = run(*ASKED[name][0], "--format", "markdown")
    assert done.code == 0
    blocks = [block.splitlines() for block in done.out.split("\n\n") if block.startswith("|")]
    assert blocks or name == "path"
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
        assert re.fullmatch(r"\|( :?-+:? \|)+", block[1])


@pytest.mark.parametrize("name", ASKED)
def test_the_default_in_a_pipe_is_plain_text_and_csv_for_a_sweep(run: Run, name: str) -> None:
    asked, _ = ASKED[name]
    assert run(*asked).out == run(*asked, "--format", "csv" if asked[0] == "sweep" else "plain").out


def test_an_import_prints_the_preset_unless_a_format_is_asked_for(run: Run, config: Path) -> None:
    done = run("model", "import", str(config))
    assert done.out == run("model", "import", str(config), "--json").json()["networks"][0]["preset"]


def records(run: Run, name: str) -> list[Row]:
    """The rows of a JSON document; an estimate's ops with their phase, a comparison's devices without."""
    asked, key = ASKED[name]
    found: list[Row] = run(*asked, "--format", "json").json()[key]
    if key != "phases":
        return [{field: value for field, value in row.items() if field != "phases"} for row in found]
    return [{"phase": phase["phase"], **op} for phase in found for op in phase["ops"]]


def flat(record: Row, prefix: str = "") -> Row:
    found: Row = {}
    for name, value in record.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def csv_text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, float) else str(value)


def numbers_of(text: str, column: str, beside: str = "") -> list[float]:
    """The numbers under one column name (of tables that have the column `beside` too), without those of a total."""
    found: list[float] = []
    place, width = -1, 0
    for line in text.splitlines():
        row = cells(line)
        if column in row and (not beside or beside in row):
            place, width = row.index(column), len(row)
        elif place < 0 or len(row) != width or row[0] == "total":
            place = place if line.strip() else -1
        elif (number := quantity(row[place])) is not None:
            found.append(number)
    return found


def cells(line: str) -> list[str]:
    """The cells of a table's line, in text or in Markdown."""
    if line.startswith("|"):
        found = line.replace("\\_", "_").strip("|").split("|")
    else:
        found = re.split(r"\s{2,}", line.strip())
    return [cell.strip() for cell in found]


def quantity(text: str) -> float | None:
    """A number for people, back in SI; None where there is none."""
    match = re.fullmatch(r"([-+]?[\d.,]+(?:e[-+]?\d+)?) ?(\S*)", text)
    if match is None:
        return None
    unit = next(
        unit
        for unit in UNITS
        if match[2].endswith(unit) and match[2][: len(match[2]) - len(unit)] in PREFIXES
    )
    worth = {"OPS": 0.5, "FLOPS": 0.5, "J/bit": 8.0}.get(
        unit, 1.0
    )  # two operations are one MAC, eight bits a byte
    return worth * float(match[1].replace(",", "")) * PREFIXES[match[2][: len(match[2]) - len(unit)]]
