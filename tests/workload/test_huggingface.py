"""Config files as their makers publish them become the same records as the built-in presets; bad ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from npuwatt.preset import library
from npuwatt.preset.load import parse_yaml, read_record
from npuwatt.record import replace
from npuwatt.workload.convnet import ConvNet
from npuwatt.workload.huggingface import from_config, imported, read_config
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.network_text import to_yaml
from npuwatt.workload.parameters import parameter_count

INDEX = library.index()
QUALITIES = {key: entry["quality"] for key, entry in library.sources().items()}


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


def preset(name: str) -> Network:
    document = library.find("networks", name).document
    kinds: dict[str, Any] = {"transformer": Transformer, "convnet": ConvNet}
    record: Network = read_record(document, kinds[document.tree["kind"]], QUALITIES).record
    return record


def decoder(
    model_type: str, hidden: int, width: int, layers: int, heads: int, kv_heads: int, **more: Any
) -> dict[str, Any]:
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


FOLDER = Path(__file__).parent / "configs"
CONFIGS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")
}
LLAMA = CONFIGS["llama-3.1-8b"]
DEEPSEEK = CONFIGS["deepseek-v3"]


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_published_config_gives_the_record_of_the_preset(name: str) -> None:
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
def test_other_families_count_as_their_checkpoints_do(parameters: int, config: dict[str, Any]) -> None:
    network = from_config(config, "config.json").network
    assert parameter_count(network) == pytest.approx(parameters, rel=1e-5)


def test_a_config_that_lists_its_layers_agrees_with_one_that_states_the_rule() -> None:
    config = CONFIGS["gemma-3-4b"]
    types = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(34)]
    listed = config | {"text_config": config["text_config"] | {"layer_types": types}}
    assert from_config(listed, "a").network == from_config(config, "a").network


def test_a_window_that_is_switched_off_is_none() -> None:
    config = CONFIGS["qwen2.5-7b"] | {"sliding_window": 4096, "max_window_layers": 20}
    off = from_config(config, "a").network.attention
    on = from_config(config | {"use_sliding_window": True}, "a").network.attention
    assert off is not None and off.windowed_layers == 0
    assert on is not None and (on.windowed_layers, on.window_tokens) == (8, 4096)


def test_dense_layers_between_the_experts_are_counted() -> None:
    config = CONFIGS["qwen3-30b-a3b"] | {"decoder_sparse_step": 2, "mlp_only_layers": [1, 0]}
    network = from_config(config, "a").network
    assert network.experts is not None and network.experts.layers == 23
    assert network.feed_forward is not None and network.feed_forward.layers == 25
    assert network.feed_forward.width == 6144


def test_a_bare_vision_model_has_a_pooler_and_no_classes() -> None:
    config = CONFIGS["vit-b-16"] | {"architectures": ["ViTModel"]}
    network = from_config(config, "a").network
    assert network.pooler and network.classes == 0


def test_a_hybrid_counts_its_layers_by_their_indices() -> None:
    # Bamba-9B: 32 layers, attention at 9, 18 and 27; each layer has a feed-forward part.
    config = decoder(
        "bamba", 4096, 14336, 32, 32, 8, attn_layer_indices=[9, 18, 27], mamba_n_heads=128, mamba_d_head=64,
        mamba_d_state=128, mamba_n_groups=1, mamba_d_conv=4, vocab_size=128256, tie_word_embeddings=False,
    )  # fmt: skip
    network = from_config(config, "a").network
    assert network.state_space is not None and network.state_space.layers == 29
    assert network.attention is not None and network.attention.layers == 3
    assert parameter_count(network) == pytest.approx(9.78e9, rel=0.01)


def test_the_family_is_found_by_its_class_where_no_model_type_is_stated() -> None:
    config = {key: value for key, value in LLAMA.items() if key != "model_type"}
    assert from_config(config, "a").network == from_config(LLAMA, "a").network


def test_how_weights_are_quantised_changes_nothing() -> None:
    plain = {key: value for key, value in DEEPSEEK.items() if key != "quantization_config"}
    assert from_config(plain, "a") == from_config(DEEPSEEK, "a")


@pytest.mark.parametrize(
    ("config", "label", "name"),
    [
        (LLAMA | {"_name_or_path": "meta-llama/My-Llama"}, "config.json", "My-Llama"),
        (LLAMA, "models/My-8B/config.json", "My-8B"),
        (LLAMA, "somewhere/my-8b.json", "my-8b"),
        (LLAMA, "config.json", "llama"),
        (LLAMA | {"_name_or_path": "../../etc/\x1b[31m"}, "config.json", "llama"),
    ],
)
def test_an_imported_network_is_named_after_its_origin(config: dict[str, Any], label: str, name: str) -> None:
    assert from_config(config, label).name == name


def test_an_import_says_what_sets_the_network_apart() -> None:
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
    record: Network = read_record(document, kinds[document.tree["kind"]], own).record
    return record


@pytest.mark.parametrize("name", sorted(INDEX["networks"]))
def test_a_written_preset_reads_back_as_the_same_record(name: str) -> None:
    record = preset(name)
    assert read_back(to_yaml(record, name=name, about="same", cite="a test", comment="one\ntwo")) == record


def test_an_imported_config_reads_back_as_the_same_record() -> None:
    for name, config in CONFIGS.items():
        content = json.dumps(config).encode()
        text = imported(content, f"{name}.json")
        assert read_back(text) == read_config(content, "a").network
        assert parse_yaml(text.encode(), "a").tree["name"] == name


@pytest.mark.parametrize(
    "text", ['": {[!!python', "'\\ #", "\ud800\x00\n---\n&a *a", "é\u2028\ufffe ✓ 🦙", "true", "1"]
)
def test_no_text_of_a_config_can_break_the_preset_that_it_becomes(text: str) -> None:
    record = preset("llama-3.1-8b")
    written = to_yaml(record, name=text, about=text, cite=text, comment=text)
    tree = parse_yaml(written.encode(), "a").tree
    assert isinstance(tree["name"], str)
    assert read_back(written) == record
