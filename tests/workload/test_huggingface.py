"""Config files as their makers publish them become the same records as the built-in presets; bad ones are refused."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.errors import PresetError
from npuwatt.preset import library
from npuwatt.preset.load import parse_yaml, read_record
from npuwatt.workload.huggingface import FAMILIES, from_config, imported, read_config
from npuwatt.workload.network import ConvNet, Network, Transformer
from npuwatt.workload.network_text import to_yaml
from npuwatt.workload.parameters import parameter_count

INDEX = library.index()
QUALITIES = {key: entry["quality"] for key, entry in library.sources().items()}


@pytest.fixture(autouse=True)
def one_reading(monkeypatch):
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


def preset(name: str) -> Network:
    document = library.find("networks", name).document
    kinds: dict[str, Any] = {"transformer": Transformer, "convnet": ConvNet}
    return read_record(document, kinds[document.tree["kind"]], QUALITIES).record


def decoder(
    model_type: str, hidden: int, width: int, layers: int, heads: int, kv_heads: int, **more: Any
) -> dict:
    """The keys that most configs share, by their published names."""
    return {
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        **more,
    }


LLAMA = decoder(
    "llama", 4096, 14336, 32, 32, 8,
    architectures=["LlamaForCausalLM"], attention_bias=False, attention_dropout=0.0, bos_token_id=128000,
    eos_token_id=128001, hidden_act="silu", initializer_range=0.02, max_position_embeddings=131072, mlp_bias=False,
    pretraining_tp=1, rms_norm_eps=1e-05, rope_scaling={"factor": 8.0, "rope_type": "llama3"}, rope_theta=500000.0,
    tie_word_embeddings=False, transformers_version="4.43.0.dev0", vocab_size=128256,
)  # fmt: skip
DEEPSEEK = decoder(
    "deepseek_v3", 7168, 18432, 61, 128, 128,
    architectures=["DeepseekV3ForCausalLM"], first_k_dense_replace=3, kv_lora_rank=512, moe_intermediate_size=2048,
    moe_layer_freq=1, n_group=8, n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8,
    num_nextn_predict_layers=1, q_lora_rank=1536, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
    max_position_embeddings=163840, vocab_size=129280, tie_word_embeddings=False,
    quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]},
)  # fmt: skip

CONFIGS: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": LLAMA,
    "llama-3.2-1b": decoder(
        "llama", 2048, 8192, 16, 32, 8, head_dim=64, vocab_size=128256, max_position_embeddings=131072,
        tie_word_embeddings=True,
    ),
    "qwen2.5-7b": decoder(
        "qwen2", 3584, 18944, 28, 28, 4, max_position_embeddings=131072, max_window_layers=28, sliding_window=131072,
        use_sliding_window=False, tie_word_embeddings=False, vocab_size=152064,
    ),
    "qwen3-4b": decoder(
        "qwen3", 2560, 9728, 36, 32, 8, head_dim=128, attention_bias=False, max_position_embeddings=40960,
        max_window_layers=36, sliding_window=None, use_sliding_window=False, tie_word_embeddings=True, vocab_size=151936,
    ),
    "qwen3-30b-a3b": decoder(
        "qwen3_moe", 2048, 6144, 48, 32, 4, head_dim=128, decoder_sparse_step=1, mlp_only_layers=[],
        moe_intermediate_size=768, num_experts=128, num_experts_per_tok=8, max_position_embeddings=40960,
        sliding_window=None, use_sliding_window=False, tie_word_embeddings=False, vocab_size=151936,
    ),
    "mistral-7b-v0.1": decoder(
        "mistral", 4096, 14336, 32, 32, 8, max_position_embeddings=32768, sliding_window=4096,
        tie_word_embeddings=False, vocab_size=32000,
    ),
    "mistral-7b-v0.3": decoder(
        "mistral", 4096, 14336, 32, 32, 8, max_position_embeddings=32768, sliding_window=None,
        tie_word_embeddings=False, vocab_size=32768,
    ),
    "mixtral-8x7b": decoder(
        "mixtral", 4096, 14336, 32, 32, 8, max_position_embeddings=32768, sliding_window=None, num_local_experts=8,
        num_experts_per_tok=2, tie_word_embeddings=False, vocab_size=32000,
    ),
    "deepseek-v3": DEEPSEEK,
    "kimi-k2": DEEPSEEK | {
        "model_type": "kimi_k2", "num_attention_heads": 64, "num_key_value_heads": 64, "vocab_size": 163840,
        "n_routed_experts": 384, "first_k_dense_replace": 1, "max_position_embeddings": 131072,
    },
    # Gemma ties by its class and says so nowhere.
    "gemma-2-9b": decoder(
        "gemma2", 3584, 14336, 42, 16, 8, head_dim=256, sliding_window=4096, vocab_size=256000,
        max_position_embeddings=8192, cache_implementation="hybrid",
    ),
    # What its class assumes is left out of the published file: heads, head size; the vocabulary has image rows.
    "gemma-3-4b": {
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "mm_tokens_per_image": 256,
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024, "vocab_size": 262144,
        },
        "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27, "model_type": "siglip_vision_model"},
    },
    "phi-3-mini-4k": decoder(
        "phi3", 3072, 8192, 32, 32, 32, sliding_window=2047, max_position_embeddings=4096, vocab_size=32064,
        tie_word_embeddings=False, rope_scaling=None,
    ),
    "gpt-oss-20b": decoder(
        "gpt_oss", 2880, 2880, 24, 64, 8, head_dim=64, attention_bias=True, num_local_experts=32,
        experts_per_token=4, num_experts_per_tok=4, sliding_window=128, tie_word_embeddings=False, vocab_size=201088,
        max_position_embeddings=131072, layer_types=["sliding_attention", "full_attention"] * 12,
    ),
    "glm-4.5": decoder(
        "glm4_moe", 5120, 12288, 92, 96, 8, head_dim=128, attention_bias=True, use_qk_norm=True,
        first_k_dense_replace=3, moe_intermediate_size=1536, n_routed_experts=160, n_shared_experts=1,
        num_experts_per_tok=8, num_nextn_predict_layers=1, max_position_embeddings=131072, vocab_size=151552,
        tie_word_embeddings=False,
    ),
    "llama-4-maverick": {
        "model_type": "llama4", "architectures": ["Llama4ForConditionalGeneration"], "tie_word_embeddings": False,
        "text_config": decoder(
            "llama4_text", 5120, 8192, 48, 40, 8, head_dim=128, intermediate_size_mlp=16384, num_local_experts=128,
            num_experts_per_tok=1, interleave_moe_layer_step=2, no_rope_layers=[], attention_chunk_size=8192,
            max_position_embeddings=1048576, vocab_size=202048, attention_bias=False,
        ),
    },
    "llama-4-scout": {
        "model_type": "llama4",
        "text_config": decoder(
            "llama4_text", 5120, 8192, 48, 40, 8, head_dim=128, intermediate_size_mlp=16384, num_local_experts=16,
            num_experts_per_tok=1, interleave_moe_layer_step=1, no_rope_layers=[1, 1, 1, 0] * 12,
            attention_chunk_size=8192, max_position_embeddings=10485760, vocab_size=202048,
        ),
    },
    "nemotron-4-340b": decoder(
        "nemotron", 18432, 73728, 96, 96, 8, head_dim=192, hidden_act="relu2", max_position_embeddings=4096,
        norm_eps=1e-05, tie_word_embeddings=False, vocab_size=256000, mlp_bias=False, attention_bias=False,
    ),
    "nemotron-3-nano-30b-a3b": decoder(
        "nemotron_h", 2688, 1856, 52, 32, 2, head_dim=128, mamba_num_heads=64, mamba_head_dim=64, ssm_state_size=128,
        n_groups=8, conv_kernel=4, n_routed_experts=128, num_experts_per_tok=6, moe_intermediate_size=1856,
        moe_shared_expert_intermediate_size=3712, n_shared_experts=1, max_position_embeddings=262144,
        tie_word_embeddings=False, vocab_size=131072, mamba_ssm_cache_dtype="float32",
        hybrid_override_pattern="MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
        time_step_limit=[0.0, float("inf")],
    ),
    "starcoder2-3b": decoder(
        "starcoder2", 3072, 12288, 30, 24, 2, use_bias=True, sliding_window=4096, max_position_embeddings=16384,
        vocab_size=49152, norm_type="layer_norm", mlp_type="default",
    ),
    "bert-base": {
        "architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072,
        "max_position_embeddings": 512, "num_attention_heads": 12, "num_hidden_layers": 12, "type_vocab_size": 2,
        "vocab_size": 30522, "layer_norm_eps": 1e-12, "pad_token_id": 0,
    },
    "vit-b-16": {
        "architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": 768, "image_size": 224,
        "intermediate_size": 3072, "num_attention_heads": 12, "num_channels": 3, "num_hidden_layers": 12,
        "patch_size": 16, "qkv_bias": True, "id2label": {str(label): "a thing" for label in range(1000)},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_published_config_gives_the_record_of_the_preset(name):
    expected = replace(preset(name), published_params_count=0.0)
    content = json.dumps(CONFIGS[name]).encode()
    assert read_config(content, "config.json").network == expected


# Checkpoint sizes of families that no preset shows, tensor by tensor; positions included.
OTHERS: list[tuple[int, dict[str, Any]]] = [
    (
        124_439_808,
        {"model_type": "gpt2", "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257},
    ),
    (
        125_239_296,
        {
            "model_type": "opt", "hidden_size": 768, "word_embed_proj_dim": 768, "ffn_dim": 3072,
            "num_attention_heads": 12, "num_hidden_layers": 12, "max_position_embeddings": 2048, "vocab_size": 50272,
        },
    ),
    (
        2_775_208_960,  # Pythia-2.8B
        {
            "architectures": ["GPTNeoXForCausalLM"], "hidden_size": 2560, "intermediate_size": 10240,
            "num_attention_heads": 32, "num_hidden_layers": 32, "max_position_embeddings": 2048, "vocab_size": 50304,
        },
    ),
    (
        124_645_632,  # RoBERTa-base with its pooler
        {
            "model_type": "roberta", "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
            "num_hidden_layers": 12, "max_position_embeddings": 514, "type_vocab_size": 1, "vocab_size": 50265,
        },
    ),
    (
        14_315_784_192,  # Qwen1.5-MoE-A2.7B, but for one gate of 2048 numbers in each of 24 layers
        decoder(
            "qwen2_moe", 2048, 5632, 24, 16, 16, moe_intermediate_size=1408, num_experts=60, num_experts_per_tok=4,
            shared_expert_intermediate_size=5632, decoder_sparse_step=1, vocab_size=151936,
            max_position_embeddings=8192, use_sliding_window=False, sliding_window=32768, max_window_layers=21,
        ),
    ),
    (
        15_706_484_224,  # DeepSeek-V2-Lite: no query rank
        decoder(
            "deepseek_v2", 2048, 10944, 27, 16, 16, q_lora_rank=None, kv_lora_rank=512, qk_nope_head_dim=128,
            qk_rope_head_dim=64, v_head_dim=128, n_routed_experts=64, n_shared_experts=2, num_experts_per_tok=6,
            moe_intermediate_size=1408, first_k_dense_replace=1, moe_layer_freq=1, vocab_size=102400,
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "config"), OTHERS)
def test_other_families_count_as_their_checkpoints_do(parameters, config):
    network = from_config(config, "config.json").network
    assert parameter_count(network) == pytest.approx(parameters, rel=1e-5)


def test_a_config_that_lists_its_layers_agrees_with_one_that_states_the_rule():
    config = CONFIGS["gemma-3-4b"]
    types = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(34)]
    listed = config | {"text_config": config["text_config"] | {"layer_types": types}}
    assert from_config(listed, "a").network == from_config(config, "a").network


def test_a_window_that_is_switched_off_is_none():
    config = CONFIGS["qwen2.5-7b"] | {"sliding_window": 4096, "max_window_layers": 20}
    off = from_config(config, "a").network.attention
    on = from_config(config | {"use_sliding_window": True}, "a").network.attention
    assert off is not None and off.windowed_layers == 0
    assert on is not None and (on.windowed_layers, on.window_tokens) == (8, 4096)


def test_dense_layers_between_the_experts_are_counted():
    config = CONFIGS["qwen3-30b-a3b"] | {"decoder_sparse_step": 2, "mlp_only_layers": [1, 0]}
    network = from_config(config, "a").network
    assert network.experts is not None and network.experts.layers == 23
    assert network.feed_forward is not None and network.feed_forward.layers == 25
    assert network.feed_forward.width == 6144


def test_a_bare_vision_model_has_a_pooler_and_no_classes():
    config = CONFIGS["vit-b-16"] | {"architectures": ["ViTModel"]}
    network = from_config(config, "a").network
    assert network.pooler and network.classes == 0


def test_a_hybrid_counts_its_layers_by_their_indices():
    # Bamba-9B: 32 layers, attention at 9, 18 and 27; each layer has a feed-forward part.
    config = decoder(
        "bamba", 4096, 14336, 32, 32, 8, attn_layer_indices=[9, 18, 27], mamba_n_heads=128, mamba_d_head=64,
        mamba_d_state=128, mamba_n_groups=1, mamba_d_conv=4, vocab_size=128256, tie_word_embeddings=False,
    )  # fmt: skip
    network = from_config(config, "a").network
    assert network.state_space is not None and network.state_space.layers == 29
    assert network.attention is not None and network.attention.layers == 3
    assert parameter_count(network) == pytest.approx(9.78e9, rel=0.01)


def test_the_family_is_found_by_its_class_where_no_model_type_is_stated():
    config = {key: value for key, value in LLAMA.items() if key != "model_type"}
    assert from_config(config, "a").network == from_config(LLAMA, "a").network


def test_how_weights_are_quantised_changes_nothing():
    plain = {key: value for key, value in DEEPSEEK.items() if key != "quantization_config"}
    assert from_config(plain, "a") == from_config(DEEPSEEK, "a")


@pytest.mark.parametrize(
    ("config", "label", "name"),
    [
        (LLAMA | {"_name_or_path": "meta-llama/My-Llama"}, "config.json", "My-Llama"),
        (LLAMA, "models/My-8B/config.json", "My-8B"),
        (LLAMA, "my-8b.json", "my-8b"),
        (LLAMA, "config.json", "llama"),
        (LLAMA | {"_name_or_path": "../../etc/\x1b[31m"}, "config.json", "llama"),
    ],
)
def test_an_imported_network_is_named_after_its_origin(config, label, name):
    assert from_config(config, label).name == name


def test_an_import_says_what_sets_the_network_apart():
    about = {name: from_config(config, "a").about for name, config in CONFIGS.items()}
    assert about["llama-3.1-8b"] == "dense, grouped-query attention"
    assert about["deepseek-v3"] == "mixture of experts, multi-head latent attention"
    assert "sliding window in 29 of 34 layers" in about["gemma-3-4b"]
    assert about["gemma-3-4b"].endswith("text part only")
    assert "23 Mamba-2 layers" in about["nemotron-3-nano-30b-a3b"]
    assert about["bert-base"].startswith("encoder")


def read_back(text: str) -> Network:
    document = parse_yaml(text.encode(), "written.yaml")
    kinds: dict[str, Any] = {"transformer": Transformer, "convnet": ConvNet}
    own = {key: entry["quality"] for key, entry in document.tree["sources"].items()}
    return read_record(document, kinds[document.tree["kind"]], own).record


@pytest.mark.parametrize("name", sorted(INDEX["networks"]))
def test_a_written_preset_reads_back_as_the_same_record(name):
    record = preset(name)
    assert read_back(to_yaml(record, name=name, about="same", cite="a test", comment="one\ntwo")) == record


def test_an_imported_config_reads_back_as_the_same_record():
    for name, config in CONFIGS.items():
        content = json.dumps(config).encode()
        text = imported(content, f"{name}.json")
        assert read_back(text) == read_config(content, "a").network
        assert parse_yaml(text.encode(), "a").tree["name"] == name


@pytest.mark.parametrize(
    "text", ['": {[!!python', "'\\ #", "\ud800\x00\n---\n&a *a", "é\u2028\ufffe ✓ 🦙", "true", "1"]
)
def test_no_text_of_a_config_can_break_the_preset_that_it_becomes(text):
    record = preset("llama-3.1-8b")
    written = to_yaml(record, name=text, about=text, cite=text, comment=text)
    tree = parse_yaml(written.encode(), "a").tree
    assert isinstance(tree["name"], str)
    assert read_back(written) == record


def without(config: dict[str, Any], *gone: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in gone}


MOE = CONFIGS["qwen3-30b-a3b"]
HYBRID = CONFIGS["nemotron-3-nano-30b-a3b"]
BAD: list[tuple[dict[str, Any], list[str]]] = [
    (without(LLAMA, "hidden_size"), ["hidden_size: nothing given; expected a whole number from 1"]),
    (without(LLAMA, "vocab_size", "intermediate_size"), ["intermediate_size: nothing given", "vocab_size: nothing"]),
    (LLAMA | {"num_hidden_layers": None}, ["num_hidden_layers: null given"]),
    (LLAMA | {"num_hidden_layers": -3}, ["num_hidden_layers: '-3' given; expected a whole number from 1 to 10000"]),
    (LLAMA | {"num_hidden_layers": 0}, ["num_hidden_layers: '0' given"]),
    (LLAMA | {"num_hidden_layers": 10**9}, ["num_hidden_layers: '1000000000' given"]),
    (LLAMA | {"num_hidden_layers": True}, ["num_hidden_layers: true given"]),
    (LLAMA | {"hidden_size": 4096.0}, ["hidden_size: '4096.0' given; expected a whole number"]),
    (LLAMA | {"hidden_size": 1e30}, ["hidden_size: '1e+30' given"]),
    (LLAMA | {"hidden_size": 10**40}, ["hidden_size: a number of over 30 digits given"]),
    (LLAMA | {"hidden_size": float("nan")}, ["hidden_size: 'nan' given"]),
    (LLAMA | {"hidden_size": "4096"}, ["hidden_size: '4096' given"]),
    (LLAMA | {"hidden_size": [4096]}, ["hidden_size: a list given"]),
    (LLAMA | {"hidden_size": {"a": 1}}, ["hidden_size: an object given"]),
    (LLAMA | {"hidden_size": "x" * 900}, ["hidden_size: 'xxxx"]),
    (LLAMA | {"hidden_size": "\x1b[31m\nred"}, ["hidden_size: '?[31m?red' given"]),
    (LLAMA | {"num_key_value_heads": 5}, ["num_key_value_heads: '5' given; expected a divisor of 32 heads"]),
    (LLAMA | {"num_attention_heads": 24, "num_key_value_heads": 8}, ["head_dim: nothing given; expected one"]),
    (LLAMA | {"tie_word_embeddings": "no"}, ["tie_word_embeddings: 'no' given; expected true or false"]),
    (LLAMA | {"max_position_embeddings": -1}, ["max_position_embeddings: '-1' given"]),
    (LLAMA | {"hidden_size": -1, "vocab_size": 0}, ["hidden_size: '-1'", "vocab_size: '0'"]),
    (LLAMA | {"model_type": "phi3small"}, ["model_type: 'phi3small' given; expected one of llama, mistral"]),
    (LLAMA | {"model_type": 7}, ["model_type: '7' given"]),
    (without(LLAMA, "model_type", "architectures"), ["model_type: nothing given"]),
    ({}, ["model_type: nothing given"]),
    (LLAMA | {"text_config": 3}, ["text_config: '3' given; expected an object"]),
    ({"text_config": {}}, ["text_config.model_type: nothing given"]),
    ({"text_config": LLAMA | {"hidden_size": 0}}, ["text_config.hidden_size: '0' given"]),
    (MOE | {"num_experts_per_tok": 129}, ["num_experts_per_tok: '129' given; expected a whole number from 1 to 128"]),
    (MOE | {"mlp_only_layers": [1, -1]}, ["mlp_only_layers: '-1' given; expected a list of layer numbers"]),
    (MOE | {"mlp_only_layers": 3}, ["mlp_only_layers: '3' given; expected a list"]),
    (MOE | {"decoder_sparse_step": 0}, ["decoder_sparse_step: '0' given"]),
    (CONFIGS["gpt-oss-20b"] | {"layer_types": ["sliding_attention"]}, ["layer_types: 1 entries given; expected one"]),
    (CONFIGS["gpt-oss-20b"] | {"layer_types": ["x"] * 24}, ["layer_types: 'x' given; expected a list of full_att"]),
    (CONFIGS["gpt-oss-20b"] | {"layer_types": ["full_attention"] * 20_000}, ["layer_types: a list given"]),
    (CONFIGS["gpt-oss-20b"] | {"sliding_window": None}, ["sliding_window: null given"]),
    (CONFIGS["gemma-2-9b"] | {"sliding_window": 0}, ["sliding_window: '0' given"]),
    (DEEPSEEK | {"kv_lora_rank": None}, ["kv_lora_rank: null given"]),
    (DEEPSEEK | {"first_k_dense_replace": -1}, ["first_k_dense_replace: '-1' given"]),
    (HYBRID | {"hybrid_override_pattern": "MEX*"}, ["hybrid_override_pattern: 'MEX*' given; expected a text of M"]),
    (HYBRID | {"hybrid_override_pattern": "M" * 1_000_000}, ["hybrid_override_pattern: 'MMMM"]),
    (HYBRID | {"hybrid_override_pattern": "ME*"}, ["hybrid_override_pattern: 3 letters given; expected 52"]),
    (HYBRID | {"hybrid_override_pattern": None}, ["hybrid_override_pattern: nothing given"]),
    (HYBRID | {"hybrid_override_pattern": "E" * 52}, ["no layers that mix tokens"]),
    (CONFIGS["vit-b-16"] | {"patch_size": 300}, ["image_size: '224' given; expected at least the patch size 300"]),
    ({"model_type": "gpt2", "n_embd": 0, "n_head": 12, "vocab_size": 9}, ["n_layer: nothing", "n_embd: '0' given"]),
    (OTHERS[1][1] | {"word_embed_proj_dim": 512}, ["word_embed_proj_dim: '512' given; expected the value of hidden"]),
]  # fmt: skip


@pytest.mark.parametrize(("config", "parts"), BAD)
def test_a_bad_config_is_refused_with_a_line_for_each_fault(config, parts):
    with pytest.raises(PresetError) as raised:
        from_config(config, "x/config.json")
    lines = raised.value.faults
    for part in parts:
        assert any(line.startswith("x/config.json: ") and part in line for line in lines), lines
    assert len(lines) == len(set(lines)) <= max(3, len(parts))
    assert all("\n" not in line and len(line) < 700 for line in lines)


def test_all_faults_of_a_config_are_named_at_once():
    config = LLAMA | {"hidden_size": -1, "num_attention_heads": "many", "vocab_size": None, "head_dim": 1.5}
    with pytest.raises(PresetError) as raised:
        from_config(config, "a")
    named = {line.split(": ")[1] for line in raised.value.faults}
    assert {"hidden_size", "num_attention_heads", "vocab_size", "head_dim"} <= named


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "expected a JSON object"),
        (b"not json", "expected a JSON object"),
        (b"[1, 2]", "holds a list; expected a JSON object"),
        (b"null", "holds null; expected a JSON object"),
        (b'"text"', "holds 'text'; expected a JSON object"),
        (b'{"model_type": "llama",}', "expected a JSON object"),
        (b'{"hidden_size": 1, "hidden_size": 2}', "the key 'hidden_size' stands twice"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "is not UTF-8 text"),
        (b"\x00" * 100, "expected a JSON object"),
        (b" " * 1_000_001, "is over 1 MB"),
        (b"[" * 400_000, "is nested too deep"),
        (b'{"a":' * 150_000, "is nested too deep"),
        (b'{"model_type": "llama", "hidden_size": ' + b"9" * 500_000 + b"}", "hidden_size: 'inf' given"),
        (b'{"model_type": "llama", "hidden_size": NaN}', "hidden_size: 'nan' given"),
    ],
)
def test_a_file_that_is_no_config_is_refused_at_once(content, part):
    start = time.perf_counter()
    with pytest.raises(PresetError) as raised:
        read_config(content, "bad.json")
    assert any(line.startswith("bad.json:") and part in line for line in raised.value.faults), (
        raised.value.faults
    )
    assert time.perf_counter() - start < 2


def test_a_byte_order_mark_is_no_fault():
    content = json.dumps(LLAMA).encode("utf-8-sig")
    assert read_config(content, "a").network == from_config(LLAMA, "a").network


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(0, 100), st.floats(), st.text(max_size=20),
    st.sampled_from([0, 1, 2, 64, 128, -1, 10**9, 10**40, 1e30, "full_attention", "sliding_attention", "M*-E"]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
KEYS = sorted({key for config in CONFIGS.values() for key in config.get("text_config", config)})
wild = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=10), values, max_size=12)


def answers_or_refuses(config: Any) -> None:
    try:
        found = from_config(config, "fuzz.json")
    except PresetError as error:
        assert error.faults and all("\n" not in line for line in error.faults)
    else:
        assert parameter_count(found.network) > 0
        text = to_yaml(found.network, name=found.name, about=found.about, cite="fuzz")
        assert read_back(text) == found.network


@settings(max_examples=300, deadline=1000)
@given(model_type=st.sampled_from(sorted(FAMILIES)) | leaves, config=wild, nested=st.booleans())
def test_any_mapping_is_a_network_or_a_refusal(model_type, config, nested):
    config = config | {"model_type": model_type}
    answers_or_refuses({"text_config": config} if nested else config)


@settings(max_examples=300, deadline=1000)
@given(base=st.sampled_from(sorted(CONFIGS)), changes=wild, gone=st.sets(st.sampled_from(KEYS), max_size=3))
def test_a_published_config_with_changes_is_a_network_or_a_refusal(base, changes, gone):
    config = CONFIGS[base]
    inner = without(config.get("text_config", config) | changes, *gone)
    answers_or_refuses(config | {"text_config": inner} if "text_config" in config else inner)


@settings(max_examples=100, deadline=1000)
@given(given_value=values)
def test_anything_that_is_no_mapping_is_refused(given_value):
    answers_or_refuses(given_value)


@settings(max_examples=200, deadline=1000)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | values.map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_a_network_or_a_refusal(content):
    with pytest.raises(PresetError):  # no random bytes describe a network
        read_config(content, "fuzz.json")
