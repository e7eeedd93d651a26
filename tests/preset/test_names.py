"""Networks by the names that people type: short ones and published Hugging Face ids."""

from __future__ import annotations

import time

import pytest

from npuwatt.errors import PresetError
from npuwatt.preset import library

INDEX = library.index()
NAMES = sorted(INDEX["networks"])

# Published ids -> the preset of that shape. The measured runs of ML.ENERGY v3 and v2 come first.
IDS = {
    "Qwen/Qwen3-14B": "qwen3-14b",
    "Qwen/Qwen3-235B-A22B-Instruct-2507": "qwen3-235b-a22b",
    "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": "qwen3-235b-a22b",
    "Qwen/Qwen3-235B-A22B-Thinking-2507": "qwen3-235b-a22b",
    "Qwen/Qwen3-235B-A22B-Thinking-2507-FP8": "qwen3-235b-a22b",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-30B-A3B-Thinking-2507": "qwen3-30b-a3b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "Qwen/Qwen3-8B": "qwen3-8b",
    "google/gemma-3-12b-it": "gemma-3-12b",
    "google/gemma-3-27b-it": "gemma-3-27b",
    "nvidia/NVIDIA-Nemotron-Nano-12B-v2": "nemotron-nano-12b-v2",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": "nemotron-nano-9b-v2",
    "bigcode/starcoder2-15b": "starcoder2-15b",
    "bigcode/starcoder2-3b": "starcoder2-3b",
    "bigcode/starcoder2-7b": "starcoder2-7b",
    "google/codegemma-1.1-2b": "codegemma-2b",
    "google/codegemma-7b": "codegemma-7b",
    "google/gemma-2-27b-it": "gemma-2-27b",
    "google/gemma-2-2b-it": "gemma-2-2b",
    "google/gemma-2-9b-it": "gemma-2-9b",
    "microsoft/Phi-3-medium-4k-instruct": "phi-3-medium-4k",
    "microsoft/Phi-3-mini-4k-instruct": "phi-3-mini-4k",
    "mistralai/Mistral-7B-Instruct-v0.3": "mistral-7b-v0.3",
    "mistralai/Mistral-Large-Instruct-2407": "mistral-large-2",
    "mistralai/Mistral-Nemo-Instruct-2407": "mistral-nemo-12b",
    "mistralai/Mixtral-8x22B-Instruct-v0.1": "mixtral-8x22b",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
    # and others
    "meta-llama/Llama-2-7b-hf": "llama-2-7b",
    "meta-llama/Llama-2-70b-chat-hf": "llama-2-70b",
    "meta-llama/Meta-Llama-3-8B": "llama-3-8b",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama-3-8b",
    "meta-llama/Meta-Llama-3-70B-Instruct": "llama-3.1-70b",
    "meta-llama/Meta-Llama-3.1-8B": "llama-3.1-8b",
    "meta-llama/Llama-3.1-8B": "llama-3.1-8b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic": "llama-3.1-8b",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": "llama-3.1-8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama-3.1-8b",
    "meta-llama/Llama-3.1-405B-Instruct-FP8": "llama-3.1-405b",
    "meta-llama/Llama-3.2-1B-Instruct": "llama-3.2-1b",
    "meta-llama/Llama-3.3-70B-Instruct": "llama-3.3-70b",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "llama-4-scout",
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8": "llama-4-maverick",
    "nvidia/Llama-3.1-Nemotron-70B-Instruct-HF": "llama-3.1-nemotron-70b",
    "codellama/CodeLlama-7b-hf": "codellama-7b",
    "codellama/CodeLlama-34b-Instruct-hf": "codellama-34b",
    "codellama/CodeLlama-70b-Instruct-hf": "codellama-70b",
    "deepseek-ai/DeepSeek-V3": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3-Base": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3-0324": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3.1": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3.1-Base": "deepseek-v3",
    "deepseek-ai/DeepSeek-V3.1-Terminus": "deepseek-v3",
    "deepseek-ai/DeepSeek-R1": "deepseek-v3",
    "deepseek-ai/DeepSeek-R1-Zero": "deepseek-v3",
    "deepseek-ai/DeepSeek-R1-0528": "deepseek-v3",
    "nvidia/DeepSeek-R1-0528-NVFP4": "deepseek-v3",
    "moonshotai/Kimi-K2-Instruct": "kimi-k2",
    "moonshotai/Kimi-K2-Instruct-0905": "kimi-k2",
    "moonshotai/Kimi-K2-Thinking": "kimi-k2",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2.5-7b",
    "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4": "qwen2.5-7b",
    "Qwen/Qwen2.5-7B-Instruct-1M": "qwen2.5-7b",
    "Qwen/Qwen2.5-72B-Instruct-AWQ": "qwen2.5-72b",
    "Qwen/Qwen3-0.6B-Base": "qwen3-0.6b",
    "Qwen/Qwen3-4B-Thinking-2507-FP8": "qwen3-4b",
    "Qwen/Qwen3-Coder-30B-A3B-Instruct": "qwen3-coder-30b-a3b",
    "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8": "qwen3-coder-480b-a35b",
    "google/gemma-3-4b-pt": "gemma-3-4b",
    "google/gemma-3-27b-it-qat-q4_0-gguf": "gemma-3-27b",
    "google/codegemma-7b-it": "codegemma-7b",
    "microsoft/phi-4": "phi-4",
    "openai/gpt-oss-20b": "gpt-oss-20b",
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "zai-org/GLM-4.5-FP8": "glm-4.5",
    "zai-org/GLM-4.5-Air-Base": "glm-4.5-air",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "tinyllama-1.1b",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2-135m",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "smollm2-1.7b",
    "mistralai/Mistral-7B-v0.1": "mistral-7b-v0.1",
    "mistralai/Mistral-7B-Instruct-v0.1": "mistral-7b-v0.1",
    "mistralai/Mistral-7B-v0.3": "mistral-7b-v0.3",
    "mistralai/Mistral-Nemo-Base-2407": "mistral-nemo-12b",
    "mistralai/Mistral-Large-Instruct-2411": "mistral-large-2",
    "mistralai/Mixtral-8x7B-v0.1": "mixtral-8x7b",
    "nvidia/Nemotron-4-340B-Instruct": "nemotron-4-340b",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2-Base": "nemotron-nano-9b-v2",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "nemotron-3-nano-30b-a3b",
    "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8": "nemotron-3-nano-30b-a3b",
    "bigcode/starcoder2-15b-instruct-v0.1": "starcoder2-15b",
    "google-bert/bert-base-uncased": "bert-base",
    "google/vit-base-patch16-224": "vit-b-16",
    "ViT-B/16": "vit-b-16",
    "ResNet50": "resnet-50",
}

# Ids that look alike and are of another shape, or of none that is known here.
LOOK_ALIKES = [
    "microsoft/Phi-3-small-8k-instruct",
    "microsoft/Phi-3-mini-128k-instruct",
    "microsoft/Phi-3-medium-128k-instruct",
    "microsoft/Phi-4-mini-instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
    "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B",
    "deepseek-ai/DeepSeek-V3.2-Exp",
    "deepseek-ai/DeepSeek-V2",
    "mistralai/Mistral-7B-Instruct-v0.2",
    "mistralai/Mistral-7B-v0.2",
    "mistralai/Mistral-7B",
    "nvidia/Mistral-NeMo-Minitron-8B-Instruct",
    "codellama/CodeLlama-7b-Python-hf",
    "codellama/CodeLlama-13b-Python-hf",
    "google-bert/bert-base-cased",
    "google-bert/bert-large-uncased",
    "google-bert/bert-base-multilingual-uncased",
    "google/vit-base-patch16-224-in21k",
    "google/vit-base-patch16-384",
    "google/vit-base-patch32-224",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Thinking",
    "Qwen/Qwen3-Embedding-8B",
    "Qwen/Qwen3-Reranker-4B",
    "Qwen/Qwen3-Omni-30B-A3B-Instruct",
    "Qwen/Qwen3-Next-80B-A3B-Instruct",
    "Qwen/Qwen3-1.7B",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Qwen/Qwen2.5-14B-Instruct",
    "nvidia/Llama-3.1-8B-UltraLong-4M-Instruct",
    "nvidia/Llama-3.1-Minitron-4B-Width-Base",
    "nvidia/Llama-3.1-Nemotron-51B-Instruct",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1",
    "nvidia/Llama-3.1-Nemotron-70B-Reward-HF",
    "nvidia/NVIDIA-Nemotron-Nano-12B-v2-VL-BF16",
    "meta-llama/Llama-3.2-11B-Vision-Instruct",
    "meta-llama/Llama-Guard-3-8B",
    "meta-llama/Llama-3.1-8",
    "google/gemma-3-1b-it",
    "google/gemma-3n-E4B-it",
    "google/gemma-2-7b-it",
    "zai-org/GLM-4.5V",
    "moonshotai/Kimi-K2.5",
    "resnet-101",
    "meta-llama/",
    "",
    "-instruct",
]


@pytest.fixture(autouse=True)
def one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of a checkout takes 0.2 s to read; once is enough."""
    monkeypatch.setattr(library, "index", lambda: INDEX)


@pytest.mark.parametrize("given", sorted(IDS))
def test_a_published_id_finds_its_shape(given: str) -> None:
    assert library.find("networks", given).name == IDS[given]


@pytest.mark.parametrize("given", sorted(IDS))
def test_case_and_owner_do_not_matter(given: str) -> None:
    bare = given if given == "ViT-B/16" else given.rpartition("/")[2]
    assert library.find("networks", bare.upper()).name == IDS[given]
    if bare != given:
        assert library.find("networks", f"someone-else/{bare.lower()}").name == IDS[given]


@pytest.mark.parametrize("given", LOOK_ALIKES)
def test_a_look_alike_is_refused_in_one_line_that_says_where_to_go_on(given: str) -> None:
    with pytest.raises(PresetError) as raised:
        library.find("networks", given)
    (line,) = raised.value.faults
    assert "\n" not in line
    assert "did you mean" in line or "presets list" in line


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistral-7b-instruct-v0."),
        ("microsoft/Phi-3-mini-128k-instruct", "phi-3-mini-4k"),
        ("google-bert/bert-base-cased", "bert-base-uncased"),
        ("codellama/CodeLlama-7b-Python-hf", "codellama-"),
        ("Qwen/Qwen3-VL-8B-Instruct", "qwen3-"),
    ],
)
def test_a_look_alike_names_the_nearest_preset(given: str, near: str) -> None:
    with pytest.raises(PresetError, match=f"did you mean '{near}"):
        library.find("networks", given)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_found_by_its_file_and_by_its_own_name(name: str) -> None:
    entry = INDEX["networks"][name]
    assert library.find("networks", name).name == name
    assert library.find("networks", entry["name"]).name == name
    assert library.find("networks", f"owner/{name}-Instruct-FP8").name == name


def test_no_two_presets_share_a_name_or_alias() -> None:
    seen = list(NAMES)
    for name in NAMES:
        entry = INDEX["networks"][name]
        seen += {alias.lower() for alias in entry["aliases"]}
        assert name not in {alias.lower() for alias in entry["aliases"]}
    assert len(seen) == len(set(seen))


def test_aliases_are_in_the_form_that_names_are_compared_in() -> None:
    for entry in INDEX["networks"].values():
        for alias in entry["aliases"]:
            assert alias == alias.lower()
            assert "/" in alias or library.plain_name(alias) == alias


def test_a_device_takes_no_variant_suffix() -> None:
    device = next(iter(INDEX["devices"]))
    assert library.resolve("devices", device, INDEX["devices"]) == device
    assert library.resolve("devices", f"{device}-instruct", INDEX["devices"]) is None


@pytest.mark.parametrize("given", ["qwen3-8b" + "-it" * 100_000, "a" * 1_000_000, "x/" * 100_000])
def test_an_absurdly_long_name_is_refused_at_once(given: str) -> None:
    start = time.perf_counter()
    with pytest.raises(PresetError) as raised:
        library.find("networks", given)
    assert len(str(raised.value)) < 300
    assert time.perf_counter() - start < 2
