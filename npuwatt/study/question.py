"""What every command asks about: devices, a network, a request, and which constants hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

from npuwatt.device.evaluate import Device
from npuwatt.errors import NpuwattError, RequestError, shown
from npuwatt.record import Record
from npuwatt.study.scenario import Chosen, implausible, load_device, load_network, split_changes
from npuwatt.workload.network import Network, Transformer
from npuwatt.workload.request import MOST_BATCH, MOST_TOKENS, WIDTHS, Request, Width

NETWORK = "llama-3.1-8b"
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
    weights: str | None
    activations: str | None
    kv_cache: str | None
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

    @property
    def citations(self) -> dict[str, str]:
        """Sources of every number used, by key."""
        found = dict(self.network.citations)
        for device in self.devices:
            found |= device.citations
        return dict(sorted(found.items()))


def question(
    names: Sequence[str],
    *,
    network: str = NETWORK,
    input_len: int | None = None,
    output_len: int | None = None,
    batch: int = BATCH,
    devices: int | None = None,
    weights: str | None = None,
    activations: str | None = None,
    kv_cache: str | None = None,
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
    by_device, of_network = split_changes(changes, names)
    chosen = load_network(network, changes=of_network, folders=presets)
    loaded = tuple(load_device(name, changes=by_device[name], folders=presets) for name in names)
    warnings = [line for device in loaded for line in implausible(device, by_device[device.typed])]
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
    return Question(
        devices=loaded,
        network=chosen,
        request=request,
        count=devices,
        constants=constants,
        presets=tuple(presets),
        notes=(*notes, *more),
        warnings=tuple(dict.fromkeys(warnings)),
    )


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
