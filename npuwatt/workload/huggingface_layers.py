"""Which layers a Hugging Face config.json describes: windows, experts, latent attention and state-space layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from npuwatt.workload.huggingface_keys import MOST_HEADS, MOST_LAYERS, MOST_TOKENS, Keys, given
from npuwatt.workload.network import Attention, Experts, FeedForward, LatentAttention, StateSpace

WINDOWED = ("full_attention", "sliding_attention", "chunked_attention")


class Window(NamedTuple):
    """What some attention layers cannot look back beyond."""

    layers: int = 0
    tokens: int = 0
    style: Literal["sliding", "chunked"] = "sliding"


Channels: TypeAlias = tuple[FeedForward | None, Experts | None]
WindowRule: TypeAlias = Callable[[Keys, int], Window]
ChannelRule: TypeAlias = Callable[[Keys, int, bool], Channels]


def no_window(keys: Keys, layers: int) -> Window:
    """All layers see everything."""
    return Window()


def window_in_all(keys: Keys, layers: int) -> Window:
    """`sliding_window` holds in every layer unless it is null."""
    return _sliding(keys, layers, layers)


def window_in_even(keys: Keys, layers: int) -> Window:
    """Layers alternate, a local one first."""
    return _sliding(keys, layers, (layers + 1) // 2)


def window_by_pattern(keys: Keys, layers: int) -> Window:
    """Every `sliding_window_pattern`-th layer is global."""
    key = "_sliding_window_pattern" if keys.get("_sliding_window_pattern") else "sliding_window_pattern"
    return _sliding(keys, layers, layers - layers // keys.count(key, 6, most=MOST_LAYERS))


def window_above(keys: Keys, layers: int) -> Window:
    """If `use_sliding_window`, the layers from `max_window_layers` on are local."""
    if not keys.flag("use_sliding_window", False):
        return Window()
    first = keys.count("max_window_layers", 28, least=0, most=MOST_LAYERS)
    return _sliding(keys, layers, max(0, layers - first))


def chunks(keys: Keys, layers: int) -> Window:
    """Layers with rotary positions attend within chunks, the others everywhere."""
    if keys.get("attention_chunk_size") is None:
        return Window()
    tokens = keys.count("attention_chunk_size", most=MOST_TOKENS)
    types = keys.choices("layer_types", layers, WINDOWED)
    rotary = keys.listing("no_rope_layers")  # 1 where a layer does use rotary positions, despite the name
    if types:
        local = types.count("chunked_attention")
    elif rotary:
        local = sum(1 for item in rotary[:layers] if item == 1)
    else:
        local = layers - layers // keys.count("no_rope_layer_interval", 4, most=MOST_LAYERS)
    return Window(local, tokens, "chunked") if local else Window()


def _sliding(keys: Keys, layers: int, otherwise: int) -> Window:
    """Local layers by the list `layer_types`, or `otherwise` where the config has no list."""
    types = keys.choices("layer_types", layers, WINDOWED[:2])
    local = types.count("sliding_attention") if types else otherwise
    if not keys.flag("use_sliding_window", True) or not local:
        return Window()
    if keys.get("sliding_window") is None and not types:
        return Window()
    return Window(local, keys.count("sliding_window", most=MOST_TOKENS))


def attention(
    keys: Keys, layers: int, window: Window, *, qkv_biases: bool = False, head_norms: bool = False
) -> Attention:
    """Attention layers by heads, KV heads and head size, each with the usual default."""
    heads = keys.count("num_attention_heads", most=MOST_HEADS)
    kv_heads = keys.count("num_key_value_heads", heads, most=MOST_HEADS)
    if heads % kv_heads:
        keys.fault("num_key_value_heads", f"{given(kv_heads)} given; expected a divisor of {heads} heads")
        kv_heads = heads
    key = "attention_head_dim" if keys.get("head_dim") is None else "head_dim"
    if keys.get(key) is None:
        hidden = keys.count("hidden_size")
        if hidden % heads and not keys.faults:
            keys.fault("head_dim", f"nothing given; expected one, as {heads} heads do not divide {hidden}")
        head_dim = max(1, hidden // heads)
    else:
        head_dim = keys.count(key, most=MOST_HEADS)
    return Attention(
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        windowed_layers=window.layers,
        window_tokens=window.tokens,
        window_style=window.style,
        qkv_biases=qkv_biases,
        head_norms=head_norms,
    )


def latent_attention(keys: Keys, layers: int) -> LatentAttention:
    """Multi-head latent attention; without `q_lora_rank` queries come straight from the hidden state."""
    return LatentAttention(
        layers=layers,
        heads=keys.count("num_attention_heads", most=MOST_HEADS),
        kv_rank=keys.count("kv_lora_rank"),
        nope_dim=keys.count("qk_nope_head_dim", most=MOST_HEADS),
        rope_dim=keys.count("qk_rope_head_dim", most=MOST_HEADS),
        value_dim=keys.count("v_head_dim", most=MOST_HEADS),
        q_rank=keys.count("q_lora_rank", 0),
    )


def state_space(keys: Keys, layers: int, names: Mapping[str, str]) -> StateSpace:
    """Mamba-2 layers; `names` tells what this family calls each field."""
    dtype: Any = keys.get("mamba_ssm_cache_dtype")
    return StateSpace(
        layers=layers,
        heads=keys.count(names["heads"], most=MOST_HEADS),
        head_dim=keys.count(names["head_dim"], most=MOST_HEADS),
        state=keys.count(names["state"], most=MOST_HEADS),
        groups=keys.count(names["groups"], most=MOST_HEADS),
        conv_width=keys.count(names["conv_width"], most=MOST_HEADS),
        state_width="bf16" if dtype == "bfloat16" else "fp32",
    )


def dense(keys: Keys, layers: int, gated: bool) -> Channels:
    """One feed-forward layer after each mixer."""
    return FeedForward(layers=layers, width=keys.count("intermediate_size"), gated=gated), None


def experts_everywhere(keys: Keys, layers: int, gated: bool) -> Channels:
    """Mixtral and gpt-oss: all layers are experts, and `intermediate_size` is the width of one."""
    return None, _experts(keys, layers, gated, count="num_local_experts", width="intermediate_size")


def experts_by_step(keys: Keys, layers: int, gated: bool) -> Channels:
    """Qwen: every `decoder_sparse_step`-th layer but those of `mlp_only_layers`."""
    step = keys.count("decoder_sparse_step", 1, most=MOST_LAYERS)
    plain = keys.indices("mlp_only_layers", layers)
    sparse = sum(1 for layer in range(layers) if layer not in plain and (layer + 1) % step == 0)
    shared = keys.count("shared_expert_intermediate_size", 0, least=0)
    return _split(
        keys, layers, sparse, gated, count="num_experts", width="moe_intermediate_size", shared=shared
    )


def experts_after_dense(keys: Keys, layers: int, gated: bool) -> Channels:
    """DeepSeek, Kimi, GLM: after `first_k_dense_replace` layers every `moe_layer_freq`-th has experts."""
    if keys.get("n_routed_experts") is None:
        return dense(keys, layers, gated)
    first = keys.count("first_k_dense_replace", 0, least=0, most=MOST_LAYERS)
    step = keys.count("moe_layer_freq", 1, most=MOST_LAYERS)
    sparse = sum(1 for layer in range(first, layers) if layer % step == 0)
    width = keys.count("moe_intermediate_size")
    shared = keys.count("n_shared_experts", 0, least=0, most=MOST_HEADS) * width
    return _split(
        keys, layers, sparse, gated, count="n_routed_experts", width="moe_intermediate_size", shared=shared
    )


def experts_interleaved(keys: Keys, layers: int, gated: bool) -> Channels:
    """Llama 4: every `interleave_moe_layer_step`-th layer; one shared expert as wide as a routed one."""
    step = keys.count("interleave_moe_layer_step", 1, most=MOST_LAYERS)
    listed = keys.indices("moe_layers", layers)
    sparse = len(listed) if listed else layers // step
    width = keys.count("intermediate_size")
    count = "num_local_experts"
    return _split(
        keys,
        layers,
        sparse,
        gated,
        count=count,
        width="intermediate_size",
        shared=width,
        dense="intermediate_size_mlp",
    )


def _split(
    keys: Keys,
    layers: int,
    sparse: int,
    gated: bool,
    *,
    count: str,
    width: str,
    shared: int,
    dense: str = "intermediate_size",
) -> Channels:
    """`sparse` layers of experts, and plain ones for the rest."""
    plain = None
    if sparse < layers:
        plain = FeedForward(layers=layers - sparse, width=keys.count(dense), gated=gated)
    if not sparse:
        return plain, None
    return plain, _experts(keys, sparse, gated, count=count, width=width, shared=shared)


def _experts(keys: Keys, layers: int, gated: bool, *, count: str, width: str, shared: int = 0) -> Experts:
    experts = keys.count(count, most=MOST_HEADS)
    return Experts(
        layers=layers,
        experts=experts,
        per_token=keys.count("num_experts_per_tok", most=MOST_HEADS if keys.faults else experts),
        width=keys.count(width),
        shared_width=shared,
        gated=gated,
    )


def hybrid_layers(keys: Keys, layers: int) -> dict[str, int]:
    """How many layers of each kind a `hybrid_override_pattern` names: M Mamba-2, * attention, - plain, E experts."""
    pattern = keys.get("hybrid_override_pattern")
    wanted = "expected a text of M, *, - and E, one letter for each layer"
    if (
        not isinstance(pattern, str)
        or not pattern
        or len(pattern) > MOST_LAYERS
        or set(pattern) - set("M*-E")
    ):
        what = "nothing" if pattern is None else given(pattern)
        keys.fault("hybrid_override_pattern", f"{what} given; {wanted}")
        return {"M": 1, "*": 1, "-": 0, "E": 0}
    if len(pattern) != layers and not keys.faults:
        keys.fault(
            "hybrid_override_pattern", f"{len(pattern)} letters given; expected {layers}, one for each layer"
        )
    return {letter: pattern.count(letter) for letter in "M*-E"}


def hybrid_channels(keys: Keys, kinds: Mapping[str, int]) -> Channels:
    """Plain and expert layers of a hybrid stack; the shared width is stated whole."""
    plain = experts = None
    if kinds["-"]:
        plain = FeedForward(layers=kinds["-"], width=keys.count("intermediate_size"), gated=False)
    if kinds["E"]:
        shared = keys.count("moe_shared_expert_intermediate_size", 0, least=0)
        experts = _experts(
            keys, kinds["E"], False, count="n_routed_experts", width="moe_intermediate_size", shared=shared
        )
    return plain, experts
