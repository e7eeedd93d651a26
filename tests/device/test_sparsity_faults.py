"""What a record of zero skipping may not say, and what would do instead."""

from __future__ import annotations

from typing import Any

import pytest

from npuwatt.device.sparsity import PackedWeights, ZeroSkipping
from npuwatt.errors import NpuwattError


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mechanism": "n-m"}, "patterns: none given; expected some of 1:2, 2:4, 4:8, as n-m needs"),
        (
            {"mechanism": "n-m", "patterns": ("block",)},
            "patterns: block given; expected some of 1:2, 2:4, 4:8",
        ),
        ({"speedup_ratio": {"1": 1.0}}, "speedup: given for none; expected none, or mechanism: n-m"),
        (
            {"speedup_ratio": {"few": 1.0}, "mechanism": "n-m", "patterns": ("2:4",)},
            "speedup: 'few' given; expected tokens",
        ),
        (
            {"speedup_ratio": {"8": 0.0}, "mechanism": "n-m", "patterns": ("2:4",)},
            "speedup.8: 0 given; expected a number from 0.001 to 1000",
        ),
        ({"packed": PackedWeights(weights=("int4",), most_tokens_count=1.0)}, "packed: given for none"),
        ({"format": "zip"}, "format: 'zip' given; expected one of dense, bitmask"),
        ({"format": "coordinate"}, "index_bits: none given; expected 1 or more, as coordinate needs"),
        ({"gated_ratio": 1.5}, "gated: 1.5 given; expected a share from 0 to 1"),
        ({"skip_efficiency_fraction": 0.0}, "skip_efficiency: 0 given; expected a share above 0"),
        ({"window_count": 0.0}, "window: 0 given; expected a number from 1 to 65536"),
        ({"dtypes": ("bf61",)}, "dtypes: 'bf61' given; expected some of fp32"),
    ],
)
def test_a_fault_of_a_record_says_what_would_do(given: dict[str, Any], told: str) -> None:
    with pytest.raises(NpuwattError) as caught:
        ZeroSkipping(**given)
    assert caught.value.faults[0].startswith(told)
