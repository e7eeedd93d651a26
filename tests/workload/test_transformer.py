"""Work and traffic of transformers against published counts and against loops over single tokens."""

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
from npuwatt.record import replace
from npuwatt.study.inference import phase_ops
from npuwatt.study.scenario import load_network
from npuwatt.workload.network import Attention, Experts, FeedForward, StateSpace, Transformer
from npuwatt.workload.ops import Op
from npuwatt.workload.request import Request, width_bytes
from npuwatt.workload.transformer import (
    cache_bytes,
    cache_bytes_per_token,
    decode_ops,
    experts_touched,
    prefill_ops,
)

FIXED = settings(derandomize=True, deadline=None)

TINY = Transformer(
    hidden=256,
    vocab=1000,
    attention=Attention(layers=2, heads=8, kv_heads=4, head_dim=32),
    feed_forward=FeedForward(layers=2, width=688),
)
# huggingface.co/openai-community/gpt2: 12 layers of width 768, 12 heads, plain feed-forward, tied embeddings.
GPT_2 = Transformer(
    hidden=768,
    vocab=50257,
    tied_embeddings=True,
    attention=Attention(layers=12, heads=12, kv_heads=12, head_dim=64),
    feed_forward=FeedForward(layers=12, width=3072, gated=False),
)
HYBRID = Transformer(
    hidden=64,
    vocab=100,
    state_space=StateSpace(layers=3, heads=4, head_dim=8, state=16, groups=2, conv_width=4),
)


@cache
def network(name: str) -> Transformer:
    found = load_network(str(Path(library.presets_root(), "networks", f"{name}.yaml"))).record
    assert isinstance(found, Transformer)
    return found


def windowed(window: int, style: Any, layers: int = 2) -> Transformer:
    part = Attention(
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=8,
        windowed_layers=layers,
        window_tokens=window,
        window_style=style,
    )
    return Transformer(hidden=32, vocab=50, attention=part)


def flop(ops: list[Op], kind: str = "") -> float:
    return 2 * sum(float(op.macs) for op in ops if not kind or op.kind == kind)


def named(ops: list[Op], name: str) -> Op:
    return next(op for op in ops if op.name == name)


# Forward FLOP as torch.utils.flop_counter.FlopCounterMode counts them over transformers' models with eager
# attention (every query meets every key) and logits at every position; the second number is the attention part.
PREFILLS: list[tuple[Transformer | str, int, int, int, int]] = [
    (TINY, 2, 32, 222_560_256, 4_194_304),
    ("llama-2-7b", 1, 512, 6_903_086_186_496, 137_438_953_472),
    ("llama-3-8b", 1, 512, 7_822_209_187_840, 137_438_953_472),
    ("llama-3-8b", 4, 2048, 131_752_416_772_096, 8_796_093_022_208),
    ("llama-3.1-70b", 1, 1024, 145_088_290_226_176, 2_748_779_069_440),  # the shape of Llama-3-70B
    (GPT_2, 1, 1024, 291_648_307_200, 38_654_705_664),
]


@pytest.mark.parametrize(("name", "batch", "tokens", "total", "attention"), PREFILLS)
def test_prefill_flop_equal_those_of_a_framework_counter(
    name: Transformer | str, batch: int, tokens: int, total: int, attention: int
) -> None:
    chosen = network(name) if isinstance(name, str) else name
    ops = prefill_ops(chosen, Request(batch=batch, input_len=tokens), causal=False, lm_head_positions="all")
    assert flop(ops) == total
    assert flop(ops, "attention") == attention


@pytest.mark.parametrize(
    ("name", "batch", "context", "total", "attention"),
    [
        ("llama-2-7b", 1, 512, 13_482_590_208, 268_435_456),
        ("llama-3-8b", 16, 2048, 257_328_939_008, 17_179_869_184),
    ],
)
def test_decode_flop_equal_those_of_a_framework_counter(
    name: str, batch: int, context: int, total: int, attention: int
) -> None:
    ops = decode_ops(network(name), Request(batch=batch), first=context - 1, last=context)
    assert flop(ops) == total
    assert flop(ops, "attention") == attention


@pytest.mark.parametrize("tokens", [1, 7, 512])
def test_by_default_a_token_attends_to_itself_and_what_came_before(tokens: int) -> None:
    pairs = sum(position for position in range(1, tokens + 1))
    causal = prefill_ops(TINY, Request(input_len=tokens, batch=3))
    assert (
        flop(causal, "attention") == 2 * 3 * 2 * 2 * 256 * pairs
    )  # FLOP, batch, layers, two products, width


def test_by_default_the_lm_head_is_applied_at_the_last_prompt_position_alone() -> None:
    asked = Request(input_len=64, batch=3)
    last, everywhere = prefill_ops(TINY, asked), prefill_ops(TINY, asked, lm_head_positions="all")
    assert named(last, "lm_head").macs == 3 * 256 * 1000
    assert named(everywhere, "lm_head").macs == 64 * 3 * 256 * 1000
    assert named(last, "lm_head").weight_bytes == named(everywhere, "lm_head").weight_bytes


def test_an_encoder_attends_both_ways_and_keeps_no_cache() -> None:
    bert = network("bert-base")
    ops = prefill_ops(bert, Request(input_len=128))
    assert flop(ops, "attention") == 4 * 12 * 768 * 128 * 128  # arXiv 1810.04805: 12 layers of width 768
    assert cache_bytes(bert, Request(input_len=128)) == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3.1-8b", 131_072),  # 32 layers x 2 x 8 heads x 128 x 2 B, config.json
        ("deepseek-v3", 70_272),  # 61 layers x (512 + 64) x 2 B; arXiv 2412.19437
    ],
)
def test_cache_of_a_token_takes_the_published_bytes(name: str, expected: int) -> None:
    chosen = network(name)
    assert cache_bytes_per_token(chosen, "bf16") == expected
    step = decode_ops(chosen, Request(), first=99, last=100)
    assert sum(float(op.kv_written_bytes) for op in step) == expected
    assert sum(float(op.kv_read_bytes) for op in step) == 100 * expected


@pytest.mark.parametrize(
    ("width", "gigabytes"),
    [("bf16", 15.01), ("int8", 7.52)],  # torchao README, quantization table for Llama-3-8B: model size in GB
)
def test_a_decode_step_of_llama_3_8b_streams_the_published_model_size(width: Any, gigabytes: float) -> None:
    ops = decode_ops(network("llama-3-8b"), Request(weights=width), first=0, last=1)
    assert sum(float(op.weight_bytes) for op in ops) / 1e9 == pytest.approx(
        gigabytes, rel=3e-3
    )  # scales of rows left out


@pytest.mark.parametrize(("batch", "touched"), [(1, 2.0), (4, 5.47), (16, 7.92)])
def test_distinct_experts_touched_of_8_with_2_per_token(batch: int, touched: float) -> None:
    # By hand: 8 (1 - (6/8)^B) for uniform choice without repetition, as Mixtral's routers are trained to balance.
    part = Experts(layers=1, experts=8, per_token=2, width=1)
    assert round(float(experts_touched(part, batch)), 2) == touched


@pytest.mark.parametrize(("experts", "per_token", "tokens"), [(8, 2, 4), (64, 6, 16), (16, 1, 40)])
def test_distinct_experts_agree_with_random_routing(experts: int, per_token: int, tokens: int) -> None:
    rng = np.random.default_rng(1)
    drawn = [
        len({one for _ in range(tokens) for one in rng.permutation(experts)[:per_token]}) for _ in range(400)
    ]
    part = Experts(layers=1, experts=experts, per_token=per_token, width=1)
    assert experts_touched(part, tokens) == pytest.approx(np.mean(drawn), rel=0.02)


def test_expert_weights_are_read_once_for_each_distinct_expert_and_multiplied_per_token() -> None:
    mixtral = network("mixtral-8x7b")
    one, four = (decode_ops(mixtral, Request(batch=b), first=0, last=1) for b in (1, 4))
    up_one, up_four = named(one, "experts_up"), named(four, "experts_up")
    assert up_one.weight_bytes == 32 * 2 * (4096 * 2 * 14336) * 2  # layers, experts, gate and up, bf16
    assert up_four.weight_bytes / up_one.weight_bytes == pytest.approx(5.46875 / 2)
    assert up_four.macs == 4 * up_one.macs


@given(
    tokens=st.integers(1, 90),
    window=st.integers(1, 40),
    style=st.sampled_from(["sliding", "chunked"]),
)
@FIXED
def test_windowed_prefill_counts_each_pair_within_the_window(tokens: int, window: int, style: str) -> None:
    ops = prefill_ops(windowed(window, style), Request(input_len=tokens, batch=2))
    pairs = sum(_visible(position, window, style) for position in range(1, tokens + 1))
    assert float(named(ops, "windowed_attention").macs) == pytest.approx(2 * 2 * 2 * 32 * pairs)
    assert float(named(ops, "attention").macs) == pytest.approx(2 * 2 * 32 * tokens * (tokens + 1) / 2)


@given(
    first=st.integers(0, 90),
    steps=st.integers(1, 60),
    window=st.integers(1, 40),
    style=st.sampled_from(["sliding", "chunked"]),
)
@FIXED
def test_the_mean_decode_step_is_the_mean_over_single_steps(
    first: int, steps: int, window: int, style: str
) -> None:
    asked = Request(batch=3)
    net = windowed(window, style)
    mean = decode_ops(net, asked, first=float(first), last=float(first + steps))
    singles = [
        decode_ops(net, asked, first=float(at), last=float(at + 1)) for at in range(first, first + steps)
    ]
    for place, op in enumerate(mean):
        for name in ("macs", "weight_bytes", "activation_bytes", "kv_read_bytes", "kv_written_bytes"):
            alone = [float(getattr(step[place], name)) for step in singles]
            assert float(getattr(op, name)) == pytest.approx(np.mean(alone), rel=1e-12), (op.name, name)
    seen = [_visible(at + 1, window, style) for at in range(first, first + steps)]
    read = named(mean, "windowed_attention").kv_read_bytes
    assert float(read) == pytest.approx(
        2 * 2 * 2 * 8 * 2 * 3 * np.mean(seen)
    )  # layers, k + v, heads, dim, B, batch


def _visible(position: int, window: int, style: str) -> int:
    """Tokens that the one at `position` (from 1) attends to, itself counted, by looking at each."""
    if style == "sliding":
        return sum(1 for other in range(1, position + 1) if position - other < window)
    return sum(1 for other in range(1, position + 1) if (other - 1) // window == (position - 1) // window)


def test_decode_of_a_request_is_the_mean_over_its_output_tokens_but_the_first() -> None:
    asked = Request(input_len=10, output_len=5)
    read = sum(float(op.kv_read_bytes) for op in phase_ops(TINY, asked, "decode"))
    each = 2 * 2 * 4 * 32 * 2  # layers, k and v, heads, head_dim, bytes
    assert read == pytest.approx(each * np.mean([11, 12, 13, 14]))


@pytest.mark.parametrize("style", ["sliding", "chunked"])
def test_a_window_holds_no_more_cache_than_it_is_wide(style: str) -> None:
    asked = Request(input_len=90, output_len=10, batch=2)
    each = 2 * 2 * 8 * 2
    assert cache_bytes(windowed(16, style), asked) == 2 * each * (100 + 2 * 16)
    assert cache_bytes(windowed(200, style), asked) == 2 * each * 3 * 100


def test_state_of_a_mamba_layer_does_not_grow_with_context() -> None:
    # By hand: 3 layers of 4 x 8 x 16 fp32 states and 3 columns of a 32 + 2 x 2 x 16 wide bf16 convolution.
    held = 3 * (4 * 8 * 16 * 4 + 3 * 96 * 2)
    for context in (10.0, 100_000.0):
        step = decode_ops(HYBRID, Request(batch=5), first=context - 1, last=context)
        assert sum(float(op.kv_read_bytes) for op in step) == 5 * held
        assert sum(float(op.kv_written_bytes) for op in step) == 5 * held
        assert cache_bytes(HYBRID, Request(batch=5, input_len=context)) == 5 * held
    assert cache_bytes_per_token(HYBRID, "bf16") == 0


def test_scan_of_a_mamba_prompt_grows_with_its_length_and_not_its_square() -> None:
    short, long = (flop(prefill_ops(HYBRID, Request(input_len=n)), "scan") for n in (100, 1000))
    assert long == 10 * short


def test_latent_attention_reads_only_the_latent_cache_in_decode() -> None:
    deepseek = network("deepseek-v3")
    step = decode_ops(deepseek, Request(batch=4), first=999, last=1000)
    assert named(step, "latent_attention").kv_read_bytes == 4 * 1000 * 61 * (512 + 64) * 2
    assert sum(float(op.kv_read_bytes) for op in step) == 4 * 1000 * 70_272
    # arXiv 2412.19437 with the expansion absorbed: 128 heads meet 512 + 64 values, then sum 512.
    assert named(step, "latent_attention").macs == 61 * 4 * 1000 * 128 * (512 + 64 + 512)


def test_latent_attention_expands_keys_and_values_in_prefill() -> None:
    ops = prefill_ops(network("deepseek-v3"), Request(input_len=100))
    pairs = 100 * 101 / 2
    assert named(ops, "latent_attention").macs == 61 * 128 * (128 + 64 + 128) * pairs
    assert named(ops, "kv_up").macs == 61 * 100 * 512 * 128 * (128 + 128)


@pytest.mark.parametrize(
    ("width", "bits"),
    [
        ("fp32", 32),
        ("bf16", 16),
        ("fp16", 16),
        ("fp8", 8),
        ("int8", 8),
        ("fp4", 4.25),  # OCP Microscaling Formats (MX) v1.0: blocks of 32 with an 8-bit scale
        ("int4", 4.125),  # groups of 128 with a 16-bit scale
    ],
)
def test_a_width_counts_its_share_of_the_block_scale(width: Any, bits: float) -> None:
    assert width_bytes(width) * 8 == bits
    bf16 = decode_ops(TINY, Request(), first=9, last=10)
    narrow = decode_ops(TINY, Request(weights=width, kv_cache=width), first=9, last=10)
    for op, other in zip(bf16, narrow, strict=True):
        assert other.weight_bytes == pytest.approx(op.weight_bytes * bits / 16)
        assert other.kv_read_bytes == pytest.approx(op.kv_read_bytes * bits / 16)
        assert other.activation_bytes == op.activation_bytes


def test_attention_scores_never_pass_through_memory() -> None:
    ops = prefill_ops(TINY, Request(input_len=1000))
    attention = named(ops, "attention")
    assert attention.activation_bytes == 2 * 2 * 256 * 2 * 1000  # layers, q in and out, bf16, tokens
    assert (
        attention.score_bytes == 2 * 2 * 8 * 2 * 1000 * 1001 / 2
    )  # for units that have no softmax beside them


def test_a_column_of_requests_equals_a_loop_over_them() -> None:
    batches, lengths = [1.0, 3.0, 64.0], [5.0, 700.0, 9000.0]
    columns = column(batches), column(lengths)
    for array in columns:
        array.flags.writeable = False
    together = Request(batch=columns[0], input_len=columns[1])
    for name in ("llama-3.1-8b", "gemma-3-4b", "llama-4-scout", "deepseek-v3", "nemotron-nano-9b-v2"):
        for phase in ("prefill", "decode", "middle"):
            ops = phase_ops(network(name), together, phase)
            for place, (batch, length) in enumerate(zip(batches, lengths, strict=True)):
                alone = phase_ops(network(name), replace(together, batch=batch, input_len=length), phase)
                for op, single in zip(ops, alone, strict=True):
                    for value, expected in zip(op.numbers, single.numbers, strict=True):
                        found = np.broadcast_to(np.asarray(value), (3, 1))[place, 0]
                        assert found == pytest.approx(float(np.asarray(expected).item()), rel=1e-12), op.name


@pytest.mark.parametrize("field", ["batch", "input_len", "output_len"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_request_of_no_size_is_refused(field: str, value: float) -> None:
    with pytest.raises(NpuwattError, match=field):
        replace(Request(), **{field: value})
