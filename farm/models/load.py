"""Loading and saving models and tokenizers: safetensors only, `trust_remote_code` off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from farm.errors import ConfigError
from farm.models.chat import stop_ids
from farm.models.chat_template import template
from farm.models.packing import allow_packing

PAD_TOKEN = "<|pad|>"


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer of a directory or hub name: with a chat template, and with a pad token that
    is none of the stop ids (one is added where needed; `load_policy` gives it an embedding).

    The stop ids of the checkpoint's generation config stay on the tokenizer, for `chat.stop_ids`.
    """
    from transformers import AutoTokenizer

    with _explained(path):
        tokenizer = AutoTokenizer.from_pretrained(path)
    if tokenizer.vocab_size == 0:  # what transformers makes of a directory without one
        raise ConfigError(
            f"model: {path} has no tokenizer. Right would be the files that its save_pretrained "
            "writes, such as tokenizer.json, beside the weights."
        )
    tokenizer.chat_template = template(tokenizer)
    tokenizer.declared_stop_ids = _declared_stop_ids(path)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in stop_ids(tokenizer):
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def load_config(path: str | Path, **settings: Any) -> Any:
    """The model's config. Raises ConfigError, as all loading here does, for what transformers
    cannot load."""
    from transformers import AutoConfig

    with _explained(path):
        return AutoConfig.from_pretrained(path, **settings)


def best_device() -> str:
    """The GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_policy(
    path: str | Path, device: str | None = None, dtype: torch.dtype = torch.float32
) -> Any:
    """The causal language model, in eval mode and without dropout.

    Its embeddings cover the tokens of `load_tokenizer(path)`.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(path)
    model = _load(AutoModelForCausalLM, path, dtype, pad_token_id=tokenizer.pad_token_id)
    _cover(model, len(tokenizer))
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = list(stop_ids(tokenizer))
    return allow_packing(model.to(device or best_device()).eval())


def load_reward_model(
    path: str | Path, device: str | None = None, dtype: torch.dtype = torch.float32
) -> Any:
    """The model with a head of one number; the head of a policy's directory is new and random
    (torch's global generator), without bias."""
    from transformers import AutoModelForSequenceClassification

    tokenizer = load_tokenizer(path)
    model = _load(
        AutoModelForSequenceClassification,
        path,
        dtype,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    _cover(model, len(tokenizer))
    return allow_packing(model.to(device or best_device()).eval())


def save_policy(model: Any, tokenizer: Any, path: Path) -> None:
    """Weights (safetensors), configs and tokenizer: a directory that transformers' Auto classes
    load. `path` is fresh; one that a kill left half-written is the caller's to drop."""
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def _load(auto_class: Any, path: str | Path, dtype: torch.dtype, **settings: Any) -> Any:
    config = load_config(path, **settings)
    for key, value in config.to_dict().items():
        if ("dropout" in key or "pdrop" in key) and isinstance(value, float):
            setattr(config, key, 0.0)
    with _explained(path):
        return auto_class.from_pretrained(
            path, config=config, dtype=dtype, attn_implementation="sdpa", use_safetensors=True
        )


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"model: {path} cannot be loaded: {error} Right would be a directory with the config, "
            "the tokenizer and, in safetensors format, the weights of a causal language model that "
            "transformers knows."
        ) from error


def _cover(model: Any, tokens: int) -> None:
    """Give tokens without an embedding the mean of all others: deterministic, and as an output
    about as unlikely as the average token."""
    known = model.get_input_embeddings().num_embeddings
    if tokens <= known:
        return
    model.resize_token_embeddings(tokens, mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            if layer is not None:
                layer.weight[known:] = layer.weight[:known].mean(dim=0)


def _declared_stop_ids(path: str | Path) -> tuple[int, ...]:
    from transformers import GenerationConfig

    try:
        eos = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # the file is optional
        return ()
    if eos is None:
        return ()
    return tuple(eos) if isinstance(eos, list) else (eos,)
