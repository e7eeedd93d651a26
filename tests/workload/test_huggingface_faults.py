"""Configs that describe no network are refused, a line for each fault, whatever they hold."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.errors import PresetError
from npuwatt.preset.load import parse_yaml, read_record
from npuwatt.workload.huggingface import FAMILIES, from_config, read_config
from npuwatt.workload.network import Transformer
from npuwatt.workload.network_text import to_yaml
from npuwatt.workload.parameters import parameter_count

FOLDER = Path(__file__).parent / "configs"
CONFIGS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")
}
LLAMA = CONFIGS["llama-3.1-8b"]
DEEPSEEK = CONFIGS["deepseek-v3"]
OPT = {
    "model_type": "opt", "hidden_size": 768, "ffn_dim": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
    "max_position_embeddings": 2048, "vocab_size": 50272,
}  # fmt: skip


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
    (OPT | {"word_embed_proj_dim": 512}, ["word_embed_proj_dim: '512' given; expected the value of hidden"]),
]  # fmt: skip


@pytest.mark.parametrize(("config", "parts"), BAD)
def test_a_bad_config_is_refused_with_a_line_for_each_fault(config: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(PresetError) as raised:
        from_config(config, "x/config.json")
    lines = raised.value.faults
    for part in parts:
        assert any(line.startswith("x/config.json: ") and part in line for line in lines), lines
    assert len(lines) == len(set(lines)) <= max(3, len(parts))
    assert all("\n" not in line and len(line) < 700 for line in lines)


def test_all_faults_of_a_config_are_named_at_once() -> None:
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
def test_a_file_that_is_no_config_is_refused_at_once(content: bytes, part: str) -> None:
    start = time.perf_counter()
    with pytest.raises(PresetError) as raised:
        read_config(content, "bad.json")
    assert any(line.startswith("bad.json:") and part in line for line in raised.value.faults), (
        raised.value.faults
    )
    assert time.perf_counter() - start < 2


def test_a_byte_order_mark_is_no_fault() -> None:
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
        document = parse_yaml(text.encode(), "written.yaml")
        assert read_record(document, Transformer, {"config": "datasheet"}).record == found.network


@settings(max_examples=200, deadline=1000)
@given(model_type=st.sampled_from(sorted(FAMILIES)) | leaves, config=wild, nested=st.booleans())
def test_any_mapping_is_a_network_or_a_refusal(model_type: Any, config: dict[str, Any], nested: bool) -> None:
    config = config | {"model_type": model_type}
    answers_or_refuses({"text_config": config} if nested else config)


@settings(max_examples=200, deadline=1000)
@given(base=st.sampled_from(sorted(CONFIGS)), changes=wild, gone=st.sets(st.sampled_from(KEYS), max_size=3))
def test_a_published_config_with_changes_is_a_network_or_a_refusal(
    base: str, changes: dict[str, Any], gone: set[str]
) -> None:
    config = CONFIGS[base]
    inner = without(config.get("text_config", config) | changes, *gone)
    answers_or_refuses(config | {"text_config": inner} if "text_config" in config else inner)


@settings(max_examples=100, deadline=1000)
@given(given_value=values)
def test_anything_that_is_no_mapping_is_refused(given_value: Any) -> None:
    answers_or_refuses(given_value)


@settings(max_examples=200, deadline=1000)
@given(
    content=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | values.map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_are_a_network_or_a_refusal(content: bytes) -> None:
    with pytest.raises(PresetError):  # no random bytes describe a network
        read_config(content, "fuzz.json")
