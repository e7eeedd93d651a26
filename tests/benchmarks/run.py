"""How fast npuwatt starts and sweeps, as ratios and rates: `python tests/benchmarks/run.py`.

Start-up is user and system CPU time of a whole process with its output piped, over that of `python -c "import numpy"`,
the median of 15 pairs run in turn. It means something only for a wheel (`pip install .`): a checkout reads YAML where a
wheel reads JSON. Nothing here is a test; figures belong beside the machine they were taken on.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

PAIRS = 15
NUMPY = [sys.executable, "-c", "import numpy"]
NPUWATT = [os.path.join(os.path.dirname(sys.executable), "npuwatt")]
STARTS = (
    (["compare", "gpu", "npu", "pim"], 0.85),
    (["-h"], 0.45),
    (["--version"], 0.2),
    (["presets", "list"], None),
)
SWEEP = ["sweep", "gpu", "--best", "energy_per_output_token_j", "--top", "3"]
BANDWIDTH = "devices.gpu.levels.dram.bandwidth=1TB/s..8TB/s"
VARIED = {
    "bandwidth x batch": (BANDWIDTH, "request.batch=1..100"),
    "bandwidth x energy": (BANDWIDTH, "devices.gpu.levels.dram.read_energy=1pJ/bit..8pJ/bit"),
}


def cpu_s(command: list[str]) -> tuple[float, int]:
    """User and system seconds of a process, and its peak memory in KiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def start_ratios() -> None:
    """CPU time of short commands over that of importing numpy."""
    print(f"start-up, CPU time over 'import numpy', median of {PAIRS} pairs (least to most)")
    for arguments, bar in STARTS:
        ratios = sorted(cpu_s([*NPUWATT, *arguments])[0] / cpu_s(NUMPY)[0] for _ in range(PAIRS))
        goal = f", goal {bar}" if bar else ""
        name = " ".join(arguments)
        print(
            f"  npuwatt {name:24} {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}){goal}"
        )


def sweep_rates() -> None:
    """Points a second beyond start-up on one core, whether time is linear in points, and peak memory."""
    print("sweep --best, llama-3.1-8b, one device, two addresses")
    for name, (first, second) in VARIED.items():
        seconds: dict[int, float] = {}
        for points, (rows, columns) in {
            10_000: (100, 100),
            1_000_000: (10_000, 100),
            10_000_000: (100_000, 100),
        }.items():
            vary = ["--vary", f"{first}:{rows}", "--vary", f"{second}:{columns}"]
            seconds[points], memory = cpu_s([*NPUWATT, *SWEEP, *vary])
        beyond = {points: used - seconds[10_000] for points, used in seconds.items()}
        print(
            f"  {name:18} {1e6 / beyond[1_000_000]:,.0f} points/s at 10^6, {1e7 / beyond[10_000_000]:,.0f} at 10^7, "
            f"time ratio {beyond[10_000_000] / beyond[1_000_000]:.1f} for 10 times the points, {memory / 1024:.0f} MiB at most"
        )


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS"):
        print("note: OPENBLAS_NUM_THREADS is set, which makes 'import numpy' cheaper than it usually is")
    start_ratios()
    sweep_rates()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"({children.ru_utime + children.ru_stime:.0f} s of CPU time in all)")
