"""How long 10,000 courses of 30 minutes take, 1800 periods of an allocator each: python tests/benchmarks/phone.py."""

from __future__ import annotations

import time

import numpy as np

from npuwatt.handset.network import Handset
from npuwatt.handset.thermal import course
from npuwatt.record import replace
from npuwatt.study.scenario import load_handset

POINTS = 10_000


def main() -> None:
    phone = load_handset("large-phone").record
    nodes = {name: node for name, node in phone.nodes.items() if name != "battery"}
    links = tuple(link for link in phone.links if "battery" not in (link.first, link.second))
    four = replace(phone, nodes=nodes, links=links)
    rng = np.random.default_rng(1)
    varied = tuple(
        replace(link, resistance_k_per_w=link.resistance_k_per_w * rng.uniform(0.5, 2.0, (POINTS, 1)))
        for link in links
    )
    report("one phone, power by point", four)
    report("resistances by point too", replace(four, links=varied))


def report(name: str, handset: Handset) -> None:
    powers = np.linspace(1.0, 10.0, POINTS)[:, np.newaxis]
    start, began_s = time.process_time(), time.perf_counter()
    found = course(
        handset, power_w=powers, rated_w=8.0, ambient_k=298.15, duration_s=1800.0, governor="allocator", series=False
    )  # fmt: skip
    took_s, passed_s = time.process_time() - start, time.perf_counter() - began_s
    lost = np.max(np.abs(found.in_j - found.out_j - found.stored_j) / found.in_j)
    print(
        f"{name}: {len(powers)} courses in {took_s:.2f} s of processor, {passed_s:.2f} s passed; heat lost {lost:.1e}"
    )


if __name__ == "__main__":
    main()
