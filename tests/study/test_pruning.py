"""What pruning cost published networks, and whether a claim of savings without loss holds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuwatt.errors import NpuwattError, RequestError
from npuwatt.preset import library
from npuwatt.preset.load import parse_yaml, read_record
from npuwatt.study.pruning import (
    PATTERNS,
    ActivationSparsity,
    PrunedAccuracy,
    accuracy_evidence,
    accuracy_sentences,
    activation_evidence,
    load_measured,
)
from npuwatt.study.pruning_claim import Judgement, judge_claim
from npuwatt.study.sparse_software import software_status


def perplexities(parameters: float, pattern: str = "2:4") -> dict[str, Any]:
    rows = accuracy_evidence(pattern, parameters).rows
    return {row.trial.method: row for row in rows if row.metric == "WikiText perplexity"}


def losses(pattern: str, parameters: float, *, retrained: bool) -> list[float]:
    rows = accuracy_evidence(pattern, parameters).rows
    return [row.loss_fraction for row in rows if row.trial.retrained is retrained and row.loss_fraction]


# Sun et al., github.com/locuslab/wanda, README, table of LLaMA-2: dense 5.12, 4.57, 3.12.
@pytest.mark.parametrize(
    ("parameters", "dense", "pattern", "magnitude", "sparsegpt", "wanda"),
    [
        (7e9, 5.12, "unstructured", 14.89, 6.51, 6.42),
        (13e9, 4.57, "unstructured", 6.37, 5.63, 5.56),
        (70e9, 3.12, "unstructured", 4.98, 3.98, 3.98),
        (7e9, 5.12, "4:8", 16.48, 8.12, 7.97),
        (13e9, 4.57, "4:8", 6.76, 6.60, 6.55),
        (70e9, 3.12, "4:8", 5.58, 4.59, 4.47),
        (7e9, 5.12, "2:4", 54.59, 10.17, 11.02),
        (13e9, 4.57, "2:4", 8.33, 8.32, 8.27),
        (70e9, 3.12, "2:4", 6.33, 5.40, 5.16),
    ],
)
def test_perplexities_are_those_that_were_printed(
    parameters: float, dense: float, pattern: str, magnitude: float, sparsegpt: float, wanda: float
) -> None:
    found = perplexities(parameters, pattern)
    printed = {"magnitude": magnitude, "SparseGPT": sparsegpt, "Wanda": wanda}
    assert {method: row.trial.measured for method, row in found.items()} == printed
    for method, row in found.items():
        assert row.baseline == dense
        assert row.size_ratio == pytest.approx(1)
        assert row.perplexity_ratio == pytest.approx(printed[method] / dense)
        assert row.recovery_fraction is None


def test_7b_is_not_70b() -> None:
    small, large = perplexities(7e9), perplexities(70e9)
    assert {row.network for row in small.values()} == {"Llama-2-7B"}
    assert {row.network for row in large.values()} == {"Llama-2-70B"}
    assert small["Wanda"].perplexity_ratio > 1.25 * large["Wanda"].perplexity_ratio
    assert accuracy_sentences(accuracy_evidence("2:4", 7e9)) != accuracy_sentences(
        accuracy_evidence("2:4", 70e9)
    )


def test_retraining_recovers_what_pruning_alone_loses() -> None:
    # Neural Magic, Sparse-Llama-3.1-8B-2of4, model card: 63.19 -> 62.16 and 98.37 %; 97.3 % on Mosaic.
    rows = accuracy_evidence("2:4", 8e9).rows
    retrained = {row.metric: row for row in rows if row.trial.retrained_tokens_count == 13e9}
    assert retrained["OpenLLM v1"].recovery_fraction == pytest.approx(0.9837, abs=5e-5)
    assert retrained["Mosaic Eval Gauntlet"].recovery_fraction == pytest.approx(0.973)
    assert max(losses("2:4", 8e9, retrained=True)) < min(losses("2:4", 8e9, retrained=False))


@pytest.mark.parametrize(("pattern", "score"), [("unstructured", 50.0), ("4:8", 39.3), ("2:4", 28.7)])
def test_mmlu_falls_towards_guessing_as_the_pattern_gets_stricter(pattern: str, score: float) -> None:
    # vuiseng9, Meta-Llama-3.1-8B-wanda-2of4, model card: dense 65.1; four answers to a question.
    row = next(
        row
        for row in accuracy_evidence(pattern, 8e9).rows
        if row.metric == "MMLU" and row.trial.method == "Wanda"
    )
    assert row.recovery_fraction == pytest.approx(score / 65.1)
    assert row.above_chance_fraction == pytest.approx((score - 25) / (65.1 - 25))


@pytest.mark.parametrize("parameters", [7e9, 13e9, 70e9])
def test_a_stricter_pattern_never_loses_less_by_the_best_method(parameters: float) -> None:
    least = [
        min(row.perplexity_ratio for row in perplexities(parameters, pattern).values())
        for pattern in ("unstructured", "4:8", "2:4")
    ]
    assert least == sorted(least)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(power=st.floats(8, 12.5), pattern=st.sampled_from(PATTERNS))
def test_no_network_of_the_same_metric_is_nearer_than_the_one_that_is_shown(
    power: float, pattern: str
) -> None:
    parameters = 10**power
    shown = accuracy_evidence(pattern, parameters).rows
    for table in load_measured("pruned-accuracy", PrunedAccuracy).record.tables.values():
        for trial in table.trials:
            if trial.pattern == pattern:
                far = [
                    abs(math.log(row.size_ratio))
                    for row in shown
                    if row.metric == table.metric and row.trial.retrained == trial.retrained
                ]
                assert far
                assert max(far) <= abs(math.log(table.parameters / parameters)) + 1e-12


def test_how_far_a_measured_size_is_off_is_said() -> None:
    retrained = [row for row in accuracy_evidence("2:4", 70e9).rows if row.trial.retrained]
    assert {row.size_ratio for row in retrained} == {8 / 70}
    told = [line for line in accuracy_sentences(accuracy_evidence("2:4", 70e9)) if "13 B tokens" in line]
    assert told
    assert all("0.11 of the size asked for" in line for line in told)


def test_a_density_chooses_among_measurements_of_a_pattern() -> None:
    for parameters, network in ((175e9, "OPT-175B"), (176e9, "BLOOM-176B")):
        (row,) = accuracy_evidence("unstructured", parameters, density=0.4).rows
        assert row.network == network
    halves = accuracy_evidence("unstructured", 175e9, density=0.52).rows
    assert {row.trial.density_fraction for row in halves} == {0.5}


def test_what_was_only_claimed_carries_no_number() -> None:
    # Frantar and Alistarh, arXiv 2301.00774, abstract: 60 % with negligible increase in perplexity.
    (row,) = accuracy_evidence("unstructured", 175e9, density=0.4).rows
    assert (row.loss_fraction, row.perplexity_ratio, row.trial.claim) == (None, None, "negligible increase")


@pytest.mark.parametrize(
    ("pattern", "density", "reason"),
    [
        ("1:2", None, "nobody measured it; it cannot lose less than 2:4, which is looser"),
        ("block", None, "nobody measured it; it cannot lose less than unstructured, which is looser"),
        ("unstructured", 0.3, "nobody measured it at a density of 0.3; it was at 0.4 and 0.5"),
        ("2:4", 0.4, "nobody measured it at a density of 0.4; it was at 0.5"),
    ],
)
def test_where_nobody_measured_there_is_a_reason_and_no_number(
    pattern: str, density: float | None, reason: str
) -> None:
    found = accuracy_evidence(pattern, 8e9, density=density)
    assert (found.rows, found.reason) == ((), reason)
    assert accuracy_sentences(found) == [f"{pattern}: {reason}"]


def test_sentences_say_what_was_lost_with_and_without_retraining() -> None:
    told = accuracy_sentences(accuracy_evidence("2:4", 7e9))
    assert (
        "2:4 without retraining: WikiText perplexity 5.12 -> 10.17 to 11.02 on Llama-2-7B (7 B parameters), "
        "by SparseGPT and Wanda; 54.59 by magnitude alone"
    ) in told
    assert (
        "2:4 with 13 B tokens of retraining: 98.4 % of OpenLLM v1 recovered (63.19 -> 62.16) on Llama-3.1-8B "
        "(8 B parameters), by distillation"
    ) in told


@pytest.mark.parametrize(
    ("pattern", "parameters", "told"),
    [
        ("2:5", 7e9, "pattern: '2:5' given; did you mean"),
        ("dense", 7e9, "pattern: 'dense' given; expected one of unstructured, 4:8"),
    ],
)
def test_a_pattern_that_nobody_prunes_to_is_refused(pattern: str, parameters: float, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        accuracy_evidence(pattern, parameters)


def test_a_size_of_zero_and_a_density_over_one_are_refused() -> None:
    with pytest.raises(NpuwattError, match="parameters: 0 given"):
        accuracy_evidence("2:4", 0)
    with pytest.raises(NpuwattError, match=r"density: 1\.5 given"):
        accuracy_evidence("2:4", 7e9, density=1.5)


# Published shares of zeros: TEAL README; ProSparse, arXiv 2402.13516, abstract; together.ai; TurboSparse, section 6.2.
@pytest.mark.parametrize(
    ("name", "zeros"),
    [
        ("teal-40", 0.40),
        ("teal-50", 0.50),
        ("prosparse-7b", 0.8932),
        ("prosparse-13b", 0.888),
        ("opt-175b", 0.95),
        ("relufied", 0.90),
        ("turbosparse-mistral-7b", 0.90),
        ("turbosparse-mixtral-47b", 0.85),
    ],
)
def test_zeros_in_activations_are_those_that_were_printed(name: str, zeros: float) -> None:
    row, cite = activation_evidence()[name]
    assert row.density_fraction is not None
    assert 1 - row.density_fraction == pytest.approx(zeros)
    assert len(cite) > 20


@pytest.mark.parametrize(
    ("name", "kind"), [("pruned-accuracy", PrunedAccuracy), ("activation-sparsity", ActivationSparsity)]
)
def test_every_row_has_a_source_and_says_where_it_stands_there(name: str, kind: type[Any]) -> None:
    chosen = load_measured(name, kind)
    assert len(chosen.evidence) > 10
    for address, item in chosen.evidence.items():
        assert item.where.strip(), address
        assert item.source in library.sources() or address.endswith(".chance"), address
    secondary = {key for key, cite in chosen.citations.items() if "secondary" in cite}
    tables = chosen.record.tables if name == "pruned-accuracy" else chosen.record.rows
    for row, table in tables.items():
        source = next(
            item.source for at, item in chosen.evidence.items() if at.startswith(f"{row}.", at.index(".") + 1)
        )
        assert table.secondary or source not in secondary, row


ROW = "tables: {t: {network: N, parameters: 1e9, metric: M, better: lower, source: teal, where: W, %s}}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('trials: [{pattern: "2:4", density: 0.5, method: W, measured: 2}]', "has no 'baseline'"),
        (
            'baseline: 1, trials: [{pattern: "2:4", density: 0.5, method: W}]',
            "one of measured, recovery and claim",
        ),
        (
            'trials: [{pattern: "2:4", density: 0.5, method: W, claim: C, retrained_tokens: 1e9}]',
            "given without retrained",
        ),
        ('trials: [{pattern: "3:4", density: 0.5, method: W, claim: C}]', "'3:4' given; expected one of"),
    ],
)
def test_rows_that_do_not_go_together_are_refused(content: str, told: str) -> None:
    document = parse_yaml((ROW % content).encode(), "own.yaml")
    with pytest.raises(NpuwattError, match=told):
        read_record(document, PrunedAccuracy, {"teal": "measured"})


def judged(
    saving: float, device: str, pattern: str, weights: str, parameters: float, **options: Any
) -> Judgement:
    evidence, software = accuracy_evidence(pattern, parameters), software_status(device, pattern, weights)
    return judge_claim(saving, evidence, software, **options)


def test_the_claim_holds_for_8b_at_2_of_4_once_it_is_retrained() -> None:
    found = judged(0.37, "h100-sxm", "2:4", "bf16", 8e9)
    assert found.verdict == "holds"
    assert found.condition.startswith("with 13 B tokens of retraining: OpenLLM v1 1.6 % down on Llama-3.1-8B")
    assert found.condition.endswith("run by torch.sparse")
    assert found.sentence == f"holds, {found.condition}"


def test_the_claim_is_open_for_70b_that_nobody_retrained() -> None:
    found = judged(0.37, "h100-sxm", "2:4", "bf16", 70e9)
    assert found.verdict == "open"
    assert found.condition == ""
    assert "without retraining: WikiText perplexity 65 % up on Llama-2-70B" in found.sentence
    assert "nobody measured it with retraining near this size" in found.sentence


def test_a_pattern_without_a_supported_path_fails_whatever_it_would_save() -> None:
    found = judged(0.5, "h100-sxm", "2:4", "int4", 8e9)
    assert found.verdict == "fails"
    assert found.sentence.startswith("fails: no supported software path (vLLM 2026-03")


def test_a_saving_below_the_claim_fails_and_says_by_how_much() -> None:
    assert judged(0.2, "gpu", "2:4", "bf16", 8e9).sentence == "fails: saves 20 %, where 30 % is claimed"
    assert judged(-0.1, "gpu", "2:4", "bf16", 8e9).sentence.startswith("fails: costs 10 % more")
    assert judged(0.2, "gpu", "2:4", "bf16", 8e9, claimed_fraction=0.2).verdict == "holds"


@pytest.mark.parametrize(
    ("saving", "ends", "verdict", "words"),
    [
        (0.32, (0.31, 0.4), "holds", "saves 32 % (31 to 40)"),
        (0.32, (0.29, 0.4), "open", "saves 32 % (29 to 40), where 30 % is claimed"),
        (0.28, (0.2, 0.3), "open", "saves 28 % (20 to 30), where 30 % is claimed"),
        (0.2, (-0.1, 0.29), "fails", "saves 20 % (-10 to 29), where 30 % is claimed"),
        (-0.2, (-0.5, 0.1), "fails", "costs 20 % more (-10 to 50), where 30 % is claimed"),
    ],
)
def test_a_saving_is_open_if_the_claim_lies_within_its_range(
    saving: float, ends: tuple[float, float], verdict: str, words: str
) -> None:
    evidence, software = accuracy_evidence("2:4", 8e9), software_status("gpu", "2:4", "bf16")
    found = judge_claim(saving, evidence, software, ends=ends)
    assert (found.verdict, found.parts[0].reason) == (verdict, words)


def test_no_loss_at_all_fails_where_both_ways_were_tried() -> None:
    found = judged(0.4, "gpu", "2:4", "bf16", 8e9, loss_fraction=0.01)
    assert found.verdict == "fails"
    assert "OpenLLM v1 1.6 % down" in found.sentence


def test_what_nobody_measured_or_runs_leaves_the_claim_open() -> None:
    found = judged(0.4, "furiosa-rngd", "unstructured", "int8", 175e9)
    assert found.verdict == "open"
    assert [part.verdict for part in found.parts] == ["holds", "open", "open"]
    assert "no software is known to run it" in found.sentence
    assert "nobody measured a network within 2 times of its size" in found.sentence


@settings(derandomize=True, deadline=None, max_examples=25)
@given(low=st.floats(-1, 1), gain=st.floats(0, 1), loss=st.floats(0, 0.5), power=st.floats(9, 12))
def test_a_larger_saving_or_allowance_never_makes_a_claim_worse(
    low: float, gain: float, loss: float, power: float
) -> None:
    order = ["fails", "open", "holds"]
    evidence, software = accuracy_evidence("2:4", 10**power), software_status("h100-sxm", "2:4", "bf16")
    verdicts = [
        judge_claim(saving, evidence, software, loss_fraction=allowed).verdict
        for saving, allowed in ((low, loss), (min(1.0, low + gain), min(1.0, loss + gain)))
    ]
    assert order.index(verdicts[0]) <= order.index(verdicts[1])


@pytest.mark.parametrize("saving", [1.2, float("nan")])
def test_a_saving_of_more_than_everything_is_refused(saving: float) -> None:
    with pytest.raises(NpuwattError, match=r"saving: .* given"):
        judged(saving, "gpu", "2:4", "bf16", 8e9)
