"""Which zeros a question asks about: a pattern and a density, or the densities of a scanned checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from npuwatt.errors import RequestError, did_you_mean, shown
from npuwatt.record import Record
from npuwatt.study.inference import phase_ops
from npuwatt.workload.density import Zeros, most_density
from npuwatt.workload.network import Network
from npuwatt.workload.ops import PATTERNS, STORED, Op, Pattern
from npuwatt.workload.request import Request

if TYPE_CHECKING:
    from npuwatt.checkpoint.densities import Densities, OpDensity

HALF = 0.5  # density of a pattern that leaves it open, where none is given
MOST_OFF = 2.0  # times more or fewer weights than the network has, in a file that still tells of it
SAME_SIZE = 0.01  # how far the weights that a file counts may differ from those of the network

LEAST_DENSITY = 1e-6


class Asked(Record):
    """Zeros of the options, and what to say of them."""

    zeros: Zeros
    pattern: Pattern  # of most weights
    density_fraction: float  # of all weights that an op multiplies by
    notes: tuple[str, ...] = ()


def zeros_asked(
    network: Network,
    request: Request,
    *,
    pattern: str | None,
    density: float | None,
    activation_density: float | None,
    densities: str | None,
    ideal: bool = False,
) -> Asked | None:
    """The zeros that options describe; None where they describe none.

    Raises
    ------
    NpuwattError
        Options that mean nothing together, a share out of range, or a file that is no density file of this network.
    """
    check_share("--density", density)
    check_share("--activation-density", activation_density)
    inputs = 1.0 if activation_density is None else activation_density
    if densities is not None:
        for option, given in (("--pattern", pattern), ("--density", density)):
            if given is not None:
                raise RequestError(
                    f"--densities with {option}: the file tells it of each op; expected one of the two"
                )
        from npuwatt.checkpoint.densities import read_densities

        return _of_file(read_densities(densities), network, request, inputs)
    if pattern is None and density is None and activation_density is None:
        if ideal:
            raise RequestError(
                "--ideal: nothing is said to be zero; expected --pattern, --density, --activation-density or "
                "--densities with it"
            )
        return None
    chosen = _pattern(pattern, density)
    share = _density(chosen, density)
    zeros = Zeros(pattern=chosen, weight_density=share, activation_density=inputs)
    return Asked(zeros=zeros, pattern=chosen, density_fraction=share)


def check_share(option: str, value: float | None) -> None:
    """Refuse a density that no weights or activations have."""
    if value is not None and not LEAST_DENSITY <= value <= 1:
        raise RequestError(
            f"{option}: {value:g} given; expected the share that is not zero, from {LEAST_DENSITY:g} to 1"
        )


def _pattern(pattern: str | None, density: float | None) -> Pattern:
    """A density without a pattern is one of zeros anywhere."""
    if pattern is None:
        return "dense" if density is None else "unstructured"
    if pattern not in PATTERNS:
        near = did_you_mean(pattern, PATTERNS) or f"; expected one of {', '.join(PATTERNS)}"
        raise RequestError(f"--pattern: {shown(pattern)} given{near}")
    return pattern


def _density(pattern: Pattern, density: float | None) -> float:
    most = most_density(pattern)
    if density is None:
        return most if pattern == "dense" else min(most, HALF)
    if pattern == "dense" and density < 1:
        raise RequestError(
            f"--pattern dense with --density {density:g}: dense weights hold no zeros; expected another pattern"
        )
    if density > most:
        raise RequestError(
            f"--pattern {pattern} with --density {density:g}: {pattern} leaves {most:g} at most; expected a density up to that"
        )
    return density


def _of_file(found: Densities, network: Network, request: Request, inputs: float) -> Asked:
    """Zeros op by op as a checkpoint holds them; ops that its file does not name are dense."""
    ops = [op for op in phase_ops(network, request, "prefill") if op.kind in STORED]
    counted = {name: one for name, one in found.by_op().items() if name != "embedding"}
    known = {op.name: counted[op.name] for op in ops if op.name in counted}
    if not known:
        told = shown(", ".join(counted), 200) if counted else "no op"
        raise RequestError(
            f"--densities {shown(found.path)}: tells of {told}; expected some of {', '.join(op.name for op in ops)}"
        )
    by_op = {
        name: Zeros(
            pattern=_held(one),
            weight_density=min(one.density_fraction, most_density(_held(one))),
            activation_density=inputs,
        )
        for name, one in known.items()
    }
    sizes = {op.name: float(op.layers) * op.k * op.n for op in ops}
    same = [
        op.name for op in ops if op.name in known and op.kind == "matmul"
    ]  # experts are counted otherwise
    counted_weights, held_weights = (
        sum(known[name].elements for name in same),
        sum(sizes[name] for name in same),
    )
    if same and not 1 / MOST_OFF <= counted_weights / held_weights <= MOST_OFF:
        raise RequestError(
            f"--densities {shown(found.path)}: counts {counted_weights:.3g} weights of {', '.join(same)}, and this network "
            f"has {held_weights:.3g}; expected --network that fits"
        )
    whole = sum(sizes.values())
    by_pattern = dict.fromkeys(PATTERNS, 0.0)
    for name, size in sizes.items():
        by_pattern[by_op[name].pattern if name in by_op else "dense"] += size
    return Asked(
        zeros=Zeros(activation_density=inputs, by_op=by_op),
        pattern=max(PATTERNS, key=by_pattern.__getitem__),
        density_fraction=sum(
            size * (float(by_op[name].weight_density) if name in by_op else 1.0)
            for name, size in sizes.items()
        )
        / whole,
        notes=tuple(_file_notes(found, ops, known, [name for name in counted if name not in known])),
    )


def _held(one: OpDensity) -> Pattern:
    """The first pattern that devices know and all groups hold; else zeros lie anywhere, or nowhere."""
    held = next((name for name in one.patterns if name in PATTERNS), None)
    if held is not None:
        return held
    return "unstructured" if one.density_fraction < 1 else "dense"


def _file_notes(
    found: Densities, ops: Sequence[Op], known: dict[str, OpDensity], strange: Sequence[str]
) -> list[str]:
    """What a density file leaves open of this network."""
    notes = []
    missing = [op.name for op in ops if op.name not in known]
    if missing:
        notes.append(f"{found.path} does not tell of {', '.join(missing)}: counted as dense")
    if strange:
        notes.append(f"{found.path} tells of {', '.join(strange)}, which this network does not have")
    off = [
        op.name
        for op in ops
        if op.name in known
        and op.kind == "matmul"
        and abs(known[op.name].elements / (float(op.layers) * op.k * op.n) - 1) > SAME_SIZE
    ]
    if off:
        notes.append(
            f"{found.path} counts other numbers of weights of {', '.join(off)} than this network has: "
            "its densities are taken as those of all"
        )
    return notes
