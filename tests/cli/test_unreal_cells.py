"""Cells and arrays that cannot be: one line and exit 2, or a finite answer, and nothing else on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Quick

ARRAYS = "devices.{}.arrays."


def changed(name: str, change: str) -> tuple[str, ...]:
    return name, "--set", ARRAYS.format(name) + change


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("accuracy", "ibm-hermes", "--clip", "1000"), "--clip: 1000 given; expected a number from 0.1 to 100"),
        (("accuracy", "crossbar", "--clip", "0"), "--clip: 0 given"),
        (("accuracy", "crossbar", "--temperature", "0K"), "--temperature: '0K' given; expected one from 233 K to 423 K"),
        (("accuracy", "crossbar", "--at", "1e13s"), "expected a time from 0 to 1e+12 s"),
        (("accuracy", *changed("ibm-hermes", "cell.g_max=1mS")), "no finite signal over noise"),
        (("compare", "gpu", *changed("ibm-hermes", "cell.g_max=1mS")), "no finite signal over noise"),
        (("accuracy", *changed("crossbar", "noise.read.exponent=1000")), "no finite signal over noise"),
        (("accuracy", *changed("crossbar", "noise.heat.activation_energy=50eV")), "expected a number from 0 to"),
        (("compare", *changed("crossbar", "write.voltage=1e300V")), "no finite answer"),
        (("compare", *changed("crossbar", "copies=0.01")), "copies: 0.01 given; expected a whole number, 1 or more"),
        (("compare", *changed("crossbar", "rows=100.5")), "rows: 100.5 given; expected a whole number"),
        (("accuracy", *changed("crossbar", "active_rows=0.3")), "expected a whole number, 0 or more"),
        (("accuracy", "sram-analog-cim", "--trials", "4096"), "expected at most 1820 for columns of 1152 rows"),
        (("accuracy", "--trials", "2", *changed("sram-analog-cim", "rows=1e5")), "100000 rows to simulate"),
        (("validate", "--chips", ""), "FILE: '' given"),
        (("validate", "--chips", "--presets", "nowhere"), "--chips and --presets: expected one or the other"),
        (
            ("sweep", "mythic-m1076", "--per-macro", "--vary", "request.batch=1,2", "--best", "array_snr_db"),
            "--best: no point has array_snr_db",
        ),
        (("sweep", "crossbar", "--per-macro", "--vary", "devices.crossbar.arrays.cell.series=0ohm,1e24ohm"), "not below 'on'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(quick: Quick, asked: tuple[str, ...], said: str) -> None:
    done = quick(*asked)
    assert (done.code, done.out) == (2, "")
    assert said in done.err.splitlines()[-1]
    assert not [line for line in done.err.splitlines() if not line.startswith(("npuwatt:", "warning:"))]


@pytest.mark.parametrize("device", ["sram-digital-cim", "pim"])
def test_a_part_that_takes_nothing_has_no_efficiency(quick: Quick, device: str) -> None:
    none = {
        "sram-digital-cim": ("arrays.supply=0V",),
        "pim": ("banks.mac_energy=0pJ/MAC", "path.activation=0pJ/bit", "path.column=0pJ/bit"),
    }[device]
    changes = [word for change in none for word in ("--set", f"devices.{device}.{change}")]
    (result,) = quick("compare", device, "--per-macro", "--json", *changes).json()["results"]
    assert result["per_macro"]["ops_per_j"] is None
    assert "inf" not in quick("compare", device, "--per-macro", *changes).out
