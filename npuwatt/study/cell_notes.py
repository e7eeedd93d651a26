"""What a comparison must say of a board that computes in memory cells: bits, errors, life, and what stays outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from npuwatt.device.accuracy import product_accuracy
from npuwatt.device.crossbar import Arrays, Crossbar, weights_held_count
from npuwatt.record import Record
from npuwatt.study.accuracy import check_finite, layout_of
from npuwatt.study.inference import Inference
from npuwatt.study.phases import PhaseTable
from npuwatt.study.question import Question
from npuwatt.study.reprogramming import loading_of
from npuwatt.study.verdicts import FAULTLESS, UNKNOWN, verdict_of
from npuwatt.units import show, show_time
from npuwatt.workload.parameters import stored_weights

DAY_S = 86400.0
LONG_S = 5 * 31557600.0  # from where on cells would live long enough for a cache


class Exactness(Record):
    """How exact the products of a board's cells are, a day after these were written."""

    snr_db: (
        float | None
    )  # none where gates add exactly, or where nothing is known about the errors of the cells
    verdict: str


def exactness_of(arrays: Arrays) -> Exactness:
    """By the noise of the cells, if there is any and it is known."""
    if arrays.gates is not None or arrays.noise is None:
        return Exactness(snr_db=None, verdict=UNKNOWN if arrays.gates is None else FAULTLESS)
    found = product_accuracy(arrays.noise, layout_of(arrays), (DAY_S,))
    check_finite(found)
    snr_db = found.snr_db.item()
    return Exactness(snr_db=snr_db, verdict=verdict_of(snr_db))


def cell_notes(
    asked: Question,
    typed: str,
    board: Crossbar,
    exactness: Exactness,
    result: Inference,
    phases: Sequence[PhaseTable],
) -> Iterator[str]:
    """Lines for one board of a comparison."""
    arrays = board.arrays
    weights = stored_weights(asked.network.record).matrix
    bits = int(np.max(arrays.weight_bits))
    alike = f"int{bits if bits in (4, 8) else 8}"
    hint = "" if asked.request.weights == alike else f" (compare with --weights {alike})"
    yield f"weights sit in cells as {bits}-bit numbers whatever --weights says{hint}"
    yield _how_exact(exactness, typed)
    if arrays.is_streamed:
        share = min(1.0, float(np.max(weights_held_count(arrays))) / weights)
        yield (
            f"its cells hold {100 * share:.3g} % of the weights at a time; all come from main memory and are written "
            "for every pass"
        )
        return
    loading = loading_of(board, asked.network.record)
    yield f"writing the network into the cells takes {show(loading.energy_j, '_j')} and {show(loading.time_s, '_s')}, once"
    if asked.network.record.decoder and bool(result.fits[0, 0]):
        yield _outside(arrays, result, phases)


def _how_exact(exactness: Exactness, typed: str) -> str:
    if exactness.snr_db is not None:
        return (
            f"a day after they were written, products of its cells have {exactness.snr_db:.0f} dB of signal over noise: "
            f"{exactness.verdict} (npuwatt accuracy {typed})"
        )
    return (
        "its gates add exactly"
        if exactness.verdict == FAULTLESS
        else "nothing is known about the errors of its cells"
    )


def _outside(arrays: Arrays, result: Inference, phases: Sequence[PhaseTable]) -> str:
    """Attention and its cache: what they cost where they are, and how long cells would bear them."""
    step = phases[-1]
    joules = np.broadcast_to(step.energy_j, step.time_s.shape)[0]
    kept = sum(
        energy for kind, energy in zip(step.ops.kinds, joules.tolist(), strict=True) if kind == "attention"
    )
    told = f"attention and its cache stay on the host, {100 * kept / float(joules.sum()):.0f} % of a step's energy"
    endurance = float(np.max(arrays.write.endurance_count))
    if not endurance:
        return told
    # Each place of a cache is written once for every sequence that passes through it.
    life_s = endurance / float(np.max(arrays.write.pulses_count)) * float(result.request_s[0, 0])
    verb = "would still be worn out in" if life_s < LONG_S else "would live for"
    return f"{told}; cells that held it {verb} {show_time(life_s)}"
