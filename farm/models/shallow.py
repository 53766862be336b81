"""Models with fewer blocks."""

from typing import Any

from farm.errors import ConfigError


def first_blocks(model: Any, layers: int) -> Any:
    """A causal LM's embeddings, first `layers` blocks, final norm and output layer, in place.
    Raises ConfigError where it has fewer blocks, or is built otherwise."""
    trunk = model.get_decoder()
    blocks, config = getattr(trunk, "layers", None), model.config.get_text_config(decoder=True)
    if blocks is None or len(blocks) != config.num_hidden_layers:
        raise ConfigError(
            f"layers={layers}: a {type(model).__name__} has no list of blocks to shorten. Name a "
            "smaller model with the same tokenizer instead (decoding.draft=PATH)."
        )
    if layers > len(blocks):
        raise ConfigError(f"layers={layers}: the model itself has only {len(blocks)}.")
    trunk.layers = blocks[:layers]
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    return model
