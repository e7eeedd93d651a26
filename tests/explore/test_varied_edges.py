"""Design points at the edges of what records accept."""

from __future__ import annotations

import numpy as np
import pytest

from npuwatt.errors import NpuwattError, RequestError
from npuwatt.explore.sweep import sweep
from npuwatt.study.compare import compare

GPU = "devices.gpu"


def rows(*vary: str, **options: object) -> list[dict[str, object]]:
    found = sweep(["gpu"], vary=vary, **options)  # type: ignore[arg-type] # a test's own keywords
    return [
        dict(zip(chunk, line, strict=True))
        for chunk in found.chunks()
        for line in zip(*chunk.values(), strict=True)
    ]


@pytest.mark.parametrize("address", ["tile=0,128", "bandwidth=0B/s,2TB/s"])
def test_zero_means_not_stated_at_each_point_and_not_only_where_all_are_zero(address: str) -> None:
    found = rows(f"{GPU}.levels.path.{address}")
    path, _, values = f"{GPU}.levels.path.{address}".partition("=")
    for row, value in zip(found, values.split(","), strict=True):
        alone = compare(["gpu"], changes=[f"{path}={value}"]).answers[0].result.metrics()
        for name in ("ttft_s", "tpot_s", "energy_per_output_token_j"):
            assert row[name] == pytest.approx(alone[name].item(), rel=1e-12)


def test_pairs_are_judged_as_pairs() -> None:
    vary = (f"{GPU}.static_power=100W,400W", f"{GPU}.power_cap=300W,700W")
    assert [row[f"{GPU}.static_power"] for row in rows(*vary, pair=True)] == [100.0, 400.0]
    with pytest.raises(RequestError, match="headroom"):
        rows(*vary)  # as a grid, 400 W at rest under a cap of 300 W is among them


def test_the_order_of_addresses_does_not_decide_which_points_are_valid() -> None:
    vary = (f"{GPU}.static_power=600W,700W", f"{GPU}.power_cap=900W,1000W")
    assert len(rows(*vary)) == len(rows(*vary[::-1])) == 4


def test_too_many_addresses_are_refused_before_their_corners_are_laid_out() -> None:
    levels = [f"{GPU}.levels.l{i}.read_energy" for i in range(20)]
    many = [f"{address}=1pJ/bit,2pJ/bit" for address in levels]
    changes = [f"{address}=1pJ/bit" for address in levels]
    with pytest.raises(RequestError, match="20 addresses"):
        sweep(["gpu"], vary=many, changes=changes)
    alone = [f"{address}=1pJ/bit" for address in levels]
    assert sweep(["gpu"], vary=alone, changes=changes).row_count == 1


def test_many_best_rows_come_in_order_and_equal_the_full_sweep() -> None:
    vary = ("request.batch=1..300:300", f"{GPU}.levels.dram.bandwidth=1TB/s..4TB/s:7")
    full = sorted(rows(*vary), key=lambda row: float(str(row["tpot_s"])))
    best = rows(*vary, best="tpot_s", top=500)
    assert [row["tpot_s"] for row in best] == [row["tpot_s"] for row in full[:500]]


def test_a_point_that_overflows_has_no_value_and_is_no_candidate() -> None:
    energies = f"{GPU}.levels.dram.read_energy=1pJ/bit,1e300J/bit"
    found = rows(energies)
    assert found[0]["energy_per_output_token_j"] is not None
    assert found[1]["energy_per_output_token_j"] is None
    assert len(rows(energies, best="energy_per_output_token_j", top=2)) == 1
    with pytest.raises(RequestError, match="no finite answer"):
        compare(["gpu"], changes=[f"{GPU}.levels.dram.read_energy=1e300J/bit"])


def test_a_device_that_spends_nothing_is_compared_without_dividing_by_zero() -> None:
    free = [f"{GPU}.static_power=0W", f"{GPU}.mac_energy.bf16=0pJ/MAC", f"{GPU}.clocks_power=0W"]
    free += [f"{GPU}.cache_energy=0pJ/byte"]
    free += [f"{GPU}.levels.{level}.read_energy=0pJ/bit" for level in ("dram", "path")]
    metrics = compare(["gpu"], changes=free).answers[0].result.metrics()
    assert metrics["energy_per_output_token_j"].item() == 0
    assert np.isinf(metrics["tokens_per_j"]).all()


@pytest.mark.parametrize(("name", "level"), [("pim", "banks"), ("crossbar", "buffers")])
def test_a_host_level_may_not_take_the_name_of_the_computing_part(name: str, level: str) -> None:
    with pytest.raises(NpuwattError, match=level):
        compare([name], changes=[f"devices.{name}.host.levels.{level}.read_energy=1pJ/bit"])
