"""A tiny random model of any causal family of the installed transformers, from its configuration class alone.

Sizes are made small by the names that configurations give them; what a family needs besides is in `OVERRIDES`.
"""

from __future__ import annotations

from typing import Any

import torch
from families import CONTEXT, VOCABULARY
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

HIDDEN, WIDTH, LAYERS, HEADS = 32, 48, 4, 4

SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "hidden_dim", "emb_dim", "embedding_size"), HIDDEN),
    **dict.fromkeys(("embedding_dim", "word_embed_proj_dim", "dim_model", "lm_head_hidden", "d_embed"), HIDDEN),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim"), WIDTH),
    **dict.fromkeys(("ffn_hidden_size", "dim_ff", "feed_forward_size", "intermediate_size_mlp", "d_inner"), WIDTH),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 20),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "shared_intermediate_size", "dense_intermediate_size"), 24),
    **dict.fromkeys(
        ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers", "decoder_layers"), LAYERS
    ),
    **dict.fromkeys(("num_encoder_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"), HEADS),
    **dict.fromkeys(("decoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "n_kv_heads"), 2),
    **dict.fromkeys(
        ("head_dim", "attention_head_dim", "kv_channels", "dim_head", "swa_head_dim", "d_head"), HIDDEN // HEADS
    ),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "num_expert_groups"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length"), CONTEXT),
    **dict.fromkeys(("mamba_d_state", "mamba_d_head", "ssm_state_size", "state_size", "mamba_state_dim"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    **{
        "v_head_dim": 8,
        "vocab_size": VOCABULARY,
        "sliding_window": 6,
        "lru_width": HIDDEN,
        "num_nextn_predict_layers": 0,
    },
    **{"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 1, "vocab_size_per_layer_input": VOCABULARY},
    **{"hidden_size_per_layer_input": 8, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 4},
}
LATENT = {"num_key_value_heads": HEADS, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 8}
VISION = {"image_size": 28, "patch_size": 14}
OVERRIDES: dict[str, dict[str, Any]] = {
    **{name: {**LATENT, "head_dim": 4} for name in ("axk1", "axk2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa")},
    **{name: {**LATENT, "head_dim": 4} for name in ("longcat_flash", "youtu")},
    "dbrx": {
        "attn_config": {"rope_theta": 10000.0, "kv_n_heads": 2, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "dots3_note_text": LATENT,
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_d_head": 8, "mamba_n_heads": 8},
    "gemma3": {"vision_config": VISION, "mm_tokens_per_image": 4},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "lfm2_moe": {"layer_types": ["full_attention", "conv"] * 2},
    "llama4_text": {"interleave_moe_layer_step": 2},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "zamba": {"num_hidden_layers": 6, "attn_layer_period": 3, "attn_layer_offset": 1},
    "zamba2": {
        "layer_types": ["mamba", "hybrid"] * 2,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "hybrid_layer_ids": [1, 3],
        "n_mamba_heads": 8,
        "mamba_headdim": 8,
        "attention_hidden_size": 64,
        "adapter_rank": 4,
    },
    "zaya": {"num_experts_per_tok": 1},
}


def shrunk(model_type: str) -> PreTrainedConfig:
    """A family's configuration with small sizes."""
    return _shrunk(CONFIG_MAPPING[model_type], OVERRIDES.get(model_type, {}))


def _shrunk(kind: type[PreTrainedConfig], overrides: dict[str, Any]) -> PreTrainedConfig:
    known = kind().to_dict()
    parts = {
        name: _shrunk(CONFIG_MAPPING[known[name]["model_type"]], overrides.get(name, {})).to_dict()
        for name in kind.sub_configs
        if isinstance(known.get(name), dict) and known[name].get("model_type") in CONFIG_MAPPING
    }
    small = {name: value for name, value in SMALL.items() if name in known}
    given = {**small, **parts, **{name: value for name, value in overrides.items() if name not in parts}}
    return kind(**given)


def tiny(model_type: str) -> PreTrainedModel:
    """A family's causal language model with small sizes and random weights, the same each time."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(shrunk(model_type), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.requires_grad_(False).eval().parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(0.2 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    return model


CAUSAL = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
