"""What each term of the serving model buys out of sample: `python tests/benchmarks/ablation.py FILE` (npuwatt[fit]).

FILE is the calibration file of H100 and B200 runs. Each line takes one term away, fits all other constants again, and
predicts each shape by a fit that left it out: MAPE in percent over runs that are not overhead-bound, dense and 16-bit
mixtures of experts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np

from npuwatt.audit import calibrate as fitting
from npuwatt.audit.constants import Flags
from npuwatt.extras.fit import solve
from npuwatt.preset import library

DEVICES, STACK = ("h100-sxm", "b200-sxm"), "vllm-0.11"
SHOWN = {
    "step_s": "ITL",
    "output_tokens_per_s": "tokens/s",
    "avg_power_w": "W",
    "j_per_output_token": "J/token",
    "j_per_output_token_given_tok_s": "J/token given tokens/s",
}
# A term is taken away by stating the value at which it does nothing, in all presets, without a range to fit it in.
TERMS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "all terms": (),
    "time of a step": (("stacks", "step_time", "0 s"),),
    "time of a collective": (("stacks", "collective_time", "0 s"),),
    "time of an expert layer": (("stacks", "expert_layer_time", "0 s"),),
    "host time of a sequence": (("stacks", "sequence_time", "0 s"),),
    "data and arithmetic that do not overlap": (("stacks", "unoverlapped", "0"),),
    "rows that fill expert blocks": (
        (
            "stacks",
            "expert_block",
            "{bf16: {value: 1, source: assumed, where: taken away}, fp8: {value: 1, source: assumed, where: taken away}}",
        ),
        (
            "stacks",
            "expert_small_block",
            "{bf16: {value: 1, source: assumed, where: taken away}, fp8: {value: 1, source: assumed, where: taken away}}",
        ),
    ),
    "small blocks while tokens are few": (
        (
            "stacks",
            "expert_small_block",
            "{bf16: {value: 64, source: assumed, where: as large}, fp8: {value: 128, source: assumed, where: as large}}",
        ),
    ),
    "dearer MACs in experts": (("devices", "experts_energy", "1"),),
    "own compute share of experts": (("devices", "experts_utilization", "1"),),
    "dearer cached bytes": (("devices", "cache_energy", "0 pJ/byte"),),
    "most loaded device of expert parallelism": (),
}


def main(path: str, wanted: Sequence[str]) -> None:
    print("| without | " + " | ".join(SHOWN.values()) + " | MoE J/token |\n|:--|" + "--:|" * (len(SHOWN) + 1))
    for term in wanted or TERMS:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), TERMS[term])
            even = patch(
                "npuwatt.study.inference.most_loaded_ratio",
                lambda share, experts, devices: np.ones_like(share),
            )
            with even if term.startswith("most loaded") else nullcontext():
                found = fitting.calibrate(path, solve=solve, devices=DEVICES, stack=STACK, folders=[folder])
        print(f"| {term} | " + " | ".join(_errors(found)) + " |", flush=True)


def _write(folder: Path, edits: Sequence[tuple[str, str, str]]) -> None:
    for kind, names in (("devices", DEVICES), ("stacks", (STACK,))):
        (folder / kind).mkdir()
        for name in names:
            lines = Path(library.presets_root(), kind, f"{name}.yaml").read_text(encoding="utf-8").split("\n")
            for _, key, value in (edit for edit in edits if edit[0] == kind):
                leaf = (
                    value
                    if value.startswith("{")
                    else f"{{value: {value}, source: assumed, where: taken away, low: {value}, high: {value}}}"
                )
                lines = [*_without(lines, key), f"{key}: {leaf}"]
            (folder / kind / f"{name}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _without(lines: Sequence[str], key: str) -> list[str]:
    """The lines of a preset without one of its top-level keys and what is indented under it."""
    kept, inside = [], False
    for line in lines:
        if line[:1].strip():
            inside = line.startswith(f"{key}:")
        if not inside:
            kept.append(line)
    return kept


def _errors(found: fitting.Calibration) -> list[str]:
    core = [~part.overhead_bound & ~part.is_hybrid & ~part.is_fp8 for part in found.parts]
    mixtures = [flags & part.is_mixture for flags, part in zip(core, found.parts, strict=True)]
    shown = [_mape(found, name, core) for name in SHOWN]
    return [f"{value:.1f}" for value in (*shown, _mape(found, "j_per_output_token", mixtures))]


def _mape(found: fitting.Calibration, name: str, masks: Sequence[Flags]) -> float:
    logs = np.concatenate([values[name][flags] for values, flags in zip(found.outside, masks, strict=True)])
    return float(100 * np.mean(np.abs(np.expm1(logs))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
