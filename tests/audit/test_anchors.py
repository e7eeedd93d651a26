"""Measurements that npuwatt brings along: a sample of serving runs, and single figures of other devices."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from npuwatt.audit.anchors import (
    METRICS,
    WIDE_FACTOR,
    Judged,
    anchors,
    built_in_path,
    never_measured_ratios,
    read_anchors,
)
from npuwatt.audit.measurements import Measurements, read_measurements
from npuwatt.audit.runs import sorted_into_kinds
from npuwatt.device.parallel import Sharing
from npuwatt.errors import PresetError
from npuwatt.study.scenario import load_device, load_network, load_stack
from npuwatt.study.serving import serving
from npuwatt.workload.parameters import parameter_count
from npuwatt.workload.request import Request

SAMPLE = Path(built_in_path("ml-energy-v3.csv"))
COLUMNS = (
    "task,model_id,weight_precision,gpu,num_gpus,tp,dp,ep,avg_batch,avg_output_len,kv_pos_window,"
    "prefills_per_output_token,median_itl_ms,output_tok_s,avg_power_w,j_per_output_token"
)
ANCHOR = """\
about: made up
sources:
  paper: {cite: "Somebody, a paper with a title", quality: measured}
anchors:
  one:
    about: a made-up run
    device: l4
    network: llama-3.2-1b
    weights: int8
    activations: int8
    kv_cache: bf16
    devices: 1
    batch: {value: 2, low: 1, high: 4, source: assumed, where: "not stated"}
    input_len: 100
    output_len: 50
    stack: ideal
    published: {tokens_per_s: 100, power: 50 W}
    boundary: board
    comparable: true
    trust: weak
    source: paper
"""


@pytest.fixture(scope="module")
def rows() -> Measurements:
    (found,) = read_measurements(str(SAMPLE))
    return found


@pytest.fixture(scope="module")
def judged() -> dict[str, Judged]:
    return {one.name: one for one in anchors()}


def write(path: Path, text: str = ANCHOR) -> str:
    file = path / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def of_one(path: Path, old: str = "", new: str = "") -> Judged:
    (found,) = anchors(write(path, ANCHOR.replace(old, new) if old else ANCHOR))
    return found


def test_the_sample_has_63_rows_and_each_of_them_can_be_predicted(rows: Measurements) -> None:
    assert len(rows.lines) == 63
    chunk = sorted_into_kinds(rows)
    assert chunk.reasons == {}
    assert sum(len(runs.places) for runs in chunk.runs) == 63
    assert set(rows.texts["gpu"]) == {"H100", "B200"}
    assert set(rows.texts["task"]) == {"lm-arena-chat", "gpqa"}


def test_the_sample_says_what_it_is_whose_it_is_and_how_it_was_chosen() -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    head = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for said in (
        "ML.ENERGY Leaderboard v3.0", "github.com/ml-energy/leaderboard", "0cd52da", "2026-02-27", "Chung et al.",
        "NeurIPS Datasets and Benchmarks 2025", "arXiv 2505.06371", "Apache-2.0", "attribution",
        "Derived, not upstream: kv_pos_window", "prefills_per_output_token", "every fifth", "board power of the GPUs alone",
    ):  # fmt: skip
        assert said in head
    assert next(line for line in text.splitlines() if not line.startswith("#")) == COLUMNS
    assert not re.search(r"/(work|home|tmp|root|Users)/|\bshared/|\bnotes/", text)


def test_the_sample_is_sorted_by_what_was_run_and_its_energies_are_its_powers_over_its_rates(
    rows: Measurements,
) -> None:
    texts, numbers = rows.texts, rows.numbers
    keys = list(
        zip(texts["model_id"], texts["gpu"], texts["task"], numbers["avg_batch"].tolist(), strict=True)
    )
    assert keys == sorted(keys)
    # Upstream computes the rate as power over energy per token.
    given = numbers["avg_power_w"] / numbers["output_tok_s"]
    assert given == pytest.approx(numbers["j_per_output_token"], rel=1e-3)


def test_every_anchor_is_predicted_and_nothing_is_out_of_bounds(judged: dict[str, Judged]) -> None:
    assert len(judged) == 9
    for one in judged.values():
        assert one.reason == "", one.name
        assert set(one.predicted) == set(one.spans) == set(METRICS)
        assert set(one.ratio) == set(one.published)
        for metric, value in one.predicted.items():
            low, high = one.spans[metric]
            assert 0 < low <= value <= high < math.inf, (one.name, metric)
        for metric, ratio in one.ratio.items():
            assert ratio == one.predicted[metric] / one.published[metric]
        assert one.predicted["energy_per_output_token_j"] == pytest.approx(
            one.predicted["power_w"] / one.predicted["tokens_per_s"]
        )


def test_published_figures_of_an_anchor_agree_with_each_other(judged: dict[str, Judged]) -> None:
    for name, one in judged.items():
        if (
            len(one.published) == len(METRICS) and name != "jetson-smollm2-135m"
        ):  # whose note says that they do not
            rate, power_w, energy_j = (one.published[metric] for metric in METRICS)
            assert power_w / rate == pytest.approx(energy_j, rel=0.02), name


def test_only_power_at_the_input_of_the_boards_is_comparable(judged: dict[str, Judged]) -> None:
    assert {name: one.comparable for name, one in judged.items()} == {
        "b200-llama-2-70b": False,
        "h200-llama-2-70b": False,
        "mi300x-llama-2-70b": True,
        "northpole-3b": True,
        "a100-vicuna-7b": True,
        "hailo-10h-qwen2-5-1-5b": True,
        "jetson-smollm2-135m": False,
        "s25-gpu-llama-3-2-1b": False,
        "s25-cpu-llama-3-2-1b": False,
    }
    for one in judged.values():
        assert not one.comparable or one.boundary in ("board", "module", "none")
        assert one.boundary != "none" or set(one.published) == {"tokens_per_s"}


def test_every_entry_is_cited_and_every_citation_used() -> None:
    book = read_anchors()
    used = {loaded.record.source for loaded in book.anchors.values()} | {
        one.source for one in book.unasked.values()
    }
    assert set(book.document.tree["sources"]) <= used
    assert all(len(book.sources[key]) > 20 for key in used)
    for one in book.unasked.values():
        assert one.about and one.why


def test_shapes_made_from_another_network_have_the_parameters_they_stand_for() -> None:
    # Qwen2.5-1.5B: 1.54 billion by its model card. IBM's network is called a 3B one.
    book = read_anchors()
    for name, expected, within in (
        ("hailo-10h-qwen2-5-1-5b", 1.54e9, 0.01),
        ("northpole-3b", 3e9, 0.1),
    ):
        anchor = book.anchors[name].record
        network = load_network(anchor.network, changes=anchor.changes).record
        assert parameter_count(network) == pytest.approx(expected, rel=within)


def test_a_prediction_is_that_of_serving_at_the_values_of_the_request(judged: dict[str, Judged]) -> None:
    one = judged["mi300x-llama-2-70b"]
    anchor = read_anchors().anchors["mi300x-llama-2-70b"].record
    request = Request(
        batch=anchor.batch, input_len=anchor.input_len, output_len=anchor.output_len,
        weights="fp8", activations="fp8", kv_cache="fp8",
    )  # fmt: skip
    alone = serving(
        load_network("llama-2-70b").record, request, load_device("mi300x").record, 8.0,
        stack=load_stack("vllm-0.11").record, sharing=Sharing(data_parallel_count=8),
    ).metrics()  # fmt: skip
    for metric, value in one.predicted.items():
        assert value == pytest.approx(alone[metric].item())


def test_a_range_of_the_request_widens_the_prediction_and_none_leaves_it(tmp_path: Path) -> None:
    one = of_one(tmp_path)
    low, high = one.spans["tokens_per_s"]
    assert low < one.predicted["tokens_per_s"] < high
    exact = of_one(tmp_path, '{value: 2, low: 1, high: 4, source: assumed, where: "not stated"}', "2")
    assert exact.predicted == one.predicted
    assert exact.spans["tokens_per_s"] == (one.predicted["tokens_per_s"],) * 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("network: llama-3.2-1b", "network: llama-3.1-405b", "does not fit on 1 of this device; it needs"),
        ("device: l4", "device: hailo-10h", "computes in int8, int4, and the request needs bf16"),
        ("network: llama-3.2-1b", "network: resnet-50", "expected a network that generates tokens"),
    ],
)
def test_what_a_device_cannot_run_is_told_and_not_predicted(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    one = of_one(tmp_path, old, new)
    assert reason in one.reason
    assert (one.predicted, one.spans, one.ratio) == ({}, {}, {})
    assert one.published == {"tokens_per_s": 100, "power_w": 50}


def entries(*shares: float, device: str = "l4", extra: str = "") -> str:
    """Anchors whose published rate is a share of the predicted one."""
    head, entry = ANCHOR.split("  one:\n")
    parts = []
    for place, share in enumerate(shares):
        changed = entry.replace("tokens_per_s: 100, power: 50 W", f"tokens_per_s: {share!r}")
        parts.append(f"  one-{place}:\n{changed.replace('device: l4', f'device: {device}')}{extra}")
    return f"{head}{''.join(parts)}"


def test_devices_that_nobody_measured_get_the_span_of_what_was_published(tmp_path: Path) -> None:
    rate = of_one(tmp_path).predicted["tokens_per_s"]
    found = never_measured_ratios(write(tmp_path, entries(0.5 * rate, 0.8 * rate, 1.25 * rate)))
    assert found["tokens_per_s"] == pytest.approx((0.5, 1.25))
    assert found["tpot_s"] == pytest.approx((0.8, 2.0))
    assert found["power_w"] == found["energy_per_output_token_j"] == (1 / WIDE_FACTOR, WIDE_FACTOR)
    few = never_measured_ratios(write(tmp_path, entries(0.2 * rate, 0.8 * rate)))
    assert few["tokens_per_s"] == pytest.approx((0.2, WIDE_FACTOR))


@pytest.mark.parametrize(
    ("device", "extra"),
    [("h100-sxm", ""), ("l4", "    bounds: [tokens_per_s]\n")],
    ids=["a calibrated device", "a bound"],
)
def test_calibrated_devices_and_bounds_do_not_count(tmp_path: Path, device: str, extra: str) -> None:
    text = entries(1e-3, 1e-3, 1e-3, device=device, extra=extra)
    assert set(never_measured_ratios(write(tmp_path, text)).values()) == {(1 / WIDE_FACTOR, WIDE_FACTOR)}


def test_what_is_not_comparable_does_not_count(tmp_path: Path) -> None:
    text = entries(1e-3, 1e-3, 1e-3).replace("comparable: true", "comparable: false")
    assert set(never_measured_ratios(write(tmp_path, text)).values()) == {(1 / WIDE_FACTOR, WIDE_FACTOR)}


def test_built_in_ratios_hold_every_comparable_one(judged: dict[str, Judged]) -> None:
    found = never_measured_ratios()
    assert set(found) == {*METRICS, "tpot_s"}
    for low, high in found.values():
        assert 0 < low <= 1.5 and 0.5 <= high < math.inf
    for one in judged.values():
        if one.comparable and one.trust != "calibrated":
            for metric in set(one.ratio) - set(one.bounds):
                low, high = found[metric]
                assert low <= 1 / one.ratio[metric] <= high
    assert found["tpot_s"] == pytest.approx(tuple(1 / end for end in reversed(found["tokens_per_s"])))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("stack: ideal", "stak: ideal", r":16: anchors\.one\.stak: unknown key; did you mean 'stack'\?"),
        ("stack: ideal", "stak: ideal", r":5: anchors\.one: has no 'stack', and Anchor needs one"),
        ("power: 50 W", "power: 50", r":17: anchors\.one\.published\.power: .* has no unit"),
        ("power: 50 W", "power: -5 W", r":17: anchors\.one\.published\.power: -5 given"),
        ("{tokens_per_s: 100, power: 50 W}", "{power: null}", r":17: anchors\.one\.published: no value given; expected"),
        ("boundary: board", "boundary: plug", r":18: anchors\.one\.boundary: 'plug' given; expected one of board, mod"),
        ("boundary: board", "boundary: wall", r":19: anchors\.one\.comparable: true given for the boundary 'wall'"),
        ("source: paper", "source: papers", r":21: anchors\.one\.source: unknown source 'papers'; did you mean 'paper'"),
        ("source: paper", "source: [a]", r":21: anchors\.one\.source: .* given; expected text"),
        ("source: paper", "bounds: [rate]\n    source: paper", r":21: anchors\.one\.bounds: 'rate' is not published"),
        (', where: "not stated"', "", r":13: anchors\.one\.batch: is assumed without a reason; expected"),
        ("devices: 1", "devices: 0", r":12: anchors\.one\.devices: 0 given; expected a whole number from 1"),
        ("devices: 1", "devices: 1\n    pipeline: 2", r":13: anchors\.one\.pipeline: 2 given; expected .* to 1"),
        ("device: l4", "device: l5", r":7: anchors\.one\.device: unknown device 'l5'; did you mean"),
        ("network: llama-3.2-1b", "network: gpt-9", r":8: anchors\.one\.network: unknown network 'gpt-9'"),
        ("stack: ideal", "stack: idle", r":16: anchors\.one\.stack: unknown stack 'idle'"),
        ("quality: measured", "quality: sure", r":3: sources\.paper\.quality: 'sure' given; expected one of measured"),
        ("about: made up", "abut: made up", r":1: abut: unknown key; expected one of sources, anchors"),
        ("anchors:", "unasked:", r"some\.yaml: anchors: nothing given; expected a mapping of names to entries"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_told_by_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in ANCHOR
    with pytest.raises(PresetError) as caught:
        anchors(write(tmp_path, ANCHOR.replace(old, new, 1)))
    assert any(re.search(told, fault) for fault in caught.value.faults), caught.value.faults
    assert all("\n" not in fault for fault in caught.value.faults)


def test_an_unknown_source_is_told_once_and_other_faults_with_it(tmp_path: Path) -> None:
    text = ANCHOR.replace("source: paper", "source: papers").replace("power: 50 W", "power: 50")
    with pytest.raises(PresetError) as caught:
        anchors(write(tmp_path, text))
    assert len(caught.value.faults) == 2


def test_a_file_of_many_faults_tells_the_first_and_how_many_more(tmp_path: Path) -> None:
    extra = "".join(f"key-{place}: 1\n" for place in range(30))
    with pytest.raises(PresetError) as caught:
        anchors(write(tmp_path, ANCHOR + extra))
    assert caught.value.faults[-1].endswith("and 10 more faults")
