"""How fast zeros of a checkpoint are counted: `python tests/benchmarks/scan.py`.

Makes files of 2 GiB of bf16 weights in a temporary folder (set TMPDIR to choose the disk), one at a time, reads each
once so that the system holds it in memory, and prints what all statistics of structure with sampled magnitudes cost:
gigabytes per second of CPU time, that over `np.sum` of the same mapped bytes as 64-bit integers, and the most memory
resident. Then what a file of many tiny tensors takes, from the command line. Medians (of the last, means) of five runs, each in a process of
its own. Nothing here is a test; figures belong beside the machine
they were taken on.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from npuwatt.checkpoint import structure

FILE_BYTES = 2**31
TINY, TINY_SHAPE = 20_000, (4, 8)  # tensors of F32
RUNS = 5
# What the file holds, the shape of each tensor in it, its input axis, and whether all weights are measured.
CASES = {
    "dense, one tensor": ("dense", (32768, 32768), 1, False),
    "dense, tensors of 32 MiB": ("dense", (4096, 4096), 1, False),
    "half zeros, tensors of 32 MiB": ("half", (4096, 4096), 1, False),
    "2:4, one tensor": ("2:4", (32768, 32768), 1, False),
    "2:4, tensors of 32 MiB": ("2:4", (4096, 4096), 1, False),
    "2:4, stored (inputs, outputs)": ("2:4", (4096, 4096), 0, False),
    "dense, tensors of 32 MiB, all weights measured": ("dense", (4096, 4096), 1, True),
}


def write(path: str, kind: str) -> None:
    """A file that repeats a tensor of 32 MiB: normal bf16 weights, some of them zero."""
    rng = np.random.default_rng(0)
    size = (4096, 4096)
    words = (rng.normal(0, 0.02, size).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    words |= 1  # none is zero by chance
    if kind == "half":
        words[rng.random(size) < 0.5] = 0
    if kind == "2:4":
        words[:, 0::4] = words[:, 3::4] = 0
    with open(path, "wb") as file:
        for _ in range(FILE_BYTES // words.nbytes):
            words.tofile(file)


def cpu_s(work: str, path: str, shape: tuple[int, ...], axis: int, exact: bool) -> tuple[float, int]:
    """User and system seconds of one pass over the file, and the most KiB that this process had resident."""
    mapped = np.memmap(path, np.uint16, "r").reshape(-1, *shape)
    start = time.process_time()
    for tensor in mapped:
        if work == "sum":
            tensor.view(np.uint64).sum()
        else:
            structure.statistics(tensor, "BF16", input_axis=axis, exact_thresholds=exact)
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_a_process(work: str, path: str, case: str) -> list[float]:
    """What this file does with three arguments, in a process of its own, and the numbers it prints."""
    process = subprocess.run(
        [sys.executable, __file__, work, path, case], check=True, stdout=subprocess.PIPE, text=True
    )
    return [float(number) for number in process.stdout.split()]


def main() -> None:
    """Print one line a case."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "weights")
        held = ""
        for case, (kind, *_) in CASES.items():
            if kind != held:
                in_a_process("write", path, held := kind)
                in_a_process("sum", path, case)
            taken = {work: [in_a_process(work, path, case) for _ in range(RUNS)] for work in ("sum", "scan")}
            plain_s, scan_s = (statistics.median(run[0] for run in taken[work]) for work in ("sum", "scan"))
            memory_bytes = 1024 * max(run[1] for run in taken["scan"])
            print(
                f"{case:47} {FILE_BYTES / scan_s / 1e9:5.2f} GB per CPU-second (goal 3), "
                f"{plain_s / scan_s:.2f} of np.sum (or 0.2), {memory_bytes / 1e6:.0f} MB resident (goal 300)",
                flush=True,
            )


def tiny() -> None:
    """Print what 20,000 tensors of 128 bytes take."""
    size = 4 * TINY_SHAPE[0] * TINY_SHAPE[1]
    header = json.dumps(
        {
            f"layers.{i}.fc1.weight": {
                "dtype": "F32",
                "shape": TINY_SHAPE,
                "data_offsets": [i * size, (i + 1) * size],
            }
            for i in range(TINY)
        }
    ).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        path.write_bytes(
            len(header).to_bytes(8, "little") + header + bytes(range(256)) * (TINY * size // 256)
        )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(RUNS):
            command = [sys.executable, "-m", "npuwatt", "model", "scan", str(path), "--quiet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{TINY} tensors of {size} bytes: {spent_s / RUNS:.1f} CPU-seconds (goal 4)")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", path, kind]:
            write(path, kind)
        case [work, path, case]:
            print(*cpu_s(work, path, *CASES[case][1:]))
        case ["tiny"]:
            tiny()
        case _:
            main()
            tiny()
