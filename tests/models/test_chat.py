"""Golden token ids and masks of six template families, and what breaks prompts in practice."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import template_families as families

from farm.errors import ConfigError, DataError
from farm.models import chat
from farm.models.chat_template import template
from farm.types import Message

CHAT = (
    Message("system", "Be kind"),
    Message("user", "Hi"),
    Message("assistant", "Hello"),
    Message("user", "Sum 1 2"),
)
ANSWER = "ok 3"
DATE = "26 Jul 2024"


class Golden(NamedTuple):
    build: Callable[[], Any]
    prompt: list[int]
    answer: list[int]


# fmt: off
GOLDEN = {
    "llama3": Golden(
        families.llama3,
        [0, 2, 289, 3, 205, 205, 58, 85, 74, 71, 95, 227, 42, 71, 90, 75, 32, 227, 24, 28, 227,
         48, 91, 82, 227, 24, 22, 24, 26, 205, 205, 263, 227, 266, 5, 2, 276, 3, 205, 205, 267, 5,
         2, 284, 3, 205, 205, 271, 5, 2, 276, 3, 205, 205, 273, 227, 23, 227, 24, 5, 2, 284, 3,
         205, 205],
        [294, 227, 25, 5],
    ),
    "qwen3": Golden(
        families.qwen3,
        [1, 285, 201, 259, 223, 262, 2, 201, 1, 272, 201, 263, 2, 201, 1, 280, 201, 267, 2, 201,
         1, 272, 201, 269, 223, 19, 223, 20, 2, 201, 1, 280, 201, 332, 201, 201, 333, 201, 201],
        [290, 223, 21, 2],
    ),
    "gemma": Golden(
        families.gemma,
        [2, 3, 155, 6, 142, 106, 6, 6, 146, 4, 6, 3, 172, 6, 150, 4, 6, 3, 155, 6, 152, 5, 23, 5,
         24, 4, 6, 3, 172, 6],
        [173, 5, 25, 4],
    ),
    "mistral": Golden(
        families.mistral,
        [0, 2, 101, 105, 5, 5, 145, 3, 111, 1, 2, 114, 4, 22, 4, 23, 3],
        [140, 4, 24, 1],
    ),
    "zephyr": Golden(
        families.zephyr,
        [3, 32, 96, 166, 96, 34, 4, 140, 104, 2, 3, 4, 32, 96, 153, 96, 34, 4, 144, 2, 3, 4, 32,
         96, 161, 96, 34, 4, 148, 2, 3, 4, 32, 96, 153, 96, 34, 4, 150, 3, 21, 3, 22, 2, 3, 4, 32,
         96, 161, 96, 34, 4],
        [171, 3, 23, 2],
    ),
    "plain": Golden(
        families.plain,
        [257, 221, 260, 199, 199, 3, 3, 3, 221, 41, 78, 83, 84, 82, 85, 67, 84, 73, 79, 78, 26,
         199, 261, 199, 199, 3, 3, 3, 221, 50, 69, 83, 80, 79, 78, 83, 69, 26, 199, 265, 0, 199,
         199, 3, 3, 3, 221, 41, 78, 83, 84, 82, 85, 67, 84, 73, 79, 78, 26, 199, 267, 221, 17, 221,
         18, 199, 199, 3, 3, 3, 221, 50, 69, 83, 80, 79, 78, 83, 69, 26, 199],
        [288, 221, 19, 0],
    ),
}
# fmt: on

family = pytest.mark.parametrize("name", GOLDEN)


def _whole(tokenizer: Any, messages: tuple[Message, ...], answer: str) -> list[int]:
    """The template's own rendering of the chat with its answer."""
    ids: list[int] = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in (*messages, Message("assistant", answer))],
        chat_template=template(tokenizer),
        date_string=DATE,
    )["input_ids"]
    return ids


@family
def test_golden_ids_and_mask(name: str) -> None:
    golden = GOLDEN[name]
    example = chat.example(golden.build(), CHAT, ANSWER, max_prompt_tokens=100, max_new_tokens=10)
    assert example.input_ids == golden.prompt + golden.answer
    assert example.labels_mask == [False] * len(golden.prompt) + [True] * len(golden.answer)


@family
def test_prompt_and_answer_begin_the_templates_own_rendering(name: str) -> None:
    tokenizer = GOLDEN[name].build()
    messages = CHAT if name != "gemma" else (Message("user", "Be kind\n\nHi"), *CHAT[2:])
    ids = chat.prompt_ids(tokenizer, CHAT) + chat.response_ids(tokenizer, ANSWER)
    whole = _whole(tokenizer, messages, ANSWER)
    assert whole[: len(ids)] == ids
    assert tokenizer.decode(whole[len(ids) :]).strip() == ""


@family
def test_one_bos_at_most_and_one_end(name: str) -> None:
    tokenizer = GOLDEN[name].build()
    prompt, answer = chat.prompt_ids(tokenizer, CHAT), chat.response_ids(tokenizer, ANSWER)
    if tokenizer.bos_token_id != tokenizer.eos_token_id:
        assert prompt.count(tokenizer.bos_token_id) <= 1
    assert answer[-1] == chat.end_id(tokenizer)
    assert not set(answer[:-1]) & set(chat.stop_ids(tokenizer))


@family
@pytest.mark.parametrize("text", ["ok 3", "", " ok", "ok\n\nHi", "\nok", "ok </s> <|im_end|> Hi"])
def test_answers_survive_the_round_trip(name: str, text: str) -> None:
    tokenizer = GOLDEN[name].build()
    ids = chat.response_ids(tokenizer, text)
    stops = chat.stop_ids(tokenizer)
    assert sum(id in stops for id in ids) == 1
    decoded = chat.decode(tokenizer, [*ids, *[tokenizer.pad_token_id or stops[0]] * 3])
    # The name of a special token gains a space; SentencePiece's decoders drop one in front.
    assert decoded.lstrip(" ").replace("< ", "<") == text.lstrip(" ")


@family
def test_contents_cannot_open_or_end_a_turn(name: str) -> None:
    tokenizer = GOLDEN[name].build()
    names = "".join(tokenizer.all_special_tokens) + "<|start_header_id|><|im_start|>[/INST]"
    clean = chat.prompt_ids(tokenizer, [Message("user", "Hi")])
    forged = chat.prompt_ids(tokenizer, [Message("user", f"Hi{names}Hi")])
    special = {id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    assert [id for id in forged if id in special] == [id for id in clean if id in special]


@family
def test_batches_equal_single_calls(name: str) -> None:
    tokenizer = GOLDEN[name].build()
    chats = [CHAT, CHAT[1:], [Message("user", "Sum 4 5 6")]]
    texts = ["ok", "Hi\nHi", "Hello kind"]
    assert chat.prompts_ids(tokenizer, chats) == [chat.prompt_ids(tokenizer, c) for c in chats]
    answers = chat.responses_ids(tokenizer, texts)
    assert answers == [chat.response_ids(tokenizer, text) for text in texts]
    assert chat.decode_batch(tokenizer, answers) == texts
    assert chat.prompts_ids(tokenizer, []) == chat.responses_ids(tokenizer, []) == []


def test_a_bos_written_by_template_and_tokenizer_is_kept_once() -> None:
    tokenizer = families.gemma()
    once = chat.prompt_ids(tokenizer, CHAT)
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    assert chat.prompt_ids(tokenizer, CHAT) == once


def test_without_template_the_tokenizers_own_bos_is_kept() -> None:
    tokenizer = families.zephyr()
    tokenizer.chat_template = None
    prompt = chat.prompt_ids(tokenizer, CHAT)
    assert prompt[0] == tokenizer.bos_token_id
    assert prompt.count(tokenizer.bos_token_id) == 1


def test_truncation_keeps_the_bos_and_the_prompts_end() -> None:
    tokenizer = families.llama3()
    golden = GOLDEN["llama3"]
    cut = chat.example(tokenizer, CHAT, ANSWER, max_prompt_tokens=6, max_new_tokens=2)
    assert cut.input_ids == [golden.prompt[0], *golden.prompt[-5:], *golden.answer[:2]]
    assert cut.labels_mask == [False] * 6 + [True] * 2
    whole = chat.example(tokenizer, CHAT, ANSWER, max_prompt_tokens=65, max_new_tokens=4)
    assert whole.input_ids == golden.prompt + golden.answer


@pytest.mark.parametrize("name", ["llama3", "qwen3"])  # with a BOS in front, and without
def test_a_control_token_stands_in_front_behind_a_bos_and_counts(name: str) -> None:
    tokenizer, golden = GOLDEN[name].build(), GOLDEN[name].prompt
    tokenizer.add_tokens(["<|go|>"], special_tokens=True)
    control = tokenizer.convert_tokens_to_ids("<|go|>")
    bos = [id for id in golden[:1] if id == tokenizer.bos_token_id]
    assert bool(bos) == (name == "llama3")
    steered = [*bos, control, *golden[len(bos) :]]
    assert chat.prompts_ids(tokenizer, [CHAT], control="<|go|>") == [steered]
    (cut,) = chat.prompts_ids(tokenizer, [CHAT], control="<|go|>", max_prompt_tokens=6)
    assert cut == [*bos, control, *golden[len(bos) - 5 :]]
    whole = {"max_prompt_tokens": len(steered), "max_new_tokens": 2}
    (example,) = chat.examples(tokenizer, [CHAT], [ANSWER], control="<|go|>", **whole)
    assert example.input_ids == steered + GOLDEN[name].answer[:2]
    assert example.labels_mask == [False] * len(steered) + [True] * 2


def test_decoding_ends_at_the_first_stop_id() -> None:
    tokenizer = families.gemma()
    eos, end = tokenizer.eos_token_id, chat.end_id(tokenizer)
    assert chat.stop_ids(tokenizer) == tuple(sorted((eos, end)))
    ids = chat.response_ids(tokenizer, "ok")[:-1]
    assert chat.decode(tokenizer, [*ids, eos, *ids, end]) == "ok"
    assert chat.decode(tokenizer, [*ids, *ids]) == "okok"


def test_the_description_shows_what_is_learned() -> None:
    tokenizer = families.qwen3()
    example = chat.example(tokenizer, CHAT[1:2], ANSWER, max_prompt_tokens=99, max_new_tokens=9)
    read, learned = chat.describe(tokenizer, example).split("learned (4 tokens):\n")
    assert "<|im_start|>user\nHi<|im_end|>" in read
    assert learned == "ok 3<|im_end|>"


def test_a_refusing_template_is_a_data_error() -> None:
    with pytest.raises(DataError, match="roles must alternate"):
        chat.prompt_ids(families.mistral(), [Message("user", "Hi"), Message("user", "Hi")])


def test_a_tokenizer_that_cannot_end_is_a_config_error() -> None:
    tokenizer = families.plain()
    tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="neither a chat template nor an eos token"):
        chat.prompt_ids(tokenizer, CHAT)
