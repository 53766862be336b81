"""Small tokenizers that carry the special tokens and the chat template of a model family.

The vocabularies are written out (no training), so that golden ids hold for every version of the
tokenizers library.
"""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

WORDS = ("Be", "kind", "Hi", "Hello", "Sum", "user", "assistant", "system", "model", "ok")


def _bpe(special: list[str], alphabet: list[str], words: list[str]) -> Tokenizer:
    """Byte-pair encoding that joins each of `words` from its letters, left to right."""
    tokens = [*special, *alphabet]
    merges = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    vocabulary = {token: id for id, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=True))
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return tokenizer


def _byte_level(special: list[str]) -> Tokenizer:
    words = [*WORDS, *(f"Ġ{word}" for word in WORDS)]
    tokenizer = _bpe(special, sorted(pre_tokenizers.ByteLevel.alphabet()), words)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_piece(special: list[str], *, prefixed: bool) -> Tokenizer:
    """As converted from SentencePiece; `prefixed`: a space in front of every stretch of text."""
    alphabet = ["▁", "\n", *map(chr, range(33, 127))]
    words = [*(f"▁{word}" for word in WORDS), *WORDS]
    tokenizer = _bpe(special, alphabet, words)
    steps = [normalizers.Prepend("▁")] if prefixed else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefixed else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), *strip])
    return tokenizer


def _wrap(tokenizer: Tokenizer, template: str | None, **special: str) -> PreTrainedTokenizerFast:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    wrapped.chat_template = template
    return wrapped


def _with_bos(tokenizer: Tokenizer, bos: str) -> Tokenizer:
    """Adds a BOS by itself wherever special tokens are asked for: the trap of the double BOS."""
    tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    return tokenizer


def llama3() -> PreTrainedTokenizerFast:
    """Llama 3.2: headers, today's date in the system turn, three ids that end an answer."""
    bos, eos = "<|begin_of_text|>", "<|eot_id|>"
    special = [bos, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>"]
    tokenizer = _with_bos(_byte_level([*special, eos, "<|finetune_right_pad_id|>"]), bos)
    template = (
        "{{ bos_token }}"
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
        "{% endif %}"
        "{% if messages[0]['role'] == 'system' %}"
        "{% set rules = messages[0]['content'] | trim %}{% set messages = messages[1:] %}"
        "{% else %}{% set rules = '' %}{% endif %}"
        "{{ '<|start_header_id|>system<|end_header_id|>\n\n' }}"
        "{{ 'Today Date: ' + date_string + '\n\n' + rules + '<|eot_id|>' }}"
        "{% for message in messages %}"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
        "{{ message['content'] | trim + '<|eot_id|>' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    )
    return _wrap(tokenizer, template, bos_token=bos, eos_token=eos)


def qwen3() -> PreTrainedTokenizerFast:
    """Qwen 3: ChatML, an empty thinking block in front of the last answer, pad = a stop id."""
    end, pad = "<|im_end|>", "<|endoftext|>"
    tokenizer = _byte_level([pad, "<|im_start|>", end])
    tokenizer.add_tokens(["<think>", "</think>"])
    template = (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\n' }}"
        "{% if message['role'] == 'assistant' and loop.last %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ message['content'] + '<|im_end|>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
    )
    return _wrap(tokenizer, template, eos_token=end, pad_token=pad)


def gemma() -> PreTrainedTokenizerFast:
    """Gemma 2: no system role, the assistant is called model, the turn's end is not the eos."""
    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = _with_bos(_sentence_piece(special, prefixed=False), "<bos>")
    template = (
        "{{ bos_token }}"
        "{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for message in messages %}"
        "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    )
    return _wrap(tokenizer, template, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def mistral() -> PreTrainedTokenizerFast:
    """Mistral 7B Instruct: a space between the prompt and the answer, the rules inside [INST]."""
    special = ["<s>", "</s>", "[INST]", "[/INST]"]
    tokenizer = _with_bos(_sentence_piece(special, prefixed=False), "<s>")
    template = (
        "{% if messages[0]['role'] == 'system' %}"
        "{% set rules = messages[0]['content'] + '\n\n' %}{% set messages = messages[1:] %}"
        "{% else %}{% set rules = '' %}{% endif %}"
        "{{ bos_token }}"
        "{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + (rules if loop.first else '') + message['content'] + '[/INST]' }}"
        "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}"
        "{% endfor %}"
    )
    return _wrap(tokenizer, template, bos_token="<s>", eos_token="</s>")


def zephyr() -> PreTrainedTokenizerFast:
    """Zephyr: markers that are plain text, and a tokenizer that puts a space in front of texts."""
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = _with_bos(_sentence_piece(special, prefixed=True), "<s>")
    template = (
        "{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    return _wrap(tokenizer, template, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def plain() -> PreTrainedTokenizerFast:
    """A base model without a chat template, as GPT-2: one token is bos, eos and pad."""
    end = "<|endoftext|>"
    return _wrap(_byte_level([end]), None, bos_token=end, eos_token=end, pad_token=end)
