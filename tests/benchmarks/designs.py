"""How fast array designs are answered, each with mapping, energy, time, area and accuracy at six moments.

`python tests/benchmarks/designs.py` prints the time of one design and of a hundred thousand (array size x converter bits x
cell bits x node), on one core, for a matrix of 4096 x 4096. Published tools of the field, on a matrix of that size and
without accuracy: AccelForge 1.0.467 takes 3.0 to 4.1 s a design, ZigZag 3.9.1 0.5 to 2.3 s.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from npuwatt.arrays import column
from npuwatt.device.crossbar import Arrays, Crossbar
from npuwatt.preset.paths import with_values
from npuwatt.study.designs import designs
from npuwatt.study.scenario import load_device

MOMENTS_S = (0.0, 60.0, 3600.0, 86400.0, 30 * 86400.0, 31557600.0)
SIDE = 4096.0
REPEATS = 200
PEERS_S = {"AccelForge": (3.0, 4.1), "ZigZag": (0.54, 2.3)}


def grid(arrays: Arrays) -> tuple[Arrays, int]:
    """Ten sizes by ten converters by four cells by 250 nodes."""
    axes = (
        np.array([64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536]), np.arange(4, 14), np.array([1, 2, 4, 8]),
        np.linspace(7e-9, 130e-9, 250),
    )  # fmt: skip
    size, bits, cell_bits, node = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    changes = {
        ("rows",): size, ("columns",): 2 * size, ("adc", "bits"): bits, ("cell_bits",): cell_bits, ("node",): node,
    }  # fmt: skip
    return with_values(arrays, {path: column(values) for path, values in changes.items()}), size.size


def main() -> None:
    """Print both times for each kind of cell, and how many times faster one is than the published tools."""
    for name in ("isaac-rram", "ibm-hermes", "hfox-rram"):
        board = load_device(name).record
        assert isinstance(board, Crossbar)
        designs(board.arrays, k=SIDE, n=SIDE, times_s=MOMENTS_S)
        start = time.perf_counter()
        for _ in range(REPEATS):
            designs(board.arrays, k=SIDE, n=SIDE, times_s=MOMENTS_S)
        one_s = (time.perf_counter() - start) / REPEATS
        many, count = grid(board.arrays)
        start = time.perf_counter()
        designs(many, k=SIDE, n=SIDE, times_s=MOMENTS_S)
        many_s = time.perf_counter() - start
        ratios = ", ".join(
            f"{peer} {low / one_s:,.0f} to {high / one_s:,.0f}" for peer, (low, high) in PEERS_S.items()
        )
        print(
            f"{name:12} one design {1e3 * one_s:.2f} ms (goal 2), {count:,} designs {many_s:.2f} s (goal 10), "
            f"{1e6 * many_s / count:.1f} us each; times one design: {ratios}"
        )


if __name__ == "__main__":
    main()
