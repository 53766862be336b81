"""The families' own tokenizers, where the hub can be reached: the same promises as in test_chat."""

import socket

import pytest

from farm.models import chat
from farm.models.load import load_tokenizer
from farm.types import Message

NAMES = (
    "unsloth/Llama-3.2-1B-Instruct",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "Qwen/Qwen3-0.6B",
    "unsloth/gemma-2-2b-it",
    "unsloth/mistral-7b-instruct-v0.3",
    "HuggingFaceH4/zephyr-7b-beta",
    "openai-community/gpt2",
)
CHAT = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "What is 1 + 2?"))
ANSWER = "It is 3.\n\nAnything else?"


@pytest.fixture(scope="module")
def hub() -> None:
    try:
        socket.create_connection(("huggingface.co", 443), timeout=5).close()
    except OSError as error:
        pytest.skip(f"the hub cannot be reached: {error}")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", NAMES)
def test_the_familys_own_tokenizer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    try:
        tokenizer = load_tokenizer(name)
    except OSError as error:
        pytest.skip(f"{name} cannot be read: {type(error).__name__}")
    prompt, answer = chat.prompt_ids(tokenizer, CHAT), chat.response_ids(tokenizer, ANSWER)
    whole = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in (*CHAT, Message("assistant", ANSWER))],
        date_string="26 Jul 2024",
    )["input_ids"]
    assert whole[: len(prompt) + len(answer)] == prompt + answer
    assert sum(id in chat.stop_ids(tokenizer) for id in answer) == 1
    assert tokenizer.pad_token_id not in chat.stop_ids(tokenizer)
    assert prompt.count(tokenizer.bos_token_id) <= 1 or tokenizer.bos_token == tokenizer.eos_token
    assert chat.decode(tokenizer, answer) == ANSWER
