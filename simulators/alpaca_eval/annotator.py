"""AlpacaEval's annotator directories (`configs.yaml` and prompt files) over any chat model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]  # it ships without type information

from farm.artifacts import content_hash
from farm.data.records import chunks
from farm.errors import ConfigError
from farm.seeds import redraw
from farm.types import Judgment, Pair
from simulators.alpaca_eval.completion_parsers import find_parser
from simulators.alpaca_eval.prompts import load_template
from simulators.chat.loop import ask_all
from simulators.chat.types import ChatModel, ChatRequest, Reply
from simulators.judges.asking import Sampling, Tally, bill, in_order, request

_MAX_TOKENS, _TEMPERATURE = 2048, 0.7
"""What AlpacaEval asks for where a configuration says nothing."""
_TOKEN_LIMITS = ("max_tokens", "max_tokens_to_sample", "max_new_tokens", "max_completion_tokens")
"""What AlpacaEval's decoders call the limit on new tokens."""
_DECODER_ONLY = frozenset(
    {
        "model_name",
        "batch_size",
        "client_function_name",
        "client_kwargs",
        "is_chat",
        "is_chatml_prompt",
        "is_fast_tokenizer",
        "is_skip_multi_tokens_to_avoid",
        "is_strip",
        "model_kwargs",
        "n_retries",
        "num_procs",
        "price_per_token",
        "requires_chatml",
        "sleep_time",
        "tokens_to_avoid",
        "tokens_to_favor",
    }
)
"""Settings of AlpacaEval's decoders that are no keywords of a chat request."""
_PROCESSORS = frozenset(
    {"ChainOfThoughtProcessor", "JsonKeysToColumnProcessor", "PaddingForBatchesProcessor"}
)
"""They add columns, or the padding that comes with batches: no verdict depends on them."""
_COMPLETION_KEYS = ("completions", "completions_all")


class AlpacaEvalAnnotator:
    """Asks as one annotator of an AlpacaEval directory does, and reads the answers as it does;
    output_a is shown as output_1, whatever the directory says of random orders: `RandomOrder`
    turns pairs.

    The last user turn is AlpacaEval's {instruction}; what was an input is part of it, so {input}
    is empty. Batches are cut from the list of pairs with two different texts in its order
    (AlpacaEval shuffles them, and drops repeated pairs), and the last one is padded. The settings
    that are sent are the directory's but for `tokens_to_favor` and `tokens_to_avoid`, which are
    made for one model's tokenizer; what the model's capabilities rule out is left out as well. A
    prompt that is not ChatML is sent as one user turn.

    Args:
        path: the directory with `configs.yaml`; prompt files are looked up from its parent folder.
        model: who answers, whatever `model_name` the directory gives.
        name: which annotator, where the directory has several.
        max_unparsed: share of answers that may be unreadable; more raise TooManyUnparsed.

    Raises ConfigError for a directory that cannot be read, or asks for what cannot be had: an
    unknown parser, log-probabilities of a token within the answer, or of a model without them.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path", "max_unparsed"})

    def __init__(
        self, *, path: str, model: ChatModel, name: str | None = None, max_unparsed: float = 0.05
    ) -> None:
        self._file = Path(path).absolute() / "configs.yaml"
        self._model = model
        self._max_unparsed = max_unparsed
        self._name, config = _entry(_read(self._file), name, self._file)
        where = f"{self._file}: {self._name}"
        self._wants_reply = _wants_reply(config, where)
        self._sampling, self._settings = _settings(config.get("completions_kwargs") or {})
        keywords = config.get("completion_parser_kwargs") or {}
        self._parser = find_parser(config.get("fn_completion_parser", "regex_parser"), keywords)
        self._template = load_template(
            self._file.parents[1] / config["prompt_template"], config.get("batch_size", 1)
        )
        if self._wants_reply:
            self._check_logprobs(keywords, where)

    def resolved(self) -> dict[str, str]:
        """The hashes of the configuration and of the prompt file."""
        return {"configs": content_hash(self._file), "prompt": self._template.hash}

    def annotate(self, pairs: Sequence[Pair], *, seed: int, draw: int = 0) -> list[Judgment]:
        """The model's verdicts. Raises TooManyUnparsed, and EndpointError where the provider
        refuses."""
        asked = [i for i, pair in enumerate(pairs) if pair.output_a != pair.output_b]
        batches = list(chunks(asked, self._template.batch_size))
        tally = Tally(self._name, self._max_unparsed, len(batches))
        judgments: dict[int, Judgment] = {}

        def on_reply(index: int, reply: Reply) -> None:
            read = self._read_batch(reply, [pairs[row] for row in batches[index]], draw)
            judgments.update(zip(batches[index], read, strict=True))
            tally.count([reply], sum(j.preference is None for j in read), len(read))

        requests = (
            self._request([pairs[row] for row in batch], redraw(seed, draw), draw)
            for batch in batches
        )
        ask_all(self._model, requests, len(batches), on_reply)
        return in_order(pairs, judgments, self._name)

    def _request(self, pairs: Sequence[Pair], seed: int, draw: int) -> ChatRequest:
        settings = dict(self._settings)
        if "top_logprobs" in settings:
            offered = self._model.capabilities.top_logprobs
            settings["top_logprobs"] = min(settings["top_logprobs"], offered)
        messages = self._template.messages(pairs)
        return request(self._model, messages, self._sampling, settings, seed=seed, draw=draw)

    def _read_batch(self, reply: Reply, pairs: Sequence[Pair], draw: int) -> list[Judgment]:
        origin = bill(self._model, [reply], len(pairs))
        return [
            Judgment(
                pair.id,
                preference,
                self._name,
                "ab",
                draw,
                prompt_hash=self._template.hash,
                error=error,
                **origin,
            )
            for pair, (preference, error) in zip(pairs, self._verdicts(reply), strict=False)
        ]

    def _verdicts(self, reply: Reply) -> Iterator[tuple[float | None, str | None]]:
        """Preference, or why there is none, of each pair of a batch, the padding included."""
        size = self._template.batch_size
        if reply.error is not None:
            return iter([(None, reply.error)] * size)
        try:
            labels = self._labels(reply)
        except Exception as error:  # whatever an answer does to a parser: it is no verdict
            return iter([(None, f"{type(error).__name__}: {error}")] * size)
        if len(labels) != size:
            return iter([(None, f"{len(labels)} verdicts, expected {size}")] * size)
        return map(_preference, labels)

    def _labels(self, reply: Reply) -> list[Any]:
        if self._wants_reply:
            return self._parser(reply)
        if reply.text is None:
            raise ValueError(f"no text (finish reason {reply.finish_reason})")
        return self._parser(reply.text)

    def _check_logprobs(self, keywords: Mapping[str, Any], where: str) -> None:
        if not self._model.capabilities.logprobs:
            raise ConfigError(
                f"{where} reads log-probabilities, which {self._model.model} does not give "
                "(capabilities.logprobs); choose a directory that reads text."
            )
        index = keywords.get("log_prob_index", "batch")
        one_token = index == "batch" and self._sampling.max_tokens == 1
        if index not in (0, -1) and not one_token:
            raise ConfigError(
                f"{where}: log_prob_index={index}, max_tokens={self._sampling.max_tokens}: the "
                "log-probabilities of the first and the last token can be read, so log_prob_index "
                "must be 0 or -1, or max_tokens 1."
            )


def _read(file: Path) -> Mapping[str, Mapping[str, Any]]:
    if not file.is_file():
        raise ConfigError(
            f"path={file.parent}: there is no configs.yaml; give an AlpacaEval annotator's folder."
        )
    try:
        configs = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {error}") from None
    if not isinstance(configs, dict) or not all(isinstance(c, dict) for c in configs.values()):
        raise ConfigError(f"{file}: expected annotators' names, each with a mapping of settings.")
    return configs


def _entry(
    configs: Mapping[str, Mapping[str, Any]], name: str | None, file: Path
) -> tuple[str, Mapping[str, Any]]:
    """The name and settings of the annotator that is meant."""
    if name is None and len(configs) == 1:
        return next(iter(configs.items()))
    if name is None or name not in configs:
        raise ConfigError(
            f"name={name}: {file} has the annotators {', '.join(map(str, configs))}; name one."
        )
    return name, configs[name]


def _wants_reply(config: Mapping[str, Any], where: str) -> bool:
    """Whether the parser reads the whole answer, not its text alone."""
    key = config.get("completion_key", "completions")
    unknown = set(config.get("processors_to_kwargs") or ()) - _PROCESSORS
    if key not in _COMPLETION_KEYS or unknown:
        raise ConfigError(
            f"{where}: completion_key={key}, processors_to_kwargs {sorted(unknown)}: can be "
            f"{' or '.join(_COMPLETION_KEYS)}, and {', '.join(sorted(_PROCESSORS))}."
        )
    if not isinstance(config.get("prompt_template"), str):
        raise ConfigError(f"{where}: prompt_template must be the path of a prompt file.")
    return bool(key == "completions_all")


def _settings(keywords: Mapping[str, Any]) -> tuple[Sampling, dict[str, Any]]:
    """`completions_kwargs` as sampling and other keywords of a chat request."""
    limits = [keywords[key] for key in _TOKEN_LIMITS if key in keywords]
    sampling = Sampling(
        max_tokens=limits[0] if limits else _MAX_TOKENS,
        temperature=keywords.get("temperature", _TEMPERATURE),
    )
    used = {*_TOKEN_LIMITS, *_DECODER_ONLY, "temperature"}
    return sampling, {key: value for key, value in keywords.items() if key not in used}


def _preference(label: Any) -> tuple[float | None, str | None]:
    """P(output_b is better) from a label, 0 being a tie; or why it is none."""
    if isinstance(label, int | float) and label is not False:
        if label == 0:
            return 0.5, None
        if 1 <= label <= 2:
            return float(label) - 1, None
    return None, f"the label {label!r:.80}, expected 0 or a number from 1 to 2"
