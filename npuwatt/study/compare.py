"""The same request on several devices, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from npuwatt.device.accelerator import dtype_for
from npuwatt.device.evaluate import Device, host_of, weights_in_cells_count
from npuwatt.errors import NpuwattError, RequestError
from npuwatt.record import Record, replace
from npuwatt.study.confidence import Confidence, confidence
from npuwatt.study.inference import Inference
from npuwatt.study.modes import UNREAL, answered, check_finite
from npuwatt.study.phases import PhaseTable, phases_of
from npuwatt.study.question import Options, Question, check_dealt, is_one_device, question
from npuwatt.study.scenario import Chosen
from npuwatt.workload.ops import STORED
from npuwatt.workload.request import arithmetic_dtype, width_bytes

if TYPE_CHECKING:
    from npuwatt.device.nearbank import NearBankPim
    from npuwatt.study.cell_notes import Exactness

STEPS = {"decode": "steps without prompts", "mixed": "steps that take prompts along"}
"""The phases of a server by what people call them."""


class Answer(Record):
    """One device's part of a comparison."""

    device: Chosen[Device]
    result: Inference
    phases: tuple[PhaseTable, ...]  # op by op
    confidence: Confidence
    exactness: Exactness | None  # of products in memory cells; none where a device has none
    notes: tuple[str, ...]


class Comparison(Record):
    """A request answered by each device, in the order asked."""

    question: Question
    answers: tuple[Answer, ...]
    article: dict[str, Any] | None = (
        None  # the article's claims recomputed, where its constants were asked for
    )


def compare(names: Sequence[str], **options: Unpack[Options]) -> Comparison:
    """What one request costs on each of several devices.

    Parameters
    ----------
    names
        Devices by preset name, alias or path.
    **options
        As for `npuwatt.study.question.question`: network, input_len, output_len, batch, devices,
        mode, stack, prefill, expert_parallel, data_parallel, weights, activations, kv_cache, pattern,
        density, activation_density, densities, ideal, constants, changes, presets.

    Raises
    ------
    NpuwattError
        Something asked for does not exist or cannot be computed; its text says what would.
    """
    asked = question(names, **options)
    asked = replace(asked, warnings=(*asked.warnings, *_same(asked.devices)))
    check_dealt(asked.sharing, asked.request)
    answers = tuple(answer_of(asked, device) for device in asked.devices)
    article = None
    if asked.constants == "article":
        from npuwatt.study.article import claims

        article = claims(asked.devices, asked.network.record, asked.request, asked.presets)
    return Comparison(question=asked, answers=answers, article=article)


def _same(devices: Sequence[Chosen[Device]]) -> list[str]:
    groups: list[list[Chosen[Device]]] = []
    for device in devices:
        known = next((group for group in groups if is_one_device(group[0], device)), None)
        if known is None:
            groups.append([device])
        else:
            known.append(device)
    return [
        f"{' and '.join(one.typed for one in group)} are one device, {group[0].preset.name}, with the same numbers"
        for group in groups
        if len(group) > 1
    ]


def answer_of(asked: Question, device: Chosen[Device]) -> Answer:
    """What a question costs on one device, and what must be said of it.

    Raises
    ------
    RequestError
        The device cannot compute the number types of the request, or its answer is no finite number.
    """
    try:
        with np.errstate(all="ignore"):
            result = answered(asked, device.record)
            check_finite(result)
            phases = phases_of(asked, device.record, result)
            exactness, told = _of_cells(asked, device, result, phases)
    except OverflowError:
        raise RequestError(f"device {device.typed!r} {UNREAL}") from None
    except NpuwattError as error:
        raise RequestError(*(f"device {device.typed!r} {fault}" for fault in error.faults)) from error
    return Answer(
        device=device,
        result=result,
        phases=phases,
        confidence=confidence(
            device,
            asked.network,
            asked.request,
            devices=float(result.devices[0, 0]) if result.fits[0, 0] else 1.0,
            stack=asked.stack,
        ),
        exactness=exactness,
        notes=(
            *_fit_notes(asked, device.record, result),
            *_width_notes(asked, device.record),
            *_idle_notes(asked, device.record, result, phases),
            *told,
            *_zero_notes(asked, device, phases),
            *_change_notes(device),
        ),
    )


def _idle_notes(
    asked: Question, device: Device, result: Inference, phases: Sequence[PhaseTable]
) -> list[str]:
    """Whether memory that computes is of any use to this request: beyond a small batch the host is faster."""
    if device.kind != "near-bank-pim" or not bool(result.fits[0, 0]) or not multiplies_inside(asked, device):
        return []
    idle = []
    for phase in phases:
        stored = [kind in STORED for kind in phase.ops.kinds]
        inside_bytes = np.broadcast_to(phase.level_bytes["banks"], phase.time_s.shape)
        if not inside_bytes[:, stored].any():
            idle.append(STEPS[phase.name] if phase.steps_fraction is not None else phase.name)
    if not idle:
        return []
    return [
        f"in {' and '.join(idle)} the host runs all products with weights: it is faster than the units in its memory there"
    ]


def multiplies_inside(asked: Question, device: NearBankPim) -> bool:
    """Whether units in the memory take weights as they lie there."""
    from npuwatt.device.nearbank import computes_as_stored

    request = asked.request
    wanted = arithmetic_dtype(request.weights, request.activations)
    return computes_as_stored(device.banks, wanted, width_bytes(request.weights))


def _of_cells(
    asked: Question, device: Chosen[Device], result: Inference, phases: Sequence[PhaseTable]
) -> tuple[Exactness | None, list[str]]:
    """How exact a board of cells is, and what else must be said of it."""
    board = device.record
    if board.kind != "crossbar" or asked.constants == "article":
        return None, []
    from npuwatt.study.cell_notes import cell_notes, exactness_of

    exactness = exactness_of(board.arrays)
    return exactness, list(cell_notes(asked, device.typed, board, exactness, result, phases))


def _zero_notes(asked: Question, device: Chosen[Device], phases: Sequence[PhaseTable]) -> list[str]:
    if asked.zeros is None:
        return []
    from npuwatt.study.sparsity_notes import NOTHING, zero_notes

    notes = zero_notes(asked, device, phases)
    if any(note.startswith(NOTHING) for note in notes):
        return notes
    return [*notes, "how sure this is was measured on servers with dense weights; zeros make it less so"]


def _change_notes(device: Chosen[Device]) -> list[str]:
    before = device.preset.header("evidence")
    if before == device.trust:
        return []
    return [f"projected, because numbers of the preset were changed; as it stands it is {before}"]


def _fit_notes(asked: Question, device: Device, result: Inference) -> list[str]:
    needed, count = float(result.devices_needed[0, 0]), float(result.devices[0, 0])
    capacity = float(np.max(host_of(device).memory.capacity_bytes)) / 2**30
    if not np.isfinite(needed):
        return [f"no number of devices fits: the cache that one must hold exceeds its {capacity:.3g} GiB"]
    if max(needed, count) > 1 and host_of(device).link is None:
        wants = (
            f"does not fit: needs {needed:.0f} devices"
            if needed > 1
            else f"cannot share work on {count:.0f} devices"
        )
        return [f"{wants}, and the preset states no link between them"]
    room = f"{capacity:.3g} GiB"
    if (cells := weights_in_cells_count(device)) is not None:
        room += f" and cells for {float(np.max(cells)):.3g} weights"
    if needed > count:
        return [f"does not fit: needs {needed:.0f} devices of {room}"]
    if asked.count is None and needed > 1:
        return [f"{needed:.0f} devices: the fewest that hold weights and cache ({room} each)"]
    return []


def _width_notes(asked: Question, device: Device) -> list[str]:
    """What a device computes in another number type than asked, and where weights are not what was asked."""
    request, notes = asked.request, []
    supported = host_of(device).peak_macs_per_s
    for what, stored in (("weights", request.weights), ("attention", request.kv_cache)):
        if what == "attention" and not asked.network.record.decoder:
            continue
        wanted = arithmetic_dtype(stored, request.activations)
        if (used := dtype_for(supported, wanted)) != wanted:
            notes.append(f"{what}: {wanted} arithmetic runs as {used}, the nearest type this device computes")
    if device.kind == "near-bank-pim" and not multiplies_inside(asked, device):
        notes.append(
            f"the units beside the banks cannot multiply {request.weights} by {request.activations}, so the host does it all; "
            f"they compute in {' or '.join(device.banks.peak_macs_per_s)}"
        )
    return list(dict.fromkeys(notes))
