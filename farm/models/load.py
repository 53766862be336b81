"""Loading and saving models and tokenizers: safetensors only, `trust_remote_code` off."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from farm.errors import ConfigError
from farm.models.adapters import ADAPTER, merged_weights, save_adapter
from farm.models.chat import stop_ids
from farm.models.chat_template import template
from farm.models.packing import allow_packing
from farm.training.compute import metered

PAD_TOKEN = "<|pad|>"
_CLASSIFIER = "ForSequenceClassification"
"""How transformers' classes of sequence classifiers end, in a config's `architectures`."""


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer of a directory or hub name: with a chat template, and with a pad token that
    is none of the stop ids (one is added where needed; `load_policy` gives it an embedding).

    The stop ids of the checkpoint's generation config stay on the tokenizer, for `chat.stop_ids`.
    """
    tokenizer = _tokenizer(path)
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


def has_chat_template(path: str | Path) -> bool:
    """Whether the tokenizer came with a template; `load_tokenizer` gives the others a plain one."""
    return bool(_tokenizer(path).chat_template)


def _tokenizer(path: str | Path) -> Any:
    from transformers import AutoTokenizer

    with _explained(path):
        return AutoTokenizer.from_pretrained(path)


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
    model = _load(AutoModelForCausalLM, path, dtype)
    cover(model, len(tokenizer))
    _declare_pad(model, tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = list(stop_ids(tokenizer))
    return allow_packing(model.to(device or best_device()).eval())


def load_draft(path: str | Path, tokenizer: Any, device: str | None = None) -> Any:
    """`load_policy` of a model that is to propose tokens to one with this tokenizer. Raises
    ConfigError where its tokens are others."""
    own = load_tokenizer(path)
    if own.get_vocab() != tokenizer.get_vocab():
        raise ConfigError(
            f"decoding.draft: {path} has {len(own)} tokens, and not those of the policy "
            f"({len(tokenizer)}): it cannot propose any. Right would be a smaller model of the "
            "same family, or null, for one that is made of the start."
        )
    return load_policy(path, device)


def load_reward_model(
    path: str | Path,
    device: str | None = None,
    dtype: torch.dtype = torch.float32,
    outputs: int | None = 1,
) -> Any:
    """The model with a head of so many numbers; None takes the head that the directory has. The
    head of a policy's directory is new and random (torch's global generator), without bias. Raises
    ConfigError where the directory has a head of another size, or none and `outputs` is None."""
    from transformers import AutoModelForSequenceClassification

    tokenizer = load_tokenizer(path)
    sizes = {"num_labels": outputs} if _needs_new_head(path, outputs) else {}
    model = _load(AutoModelForSequenceClassification, path, dtype, **sizes)
    cover(model, len(tokenizer))
    _declare_pad(model, tokenizer)
    return allow_packing(model.to(device or best_device()).eval())


def _declare_pad(model: Any, tokenizer: Any) -> None:
    """In the configs of a model that covers it: before, Llama's embedding layer refuses the id."""
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = tokenizer.pad_token_id


def _needs_new_head(path: str | Path, outputs: int | None) -> bool:
    config = load_config(path)
    classes = config.architectures or []
    if not any(name.endswith(_CLASSIFIER) for name in classes):
        if outputs is None:
            raise ConfigError(
                f"reward: {path} is no sequence classifier but {', '.join(classes) or 'nameless'}, "
                "so nothing in it scores answers. Right would be a model whose config.json names "
                f"an architecture that ends in {_CLASSIFIER}."
            )
        return True
    if outputs not in (None, config.num_labels):
        raise ConfigError(
            f"reward: {path} scores answers by {config.num_labels} outputs; here it must have "
            f"{outputs}."
        )
    return False


def save_policy(model: Any, tokenizer: Any, path: Path) -> None:
    """Weights (safetensors), configs and tokenizer: a directory that transformers' Auto classes
    load. `path` is fresh; one that a kill left half-written is the caller's to drop.

    Adapters are merged in, and lie in the subfolder `adapter` as well."""
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path, state_dict=merged_weights(model))
    save_adapter(model, path / ADAPTER)
    tokenizer.save_pretrained(path)


def _load(auto_class: Any, path: str | Path, dtype: torch.dtype, **settings: Any) -> Any:
    config = load_config(path, **settings)
    for key, value in config.to_dict().items():
        if ("dropout" in key or "pdrop" in key) and isinstance(value, float):
            setattr(config, key, 0.0)
    with _explained(path):
        model = auto_class.from_pretrained(
            path, config=config, dtype=dtype, attn_implementation="sdpa", use_safetensors=True
        )
    return metered(model)


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


def cover(model: Any, tokens: int) -> None:
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
