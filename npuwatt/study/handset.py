"""Devices asked about as the only one in a handset: its usual network and number types, and the memory it gives a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npuwatt import units
from npuwatt.device.evaluate import Device, host_of
from npuwatt.errors import RequestError, did_you_mean, shown
from npuwatt.handset.network import Handset
from npuwatt.record import replace
from npuwatt.study.modes import result_of
from npuwatt.study.question import Options, Question, question
from npuwatt.study.scenario import Chosen

WEIGHTS, ACTIVATIONS, KV_CACHE = "int4", "int8", "int8"  # as phones run language models


def changes_of(
    owners: Sequence[str], changes: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """`--set ADDRESS=VALUE` texts of each owner, without it, and those of devices and network as they are.

    Raises
    ------
    RequestError
        An address is of none of them.
    """
    own: dict[str, list[str]] = {owner: [] for owner in owners}
    others = []
    for change in changes:
        owner, _, rest = change.partition(".")
        if owner in own:
            own[owner].append(rest)
        elif owner in ("devices", "network") or "=" not in change:
            others.append(change)
        else:
            known = [*(f"devices.{name}" for name in names), "network", *owners]
            address = change.partition("=")[0]
            raise RequestError(
                f"unknown address {shown(address)}{did_you_mean(owner, known) or '; expected one under ' + ', '.join(known)}"
            )
    return own, others


def asked_in(handset: Handset, names: Sequence[str], changes: Sequence[str], options: Options) -> Question:
    """The question of `options`, of one device at a time and with the handset's network where nothing else is said.

    Raises
    ------
    NpuwattError
        As for `question`; and several devices are to share the work.
    """
    if options.get("devices") not in (None, 1):
        raise RequestError(f"--devices: {options['devices']} given; expected 1, as a handset holds")
    given = options
    given["network"], given["changes"], given["devices"] = (
        options.get("network") or handset.network,
        changes,
        1,
    )
    given["weights"] = options.get("weights") or WEIGHTS
    given["activations"] = options.get("activations") or ACTIVATIONS
    given["kv_cache"] = options.get("kv_cache") or KV_CACHE
    return question(names, **given)


def held_in(asked: Question, device: Chosen[Device], handset: Handset) -> Device:
    """The device with no more memory than the handset gives a model.

    Raises
    ------
    RequestError
        The network with its cache does not fit there.
    """
    host = host_of(device.record)
    first = next(iter(host.levels))
    room_bytes = np.minimum(host.memory.capacity_bytes, handset.model_memory_bytes)
    host = replace(host, levels={**host.levels, first: replace(host.memory, capacity_bytes=room_bytes)})
    held = host if device.record.kind == "accelerator" else replace(device.record, host=host)
    if not result_of(asked, held).fits.all():
        given_bytes = float(np.min(handset.model_memory_bytes))
        raise RequestError(
            f"{shown(asked.network.preset.name)} with its cache does not fit into the {units.show_in(given_bytes, 'B')} that the "
            "handset gives a model, or into the device; expected a smaller --network, fewer --weights bits or a shorter context"
        )
    return held
