"""Names of weights in the usual families, and the ops that multiply by them."""

from __future__ import annotations

from typing import Any

import pytest

from npuwatt.checkpoint.layouts import Matrix
from npuwatt.checkpoint.naming import Placed, is_looked_up, op_of, placed
from npuwatt.preset.library import index
from npuwatt.study.scenario import load_network
from npuwatt.workload.network import Transformer
from npuwatt.workload.request import Request
from npuwatt.workload.transformer import prefill_ops

# As the modules of these families are named in Hugging Face transformers and in the files of their authors.
NAMES = {
    "model.layers.0.self_attn.q_proj": "qkv",
    "model.layers.0.self_attn.k_proj": "qkv",
    "model.layers.31.self_attn.v_proj": "qkv",
    "model.layers.0.self_attn.qkv_proj": "qkv",
    "model.layers.0.self_attn.o_proj": "attention_out",
    "model.layers.0.mlp.gate_proj": "ffn_up",
    "model.layers.0.mlp.up_proj": "ffn_up",
    "model.layers.0.mlp.gate_up_proj": "ffn_up",
    "model.layers.0.mlp.down_proj": "ffn_down",
    "model.embed_tokens": "embedding",
    "lm_head": "lm_head",
    "layers.0.attention.wq": "qkv",
    "layers.0.attention.wo": "attention_out",
    "layers.0.feed_forward.w1": "ffn_up",
    "layers.0.feed_forward.w2": "ffn_down",
    "layers.0.feed_forward.w3": "ffn_up",
    "tok_embeddings": "embedding",
    "output": "lm_head",
    "transformer.h.0.attn.c_attn": "qkv",
    "h.0.attn.c_proj": "attention_out",
    "h.0.mlp.c_fc": "ffn_up",
    "h.0.mlp.c_proj": "ffn_down",
    "transformer.wte": "embedding",
    "bert.encoder.layer.0.attention.self.query": "qkv",
    "bert.encoder.layer.0.attention.self.key": "qkv",
    "encoder.layer.0.attention.output.dense": "attention_out",
    "encoder.layer.0.intermediate.dense": "ffn_up",
    "encoder.layer.0.output.dense": "ffn_down",
    "bert.pooler.dense": "pooler",
    "embeddings.word_embeddings": "embedding",
    "model.decoder.layers.0.self_attn.out_proj": "attention_out",
    "model.decoder.layers.0.fc1": "ffn_up",
    "model.decoder.layers.0.fc2": "ffn_down",
    "gpt_neox.layers.0.attention.query_key_value": "qkv",
    "gpt_neox.layers.0.attention.dense": "attention_out",
    "gpt_neox.layers.0.mlp.dense_h_to_4h": "ffn_up",
    "gpt_neox.layers.0.mlp.dense_4h_to_h": "ffn_down",
    "transformer.h.0.self_attention.query_key_value": "qkv",
    "transformer.h.0.self_attention.dense": "attention_out",
    "model.layers.0.block_sparse_moe.gate": "router",
    "model.layers.0.block_sparse_moe.experts.7.w1": "experts_up",
    "model.layers.0.block_sparse_moe.experts.7.w2": "experts_down",
    "model.layers.0.block_sparse_moe.experts.7.w3": "experts_up",
    "model.layers.0.mlp.gate": "router",
    "model.layers.0.mlp.experts.127.gate_proj": "experts_up",
    "model.layers.0.mlp.experts.127.down_proj": "experts_down",
    "model.layers.0.feed_forward.experts.gate_up_proj": "experts_up",
    "model.layers.0.mlp.shared_experts.up_proj": "shared_expert_up",
    "model.layers.0.mlp.shared_expert.down_proj": "shared_expert_down",
    "model.layers.0.self_attn.q_a_proj": "q_down",
    "model.layers.0.self_attn.q_b_proj": "q_up",
    "model.layers.0.self_attn.kv_a_proj_with_mqa": "kv_down",
    "model.layers.0.self_attn.kv_b_proj": "kv_up",
    "backbone.layers.0.mixer.in_proj": "ssm_in",
    "backbone.layers.0.mixer.out_proj": "ssm_out",
    "base_model.lora_A": None,
    "model.mm_projector": None,
}


@pytest.mark.parametrize("module", NAMES)
def test_a_module_of_a_known_family_has_its_op(module: str) -> None:
    assert op_of(module) == NAMES[module]
    assert not is_looked_up(module)


@pytest.mark.parametrize(
    "module",
    ["transformer.wpe", "embeddings.position_embeddings", "embeddings.token_type_embeddings", "model.decoder.embed_positions",
     "encoder.embed_positions.position", "final_norm"],
)  # fmt: skip
def test_tables_that_are_only_looked_up_are_no_layers(module: str) -> None:
    assert is_looked_up(module) or op_of(module) is None


def test_every_op_of_a_name_is_one_that_networks_have() -> None:
    request = Request(batch=1, input_len=8, output_len=1)
    known = {
        op.name
        for name, entry in index()["networks"].items()
        if entry["kind"] == "transformer"
        for op in prefill_ops(transformer(name), request)
    }
    assert {op for op in NAMES.values() if op} <= known


def transformer(name: str) -> Transformer:
    found = load_network(name).record
    assert isinstance(found, Transformer)
    return found


def matrix(name: str, *shape: int) -> Matrix:
    return Matrix(name=name, layout="plain", dtype="F32", shape=shape, size_bytes=0, chunks=None)


def axes(*matrices: Matrix) -> dict[str, int]:
    return {one.matrix.name: one.input_axis for one in placed(matrices, {})[0]}


def test_gpt_2_stores_inputs_first_and_families_with_its_names_do_not() -> None:
    shapes = {
        "attn.c_attn": (64, 192),
        "attn.c_proj": (64, 64),
        "mlp.c_fc": (64, 256),
        "mlp.c_proj": (256, 64),
    }
    conv = [matrix(f"h.0.{name}.weight", *shape) for name, shape in shapes.items()]
    linear = [matrix(f"h.0.{name}.weight", *shape[::-1]) for name, shape in shapes.items()]
    assert set(axes(*conv).values()) == {0}
    assert set(axes(*linear).values()) == {1}
    assert axes(*conv, matrix("wte.weight", 999, 64))["wte.weight"] == 1


def test_stacked_experts_tell_their_inputs_by_their_shapes() -> None:
    up, down = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"
    assert set(axes(matrix(up, 4, 64, 192), matrix(down, 4, 96, 64)).values()) == {0}
    assert set(axes(matrix(up, 4, 192, 64), matrix(down, 4, 64, 96)).values()) == {1}
    found, unread, _ = placed([matrix(up, 4, 64, 192)], {})
    assert not found
    assert "cannot be told" in unread[0].reason


def ops(*names: str, **config: Any) -> dict[str, str | None]:
    found: list[Placed] = placed([matrix(name, 4, 4) for name in names], config)[0]
    return {one.matrix.name: one.op for one in found}


def test_an_embedding_without_a_head_is_the_head() -> None:
    embedding = "model.embed_tokens.weight"
    assert ops(embedding) == {embedding: "lm_head"}
    assert ops(embedding, tie_word_embeddings=False) == {embedding: "embedding"}
    assert ops(embedding, "lm_head.weight") == {embedding: "embedding", "lm_head.weight": "lm_head"}
    assert ops("bert.embeddings.word_embeddings.weight") == {
        "bert.embeddings.word_embeddings.weight": "embedding"
    }
    assert ops("transformer.word_embeddings.weight") == {"transformer.word_embeddings.weight": "lm_head"}


def test_queries_beside_a_latent_cache_are_an_op_of_their_own() -> None:
    found = ops("l.self_attn.q_proj.weight", "l.self_attn.kv_a_proj_with_mqa.weight")
    assert list(found.values()) == ["q", "kv_down"]
