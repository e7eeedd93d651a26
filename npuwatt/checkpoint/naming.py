"""What a weight is for, by the name it has in the usual families of networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from npuwatt.checkpoint.layouts import LayoutError, Matrix, Unread
from npuwatt.errors import NpuwattError, shown
from npuwatt.record import Record

EMBEDDING, HEAD = "embedding", "lm_head"
# The last parts of a module's name -> the op of workload/transformer.py that multiplies by it; the first that fits counts.
_OPS = (
    (r"shared_experts?\.(gate_proj|up_proj|gate_up_proj)", "shared_expert_up"),
    (r"shared_experts?\.down_proj", "shared_expert_down"),
    (r"experts\.(\d+\.)?(gate_proj|up_proj|gate_up_proj|w1|w3)", "experts_up"),
    (r"experts\.(\d+\.)?(down_proj|w2)", "experts_down"),
    (r"(mlp|block_sparse_moe|feed_forward|moe)\.(gate|router|router\.layer)", "router"),
    (r"q_a_proj", "q_down"),
    (r"q_b_proj", "q_up"),
    (r"kv_a_proj(_with_mqa)?", "kv_down"),
    (r"kv_b_proj", "kv_up"),
    (r"([qkv]|qkv|q_k_v|query_key_value)_proj|c_attn|W_pack|Wqkv|query_key_value|in_proj_weight", "qkv"),
    (r"(self|attention)\.(query|key|value|wq|wk|wv)|attention\.w[qkv]|attention\.[qkv]_lin|attn\.qkv", "qkv"),
    (r"o_proj|(self_)?attn\.(c_proj|out_proj|Wo|proj)|attention\.(output\.dense|wo|out_lin|dense)", "attention_out"),
    (r"self_attention\.dense|attention\.out_proj", "attention_out"),
    (r"gate_proj|up_proj|gate_up_proj|c_fc|fc1|fc_in|dense_h_to_4h|intermediate\.dense|lin1|mlp\.Wi", "ffn_up"),
    (r"feed_forward\.w[13]", "ffn_up"),
    (r"down_proj|mlp\.c_proj|fc2|fc_out|dense_4h_to_h|output\.dense|lin2|mlp\.Wo|feed_forward\.w2", "ffn_down"),
    (r"mixer\.in_proj|mamba\.in_proj", "ssm_in"),
    (r"mixer\.out_proj|mamba\.out_proj", "ssm_out"),
    (r"pooler\.dense", "pooler"),
    (r"classifier|score", "classifier"),
    (r"lm_head|embed_out|predictions\.decoder", HEAD),
    (r"embed_tokens|wte|word_embeddings|tok_embeddings|embed_in", EMBEDDING),
)  # fmt: skip
_NAMED = tuple((re.compile(rf"(?:.*\.)?(?:{pattern})"), op) for pattern, op in _OPS)
_LOOKED_UP = re.compile(r"(?:.*\.)?(?:wpe|\w*position\w*|\w*token_type\w*|\w*norm\w*|ln_\w+|\w*embeddings?)")
_ENCODER = re.compile(r"(?:.*\.)?embeddings\.\w+")  # of BERT and its kin, which have no head to be tied to


class Placed(Record):
    """What a matrix is for, and along which axis its inputs lie."""

    matrix: Matrix
    op: str | None  # of workload/transformer.py; None of another linear layer
    input_axis: int  # of its last two axes: 1 for (outputs, inputs), 0 for (inputs, outputs)


def placed(
    matrices: Iterable[Matrix], config: Mapping[str, Any]
) -> tuple[list[Placed], list[Unread], list[str]]:
    """Matrices with their ops; those whose inputs cannot be told; notes.

    Tables that are only looked up (positions, token types) are left out. An embedding without a head beside it is its
    own head, unless the config.json says otherwise or the network is an encoder.

    Raises
    ------
    NpuwattError
        If two matrices are named as the weights of one module.
    """
    modules: dict[str, Matrix] = {}
    for matrix in matrices:
        other = modules.setdefault(matrix.name.removesuffix(".weight"), matrix)
        if other is not matrix:
            raise NpuwattError(
                f"{shown(matrix.name)}: stands beside {shown(other.name)}; expected one of them, as both name one module"
            )
    ops = {module: op_of(module) for module in modules if not is_looked_up(module)}
    is_latent = "kv_down" in ops.values()
    is_transposed = any(
        re.search(r"\.c_(fc|attn)$", module) and matrix.shape[0] < matrix.shape[-1]
        for module, matrix in modules.items()
    )
    notes = []
    if HEAD not in ops.values() and config.get("tie_word_embeddings", True) is not False:
        for module, op in ops.items():
            if op == EMBEDDING and not _ENCODER.fullmatch(module):
                ops[module] = HEAD
                notes.append(f"{modules[module].name} is the head too, as no lm_head stands beside it")
    found: list[Placed] = []
    unread: list[Unread] = []
    for module, op in ops.items():
        matrix = modules[module]
        if is_latent and op == "qkv" and module.endswith("q_proj"):
            op = "q"
        try:
            axis = _input_axis(module, modules, is_transposed)
        except LayoutError as error:
            unread.append(Unread(name=matrix.name, reason=str(error)))
            continue
        found.append(Placed(matrix=matrix, op=op, input_axis=axis))
    return found, unread, notes


def op_of(module: str) -> str | None:
    """The op of a module by its name; None of a linear layer that no op stands for."""
    if module == "output":  # the head of the first Llama files
        return HEAD
    return next((op for pattern, op in _NAMED if pattern.fullmatch(module)), None)


def is_looked_up(module: str) -> bool:
    """Whether a matrix is a table or a norm by its name, and no vocabulary."""
    return op_of(module) is None and _LOOKED_UP.fullmatch(module) is not None


def _input_axis(module: str, modules: Mapping[str, Matrix], is_transposed: bool) -> int:
    """Conv1D layers of GPT-2 and some stacked experts hold (inputs, outputs), all others (outputs, inputs)."""
    shape = modules[module].shape
    if len(shape) == 2:
        return 0 if is_transposed and re.search(r"\.c_(attn|fc|proj)$", module) else 1
    up, down = re.sub(r"down_proj$", "gate_up_proj", module), re.sub(r"gate_up_proj$", "down_proj", module)
    if up in modules and down in modules and up != down:
        if len(modules[up].shape) != 3 or len(modules[down].shape) != 3:
            raise LayoutError("stacked experts beside experts that are not")
        (_, a, b), (_, c, d) = modules[up].shape, modules[down].shape
        if (b, a) == (2 * c, d):
            return 0
        if (a, b) == (2 * d, c):
            return 1
    raise LayoutError("stacked experts of which the inputs' axis cannot be told")
