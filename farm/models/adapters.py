"""Low-rank adapters on a model's linear layers (Hu et al. 2021, arXiv 2106.09685), by peft.

Layers are replaced in place, so that the model keeps its class and everything that looks into it
(packing, hooks, heads) keeps working. What is published has the adapters merged in, computed beside
the model: weights in training are never changed by saving.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from farm.errors import ConfigError

ADAPTER = "adapter"
"""Folder of the adapter, in peft's format, beside the merged weights."""

_NAME = "default"


def add_lora(model: Any, *, rank: int, alpha: int, targets: str | Sequence[str]) -> Any:
    """The model with W x + (alpha / rank) B A x in place of W x in the layers that `targets` names
    (`all-linear`: all of its trunk). A is random (torch's global generator), B is 0. Only A, B and
    a head that was put onto the trunk are trainable.

    Raises `ConfigError` where `targets` names no linear layer, or embeddings or a head, whose
    matrices other code reads.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="SEQ_CLS" if _heads(model) else "CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, model, _NAME)
    except ValueError as error:
        raise ConfigError(
            f"tuning.targets={targets}: {error} Right would be all-linear, or the names of linear "
            "layers, such as q_proj."
        ) from error
    heads = _heads(model).values()
    whole = (model.get_input_embeddings(), model.get_output_embeddings(), *heads)
    if any(layer in whole for layer in _adapted(model).values()):
        raise ConfigError(
            f"tuning.targets={targets}: embeddings and heads have no adapters. Right would be "
            "all-linear, or the names of linear layers, such as q_proj."
        )
    for head in heads:
        head.requires_grad_(True)
    return model


@contextmanager
def without_adapters(model: Any) -> Iterator[None]:
    """Within, the model computes what it did before it had adapters."""
    layers = _adapted(model).values()
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged_weights(model: Any) -> dict[str, Tensor]:
    """The state of the model without adapters that computes the same; for a model that has none,
    its own."""
    weights = _state(model)
    done: tuple[str, ...] = ()
    for name, layer in _adapted(model).items():
        if name.startswith(done):  # two matrices of one module: adapters around adapters
            continue
        for key in [key for key in weights if key.startswith(f"{name}.")]:
            del weights[key]
        for key, weight in _state(_merged(layer)).items():
            weights[f"{name}.{key}"] = weight.cpu()
        done = (*done, f"{name}.")
    return weights


def _state(model: nn.Module) -> dict[str, Tensor]:
    """As `model.state_dict()`, which would first give away what other ranks' parts of its weights
    have been gathered (see `farm.training.holding`)."""
    weights: dict[str, Tensor] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        module._save_to_state_dict(weights, f"{name}." if name else "", keep_vars=False)
    return weights


def save_adapter(model: Any, path: Path) -> None:
    """What was learned, as `peft.PeftModel.from_pretrained(start, path)` loads it; nothing for a
    model without adapters."""
    if not _adapted(model):
        return
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    weights = get_peft_model_state_dict(
        model, _state(model), adapter_name=_NAME, save_embedding_layers=False
    )
    for name, head in _heads(model).items():
        weights |= {f"{name}.{key}": weight for key, weight in _state(head).items()}
    path.mkdir()
    save_file(
        {f"base_model.model.{key}": weight.contiguous() for key, weight in weights.items()},
        path / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    described = _described(model.peft_config[_NAME], list(_heads(model)))
    (path / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n")


def _described(config: Any, heads: list[str]) -> dict[str, Any]:
    """The config for those who load the adapter; peft's own writing of it puts layers in an order
    that differs from process to process."""
    config = replace(config, inference_mode=True, modules_to_save=heads or None)
    return {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in sorted(config.to_dict().items())
    }


def _merged(layer: Any) -> nn.Module:
    """What the layer would be without its adapters: a copy, into which they are merged."""
    twin = deepcopy(layer)
    for part in _adapters_in(twin).values():
        part.merge()
    base: nn.Module = twin.get_base_layer()
    return base


def _adapted(model: Any) -> dict[str, Any]:
    """The layers with adapters, by name."""
    return _adapters_in(model) if hasattr(model, "peft_config") else {}


def _adapters_in(module: nn.Module) -> dict[str, Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: part for name, part in module.named_modules() if isinstance(part, BaseTunerLayer)}


def _heads(model: Any) -> dict[str, nn.Module]:
    """What was put onto the trunk to be learned, by name: a reward model's head, but not a language
    model's output layer."""
    own = (model.base_model, model.get_output_embeddings())
    return {name: part for name, part in model.named_children() if part not in own}
