"""The transformer blocks of a model."""

from typing import Any


def transformer_blocks(model: Any) -> list[Any]:
    """In their order: modules of the classes that transformers does not split over devices, or of
    classes that were made of these."""
    whole = {
        name for part in model.modules() for name in getattr(part, "_no_split_modules", None) or ()
    }

    def is_block(part: Any) -> bool:
        return any(kind.__name__ in whole for kind in type(part).__mro__)

    return [part for part in model.modules() if is_block(part)]


def fuse_small_operations(model: Any) -> Any:
    """The model, with the parts of its blocks that know nothing of their layer (norms and
    feed-forwards, not attention) compiled by torch at their first use: one for all layers."""
    for block in transformer_blocks(model):
        for part in block.children():
            if not hasattr(part, "layer_idx"):
                part.compile(dynamic=True)
    return model
