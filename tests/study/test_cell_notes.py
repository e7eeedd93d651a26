"""What a comparison says of boards that compute in cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from npuwatt.study.compare import compare

if TYPE_CHECKING:
    from conftest import Quick


def notes(device: str, *changes: str, network: str = "llama-3.1-8b") -> list[str]:
    (answer,) = compare([device], network=network, changes=changes).answers
    return list(answer.notes)


def told(lines: list[str], part: str) -> str:
    (line,) = (line for line in lines if part in line)
    return line


def test_a_board_of_cells_says_how_exact_they_are() -> None:
    found = notes("ibm-hermes", network="resnet-50")
    assert told(found, "sit in cells").endswith(
        "8-bit numbers whatever --weights says (compare with --weights int8)"
    )
    line = told(found, "a day after they were written")
    assert "have 14 dB of signal over noise: do not deploy (npuwatt accuracy ibm-hermes)" in line
    assert told(notes("sram-digital-cim"), "gates") == "its gates add exactly"
    unknown = told(notes("mythic-m1076", network="resnet-50"), "errors")
    assert unknown == "nothing is known about the errors of its cells"


def test_a_board_that_is_too_noisy_is_marked_and_left_out_of_the_verdict(quick: Quick) -> None:
    done = quick("compare", "gpu", "pim", "crossbar")
    assert "crossbar!" in done.out
    assert "pim needs the least energy per token" in done.out
    assert "may be of no use: crossbar! would need" in done.out
    alone = quick("compare", "crossbar").out
    assert "crossbar! spends" in alone
    (result,) = quick("compare", "crossbar", "--json").json()["results"]
    assert result["exactness"]["verdict"] == "do not deploy"
    found = quick("compare", "gpu", "npu", "sram-digital-cim", "mythic-m1076", "crossbar", "--json").json()
    exact = [one["exactness"] and one["exactness"]["verdict"] for one in found["results"]]
    assert exact == [None, None, "adds exactly", "unknown", "do not deploy"]
    assert {name for winner in found["winners"] for name in winner["devices"]} == {
        "gpu",
        "npu",
        "sram-digital-cim",
    }
    two = quick("compare", "gpu", "crossbar", "--json").json()["winners"]
    assert {winner["fastest"]["device"] for winner in two} == {"gpu", "crossbar"}


def test_a_board_that_noise_aware_training_may_save_is_told_so(quick: Quick) -> None:
    out = quick("compare", "gpu", "hfox-rram").out
    assert "(hfox-rram projected and needs noise-aware training, gpu calibrated)" in out


def test_a_cache_never_goes_into_cells_and_its_cost_outside_is_told() -> None:
    line = told(notes("isaac-rram"), "attention and its cache stay on the host")
    assert "% of a step's energy" in line
    assert "would still be worn out in" in line
    strong = notes("isaac-rram", "devices.isaac-rram.arrays.write.endurance=1e15")
    assert "would live for" in told(strong, "attention and its cache stay on the host")
    unworn = notes("isaac-rram", "devices.isaac-rram.arrays.write.endurance=0")
    assert told(unworn, "attention and its cache").endswith("% of a step's energy")


def test_a_network_that_does_not_fit_the_cells_is_told_by_their_number() -> None:
    (answer,) = compare(["isaac-rram"], network="llama-3.1-70b", devices=1).answers
    assert not answer.result.fits.item()
    # 128 chips of 16128 arrays of 128 x 32 weights: 8.46e9
    assert answer.notes[0] == "does not fit: needs 9 devices of 32 GiB and cells for 8.46e+09 weights"
    (answer,) = compare(["isaac-rram"], network="llama-3.1-70b").answers
    assert answer.notes[0].startswith(
        "9 devices: the fewest that hold weights and cache (32 GiB and cells for"
    )


def test_writing_the_network_is_told_once_or_for_every_pass() -> None:
    assert told(notes("isaac-rram"), "writing the network into the cells takes").endswith(", once")
    streamed = told(notes("sram-analog-cim"), "for every pass")
    assert streamed.startswith("its cells hold 0.0629 % of the weights at a time")
    whole = notes("sram-analog-cim", "devices.sram-analog-cim.arrays.arrays=1e6")
    assert told(whole, "for every pass").startswith("its cells hold 100 % of the weights")


@pytest.mark.parametrize("device", ["gpu", "pim"])
def test_other_boards_say_nothing_of_cells(device: str) -> None:
    assert not any("cells" in note for note in notes(device))


def test_the_host_writes_the_cache_that_products_in_arrays_make() -> None:
    for batch in (1, 3):
        phase = compare(["isaac-rram"], batch=batch).answers[0].phases[0]
        place = phase.ops.names.index("qkv")
        # keys and values of 512 tokens in 32 layers of 8 heads of 128, 2 bytes each
        written = batch * 512 * 32 * 2 * 8 * 128 * 2
        assert phase.where[place] == "arrays"
        assert phase.moved_bytes[0, place] == phase.level_bytes["dram"][0, place] == written
