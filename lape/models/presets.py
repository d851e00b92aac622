"""The models the project knows by a short name, as data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from lape.errors import unknown_label
from lape.models.checkpoints import check_no_file
from lape.models.embedded import GEMMA, SMOLLM2, default_model, embedded_model

NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # with double quantisation: a scale per 64 weights, a scale per 256 scales

Bits = Literal[4, 16, 32]


@dataclass(frozen=True)
class Preset:
    """A model the project knows by a short name.

    Attributes:
        name: Short name for the command line.
        model: Hub id.
        parameters_billions: Size.
        kept_billions: How many of them 4-bit leaves as they are: embeddings, head, norms, biases.
        languages: Codes of languages it is made for; some of them where there are many.
        licence: Its licence, in short.
        gated: Whether the Hub asks to accept conditions first.
        chat: Whether it is tuned to follow instructions.
        paper: Whether the LAPE paper used it and its mask was released.
        note: What to know about it, in a few words.
    """

    name: str
    model: str
    parameters_billions: float
    kept_billions: float
    languages: tuple[str, ...]
    licence: str
    gated: bool = False
    chat: bool = False
    paper: bool = False
    note: str = ""

    def memory_gb(self, bits: Bits, kept_bits: Bits = 16) -> float:
        """Gigabytes (1e9 bytes) of its weights.

        Args:
            bits: 4 (nf4 with double quantisation), 16 or 32.
            kept_bits: Of the weights that 4-bit leaves as they are; 32 on a CPU.
        """
        if bits == 4:
            quantised = self.parameters_billions - self.kept_billions
            return (quantised * NF4_BITS + self.kept_billions * kept_bits) / 8
        return self.parameters_billions * bits / 8


_EN = ("en",)
_SMOL = ("en", "fr", "es", "de", "it", "pt")
_QWEN = ("en", "zh", "es", "fr", "de", "pt", "it", "ru", "ja", "ko", "ar", "vi", "th", "id")
_EURO = tuple(
    "en de es fr it pt pl nl tr sv cs el hu ro fi uk sl sk da lt lv et bg no ca hr ga mt gl zh ru ko ja ar hi".split()  # noqa: SIM905
)
_BLOOM = ("en", "zh", "fr", "es", "pt", "ar", "vi", "ca", "id", "hi", "bn", "ta", "te", "ur", "eu", "sw")
_GRANITE = ("en", "de", "es", "fr", "ja", "pt", "ar", "cs", "it", "ko", "nl", "zh")
_LLAMA = ("en", "de", "fr", "it", "pt", "hi", "es", "th")
_GEMMA = ("en", "zh", "es", "fr", "de", "pt", "it", "ru", "ja", "ko", "ar", "hi")
_AYA = tuple("ar zh cs nl en fr de el he hi id it ja ko fa pl pt ro ru es tr uk vi".split())  # noqa: SIM905
_APACHE, _RAIL, _META = "Apache-2.0", "BigScience RAIL 1.0", "Llama 2 Community"

# The counts are computed from the models' configurations in tests/test_presets.py.
# fmt: off
PRESETS: tuple[Preset, ...] = (
    Preset("gemma-3-270m", GEMMA.model, 0.2681, 0.1678, _GEMMA, "Gemma terms", gated=True,
           note="embedded: any CPU, no network; over 140 languages"),
    Preset("smollm2-135m", SMOLLM2.model, 0.1345, 0.0283, _EN, _APACHE, chat=True,
           note="embedded: any CPU, no network"),
    Preset("qwen3-0.6b", "Qwen/Qwen3-0.6B", 0.5960, 0.1556, _QWEN, _APACHE, chat=True, note="119 languages"),
    Preset("qwen3-1.7b", "Qwen/Qwen3-1.7B", 1.7206, 0.3113, _QWEN, _APACHE, chat=True, note="119 languages"),
    Preset("qwen3-4b", "Qwen/Qwen3-4B", 4.0225, 0.3892, _QWEN, _APACHE, chat=True, note="119 languages"),
    Preset("qwen3-8b", "Qwen/Qwen3-8B", 8.1907, 1.2450, _QWEN, _APACHE, chat=True, note="119 languages"),
    Preset("eurollm-1.7b", "utter-project/EuroLLM-1.7B", 1.6569, 0.5244, _EURO, _APACHE, note="35 languages"),
    Preset("eurollm-1.7b-instruct", "utter-project/EuroLLM-1.7B-Instruct", 1.6569, 0.5244, _EURO, _APACHE, chat=True,
           note="35 languages"),
    Preset("bloom-560m", "bigscience/bloom-560m", 0.5592, 0.2572, _BLOOM, _RAIL, note="46 languages"),
    Preset("bloom-1b7", "bigscience/bloom-1b7", 1.7224, 0.5144, _BLOOM, _RAIL, note="46 languages"),
    Preset("bloom-7b1", "bigscience/bloom-7b1", 7.0690, 1.0292, _BLOOM, _RAIL, paper=True, note="46 languages"),
    Preset("smollm3-3b", "HuggingFaceTB/SmolLM3-3B", 3.0751, 0.2628, _SMOL, _APACHE, chat=True, note="6 languages"),
    Preset("granite-3.3-2b", "ibm-granite/granite-3.3-2b-instruct", 2.5335, 0.1008, _GRANITE, _APACHE, chat=True,
           note="12 languages"),
    Preset("glm-4-9b", "zai-org/GLM-4-9B-0414", 9.4003, 1.2424, ("zh", "en"), "MIT", chat=True, note="2 languages"),
    Preset("llama-2-7b", "meta-llama/Llama-2-7b-hf", 6.7384, 0.2624, _EN, _META, gated=True, paper=True,
           note="English"),
    Preset("llama-2-13b", "meta-llama/Llama-2-13b-hf", 13.0159, 0.3281, _EN, _META, gated=True, paper=True,
           note="English"),
    Preset("llama-2-70b", "meta-llama/Llama-2-70b-hf", 68.9766, 0.5256, _EN, _META, gated=True, paper=True,
           note="English"),
    Preset("mistral-7b", "mistralai/Mistral-7B-v0.1", 7.2417, 0.2624, _EN, _APACHE, paper=True,
           note="English; gated at times"),
    Preset("opt-6.7b", "facebook/opt-6.7b", 6.6585, 0.2160, _EN, "OPT-175B, research only", paper=True, note="English"),
    Preset("phi-2", "microsoft/phi-2", 2.7797, 0.2631, _EN, "MIT", paper=True, note="English"),
    Preset("llama-3.1-8b", "meta-llama/Llama-3.1-8B", 8.0303, 1.0509, _LLAMA, "Llama 3.1 Community", gated=True,
           note="8 languages"),
    Preset("gemma-3-1b", "google/gemma-3-1b-pt", 0.9999, 0.3021, _EN, "Gemma terms", gated=True, note="English"),
    Preset("gemma-3-4b-it", "google/gemma-3-4b-it", 4.3001, 0.6804, _GEMMA, "Gemma terms", gated=True, chat=True,
           note="over 140 languages; its image part is loaded too"),
    Preset("aya-expanse-8b", "CohereLabs/aya-expanse-8b", 8.0280, 1.0487, _AYA, "CC-BY-NC-4.0", gated=True, chat=True,
           note="23 languages"),
)
# fmt: on


def resolve_name(model: str | os.PathLike[str] | None) -> str:
    """The Hub id or folder that a short name, an id, a folder, or None (the default) stands for.

    Raises:
        ModelUnavailable: It is a single file.
        UnknownLabel: It is none of these.
    """
    if model is None:
        return default_model()[0].model
    name = os.fspath(model)
    if (embedded := embedded_model(name)) is not None:
        return embedded.model
    for preset in PRESETS:
        if name == preset.name:
            return preset.model
    check_no_file(name)
    might_be_an_id = isinstance(model, str) and "/" in name
    if not might_be_an_id and not os.path.isdir(name):
        raise unknown_label("preset or model folder", name, [preset.name for preset in PRESETS])
    return name
