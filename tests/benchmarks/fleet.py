"""How long 100,000 sites take, each with two devices: python tests/benchmarks/fleet.py."""

from __future__ import annotations

import time

import numpy as np

from npuwatt.preset.paths import with_values
from npuwatt.study.fleet import case_of, fleet
from npuwatt.study.fleet_figures import figures

POINTS = 100_000


def main() -> None:
    found = fleet(["gpu", "pim"])
    rng = np.random.default_rng(1)

    def between(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (POINTS, 1))

    sites = with_values(
        case_of(found),
        {
            ("site", "grid", "tariff"): between(1e-8, 8e-8),
            ("site", "money", "facility"): between(7.0, 20.0),
            ("site", "grid", "intensity"): between(1e-9, 2e-7),
            ("site", "hall", "parts", "fans", "pressure"): between(300.0, 1000.0),
            ("units", "1", "price", "purchase"): between(2e3, 4e4),
        },
    )
    for _ in range(3):
        start = time.perf_counter()
        results = figures(sites, found.terms)
        took_s = time.perf_counter() - start
    rate = len(results) * POINTS / took_s
    print(f"{POINTS} sites x {len(results)} devices in {took_s:.3f} s: {rate:.3g} fleets a second")


if __name__ == "__main__":
    main()
