"""How many numbers a network stores, and how many of them one token goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from npuwatt.workload.network import Experts, LatentAttention, Network, StateSpace, Transformer

if TYPE_CHECKING:
    from npuwatt.workload.convnet import ConvNet


class StoredWeights(NamedTuple):
    """Parameters by how they are used; the three add up to the parameter count."""

    matrix: float  # multiplied by in matrix products, the LM head among them, tied or not
    embedding: float  # looked up or added: token table (unless tied to the LM head), positions
    vector: float  # norms, biases, and the convolutions and decays of state-space layers


def parameter_count(network: Network) -> float:
    """All parameters, as a model card counts them: embeddings, LM head, norms and biases included.

    A table that embeddings and LM head share counts once. Left out, each under 0.01 %: attention
    sinks, biases that steer a router, the gate of a shared expert.
    """
    return sum(stored_weights(network))


def active_parameter_count(network: Network) -> float:
    """Parameters that one token goes through: all but the experts its router leaves out.

    Embedding and LM head count whole. Model cards that leave them out state less (gpt-oss, GLM-4.5).
    """
    if not isinstance(network, Transformer) or network.experts is None:
        return parameter_count(network)
    experts = network.experts
    return parameter_count(network) - expert_parameter_count(network) * (
        1 - experts.per_token / experts.experts
    )


def expert_parameter_count(network: Network) -> float:
    """Parameters of all experts that a router chooses from."""
    if not isinstance(network, Transformer) or network.experts is None:
        return 0.0
    part = network.experts
    return float(part.layers * part.experts * _one_expert(part, network.hidden, network.biases))


def stored_weights(network: Network) -> StoredWeights:
    """Parameters that lie in memory, by how they are used."""
    if not isinstance(network, Transformer):
        return _convnet(network)
    parts = [*_mixers(network), *_channels(network), _inputs(network), _outputs(network), _norms(network)]
    return StoredWeights(*(float(sum(column)) for column in zip(*parts, strict=True)))


def _convnet(network: ConvNet) -> StoredWeights:
    matrix = vector = 0
    for layer in network.layers:
        matrix += layer.count * layer.kernel**2 * layer.in_channels * layer.out_channels
        vector += layer.count * layer.out_channels * (layer.bias + 2 * layer.norm)
    return StoredWeights(matrix, 0.0, vector)


def _mixers(network: Transformer) -> list[StoredWeights]:
    """Layers that mix tokens."""
    found = []
    hidden = network.hidden
    if network.attention is not None:
        one = network.attention
        queries, keys = one.heads * one.head_dim, one.kv_heads * one.head_dim
        vector = 2 * one.head_dim if one.head_norms else 0
        if network.biases or one.qkv_biases:
            vector += queries + 2 * keys + (hidden if network.biases else 0)
        found.append(StoredWeights(one.layers * 2 * hidden * (queries + keys), 0, one.layers * vector))
    if network.latent_attention is not None:
        found.append(_latent(network.latent_attention, hidden))
    if network.state_space is not None:
        found.append(_state_space(network.state_space, hidden))
    return found


def _latent(one: LatentAttention, hidden: int) -> StoredWeights:
    """Multi-head latent attention: queries and the cached vector both pass a narrow waist, each with a norm.

    Source: DeepSeek-AI, "DeepSeek-V2", arXiv 2405.04434, section 2.1 and appendix C.
    """
    queries = one.heads * (one.nope_dim + one.rope_dim)
    query = one.q_rank * (hidden + queries) if one.q_rank else hidden * queries
    down = hidden * (one.kv_rank + one.rope_dim)
    up = one.kv_rank * one.heads * (one.nope_dim + one.value_dim)
    out = one.heads * one.value_dim * hidden
    return StoredWeights(one.layers * (query + down + up + out), 0, one.layers * (one.q_rank + one.kv_rank))


def _state_space(one: StateSpace, hidden: int) -> StoredWeights:
    """Mamba-2: one projection makes gate, input, B, C and step; then a convolution, a gated norm, a projection.

    Source: Dao and Gu, "Transformers are SSMs", ICML 2024, section 7.1.
    """
    inner = one.heads * one.head_dim
    convolved = inner + 2 * one.groups * one.state
    matrix = hidden * (inner + convolved + one.heads) + inner * hidden
    vector = convolved * (one.conv_width + 1) + 3 * one.heads + inner  # conv with bias; A, D, step bias; norm
    return StoredWeights(one.layers * matrix, 0, one.layers * vector)


def _channels(network: Transformer) -> list[StoredWeights]:
    """Layers that work on each token alone."""
    found = []
    hidden = network.hidden
    if network.feed_forward is not None:
        one = network.feed_forward
        matrices = 3 if one.gated else 2
        vector = (matrices - 1) * one.width + hidden if network.biases else 0
        found.append(StoredWeights(one.layers * matrices * hidden * one.width, 0, one.layers * vector))
    if network.experts is not None:
        some = network.experts
        matrices = 3 if some.gated else 2
        routed = some.experts * _one_expert(some, hidden, False)
        shared = matrices * hidden * some.shared_width
        vector = 0
        if network.biases:
            vector = some.experts * (_one_expert(some, hidden, True) - _one_expert(some, hidden, False) + 1)
        matrix = routed + shared + hidden * some.experts
        found.append(StoredWeights(some.layers * matrix, 0, some.layers * vector))
    return found


def _one_expert(some: Experts, hidden: int, biases: bool) -> int:
    matrices = 3 if some.gated else 2
    return matrices * hidden * some.width + ((matrices - 1) * some.width + hidden if biases else 0)


def _inputs(network: Transformer) -> StoredWeights:
    hidden = network.hidden
    looked_up = network.vocab * hidden
    shared = network.decoder and network.tied_embeddings  # then it is the LM head's matrix
    return StoredWeights(
        matrix=network.patch_inputs * hidden,
        embedding=network.positions * hidden + (0 if shared else looked_up),
        vector=hidden if network.biases and network.patch_inputs else 0,
    )


def _outputs(network: Transformer) -> StoredWeights:
    hidden = network.hidden
    matrix = network.vocab * hidden if network.decoder else 0
    matrix += hidden * hidden if network.pooler else 0
    matrix += hidden * network.classes
    vector = (hidden if network.pooler else 0) + network.classes if network.biases else 0
    return StoredWeights(matrix, 0, vector)


def _norms(network: Transformer) -> StoredWeights:
    """Norms of the layers, and one before the first or after the last of them."""
    mixers = (network.attention, network.latent_attention, network.state_space)
    layers = sum(part.layers for part in (*mixers, network.feed_forward, network.experts) if part is not None)
    vectors = network.norm_vectors * layers / 2 + 1
    return StoredWeights(0, 0, vectors * network.hidden * (2 if network.norm_biases else 1))
