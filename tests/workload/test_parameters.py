"""Parameter counts against the totals that the makers publish."""

from __future__ import annotations

from typing import Any

import pytest

from npuwatt.preset import library
from npuwatt.preset.load import Loaded, read_record
from npuwatt.workload.convnet import ConvNet, Convolution
from npuwatt.workload.network import (
    Attention,
    Experts,
    FeedForward,
    LatentAttention,
    Network,
    Transformer,
)
from npuwatt.workload.parameters import active_parameter_count, parameter_count, stored_weights

INDEX = library.index()
NAMES = sorted(INDEX["networks"])
QUALITIES = {key: entry["quality"] for key, entry in library.sources().items()}

# Totals that round more than 1 %, or count what runs beside the text part.
ROUNDED = {"kimi-k2": 0.027, "llama-4-scout": 0.012}


def loaded(name: str) -> Loaded[Network]:
    document = library.find("networks", name).document
    kinds: dict[str, Any] = {"transformer": Transformer, "convnet": ConvNet}
    return read_record(document, kinds[document.tree["kind"]], QUALITIES)


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


def test_there_are_65_networks() -> None:
    assert len(NAMES) == 65


@pytest.mark.parametrize("name", NAMES)
def test_parameters_agree_with_the_published_total(name: str) -> None:
    network = loaded(name).record
    published = network.published_params_count
    assert published > 0
    assert parameter_count(network) == pytest.approx(published, rel=ROUNDED.get(name, 0.01))


@pytest.mark.parametrize("name", sorted(ROUNDED))
def test_a_rounded_total_states_the_range_it_rounds(name: str) -> None:
    preset = loaded(name)
    evidence = preset.evidence["published_params"]
    assert evidence.stated_range
    assert evidence.low <= parameter_count(preset.record) <= evidence.high


# Sizes of the published checkpoints, tensor by tensor; none of them comes from a record of ours.
CHECKPOINTS = {
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,  # tied embeddings
    "mistral-7b-v0.1": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,  # experts and their routers
    "phi-3-mini-4k": 3_821_079_552,
    "qwen2.5-7b": 7_615_616_512,  # QKV biases
    "qwen3-8b": 8_190_735_360,  # norms of queries and keys
    "qwen3-30b-a3b": 30_532_122_624,
    "gemma-2-9b": 9_241_705_984,  # four norms a layer, tied
    "starcoder2-15b": 15_957_889_024,  # layer norm, biases everywhere, plain feed-forward
    "nemotron-nano-9b-v2": 8_888_227_328,  # Mamba-2
    "tinyllama-1.1b": 1_100_048_384,
    "smollm2-135m": 134_515_008,
    "bert-base": 109_482_240,  # positions, segments and pooler
    "vit-b-16": 86_567_656,  # class token, positions and classifier
    "resnet-50": 25_557_032,  # batch norm
}


@pytest.mark.parametrize("name", sorted(CHECKPOINTS))
def test_parameters_equal_the_checkpoint_to_the_last_one(name: str) -> None:
    assert parameter_count(loaded(name).record) == CHECKPOINTS[name]


def test_gpt_oss_is_exact_but_for_its_attention_sinks() -> None:
    # 20,914,757,184 in the checkpoint: one sink a head, 64 heads, 24 layers.
    assert parameter_count(loaded("gpt-oss-20b").record) == 20_914_757_184 - 64 * 24


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # "37B activated", DeepSeek-V3 report, arXiv 2412.19437, without the output head.
        ("deepseek-v3", 37.0 + 129280 * 7168 / 1e9),
        # "12.9B active", Mixtral of experts, arXiv 2401.04088.
        ("mixtral-8x7b", 12.9),
        # "3.3B activated", Qwen3 report, arXiv 2505.09388.
        ("qwen3-30b-a3b", 3.3),
        # "22B activated", same.
        ("qwen3-235b-a22b", 22.0),
        # "5.1B active" of gpt-oss-120b counts one of the two embedding tables (gpt-oss model card, table 1).
        ("gpt-oss-120b", 5.1 + 201088 * 2880 / 1e9),
    ],
)
def test_active_parameters_agree_with_the_published_count(name: str, billions: float) -> None:
    assert active_parameter_count(loaded(name).record) == pytest.approx(billions * 1e9, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_weights_by_use_add_up_to_all_of_them(name: str) -> None:
    network = loaded(name).record
    stored = stored_weights(network)
    assert min(stored) >= 0
    assert stored.matrix + stored.embedding + stored.vector == parameter_count(network)
    assert 0 < active_parameter_count(network) <= parameter_count(network)


@pytest.mark.parametrize("name", NAMES)
def test_only_a_mixture_of_experts_leaves_parameters_out(name: str) -> None:
    network = loaded(name).record
    sparse = isinstance(network, Transformer) and network.experts is not None
    assert (active_parameter_count(network) < parameter_count(network)) == sparse


def test_tied_embeddings_are_stored_once_and_multiplied_by() -> None:
    small = Transformer(
        hidden=8,
        vocab=100,
        attention=Attention(layers=1, heads=2, kv_heads=1, head_dim=4),
        feed_forward=FeedForward(layers=1, width=16),
    )
    tied = Transformer(
        hidden=8,
        vocab=100,
        tied_embeddings=True,
        attention=small.attention,
        feed_forward=small.feed_forward,
    )
    assert parameter_count(small) - parameter_count(tied) == 800
    assert stored_weights(small).embedding == 800
    assert stored_weights(tied).embedding == 0
    assert stored_weights(small).matrix == stored_weights(tied).matrix


def test_experts_that_are_all_used_leave_nothing_out() -> None:
    network = Transformer(
        hidden=8,
        vocab=100,
        biases=True,
        attention=Attention(layers=2, heads=2, kv_heads=2, head_dim=4),
        experts=Experts(layers=2, experts=4, per_token=4, width=16),
    )
    assert active_parameter_count(network) == parameter_count(network)


def test_latent_attention_without_a_query_rank_projects_queries_in_one_step() -> None:
    # DeepSeek-V2-Lite, arXiv 2405.04434 appendix B: no query compression; one layer, by hand.
    network = Transformer(
        hidden=2048,
        vocab=1,
        latent_attention=LatentAttention(
            layers=1, heads=16, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128
        ),
    )
    by_hand = 2048 * 16 * 192 + 2048 * 576 + 512 * 16 * 256 + 16 * 128 * 2048
    assert stored_weights(network).matrix == by_hand + 2048


def test_a_convolution_counts_its_bias_and_its_norm() -> None:
    plain = Convolution(name="a", in_channels=3, out_channels=5, kernel=3, out_size=4, norm=False)
    both = Convolution(name="b", in_channels=3, out_channels=5, kernel=3, out_size=4, bias=True, count=2)
    assert parameter_count(ConvNet(layers=(plain,))) == 135
    assert parameter_count(ConvNet(layers=(both,))) == 2 * (135 + 5 + 10)
