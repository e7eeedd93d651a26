"""network x request -> the ops of prefill and of one decode step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from npuwatt.arrays import Real
from npuwatt.record import Record
from npuwatt.workload.network import Attention, Experts, LatentAttention, StateSpace, Transformer
from npuwatt.workload.ops import Kind, Op
from npuwatt.workload.request import Request, arithmetic_dtype, width_bytes

HeadPositions = Literal["last", "all"]


class _Pass(Record):
    """One pass through the network: `tokens` new ones of each of `batch` sequences, and what they look back on."""

    batch: Real
    tokens: Real  # of one sequence
    first: Real  # positions first + 1 .. last are computed; in decode their mean is one step
    last: Real
    causal: bool
    decode: bool
    head_tokens: Real
    weights: str
    weight_bytes: float
    activation_bytes: float
    kv_bytes: float
    weights_dtype: str
    cache_dtype: str
    activations_dtype: str

    @property
    def all_tokens(self) -> Real:
        return self.batch * self.tokens

    def pairs(self, window: int = 0, style: str = "sliding") -> Real:
        """Query-key pairs of one sequence in one layer."""
        if not self.causal:
            return self.tokens * self.last
        seen: Real = _seen(self.last, window, style) - _seen(self.first, window, style)
        return seen / (self.last - self.first) if self.decode else seen


def _seen(position: Real, window: int, style: str) -> Real:
    """Sum over positions 1 .. `position` of how many tokens each can attend to, itself counted."""
    if not window:
        return position * (position + 1) / 2
    if style == "chunked":
        whole = np.floor_divide(position, window)
        rest = position - whole * window
        return whole * (window * (window + 1) / 2) + rest * (rest + 1) / 2
    near: Real = np.minimum(position, window)
    return near * (near + 1) / 2 + (position - near) * window


def prefill_ops(
    network: Transformer, request: Request, *, causal: bool = True, lm_head_positions: HeadPositions = "last"
) -> list[Op]:
    """Ops that turn a batch of prompts into caches and a first token.

    Defaults are what a serving kernel does: causal attention (half the pairs) and the LM head at
    the last prompt position. Counting tools often report the other choice of both.
    """
    tokens: Real = network.tokens or request.input_len
    everywhere = lm_head_positions == "all"
    return list(
        _ops(
            network,
            _Pass(
                batch=request.batch,
                tokens=tokens,
                first=0.0,
                last=tokens,
                causal=causal and network.decoder,
                decode=False,
                head_tokens=request.batch * tokens if everywhere else request.batch,
                **_widths(request),
            ),
        )
    )


def decode_ops(network: Transformer, request: Request, *, first: Real, last: Real) -> list[Op]:
    """Ops of one decode step: one new token of each sequence.

    The step is the mean over contexts of first + 1 .. last tokens (the new one counted), which is
    exact because each op's work is a sum over what its tokens can see.
    """
    one_pass = _Pass(
        batch=request.batch, tokens=1.0, first=first, last=last, causal=True, decode=True,
        head_tokens=request.batch, **_widths(request),
    )  # fmt: skip
    return list(_ops(network, one_pass))


def _widths(request: Request) -> dict[str, Any]:
    return {
        "weights": request.weights,
        "weight_bytes": width_bytes(request.weights),
        "activation_bytes": width_bytes(request.activations),
        "kv_bytes": width_bytes(request.kv_cache),
        "weights_dtype": arithmetic_dtype(request.weights, request.activations),
        "cache_dtype": arithmetic_dtype(request.kv_cache, request.activations),
        "activations_dtype": request.activations,
    }


def _matmul(
    name: str, run: _Pass, k: float, n: float, *, layers: float = 1, tokens: Real | None = None
) -> Op:
    """Tokens times one k x n matrix of weights in each layer; inputs and outputs go through memory."""
    each = run.all_tokens if tokens is None else tokens
    return Op(
        name,
        "matmul",
        run.weights_dtype,
        stored=run.weights,
        layers=layers,
        tokens=each,
        macs=layers * k * n * each,
        weight_bytes=layers * k * n * run.weight_bytes,
        activation_bytes=layers * (k + n) * run.activation_bytes * each,
        operand_bytes=run.weight_bytes,
        k=k,
        n=n,
    )


def _ops(network: Transformer, run: _Pass) -> Iterator[Op]:
    hidden = network.hidden
    if network.patch_inputs:
        yield _matmul("patch_embedding", run, network.patch_inputs, hidden)
    else:
        yield Op(
            "embedding",
            "embedding",
            "",
            tokens=run.all_tokens,
            weight_bytes=np.minimum(run.all_tokens, network.vocab) * hidden * run.weight_bytes,
            activation_bytes=run.all_tokens * hidden * run.activation_bytes,
        )
    if network.attention:
        yield from _attention(network.attention, hidden, run)
    if network.latent_attention:
        yield from _latent_attention(network.latent_attention, hidden, run)
    if network.state_space:
        yield from _state_space(network.state_space, hidden, run)
    if network.feed_forward:
        part = network.feed_forward
        yield from _feed_forward("ffn", run, hidden, part.width, part.gated, part.layers)
    if network.experts:
        yield from _experts(network.experts, hidden, run)
    if network.pooler:
        yield _matmul("pooler", run, hidden, hidden, tokens=run.batch)
    if network.classes:
        yield _matmul("classifier", run, hidden, network.classes, tokens=run.batch)
    if network.decoder:
        yield _matmul("lm_head", run, hidden, network.vocab, tokens=run.head_tokens)


def _attention(part: Attention, hidden: int, run: _Pass) -> Iterator[Op]:
    queries, stored = part.heads * part.head_dim, 2 * part.kv_heads * part.head_dim
    yield _matmul("qkv", run, hidden, queries + stored, layers=part.layers)._replace(
        activation_bytes=part.layers * (hidden + queries) * run.activation_bytes * run.all_tokens,
        kv_written_bytes=part.layers * stored * run.kv_bytes * run.all_tokens,
    )
    for name, layers, window in (
        ("attention", part.layers - part.windowed_layers, 0),
        ("windowed_attention", part.windowed_layers, part.window_tokens),
    ):
        if layers:
            pairs = run.pairs(window, part.window_style)
            read = pairs if run.decode else run.tokens
            yield _look_back(
                name, run, layers, pairs, part.heads,
                macs_per_pair=2 * queries, read_bytes=layers * stored * run.kv_bytes * run.batch * read,
                inputs=queries, outputs=queries,
            )  # fmt: skip
    yield _matmul("attention_out", run, queries, hidden, layers=part.layers)


def _look_back(
    name: str, run: _Pass, layers: int, pairs: Real, heads: int, *, macs_per_pair: float, read_bytes: Real,
    inputs: float, outputs: float,
) -> Op:  # fmt: skip
    """Scores, softmax and their product with the values, fused: scores stay beside the arithmetic."""
    return Op(
        name,
        "attention",
        run.cache_dtype,
        layers=layers,
        tokens=run.all_tokens,
        macs=layers * macs_per_pair * run.batch * pairs,
        activation_bytes=layers * (inputs + outputs) * run.activation_bytes * run.all_tokens,
        kv_read_bytes=read_bytes,
        score_bytes=layers * 2 * heads * run.activation_bytes * run.batch * pairs,
        operand_bytes=run.kv_bytes,
    )


def _latent_attention(part: LatentAttention, hidden: int, run: _Pass) -> Iterator[Op]:
    """Keys and values are expanded from their latent vector in prefill; in decode the expansion is absorbed
    into queries and outputs, so that a step reads the latent cache alone (DeepSeek-V2, arXiv 2405.04434, 2.1.2)."""
    query_dim = part.nope_dim + part.rope_dim
    cached = part.kv_rank + part.rope_dim
    if part.q_rank:
        yield _matmul("q_down", run, hidden, part.q_rank, layers=part.layers)
        yield _matmul("q_up", run, part.q_rank, part.heads * query_dim, layers=part.layers)
    else:
        yield _matmul("q", run, hidden, part.heads * query_dim, layers=part.layers)
    yield _matmul("kv_down", run, hidden, cached, layers=part.layers)._replace(
        activation_bytes=part.layers * hidden * run.activation_bytes * run.all_tokens,
        kv_written_bytes=part.layers * cached * run.kv_bytes * run.all_tokens,
    )
    yield _matmul(
        "kv_up", run, part.kv_rank, part.heads * (part.nope_dim + part.value_dim), layers=part.layers
    )
    pairs = run.pairs()
    if run.decode:
        read_bytes = part.layers * cached * run.kv_bytes * run.batch * pairs
        inputs, outputs = part.heads * cached, part.heads * part.kv_rank
        macs_per_pair = part.heads * (cached + part.kv_rank)
    else:
        read_bytes = 0.0
        inputs, outputs = part.heads * (2 * query_dim + part.value_dim), part.heads * part.value_dim
        macs_per_pair = part.heads * (query_dim + part.value_dim)
    yield _look_back(
        "latent_attention", run, part.layers, pairs, part.heads,
        macs_per_pair=macs_per_pair, read_bytes=read_bytes, inputs=inputs, outputs=outputs,
    )  # fmt: skip
    yield _matmul("attention_out", run, part.heads * part.value_dim, hidden, layers=part.layers)


def _state_space(part: StateSpace, hidden: int, run: _Pass) -> Iterator[Op]:
    """Mamba-2: three MACs for each state value of each token (decay, input, output), after a short convolution."""
    inner = part.heads * part.head_dim
    mixed = inner + 2 * part.groups * part.state
    state = inner * part.state
    held = state * width_bytes(part.state_width) + (part.conv_width - 1) * mixed * run.activation_bytes
    yield _matmul("ssm_in", run, hidden, inner + mixed + part.heads, layers=part.layers)
    yield Op(
        "ssm_scan",
        "scan",
        run.activations_dtype,
        layers=part.layers,
        tokens=run.all_tokens,
        macs=part.layers * (part.conv_width * mixed + 3 * state) * run.all_tokens,
        weight_bytes=part.layers * part.conv_width * mixed * run.weight_bytes,
        activation_bytes=part.layers * (mixed + part.heads + inner) * run.activation_bytes * run.all_tokens,
        kv_read_bytes=part.layers * held * run.batch if run.decode else 0.0,
        kv_written_bytes=part.layers * held * run.batch,
        operand_bytes=run.activation_bytes,
    )
    yield _matmul("ssm_out", run, inner, hidden, layers=part.layers)


def _feed_forward(name: str, run: _Pass, hidden: int, width: int, gated: bool, layers: int) -> Iterator[Op]:
    yield _matmul(f"{name}_up", run, hidden, (2 if gated else 1) * width, layers=layers)
    yield _matmul(f"{name}_down", run, width, hidden, layers=layers)


def experts_touched(part: Experts, tokens: Real) -> Real:
    """Expected number of distinct experts that `tokens` tokens reach in one layer, each choosing uniformly."""
    return part.experts * (1 - (1 - part.per_token / part.experts) ** tokens)


def _experts(part: Experts, hidden: int, run: _Pass) -> Iterator[Op]:
    yield _matmul("router", run, hidden, part.experts, layers=part.layers)
    touched = experts_touched(part, run.all_tokens)
    kind: Kind = "experts"
    for name, k, n in (
        ("experts_up", hidden, (2 if part.gated else 1) * part.width),
        ("experts_down", part.width, hidden),
    ):
        op = _matmul(name, run, k, n, layers=part.layers)
        yield op._replace(
            kind=kind,
            macs=op.macs * part.per_token,
            activation_bytes=op.activation_bytes * part.per_token,
            weight_bytes=op.weight_bytes * touched,
        )
    if part.shared_width:
        yield from _feed_forward("shared_expert", run, hidden, part.shared_width, part.gated, part.layers)


def cache_bytes_per_token(network: Transformer, kv_cache: str) -> float:
    """Cache that each further token of a sequence takes, before any window is full."""
    grouped, latent = network.attention, network.latent_attention
    values = 0.0
    if grouped:
        values += grouped.layers * 2 * grouped.kv_heads * grouped.head_dim
    if latent:
        values += latent.layers * (latent.kv_rank + latent.rope_dim)
    return values * width_bytes(kv_cache)


def cache_bytes(network: Transformer, request: Request) -> Real:
    """Cache and state of all sequences at the end of the request: what must fit beside the weights."""
    if not network.decoder:
        return 0.0
    tokens = request.input_len + request.output_len
    per_token = cache_bytes_per_token(network, request.kv_cache)
    held = per_token * tokens
    part = network.attention
    if part and part.windowed_layers:
        each = 2 * part.kv_heads * part.head_dim * width_bytes(request.kv_cache)
        held = held - part.windowed_layers * each * np.maximum(tokens - part.window_tokens, 0)
    if network.state_space:
        held = held + _held_state_bytes(network.state_space, request)
    return request.batch * held


def _held_state_bytes(part: StateSpace, request: Request) -> float:
    inner = part.heads * part.head_dim
    mixed = inner + 2 * part.groups * part.state
    conv = (part.conv_width - 1) * mixed * width_bytes(request.activations)
    return part.layers * (inner * part.state * width_bytes(part.state_width) + conv)
