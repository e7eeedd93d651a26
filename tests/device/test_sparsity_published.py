"""Zeros against published accelerators and GPUs: signs, ranges and caps; the figures are printed beside the model's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from npuwatt.device.accelerator import Accelerator, MemoryLevel, accelerator_costs
from npuwatt.device.evaluate import Device, device_costs, host_of
from npuwatt.device.nearbank import nearbank_costs
from npuwatt.device.savings import ideal
from npuwatt.device.sparsity import ZeroSkipping
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.record import replace
from npuwatt.study.inference import phase_ops
from npuwatt.study.scenario import load_device, load_network
from npuwatt.workload.density import Zeros, with_zeros
from npuwatt.workload.ops import Op, OpTable, table
from npuwatt.workload.request import Request

ROOT = Path(library.presets_root())

# Wu et al., Sparseloop, MICRO 2022, artifact, energy tables at 45 nm, int8: MAC 0.5608 pJ, gated 0.01798 pJ; 512 bits of
# shared memory 285.7 pJ; 64 bits of DRAM 512 pJ. A dense tensor core of 1024 MACs a cycle. The tiling of its runs is not
# told: 16 outputs a side are taken here, and that is most of the gap between their energies and these.
TENSOR_CORE = Accelerator(
    peak_macs_per_s={"int8": 1024e9},
    mac_energy_j_per_mac={"int8": 0.5608e-12},
    levels={
        "dram": MemoryLevel(bandwidth_bytes_per_s=1e15, read_energy_j_per_byte=64e-12, capacity_bytes=1e12),
        "shared": MemoryLevel(read_energy_j_per_byte=285.7e-12 / 64, tile_count=16.0),
    },
    static_power_w=0.0,
    power_cap_w=1e6,
)
STC = replace(TENSOR_CORE, sparsity=ZeroSkipping(mechanism="n-m", patterns=("2:4",), format="n-m"))
# Both sides: 364.68 less 191.65 uJ for 0.22 of 151 million products is 5.2 pJ for each effectual one; the dense core's
# is 1.8 pJ, and the rest is what finding and gathering it takes.
DSTC = replace(
    TENSOR_CORE,
    sparsity=ZeroSkipping(mechanism="skip-both", format="bitmask", intersection_energy_j_per_mac=3.4e-12),
)
PUBLISHED = [  # M, K, N, density of activations, uJ dense, 2:4 and both-sided with dense weights; cycles dense and 2:4
    (128.0, 1152.0, 1024.0, 0.44, 276.58, 173.42, 364.68, 147456, 73728),
    (512.0, 1024.0, 256.0, 0.27, 247.59, 132.61, None, 131072, 65536),
    (512.0, 256.0, 1024.0, 0.82, 205.45, 126.03, 603.25, 131072, 65536),
]


def gemm(m: float, k: float, n: float, zeros: Zeros | None = None) -> OpTable:
    op = Op(
        "gemm", "matmul", "int8", stored="int8", tokens=m, macs=m * k * n, weight_bytes=k * n,
        activation_bytes=m * (k + n), operand_bytes=1.0, k=k, n=n,
    )  # fmt: skip
    return table(with_zeros([op], zeros))


def energy_uj(chip: Accelerator, ops: OpTable) -> float:
    return 1e6 * sum(float(part.sum()) for part in accelerator_costs(chip, ops).energy_j.values())


@pytest.mark.parametrize("case", PUBLISHED)
def test_sparse_tensor_cores_save_with_2_of_4_and_lose_on_dense_weights(case: tuple[float, ...]) -> None:
    m, k, n, activations, dense_uj, half_uj, both_uj, dense_cycles, half_cycles = case
    # the published run of the third shape was treated as dense on both sides
    treated = 1.0 if activations > 0.8 else activations
    half = Zeros(pattern="2:4", weight_density=0.5)
    both = Zeros(pattern="unstructured", activation_density=treated)
    found = [
        energy_uj(TENSOR_CORE, gemm(m, k, n)),
        energy_uj(STC, gemm(m, k, n, half)),
        energy_uj(DSTC, gemm(m, k, n, both)),
    ]
    print(
        f"{m:.0f} x {k:.0f} x {n:.0f}: dense {found[0]:.0f} uJ (published {dense_uj}), 2:4 {found[1] / found[0]:.3f} of it "
        f"({half_uj / dense_uj:.3f}), both sides with dense weights {found[2] / found[0]:.2f} "
        f"({both_uj / dense_uj if both_uj else float('nan'):.2f})"
    )
    assert found[1] < found[0]
    if both_uj is not None:
        assert both_uj > dense_uj
        assert found[2] > found[0]
    cycles = [
        accelerator_costs(chip, gemm(m, k, n, zeros)).limits_s["compute"].item() * 1e9
        for chip, zeros in ((TENSOR_CORE, None), (STC, half))
    ]
    assert cycles == [dense_cycles, half_cycles]


# Wang et al., dual-side sparse tensor core, fig. 21, as in the artifact's fig. 13: latency of 4096^3, and 4600 dense.
@pytest.mark.parametrize(
    ("activations", "weights", "latency"),
    [
        (1, 1, 4600),
        (1, 0.4, 2500),
        (0.9, 1, 4160),
        (0.9, 0.4, 2300),
        (0.7, 0.4, 1820),
        (0.5, 1, 2690),
        (0.3, 1, 1930),
    ],
)
def test_imperfect_skipping_with_eta_0_8_is_near_a_dual_side_tensor_core(
    activations: float, weights: float, latency: float
) -> None:
    real = ZeroSkipping(mechanism="skip-both", skip_efficiency_fraction=0.8)
    zeros = Zeros(pattern="unstructured", weight_density=weights, activation_density=activations)
    times = [
        accelerator_costs(chip, gemm(4096.0, 4096.0, 4096.0, zeros)).limits_s["compute"].item()
        for chip in (replace(TENSOR_CORE, sparsity=real), TENSOR_CORE)
    ]
    assert times[0] / times[1] == pytest.approx(latency / 4600, rel=0.075)


@cache
def device(name: str) -> Device:
    return load_device(str(ROOT / "devices" / f"{name}.yaml")).record


MEASURED = [
    path.stem
    for path in sorted((ROOT / "devices").glob("*.yaml"))
    if (host := host_of(device(path.stem))).sparsity and host.sparsity.speedup_ratio
]
# What was measured of a class: the most that 2:4 gave anywhere, and (tokens, speed) of single measurements.
MOST = {"a100": 1.6, "a10": 1.6, "h100": 1.22, "h200": 1.22, "gh200": 1.22, "rtx": 0.88, "ascend": 1.6}
SINGLE = {
    "a100": [(1, 0.112), (64, 0.594), (512, 0.681), (1280, 1.349), (4096, 1.114), (16384, 1.601)],
    "h100": [(768, 0.616), (8192, 1.22)],
}


def speed(chip: Device, tokens: float, network: str = "llama-3.1-8b") -> float:
    """Of a prefill with 2:4 weights over one without zeros, the power cap counted."""
    found = []
    half = Zeros(pattern="2:4", weight_density=0.5)
    for zeros in (None, half):
        request = Request(batch=1, input_len=tokens)
        plain = [
            op for op in phase_ops(load_network(network).record, request, "prefill") if op.kind == "matmul"
        ]
        costs = device_costs(chip, table(with_zeros(plain[:2], zeros)))
        room_w = host_of(chip).power_cap_w - host_of(chip).static_power_w - host_of(chip).clocks_power_w
        dynamic_j = sum(float(part.sum()) for part in costs.energy_j.values())
        found.append(max(float(costs.time_s.sum()), dynamic_j / float(room_w)))
    return found[0] / found[1]


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize("tokens", [1, 64, 768, 1280, 4096, 8192, 16384, 200000])
def test_no_gpu_is_faster_with_2_of_4_than_was_measured_unless_it_is_called_ideal(
    name: str, tokens: int
) -> None:
    of_class = next(word for word in sorted(MOST, key=len, reverse=True) if name.startswith(word))
    found = speed(device(name), float(tokens))
    assert found <= MOST[of_class] * (1 + 1e-9)
    for measured_tokens, measured in SINGLE.get(of_class, []):
        if measured_tokens == tokens:
            assert found <= measured * (1 + 1e-9)
    assert speed(ideal(device(name)), float(tokens)) > max(1.0, found)


def test_every_measured_class_has_devices() -> None:
    assert len(MEASURED) >= 12
    for word in MOST:
        assert any(name.startswith(word) for name in MEASURED), word


@pytest.mark.parametrize("name", MEASURED)
def test_speed_never_falls_with_tokens(name: str) -> None:
    sparsity = host_of(device(name)).sparsity
    assert sparsity is not None
    ratios = [
        ratio for _, ratio in sorted((int(tokens), ratio) for tokens, ratio in sparsity.speedup_ratio.items())
    ]
    assert ratios == sorted(ratios)


def energies(chip: Device, ops: OpTable) -> float:
    return sum(float(part.sum()) for part in device_costs(chip, ops).energy_j.values())


@pytest.mark.parametrize("name", ["samsung-hbm2-pim", "hbm3-pim-bank", "isaac-rram"])
@pytest.mark.parametrize(
    "zeros",
    [
        Zeros(pattern="unstructured", weight_density=0.1, activation_density=0.1),
        Zeros(pattern="2:4", weight_density=0.5),
    ],
)
def test_memories_that_compute_gain_nothing_from_scattered_zeros(name: str, zeros: Zeros) -> None:
    plain = phase_ops(load_network("llama-3.1-8b").record, Request(weights="bf16"), "decode")
    for part in (plain, [op._replace(dtype="fp16") for op in plain]):
        before, after = (device_costs(device(name), table(with_zeros(part, z))) for z in (None, zeros))
        np.testing.assert_array_equal(before.time_s, after.time_s)
        assert energies(device(name), table(part)) == energies(device(name), table(with_zeros(part, zeros)))


def test_whole_blocks_of_zeros_are_not_read_by_banks() -> None:
    board = device("hbm3-pim-bank")
    assert board.kind == "near-bank-pim"
    plain = [
        op
        for op in phase_ops(load_network("llama-3.1-8b").record, Request(), "decode")
        if op.name == "ffn_down"
    ]
    whole, half = (
        nearbank_costs(board, table(with_zeros(plain, zeros)))
        for zeros in (None, Zeros(pattern="block", weight_density=0.5))
    )
    assert whole.level_bytes["banks"].item() > 0
    assert half.level_bytes["banks"].item() == 0.5 * whole.level_bytes["banks"].item()
    assert half.energy_j["arithmetic"].item() == 0.5 * whole.energy_j["arithmetic"].item()
    assert half.time_s.item() < whole.time_s.item()
    many = Request(batch=512)  # so many that the host takes over
    plain = [
        op for op in phase_ops(load_network("llama-3.1-8b").record, many, "decode") if op.name == "ffn_down"
    ]
    whole, half = (
        nearbank_costs(board, table(with_zeros(plain, zeros)))
        for zeros in (None, Zeros(pattern="block", weight_density=0.5))
    )
    assert half.level_bytes["banks"].item() == 0
    spared = whole.level_bytes["dram"].item() - half.level_bytes["dram"].item()
    assert spared == pytest.approx(plain[0].weight_bytes / 2)


def test_a_host_may_not_store_weights_that_its_banks_cannot_read() -> None:
    board = device("hbm3-pim-bank")
    assert board.kind == "near-bank-pim"
    packed = replace(board.host, sparsity=ZeroSkipping(mechanism="skip-weights", format="bitmask"))
    with pytest.raises(
        NpuwattError, match=r"host\.sparsity\.format: bitmask given; expected dense, as banks read"
    ):
        replace(board, host=packed)
