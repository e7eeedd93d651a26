"""The house: floors, no circles, files of a readable size, names that tell their unit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import npuwatt
from npuwatt.units import SUFFIXES, suffix_of

PACKAGE = Path(npuwatt.__file__).parent
ROOT = Path(__file__).parent.parent
FLOORS = {
    "": 0,  # the package itself: its version
    "errors": 1,
    "arrays": 1,
    "record": 1,
    "require": 2,
    "units": 2,
    "preset": 3,
    "workload": 3,
    "checkpoint": 3,
    "datacenter": 3,
    "handset": 3,
    "device": 4,
    "study": 5,
    "explore": 6,
    "audit": 7,
    "report": 8,
    "extras": 9,
    "cli": 10,
    "__main__": 11,
}
GROUND = {"", "errors", "arrays", "record", "require", "units"}
MODELS = {
    "workload": GROUND,
    "checkpoint": GROUND,
    "datacenter": GROUND,
    "handset": GROUND,
    "device": GROUND | {"workload"},
}
# Numbers that need no unit: counts and shares whose name is a term of the field, and evidence of any unit.
PLAIN = {
    "batch", "input_len", "output_len", "output_tokens", "all_tokens", "tokens", "layers", "devices", "devices_needed",
    "macs", "k", "n", "link_steps", "weight_bits", "input_bits", "cell_bits", "dac_bits", "lossless_bits", "value", "low", "high", "first",
    "last", "head_tokens", "fits", "values", "context_tokens", "matrix", "embedding", "vector",
    "numbers", "uneven", "needed", "chosen", "count", "groups", "collectives", "expert_layers", "local_experts", "prompt_steps",
    "is_mixture", "is_hybrid", "is_fp8", "overhead_bound", "metrics", "measured", "jacobian", "inside", "outside", "hardware", "swapped", "predicted", "baseline", "ratios", "cost", "places", "errors", "spread", "roofline", "classes", "parameters",
    "largest", "mean_square", "weight_density", "activation_density", "density", "effectual_density", "density_covariance", "index_bits",
}  # fmt: skip

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(module: str) -> str:
    return module.partition(".")[0]


def imports_of(path: Path, *, at_run_time: bool = True) -> Iterator[str]:
    """Modules of the package that a file imports, wherever in it; without those that only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if at_run_time:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped.update(inner for child in node.body for inner in ast.walk(child))
    known = {module_of(file) for file in FILES}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "npuwatt":
                    yield alias.name.partition(".")[2]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "npuwatt":
            base = (node.module or "").partition(".")[2]
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield inner if inner in known else base


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_an_import_points_to_a_lower_floor_or_stays_in_its_room(path: Path) -> None:
    room = room_of(module_of(path))
    if module_of(path) == "":
        return  # the package offers names of every room, each when it is first used
    for target in imports_of(path, at_run_time=False):
        other = room_of(target)
        assert other in FLOORS, f"{other} has no floor"
        assert other == room or FLOORS[other] < FLOORS[room], f"{module_of(path)} imports {target}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_models_know_only_the_ground_and_devices_the_op_table_too(path: Path) -> None:
    room = room_of(module_of(path))
    if room in MODELS:
        others = {room_of(target) for target in imports_of(path, at_run_time=False)} - {room}
        assert others <= MODELS[room]


def test_no_module_reaches_itself_through_its_imports() -> None:
    graph = {module_of(path): set(imports_of(path)) - {module_of(path)} for path in FILES}
    graph[""] = set()
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    "path", [*FILES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / ".ci").glob("*.py"))], ids=str
)
def test_a_file_stays_under_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


def fields_of(path: Path) -> Iterator[tuple[str, str, str]]:
    """Class, name and annotation of each field in a file's classes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                    yield node.name, item.target.id, ast.unparse(item.annotation)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_field_that_holds_a_real_number_tells_its_unit(path: Path) -> None:
    for record, name, kind in fields_of(path):
        words = set(kind.replace("[", " ").replace("]", " ").replace(",", " ").replace("|", " ").split())
        if words & {"Real", "float", "Array"} and "ClassVar" not in kind:
            assert suffix_of(name) or name in PLAIN or name.endswith("_bytes_per_token"), (
                f"{record}.{name}: {kind}"
            )


def test_every_suffix_names_a_dimension_that_the_others_do_not_shadow() -> None:
    for suffix in SUFFIXES:
        assert suffix_of(f"some{suffix}") == suffix


def test_no_formula_room_touches_files_or_prints() -> None:
    for path in FILES:
        if room_of(module_of(path)) in ("workload", "device", "datacenter"):
            calls = {
                node.func.id
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            assert not calls & {"print", "open", "input", "eval", "exec"}, module_of(path)
