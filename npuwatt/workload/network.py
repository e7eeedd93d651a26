"""What a network is made of: the shapes that decide its work, its bytes and its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from npuwatt import require
from npuwatt.errors import NpuwattError
from npuwatt.record import Record

if TYPE_CHECKING:
    from npuwatt.workload.convnet import ConvNet


class Attention(Record):
    """Layers whose queries look back over cached keys and values (MHA, GQA, MQA)."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    windowed_layers: int = 0  # how many of the layers see only the last `window_tokens`
    window_tokens: int = 0
    window_style: Literal["sliding", "chunked"] = "sliding"
    qkv_biases: bool = False  # the query, key and value projections carry a bias, the others none
    head_norms: bool = False  # queries and keys are normalised, each with a vector of head_dim values

    def __post_init__(self) -> None:
        require.counts(1, layers=self.layers, heads=self.heads, head_dim=self.head_dim)
        require.counts(1, self.heads, kv_heads=self.kv_heads)
        if self.heads % self.kv_heads:
            raise NpuwattError(f"kv_heads: {self.kv_heads} given; expected a divisor of {self.heads} heads")
        require.counts(0, self.layers, windowed_layers=self.windowed_layers)
        require.counts(1 if self.windowed_layers else 0, window_tokens=self.window_tokens)


class LatentAttention(Record):
    """Layers that cache one compressed vector a token for all heads (multi-head latent attention)."""

    layers: int
    heads: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    q_rank: int = 0  # 0: queries come straight from the hidden state

    def __post_init__(self) -> None:
        require.counts(1, layers=self.layers, heads=self.heads, kv_rank=self.kv_rank, nope_dim=self.nope_dim)
        require.counts(1, value_dim=self.value_dim)
        require.counts(0, rope_dim=self.rope_dim, q_rank=self.q_rank)


class StateSpace(Record):
    """Mamba-2 layers: a convolution and a recurrent state that replaces the growing cache."""

    layers: int
    heads: int
    head_dim: int
    state: int
    groups: int
    conv_width: int
    state_width: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        require.counts(1, layers=self.layers, heads=self.heads, head_dim=self.head_dim, state=self.state)
        require.counts(1, groups=self.groups, conv_width=self.conv_width)


class FeedForward(Record):
    """Dense feed-forward layers; gated ones have a third matrix."""

    layers: int
    width: int
    gated: bool = True

    def __post_init__(self) -> None:
        require.counts(1, layers=self.layers, width=self.width)


class Experts(Record):
    """Mixture-of-experts layers: each token goes through `per_token` of `experts`, and all the shared width."""

    layers: int
    experts: int
    per_token: int
    width: int
    shared_width: int = 0
    gated: bool = True

    def __post_init__(self) -> None:
        require.counts(1, layers=self.layers, experts=self.experts, width=self.width)
        require.counts(1, self.experts, per_token=self.per_token)
        require.counts(0, shared_width=self.shared_width)


class Transformer(Record):
    """A stack of attention, state-space, feed-forward and expert layers. Their order does not change the cost."""

    hidden: int
    vocab: int = 0
    tied_embeddings: bool = False
    decoder: bool = True  # False: an encoder, one pass a request and no cache
    attention: Attention | None = None
    latent_attention: LatentAttention | None = None
    state_space: StateSpace | None = None
    feed_forward: FeedForward | None = None
    experts: Experts | None = None
    max_context: int = 0  # tokens; 0: not stated
    tokens: int = 0  # a fixed input length, as of an image cut into patches; 0: the request decides
    patch_inputs: int = 0  # values in one image patch, projected to `hidden` instead of looked up
    positions: int = 0  # rows of learned position and segment embeddings
    pooler: bool = False  # a hidden x hidden matrix applied at one position
    classes: int = 0  # outputs of a classifier at one position
    norm_vectors: int = 2  # weight vectors of `hidden` values in each attention + feed-forward pair
    norm_biases: bool = False  # every norm has a second vector, as layer norm does
    biases: bool = False  # every projection but the LM head carries a bias
    published_params_count: float = 0.0  # the total its makers state; 0: not stated

    kind: ClassVar[Literal["transformer"]] = "transformer"

    def __post_init__(self) -> None:
        require.counts(1, hidden=self.hidden)
        require.counts(0, vocab=self.vocab, max_context=self.max_context, tokens=self.tokens)
        require.counts(0, patch_inputs=self.patch_inputs, positions=self.positions, classes=self.classes)
        require.counts(0, norm_vectors=self.norm_vectors)
        require.not_negative(published_params=self.published_params_count)
        if not (self.attention or self.latent_attention or self.state_space):
            raise NpuwattError(
                "no layers that mix tokens; expected attention, latent_attention or state_space"
            )
        if not (self.vocab or self.patch_inputs):
            raise NpuwattError("no input; expected vocab or patch_inputs")
        if self.decoder and (self.tokens or self.patch_inputs):
            raise NpuwattError("a decoder with tokens or patch_inputs; expected neither, or decoder: false")
        if self.decoder and not self.vocab:
            raise NpuwattError("a decoder without vocab; expected vocab, or decoder: false")


Network: TypeAlias = "Transformer | ConvNet"
