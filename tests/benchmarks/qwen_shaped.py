"""A Qwen2-shaped causal language model with random weights: no download."""

from typing import Any

from farm.memory import SHAPES, Shape
from farm.seeds import seed_libraries

HALF_BILLION, ONE_AND_A_HALF_BILLION = SHAPES[:2]
"""Qwen2.5's sizes."""
TINY = Shape("tiny", 2, 64, 128, 4, 2, 512, tied=True, attention_bias=True)
POSITIONS = 4096


def qwen_shaped(shape: Shape, **more: Any) -> Any:
    """The model, on the CPU in float32; `more` are keywords of its config."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=POSITIONS,
        attn_implementation="sdpa",
        **more,
    )
    seed_libraries(0, "qwen_shaped")
    return Qwen2ForCausalLM(config).eval()
