"""A question's answer on one device, in the mode it was asked in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuwatt.arrays import Real
from npuwatt.device.evaluate import Device
from npuwatt.errors import RequestError
from npuwatt.record import replace
from npuwatt.study.inference import Inference, inference
from npuwatt.study.question import Question
from npuwatt.workload.request import Request

if TYPE_CHECKING:
    from npuwatt.device.stack import Stack
    from npuwatt.study.serving import Work


def result_of(
    asked: Question,
    device: Device,
    *,
    request: Request | None = None,
    stack: Stack | None = None,
    devices: Real | None = None,
    limits: bool = True,
) -> Inference:
    """What a question costs on a device; its request and stack may be given with columns of design points.

    `devices` share the work where the question does not say how many.

    Raises
    ------
    RequestError
        The device cannot compute the number types of the request.
    """
    network, request = asked.network.record, asked.request if request is None else request
    count: Real | None = devices if asked.count is None else asked.count
    if asked.stack is None:
        return inference(network, request, device, count, sharing=asked.sharing, limits=limits)
    from npuwatt.study.serving import serving

    return serving(
        network,
        request,
        device,
        count,
        stack=asked.stack.record if stack is None else stack,
        sharing=asked.sharing,
        prefills_per_output_token=_prefills(asked),
        limits=limits,
    )


def answered(asked: Question, device: Device) -> Inference:
    """What a question costs on a device; in serving, also what part of it is software."""
    result = result_of(asked, device)
    return result if asked.stack is None else _with_software_share(asked, device, asked.stack.record, result)


UNREAL = "has no finite answer; expected numbers nearer to those of a real device"


def check_finite(result: Inference) -> None:
    """Refuse an answer whose time or energy no number can hold; one that does not fit has none.

    Raises
    ------
    RequestError
        Without the device, which the caller names.
    """
    spent_j, request_s = result.total_j, result.request_s
    is_finite = (np.isfinite(spent_j) & np.isfinite(request_s) & (request_s > 0)).all()
    if bool(result.fits[0, 0]) and not is_finite:
        raise RequestError(UNREAL)


def _with_software_share(asked: Question, device: Device, stack: Stack, result: Inference) -> Inference:
    from npuwatt.device.stack import IDEAL

    # How many tokens a step takes is a setting and not a cost, so it stays.
    bare = result_of(asked, device, stack=replace(IDEAL, chunk_count=stack.chunk_count), limits=False)
    return replace(
        result,
        software_time_fraction=1 - bare.tpot_s / result.tpot_s,
        software_energy_fraction=1 - bare.total_j / result.total_j,
    )


def work_of(asked: Question, stack: Stack, result: Inference) -> Work:
    """The steps behind a result of serving; on one device where it does not fit."""
    from npuwatt.device.parallel import ALONE
    from npuwatt.study.serving import serving_work
    from npuwatt.workload.network import Transformer

    network = asked.network.record
    assert isinstance(network, Transformer)  # the question saw to it
    fits = bool(result.fits[0, 0])
    return serving_work(
        network,
        asked.request,
        devices=float(result.devices[0, 0]) if fits else 1.0,
        sharing=asked.sharing if fits else ALONE,
        prefills_per_output_token=_prefills(asked),
        chunk_tokens=stack.chunk_count,
    )


def _prefills(asked: Question) -> float | None:
    """Prompts for each generated token; None for one an answer."""
    return None if asked.prefill else 0.0
