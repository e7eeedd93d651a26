"""What every command asks about: devices, a network, a request, and which constants hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from npuwatt.device.evaluate import Device
from npuwatt.device.parallel import ALONE, Sharing
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.record import Record, replace
from npuwatt.study.scenario import (
    Chosen,
    changes_by_owner,
    implausible,
    load_device,
    load_network,
    load_stack,
)
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.request import MOST_BATCH, MOST_TOKENS, WIDTHS, Request, Width

if TYPE_CHECKING:
    from npuwatt.device.stack import Stack
    from npuwatt.study.sparsity_asked import Asked

NETWORK = "llama-3.1-8b"
STACK = "vllm-0.11"  # that serves where none is named
MODES = ("step", "serving")
INPUT_LEN, OUTPUT_LEN, BATCH, WIDTH = 512, 256, 1, "bf16"
CONSTANTS = ("sourced", "article")
MOST_DEVICES = 1_000_000
QUANTISED = ("fp8", "awq", "gptq", "int4", "int8", "nvfp4", "mxfp4", "w4a16", "w8a8", "4bit", "8bit")


class Options(TypedDict, total=False):
    """What a question may say besides the devices; each has a usual value."""

    network: str  # short name, Hugging Face id, preset or config.json path
    input_len: int | None
    output_len: int | None
    batch: int
    devices: int | None  # how many share the work; None: the fewest that hold it
    mode: str | None  # 'step' (the usual) or 'serving'
    stack: str | None  # serving software by preset name, alias or path; it selects serving
    prefill: bool | None  # in serving: whether these devices read the prompts too
    expert_parallel: bool  # experts lie whole on devices
    data_parallel: int  # groups of devices, each with a copy of the weights
    weights: str | None
    activations: str | None
    kv_cache: str | None
    pattern: str | None  # of zeros among weights: dense, unstructured, 1:2, 2:4, 4:8, block
    density: float | None  # share of weights that are not zero
    activation_density: float | None  # the same of what they multiply
    densities: str | None  # a density file, as model scan writes it, in place of pattern and density
    ideal: bool  # nothing holds back what devices make of zeros
    constants: str  # 'sourced' or 'article'
    changes: Sequence[str]  # ADDRESS=VALUE texts
    presets: Sequence[str]  # folders of presets, found before the built-in ones


class Question(Record):
    """Everything a result depends on, read and checked."""

    devices: tuple[Chosen[Device], ...]
    network: Chosen[Network]
    request: Request
    count: int | None  # devices that share the work; None: the fewest that hold it
    constants: str
    presets: tuple[str, ...]  # the user's folders
    notes: tuple[str, ...]
    warnings: tuple[str, ...]  # changes that leave the plausible range of a number
    stack: Chosen[Stack] | None = None  # None: one request after the other, without software
    prefill: bool = True  # False: prompts are read elsewhere
    sharing: Sharing = ALONE
    zeros: Asked | None = None  # None: nothing is said of zeros
    densities: str | None = None  # the file that tells of them
    ideal: bool = False

    @property
    def mode(self) -> str:
        """step or serving."""
        return "step" if self.stack is None else "serving"

    @property
    def citations(self) -> dict[str, str]:
        """Sources of every number used, by key."""
        found = dict(self.network.citations)
        for chosen in (*self.devices, *((self.stack,) if self.stack else ())):
            found |= chosen.citations
        return dict(sorted(found.items()))


def question(
    names: Sequence[str],
    *,
    network: str = NETWORK,
    input_len: int | None = None,
    output_len: int | None = None,
    batch: int = BATCH,
    devices: int | None = None,
    mode: str | None = None,
    stack: str | None = None,
    prefill: bool | None = None,
    expert_parallel: bool = False,
    data_parallel: int = 1,
    weights: str | None = None,
    activations: str | None = None,
    kv_cache: str | None = None,
    pattern: str | None = None,
    density: float | None = None,
    activation_density: float | None = None,
    densities: str | None = None,
    ideal: bool = False,
    constants: str = "sourced",
    changes: Sequence[str] = (),
    presets: Sequence[str] = (),
) -> Question:
    """Read and check what was asked.

    Raises
    ------
    NpuwattError
        With a line for each fault: an unknown name, a number out of range, a change that fits nowhere.
    """
    if not names:
        raise RequestError("no device given; expected at least one, as in 'npuwatt compare gpu npu pim'")
    if constants not in CONSTANTS:
        raise RequestError(f"--constants: {shown(constants)} given; expected one of {', '.join(CONSTANTS)}")
    _check_whole("--batch", batch, MOST_BATCH)
    _check_whole("--devices", devices, MOST_DEVICES)
    _check_whole("--input-len", input_len, MOST_TOKENS)
    _check_whole("--output-len", output_len, MOST_TOKENS)
    for option, width in (("--weights", weights), ("--activations", activations), ("--kv-cache", kv_cache)):
        if width is not None and width not in WIDTHS:
            raise RequestError(f"{option}: {shown(width)} given; expected one of {', '.join(WIDTHS)}")
    served_on = _served_on(mode, stack, prefill)
    by_device, of_network, of_stack = changes_by_owner(changes, names, has_stack=served_on is not None)
    chosen = load_network(network, changes=of_network, folders=presets)
    loaded = tuple(load_device(name, changes=by_device[name], folders=presets) for name in names)
    software = None if served_on is None else load_stack(served_on, changes=of_stack, folders=presets)
    warnings = [
        line
        for device in loaded
        for line in implausible(device, by_device[device.typed], f"devices.{device.typed}")
    ]
    warnings += implausible(software, of_stack, "stack") if software else []
    sharing = _sharing(chosen.record, devices, data_parallel, expert_parallel)
    usual = WIDTH
    if constants == "article":
        from npuwatt.study.article import USUAL_WIDTH, with_article_constants

        usual = USUAL_WIDTH
        loaded = tuple(with_article_constants(device) for device in loaded)
    notes = []
    quantised = next((word for word in QUANTISED if f"-{word}" in network.lower()), None)
    if weights is None and quantised and constants == "sourced":
        notes.append(
            f"weights are counted as {usual} although the name says {quantised}; --weights sets what is counted"
        )
    request = Request(
        batch=float(batch),
        input_len=float(input_len or INPUT_LEN),
        output_len=float(output_len or OUTPUT_LEN),
        weights=cast("Width", weights or usual),
        activations=cast("Width", activations or usual),
        kv_cache=cast("Width", kv_cache or usual),
    )
    request, more = _as_the_network_takes_it(chosen.record, request, input_len, output_len)
    zeros = None
    if (pattern, density, activation_density, densities, ideal) != (None, None, None, None, False):
        from npuwatt.study.sparsity_asked import zeros_asked

        zeros = zeros_asked(
            chosen.record, request, pattern=pattern, density=density, activation_density=activation_density,
            densities=densities, ideal=ideal,
        )  # fmt: skip
    if ideal:
        from npuwatt.device.savings import ideal as perfect

        loaded = tuple(replace(device, record=perfect(device.record)) for device in loaded)
        more = [*more, "ideal: nothing was ever measured to skip zeros as these devices are taken to"]
    if zeros is not None:
        request, more = replace(request, zeros=zeros.zeros), [*more, *zeros.notes]
    if software:
        more += _serving_notes(chosen, software, request, sharing, prefill)
    return Question(
        devices=loaded,
        network=chosen,
        request=request,
        count=devices,
        constants=constants,
        presets=tuple(presets),
        notes=(*notes, *more),
        warnings=tuple(dict.fromkeys(warnings)),
        stack=software,
        prefill=prefill is not False,
        sharing=sharing,
        zeros=zeros,
        densities=densities,
        ideal=ideal,
    )


def is_one_device(first: Chosen[Device], other: Chosen[Device]) -> bool:
    """Whether two are one preset with the same numbers, whatever they were called: nothing can rank them."""
    return first.preset.sha256 == other.preset.sha256 and first.record == other.record


def _served_on(mode: str | None, stack: str | None, prefill: bool | None) -> str | None:
    """The stack of serving mode, or None in step mode; words that contradict each other are refused."""
    if mode is not None and mode not in MODES:
        raise RequestError(f"--mode: {shown(mode)} given; expected one of {', '.join(MODES)}")
    if mode == "step" and stack is not None:
        raise RequestError(
            f"--mode step with --stack {shown(stack)}: a stack is what serving runs on; expected one of the two"
        )
    if mode != "serving" and stack is None:
        if prefill is not None:
            raise RequestError(
                f"--{'' if prefill else 'no-'}prefill: step mode reads the prompts of its batch; expected --serving with it"
            )
        return None
    return STACK if stack is None else stack


def _sharing(network: Network, devices: int | None, data_parallel: int, expert_parallel: bool) -> Sharing:
    """How the devices split the network, where it can be split so."""
    _check_whole("--data-parallel", data_parallel, MOST_DEVICES)
    if data_parallel > 1 and devices is None:
        raise RequestError(
            f"--data-parallel: {data_parallel} given; expected --devices with it, a multiple of {data_parallel}"
        )
    if devices is not None and devices % data_parallel:
        raise RequestError(
            f"--data-parallel: {data_parallel} given; expected a divisor of the {devices} devices"
        )
    if expert_parallel and not (isinstance(network, Transformer) and network.experts):
        raise RequestError("--expert-parallel: this network has no experts; expected one that has")
    if data_parallel == 1 and not expert_parallel:
        return ALONE
    return Sharing(data_parallel_count=float(data_parallel), expert_parallel=expert_parallel)


def check_dealt(sharing: Sharing, request: Request) -> None:
    """Refuse fewer sequences than groups of devices: a group without one would stand idle."""
    groups = float(np.max(sharing.groups))
    least = float(np.min(request.batch))
    if least < groups:
        raise RequestError(
            f"--data-parallel: {groups:.0f} given; expected at most {least:.0f}, a sequence of the batch for each group"
        )


def _serving_notes(
    network: Chosen[Network], stack: Chosen[Stack], request: Request, sharing: Sharing, prefill: bool | None
) -> list[str]:
    """What to doubt about a server that always runs this batch; an error for a network that cannot be served."""
    if not network.record.decoder:
        raise RequestError(
            f"--mode serving: {shown(network.preset.name)} answers in one pass; expected a network that generates "
            "tokens, or --mode step"
        )
    notes = [f"numbers of the stack {stack.preset.name} were changed"] if stack.is_changed else []
    sequences, most = float(np.max(request.batch / sharing.groups)), float(np.max(stack.record.chunk_count))
    taken = sequences * (1.0 if prefill is False else 1 + float(request.input_len / request.output_len))
    if taken > most:
        notes.append(
            f"to keep the batch running, each step must take {taken:.0f} tokens in, and the stack takes {most:.0f}: "
            "fewer sequences than asked would run"
        )
    return notes


def _check_whole(option: str, value: int | None, most: int) -> None:
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most
    ):
        raise RequestError(f"{option}: {shown(str(value))} given; expected a whole number from 1 to {most}")


def _as_the_network_takes_it(
    network: Network, request: Request, input_len: int | None, output_len: int | None
) -> tuple[Request, list[str]]:
    """Lengths that a network without a decoder decides itself; a length it cannot take is an error."""
    from npuwatt.study.inference import fitted

    taken, notes = fitted(network, request), []
    if not network.decoder:
        if output_len not in (None, 1):
            raise NpuwattError(
                f"--output-len: {output_len} given; expected 1, because this network answers a request in one pass"
            )
        if input_len not in (None, int(taken.input_len)):
            what = "a fixed number of patches" if isinstance(network, Transformer) else "an image"
            raise NpuwattError(
                f"--input-len: {input_len} given; expected {int(taken.input_len)}, because this network reads {what}"
            )
        notes.append("this network answers in one pass: an output token is one whole answer")
    elif isinstance(network, Transformer) and network.max_context:
        asked = int(taken.input_len + taken.output_len)
        if asked > network.max_context:
            notes.append(f"{asked} tokens are more than the {network.max_context} the network was made for")
    return taken, notes
