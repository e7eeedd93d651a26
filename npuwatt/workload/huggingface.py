"""A Hugging Face config.json as a network: a closed list of families, and what each leaves unsaid in its config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from npuwatt.errors import NpuwattError, PresetError
from npuwatt.workload import huggingface_layers as rules
from npuwatt.workload.huggingface_keys import MOST_LAYERS, MOST_ROWS, MOST_TOKENS, Keys, given, parse_json
from npuwatt.workload.network import Transformer
from npuwatt.workload.network_text import to_yaml


class Imported(NamedTuple):
    """A network, and what to call it."""

    network: Transformer
    name: str
    about: str


class Family(NamedTuple):
    """How configs of one `model_type` are read. A text for a yes or no names the key that tells it."""

    read: Callable[[Keys, Family], Transformer]
    defaults: Mapping[str, Any] = {}  # what the family's class assumes where its config is silent
    renamed: Mapping[str, str] = {}
    tied: bool = False
    gated: bool = True
    window: rules.WindowRule = rules.no_window
    channels: rules.ChannelRule = rules.dense
    qkv_biases: bool | str = "attention_bias"
    head_norms: bool | str = False
    norm_vectors: int = 2
    norm_biases: bool = False
    biases: bool | str = False
    position_rows: int | None = None  # rows of learned positions beyond the context; None: not learned


def read_config(content: bytes, label: str) -> Imported:
    """The bytes of a config.json as a network; `label` opens each error line.

    Raises PresetError with every fault of the config, a line each.
    """
    return from_config(parse_json(content, label), label)


def imported(content: bytes, label: str) -> str:
    """The bytes of a config.json as the text of a preset: what an import of it writes."""
    found = read_config(content, label)
    return to_yaml(found.network, name=found.name, about=found.about, cite=f"config.json of {found.name}")


def from_config(config: Mapping[str, Any], label: str) -> Imported:
    """A parsed config.json as a network. Of a model with a nested `text_config` that part is read.

    How the weights are quantised is not looked at: it changes no shape.
    """
    if not isinstance(config, Mapping):
        raise PresetError(f"{label}: holds {given(config)}; expected a JSON object")
    inner, prefix = _text_part(config, label)
    model_type = _model_type(inner, config, f"{label}: {prefix}model_type")
    family = FAMILIES[model_type]
    known = {**family.defaults, **{key: value for key, value in inner.items() if isinstance(key, str)}}
    if prefix and known.get("tie_word_embeddings") is None:
        known["tie_word_embeddings"] = config.get("tie_word_embeddings")
    keys = Keys(known, label, prefix=prefix, renamed=family.renamed)
    try:
        network = family.read(keys, family)
    except NpuwattError as error:  # a record that the parts of a config with faults add up to
        if not keys.faults:
            raise PresetError(*(f"{label}: {fault}" for fault in error.faults)) from error
        network = None
    if keys.faults or network is None:
        raise PresetError(*dict.fromkeys(keys.faults))
    about = describe(network) + ("; text part only" if prefix else "")
    return Imported(network, _name(config, label, model_type), about)


def describe(network: Transformer) -> str:
    """What sets a network apart, in one line."""
    words = ["mixture of experts" if network.experts else "dense"] if network.decoder else ["encoder"]
    if network.state_space:
        words.append(f"{network.state_space.layers} Mamba-2 layers")
    if network.latent_attention:
        words.append("multi-head latent attention")
    if network.attention:
        one = network.attention
        kind = (
            "multi-head"
            if one.kv_heads == one.heads
            else "multi-query"
            if one.kv_heads == 1
            else "grouped-query"
        )
        words.append(f"{kind} attention")
        if one.windowed_layers:
            window = "chunked" if one.window_style == "chunked" else "sliding window"
            words.append(f"{window} in {one.windowed_layers} of {one.layers} layers")
    if network.feed_forward and not network.feed_forward.gated:
        words.append("plain feed-forward")
    return ", ".join(words)


def _text_part(config: Mapping[str, Any], label: str) -> tuple[Mapping[str, Any], str]:
    """The object that describes the language model, and what its keys are called in front."""
    inner = config.get("text_config")
    if inner is None:
        return config, ""
    if not isinstance(inner, Mapping):
        raise PresetError(f"{label}: text_config: {given(inner)} given; expected an object")
    return inner, "text_config."


def _model_type(inner: Mapping[str, Any], outer: Mapping[str, Any], address: str) -> str:
    """The family of a config, by `model_type` or else by the class named in `architectures`."""
    stated = inner.get("model_type", outer.get("model_type"))
    architectures = inner.get("architectures", outer.get("architectures"))
    if stated is None and isinstance(architectures, list) and architectures:
        stated = architectures[0]
    wanted = f"expected one of {', '.join(FAMILIES)}"
    if not isinstance(stated, str):
        raise PresetError(f"{address}: {'nothing' if stated is None else given(stated)} given; {wanted}")
    bare = re.sub(r"(LMHead|For[A-Z]\w{1,40})?(Model)?\Z", "", stated[:200]).lower().replace("_", "")
    for model_type in FAMILIES:
        if stated == model_type or bare == model_type.replace("_", ""):
            return model_type
    raise PresetError(f"{address}: {given(stated)} given; {wanted}")


def _name(config: Mapping[str, Any], label: str, model_type: str) -> str:
    """A short name from what the config says it came from, else from its file or folder."""
    stated = config.get("_name_or_path")
    folders = [part for part in re.split(r"[/\\]", label) if part]
    file = folders[-1].rpartition(".")[0] if folders else ""
    folder = folders[-2] if len(folders) > 1 else ""
    candidates = [re.split(r"[/\\]", stated)[-1] if isinstance(stated, str) else "", file, folder]
    for candidate in candidates:
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+\-]{0,99}", candidate) and candidate not in (
            "config",
            "models",
        ):
            return candidate
    return model_type.replace("_", "-")


def _told(keys: Keys, answer: bool | str) -> bool:
    return keys.flag(answer, False) if isinstance(answer, str) else answer


def _layers(keys: Keys) -> int:
    return keys.count("num_hidden_layers", most=MOST_LAYERS)


def _outside(keys: Keys, family: Family) -> dict[str, Any]:
    """What a decoder has around its layers."""
    context = keys.count("max_position_embeddings", 0, most=MOST_TOKENS)
    learned = family.position_rows is not None
    if learned:
        context = keys.count("max_position_embeddings", most=MOST_ROWS)
    return {
        "hidden": keys.count("hidden_size"),
        "vocab": keys.count("vocab_size", most=MOST_ROWS),
        "tied_embeddings": keys.flag("tie_word_embeddings", family.tied),
        "max_context": context,
        "positions": context + (family.position_rows or 0) if learned else 0,
        "norm_vectors": family.norm_vectors,
        "norm_biases": family.norm_biases,
        "biases": _told(keys, family.biases),
    }


def _decoder(keys: Keys, family: Family) -> Transformer:
    layers = _layers(keys)
    biases, norms = _told(keys, family.qkv_biases), _told(keys, family.head_norms)
    plain, experts = family.channels(keys, layers, family.gated)
    window = family.window(keys, layers)
    mixer = rules.attention(keys, layers, window, qkv_biases=biases, head_norms=norms)
    return Transformer(attention=mixer, feed_forward=plain, experts=experts, **_outside(keys, family))


def _latent(keys: Keys, family: Family) -> Transformer:
    layers = _layers(keys)
    plain, experts = family.channels(keys, layers, family.gated)
    mixer = rules.latent_attention(keys, layers)
    return Transformer(latent_attention=mixer, feed_forward=plain, experts=experts, **_outside(keys, family))


def _opt(keys: Keys, family: Family) -> Transformer:
    projected = keys.get("word_embed_proj_dim")
    if projected is not None and projected != keys.get("hidden_size"):
        keys.fault("word_embed_proj_dim", f"{given(projected)} given; expected the value of hidden_size")
    return _decoder(keys, family)


def _gpt2(keys: Keys, family: Family) -> Transformer:
    if keys.get("intermediate_size") is None:
        keys.config = {**keys.config, "n_inner": 4 * keys.count("hidden_size")}
    return _decoder(keys, family)


def _nemotron_h(keys: Keys, family: Family) -> Transformer:
    kinds = rules.hybrid_layers(keys, _layers(keys))
    names = {
        "heads": "mamba_num_heads", "head_dim": "mamba_head_dim", "state": "ssm_state_size",
        "groups": "n_groups", "conv_width": "conv_kernel",
    }  # fmt: skip
    scan = rules.state_space(keys, kinds["M"], names) if kinds["M"] else None
    mixer = rules.attention(keys, kinds["*"], rules.Window()) if kinds["*"] else None
    plain, experts = rules.hybrid_channels(keys, kinds)
    around = _outside(keys, family)
    return Transformer(state_space=scan, attention=mixer, feed_forward=plain, experts=experts, **around)


def _bamba(keys: Keys, family: Family) -> Transformer:
    layers = _layers(keys)
    looking = len(keys.indices("attn_layer_indices", layers))
    names = {
        "heads": "mamba_n_heads", "head_dim": "mamba_d_head", "state": "mamba_d_state",
        "groups": "mamba_n_groups", "conv_width": "mamba_d_conv",
    }  # fmt: skip
    scan = rules.state_space(keys, layers - looking, names) if looking < layers else None
    mixer = rules.attention(keys, looking, rules.Window()) if looking else None
    plain, _ = rules.dense(keys, layers, family.gated)
    return Transformer(state_space=scan, attention=mixer, feed_forward=plain, **_outside(keys, family))


def _bert(keys: Keys, family: Family) -> Transformer:
    layers = _layers(keys)
    rows = keys.count("max_position_embeddings", most=MOST_ROWS)
    unused = family.position_rows or 0  # RoBERTa counts positions from the number of its padding token
    around = _outside(keys, family._replace(position_rows=None))
    around["positions"] = rows + keys.count("type_vocab_size", 2, least=0, most=MOST_ROWS)
    around["max_context"] = max(0, rows - unused)
    mixer = rules.attention(keys, layers, rules.Window())
    plain, _ = rules.dense(keys, layers, False)
    return Transformer(decoder=False, attention=mixer, feed_forward=plain, pooler=True, **around)


def _vit(keys: Keys, family: Family) -> Transformer:
    layers = _layers(keys)
    patch = keys.count("patch_size", most=10_000)
    side = keys.count("image_size", most=100_000) // patch
    if side < 1 and not keys.faults:
        keys.fault(
            "image_size", f"{given(keys.get('image_size'))} given; expected at least the patch size {patch}"
        )
    architectures = keys.listing("architectures")
    bare = bool(architectures) and architectures[0] == "ViTModel"
    labels = keys.get("id2label")
    classes = len(labels) if isinstance(labels, Mapping) else keys.count("num_labels", 2, most=MOST_ROWS)
    tokens = max(1, side) ** 2 + 1
    plain, _ = rules.dense(keys, layers, False)
    return Transformer(
        hidden=keys.count("hidden_size"),
        decoder=False,
        attention=rules.attention(keys, layers, rules.Window()),
        feed_forward=plain,
        max_context=tokens,
        tokens=tokens,
        patch_inputs=keys.count("num_channels", 3, most=10_000) * patch**2,
        positions=tokens + 1,
        pooler=bare,
        classes=0 if bare else classes,
        norm_biases=True,
        biases=True,
    )


_GPT2_KEYS = {
    "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "intermediate_size": "n_inner", "max_position_embeddings": "n_positions",
}  # fmt: skip
_LLAMA = Family(_decoder)
_MISTRAL = Family(_decoder, {"sliding_window": 4096}, window=rules.window_in_all)
_QWEN2 = Family(_decoder, {"sliding_window": 4096}, window=rules.window_above, qkv_biases=True)
_QWEN3 = Family(
    _decoder, {"sliding_window": 4096, "head_dim": 128}, window=rules.window_above, head_norms=True
)
_QWEN3_MOE = _QWEN3._replace(defaults={"sliding_window": 4096}, channels=rules.experts_by_step)
_GEMMA2 = Family(
    _decoder,
    {"sliding_window": 4096, "head_dim": 256},
    tied=True,
    window=rules.window_in_even,
    norm_vectors=4,
)
_GEMMA3 = Family(
    _decoder,
    {
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
        "sliding_window": 4096, "max_position_embeddings": 131072,
    },
    tied=True, window=rules.window_by_pattern, norm_vectors=4, head_norms=True,
)  # fmt: skip
_LLAMA4 = Family(
    _decoder, {"attention_chunk_size": 8192}, window=rules.chunks, channels=rules.experts_interleaved
)
_DEEPSEEK = Family(_latent, channels=rules.experts_after_dense)
_GLM4_MOE = Family(_decoder, channels=rules.experts_after_dense, head_norms="use_qk_norm")
_LAYER_NORM = Family(_decoder, norm_biases=True)
_BERT = Family(_bert, tied=True, norm_biases=True, biases=True)

FAMILIES: dict[str, Family] = {
    "llama": _LLAMA,
    "mistral": _MISTRAL,
    "mixtral": _MISTRAL._replace(defaults={}, channels=rules.experts_everywhere),
    "qwen2": _QWEN2,
    "qwen2_vl": _QWEN2,
    "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "qwen2_moe": _QWEN2._replace(channels=rules.experts_by_step),
    "qwen3": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "qwen3_moe": _QWEN3_MOE,
    "qwen3_vl_moe_text": _QWEN3_MOE,
    "deepseek_v2": _DEEPSEEK,
    "deepseek_v3": _DEEPSEEK,
    "kimi_k2": _DEEPSEEK,
    "gemma": Family(_decoder, {"head_dim": 256}, tied=True),
    "gemma2": _GEMMA2,
    "gemma3": _GEMMA3,
    "gemma3_text": _GEMMA3,
    "phi3": Family(_decoder, window=rules.window_in_all),
    "gpt_oss": Family(
        _decoder, {"head_dim": 64, "sliding_window": 128}, window=rules.window_in_even,
        channels=rules.experts_everywhere, qkv_biases=False, biases=True,
    ),
    "glm4": Family(_decoder, norm_vectors=4),
    "glm4_moe": _GLM4_MOE,
    "nemotron": _LAYER_NORM._replace(gated=False),
    "nemotron_h": Family(_nemotron_h, gated=False),
    "llama4": _LLAMA4,
    "llama4_text": _LLAMA4,
    "starcoder2": Family(
        _decoder, {"use_bias": True}, tied=True, gated=False, window=rules.window_in_all, norm_biases=True,
        biases="use_bias",
    ),
    "gpt2": Family(
        _gpt2, renamed=_GPT2_KEYS, tied=True, gated=False, norm_biases=True, biases=True, position_rows=0
    ),
    "opt": Family(
        _opt, renamed={"intermediate_size": "ffn_dim"}, tied=True, gated=False, norm_biases=True, biases=True,
        position_rows=2,
    ),
    "gpt_neox": _LAYER_NORM._replace(gated=False, biases=True),
    "olmo2": Family(_decoder, head_norms=True),
    "granite": _LLAMA,
    "cohere": Family(_decoder, tied=True, norm_vectors=1, head_norms="use_qk_norm"),
    "smollm3": Family(_decoder, tied=True),
    "stablelm": _LAYER_NORM._replace(qkv_biases="use_qkv_bias", head_norms="qk_layernorm"),
    "bamba": Family(_bamba),
    "bert": _BERT,
    "roberta": _BERT._replace(position_rows=2),
    "vit": Family(_vit),
}  # fmt: skip
