"""A tiny random model of every supported family, where its FFN is told apart from `lape`, and a mask for it.

Built from configurations, no download. Weights are larger than a fresh model's, and biases and norms are not
trivial, so that a wrong column, a lost bias or a missed layer shows in the logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

from lape import NeuronMask

LAYERS, HIDDEN, WIDTH, CONTEXT = 3, 32, 48, 256
DOCUMENT_END, EOS, VOCABULARY = 0, 1, 2 + 256  # two special tokens and the bytes

COMMON = {
    "hidden_size": HIDDEN,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": HIDDEN // 4,
    "max_position_embeddings": CONTEXT,
    "vocab_size": VOCABULARY,
    "bos_token_id": DOCUMENT_END,
    "eos_token_id": EOS,
    "pad_token_id": EOS,
}


@dataclass(frozen=True)
class Family:
    """How to build a tiny model of a family and how to recompute its activations by hand.

    Attributes:
        config: Settings that differ from the common ones; None leaves a setting out.
        act: The activation function, as the family's paper has it.
        first: Path in a layer of the matrix whose output the activation function takes.
        down: Path in a layer of the matrix after it.
        fused: The first half of the first matrix is the gate, the rest is something else.
        width: Neurons per layer.
        layers: Path of the list of layers in the model.
    """

    config: dict[str, Any] = field(default_factory=dict)
    act: Callable[[torch.Tensor], torch.Tensor] = F.silu
    first: str = "mlp.gate_proj"
    down: str = "mlp.down_proj"
    fused: bool = False
    width: int = WIDTH
    layers: str = "model.layers"

    def activation(self, output: torch.Tensor) -> torch.Tensor:
        """The activations `[batch, position, neuron]` that follow from the first matrix's output."""
        return self.act(output.chunk(2, dim=-1)[0] if self.fused else output)

    def by_hand(self, layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """The activations of one layer, from the input of its first matrix."""
        matrix = layer.get_submodule(self.first)
        weight = matrix.weight if isinstance(matrix, Conv1D) else matrix.weight.T
        return self.activation(inputs @ weight + (0 if matrix.bias is None else matrix.bias))


gelu_tanh = partial(F.gelu, approximate="tanh")
gated, fused = Family(), Family(first="mlp.gate_up_proj", fused=True)
plain = partial(Family, first="mlp.dense_h_to_4h", down="mlp.dense_4h_to_h")
WINDOW = {"sliding_window": 6}  # shorter than the tests' prompts

FAMILIES = {
    "llama": gated,
    "mistral": Family(WINDOW),
    "qwen2": gated,
    "qwen3": gated,
    "gemma": Family(act=gelu_tanh),
    "gemma2": Family(WINDOW, act=gelu_tanh),
    "gemma3_text": Family(WINDOW, act=gelu_tanh),
    "gemma3": Family(
        {
            "text_config": {**COMMON, **WINDOW},
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
            "mm_tokens_per_image": 4,
        },
        act=gelu_tanh,
        layers="model.language_model.layers",
    ),
    "phi": Family(act=gelu_tanh, first="mlp.fc1", down="mlp.fc2"),
    "phi3": fused,
    "glm4": fused,
    "opt": Family(
        {"ffn_dim": WIDTH, "word_embed_proj_dim": HIDDEN},
        act=F.relu,
        first="fc1",
        down="fc2",
        layers="model.decoder.layers",
    ),
    "bloom": plain(act=gelu_tanh, width=4 * HIDDEN, layers="transformer.h"),
    "gpt2": Family(act=gelu_tanh, first="mlp.c_fc", down="mlp.c_proj", width=4 * HIDDEN, layers="transformer.h"),
    "gpt_neox": plain(act=F.gelu, layers="gpt_neox.layers"),
    "falcon": plain({"head_dim": None, "ffn_hidden_size": WIDTH}, act=F.gelu, layers="transformer.h"),
    "mpt": Family(act=F.gelu, first="ffn.up_proj", down="ffn.down_proj", width=4 * HIDDEN, layers="transformer.blocks"),
    "cohere": gated,
    "cohere2": Family(WINDOW),
    "olmo2": gated,
    "stablelm": gated,
    "smollm3": gated,
    "granite": gated,
}


def build(name: str, **settings: Any) -> PreTrainedModel:
    """A tiny random model of a family, the same each time: float32, evaluation mode, without gradients.

    Args:
        name: Model type, of the table or any other that takes the usual settings.
        **settings: More settings of its configuration.
    """
    given = {**COMMON, **FAMILIES.get(name, gated).config, **settings}
    config = AutoConfig.for_model(name, **{key: value for key, value in given.items() if value is not None})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.requires_grad_(False).eval().parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(0.2 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    return model


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """A model's layers, by the table."""
    return model.get_submodule(FAMILIES.get(model.config.model_type, gated).layers)


def zero_inputs_of_down(model: PreTrainedModel, mask: NeuronMask, language: str) -> None:
    """Switches a language off for good and without `lape`: its neurons' inputs of the down projections become 0."""
    table = FAMILIES[model.config.model_type]
    for layer, block in enumerate(layers_of(model)):
        kept = torch.ones(mask.shape[1])
        kept[columns(mask, language, layer)] = 0
        down = block.get_submodule(table.down)
        down.register_forward_pre_hook(lambda _module, inputs, kept=kept: inputs[0] * kept)


def columns(mask: NeuronMask, language: str, layer: int) -> list[int]:
    """A language's neurons in one layer."""
    return [neuron for at, neuron in mask.neurons[language].tolist() if at == layer]


def bigram_model(chances: Mapping[int, Mapping[int, float]]) -> PreTrainedModel:
    """A model in which a token's probability follows from the token before it alone, by a table of some of them."""
    model = build("llama", tie_word_embeddings=False)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    model.model.norm.weight.fill_(1)
    model.lm_head.weight.fill_(-1e4)
    for state, (token, following) in enumerate(chances.items()):
        model.model.embed_tokens.weight[token] = 100 * torch.eye(HIDDEN)[state]
        for after, chance in following.items():
            model.lm_head.weight[after, state] = math.log(chance) / math.sqrt(HIDDEN)
    return model


def token_ids(rows: int, length: int, seed: int = 0) -> torch.Tensor:
    """Random token ids `[rows, length]` without special tokens."""
    return torch.randint(2, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def random_mask(shape: tuple[int, int], seed: int = 0) -> NeuronMask:
    """A mask of the languages aa, bb and cc over every layer; aa and bb share neurons, cc has no means."""
    layers, width = shape
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(width, generator=generator) for _ in range(layers)]
    spans = {"aa": slice(0, 8), "bb": slice(5, 13), "cc": slice(13, 17)}
    neurons = {
        code: torch.tensor([(layer, int(neuron)) for layer, row in enumerate(rows) for neuron in row[span]])
        for code, span in spans.items()
    }
    means = {code: torch.randn(len(neurons[code]), generator=generator) for code in ("aa", "bb")}
    return NeuronMask(neurons, means, shape)


def gated_mask(mask: NeuronMask) -> NeuronMask:
    """The same mask with ranges about 0, which hold some activations of a tiny model and not others."""
    generator = torch.Generator().manual_seed(1)
    means, deviations = (
        {code: size * torch.rand(mask.count(code), generator=generator) + least for code in mask.languages}
        for size, least in ((0.2, -0.1), (0.2, 0.0))
    )
    return replace(mask, own_means=means, deviations=deviations)


def lies_within(activation: torch.Tensor, ranges: torch.Tensor) -> bool:
    """Whether a number lies in one of the ranges `[2, k]`."""
    return any(low <= float(activation) <= high for low, high in ranges.T.tolist())


def byte_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """One token per UTF-8 byte; like SmolLM2's, its document end is not its eos, and eos is the padding.

    Args:
        template: What it puts around a text, `$A`, such as `<|im_end|> $A`; None is nothing.
    """
    special = {"<|endoftext|>": DOCUMENT_END, "<|im_end|>": EOS}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({**special, **{char: 2 + i for i, char in enumerate(alphabet)}}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    if template is not None:
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=list(special.items()))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        padding_side="left",
    )
