"""Zeros put onto ops, and the share of products of two non-zeros."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.arrays import column
from npuwatt.errors import NpuwattError
from npuwatt.preset import library
from npuwatt.study.inference import phase_ops
from npuwatt.study.scenario import load_network
from npuwatt.workload.density import (
    Zeros,
    effectual_density,
    group_of,
    most_density,
    touched_fraction,
    with_zeros,
)
from npuwatt.workload.network import Network
from npuwatt.workload.ops import STORED, Op, table
from npuwatt.workload.request import Request

FIXED = settings(derandomize=True, deadline=None)
ROOT = Path(library.presets_root())
MATMUL = Op(
    "one", "matmul", "bf16", tokens=4.0, macs=400.0, weight_bytes=200.0, operand_bytes=2.0, k=10, n=10
)


@cache
def network(name: str) -> Network:
    return load_network(str(ROOT / "networks" / f"{name}.yaml")).record


# Wu et al., Sparseloop, MICRO 2022, artifact fig. 12: layers of Eyeriss v2, their density of activations and of weights,
# and what the authors' uniform model and their ground truth say. The densities are printed to two digits.
@pytest.mark.parametrize(
    ("macs", "activations", "weights", "model", "truth"),
    [
        (4_194_304, 0.73, 0.52, 1_592_158, 1_702_140),
        (2_097_152, 0.86, 0.82, 1_478_912, 1_499_682),
        (4_194_304, 0.61, 0.55, 1_407_190, 1_457_458),
        (4_194_304, 0.61, 0.70, 1_790_969, 1_821_557),
        (2_097_152, 0.68, 0.65, 926_942, 948_572),
    ],
)
def test_layers_of_eyeriss_v2_have_as_many_effectual_macs_as_published(
    macs: float, activations: float, weights: float, model: int, truth: int
) -> None:
    zeros = Zeros(pattern="unstructured", weight_density=weights, activation_density=activations)
    (op,) = with_zeros([MATMUL._replace(macs=macs)], zeros)
    ops = table([op])
    assert float((ops.macs * ops.effectual_density).item()) == pytest.approx(model, abs=2)
    known = Zeros(
        pattern="unstructured",
        weight_density=weights,
        activation_density=activations,
        effectual_density=truth / macs,
    )
    (op,) = with_zeros([MATMUL._replace(macs=macs)], known)
    ops = table([op])
    assert float((ops.macs * ops.effectual_density).item()) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_the_form_by_channel_equals_counting_every_product_of_tensors_whose_channels_vary_together(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    tokens, channels, outputs = 23, 17, 31
    busy = rng.uniform(0, 1, channels)  # the same channels are full on both sides
    inputs = rng.uniform(0, 1, (tokens, channels)) < busy
    weights = rng.uniform(0, 1, (channels, outputs)) < busy[:, np.newaxis]
    counted = sum(
        bool(inputs[t, c]) and bool(weights[c, n])
        for t in range(tokens)
        for c in range(channels)
        for n in range(outputs)
    )
    found = effectual_density(weights.mean(axis=1), inputs.mean(axis=0)).item()
    assert found == pytest.approx(counted / (tokens * channels * outputs), rel=1e-12)
    assert found > weights.mean() * inputs.mean()  # which leaves the covariance out


@FIXED
@given(density=st.floats(0, 1), tokens=st.integers(1, 64))
def test_the_channels_a_batch_touches_are_the_union_of_those_of_its_tokens(
    density: float, tokens: int
) -> None:
    untouched = 1.0
    for _ in range(tokens):
        untouched *= 1 - density
    assert touched_fraction(density, tokens) == pytest.approx(1 - untouched, abs=1e-12)
    assert touched_fraction(density, tokens) <= touched_fraction(density, tokens + 1) + 1e-15


@pytest.mark.parametrize("name", ["llama-3.1-8b", "mixtral-8x7b", "resnet-50", "nemotron-nano-9b-v2"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_only_products_with_weights_have_zeros(name: str, phase: str) -> None:
    if name == "resnet-50" and phase == "decode":
        return
    plain = phase_ops(network(name), Request(), phase)
    zeros = Zeros(pattern="unstructured", weight_density=0.5, activation_density=0.25)
    for before, after in zip(plain, with_zeros(plain, zeros), strict=True):
        if before.kind in STORED:
            assert (after.pattern, after.weight_density, after.activation_density) == (
                "unstructured",
                0.5,
                0.25,
            )
        else:
            assert after == before
    assert with_zeros(plain, None) == plain
    assert not table(plain).has_zeros


def test_an_op_of_its_own_takes_its_own_zeros() -> None:
    ops = phase_ops(network("llama-3.1-8b"), Request(), "decode")
    own = Zeros(pattern="2:4", weight_density=0.4)
    found = {
        op.name: op
        for op in with_zeros(ops, Zeros(activation_density=0.9, by_op={"ffn_down": own, "lm_head": Zeros()}))
    }
    assert (found["ffn_down"].pattern, found["ffn_down"].weight_density) == ("2:4", 0.4)
    assert found["ffn_down"].activation_density == 1
    assert (found["qkv"].pattern, found["qkv"].activation_density) == ("dense", 0.9)
    assert found["lm_head"].activation_density == 1


def test_a_column_of_densities_equals_a_loop() -> None:
    densities = column([0.1, 0.5, 0.9])
    densities.flags.writeable = False
    given: dict[str, Any] = {
        "pattern": "unstructured",
        "activation_density": 0.5,
        "effectual_density": densities / 2,
    }
    together = table(with_zeros([MATMUL], Zeros(weight_density=densities, **given)))
    for place, density in enumerate(densities[:, 0]):
        alone = Zeros(pattern="unstructured", activation_density=0.5, weight_density=float(density))
        ops = table(with_zeros([MATMUL], alone))
        assert together.effectual_density[place, 0] == pytest.approx(ops.effectual_density.item(), rel=1e-12)


def test_a_pattern_tells_its_group() -> None:
    assert [group_of(pattern) for pattern in ("dense", "2:4", "4:8", "1:2")] == [None, (2, 4), (4, 8), (1, 2)]
    assert [most_density(pattern) for pattern in ("dense", "block", "unstructured", "4:8")] == [1, 1, 1, 0.5]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"pattern": "3:4"},
            "pattern: '3:4' given; expected one of dense, unstructured, 1:2, 2:4, 4:8, block",
        ),
        ({"pattern": "2:4"}, "weight_density: 1 given; expected at most 0.5, as 2:4 leaves"),
        ({"weight_density": 0.5}, "weight_density: 0.5 given; expected 1, or a pattern other than dense"),
        ({"weight_density": -0.1}, "weight_density: -0.1 given; expected a share from 0 to 1"),
        ({"activation_density": 1.5}, "activation_density: 1.5 given; expected a share from 0 to 1"),
        (
            {"activation_density": 0.5, "effectual_density": 0.6},
            "effectual_density: outside what the two densities",
        ),
        (
            {"activation_density": 0.5, "effectual_density": 0.4},
            "effectual_density: outside what the two densities",
        ),
    ],
)
def test_a_fault_of_zeros_says_what_would_do(given: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        Zeros(**given)
    (fault,) = caught.value.faults
    assert fault.startswith(told)


def test_an_op_that_is_not_there_is_named_with_the_nearest() -> None:
    ops = phase_ops(network("llama-3.1-8b"), Request(), "decode")
    with pytest.raises(
        NpuwattError, match=r"by_op: 'fnn_down' is no op with weights here; did you mean 'ffn_down'\?"
    ):
        with_zeros(ops, Zeros(by_op={"fnn_down": Zeros()}))
    with pytest.raises(NpuwattError, match=r"by_op: 'attention' is no op with weights here"):
        with_zeros(ops, Zeros(by_op={"attention": Zeros()}))
