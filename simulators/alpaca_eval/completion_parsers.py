"""The completion parsers that AlpacaEval's configurations name, in its terms: a parser lists one
label per pair, 1 where output_1 is better, 2 where output_2 is, 0 for neither, or in between.

Written anew from the behaviour of alpaca_eval 0.6.6. A parser may raise anything on an answer that
it cannot read; whoever calls it takes that as no verdict.
"""

import ast
import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from farm.errors import ConfigError
from simulators.chat.types import Reply

Parser = Callable[..., list[Any]]


def regex_parser(completion: str, outputs_to_match: Mapping[Any, str]) -> list[Any]:
    """The keys whose patterns match, in the order of the matches; of two that match at one place,
    the key that is listed first."""
    patterns = {label: re.compile(pattern) for label, pattern in outputs_to_match.items()}
    labels: list[Any] = []
    rest = completion
    while True:
        found = [(m.start(), label, m) for label, p in patterns.items() if (m := p.search(rest))]
        if not found:
            return labels
        _, label, match = min(found, key=lambda candidate: candidate[0])
        if not match[0]:
            raise ValueError(f"the pattern of {label} matches an empty text")
        labels.append(label)
        rest = rest[match.end() :]  # cut, so that ^ matches here again, as in AlpacaEval


def lmsys_parser(completion: str) -> list[Any]:
    """From two scores in the first line, separated by one space or comma: the higher one's place,
    0 for equal scores."""
    first, second = map(float, completion.split("\n")[0].replace(",", " ").split(" "))
    return [1 if first > second else 2 if first < second else 0]


def ranking_parser(
    completion: str | Sequence[Mapping[str, Any]], model_1_name: str = "model_1"
) -> list[Any]:
    """The rank, 1 or 2, of `model_1_name` in a list of {model, rank}, or in its Python literal."""
    ranking = ast.literal_eval(completion) if isinstance(completion, str) else completion
    rank = next(entry["rank"] for entry in ranking if entry["model"] == model_1_name)
    if rank not in (1, 2):
        raise ValueError(f"rank {rank!r} of {model_1_name}, not 1 or 2")
    return [rank]


def json_parser(completion: str, annotation_key: str | None) -> list[Any]:
    """What stands under `annotation_key` in a JSON object, or in each object of a list; the first
    ```json block, where there is one, is read instead of the whole."""
    block = re.search(r"```json(.*?)```", completion, re.DOTALL)
    if block is None and "```json" in completion:
        raise ValueError("the ```json block has no end")
    loaded = json.loads(block[1] if block else completion)
    objects = [loaded] if isinstance(loaded, dict) else list(loaded)
    return objects if annotation_key is None else [entry[annotation_key] for entry in objects]


def eval_parser(completion: str) -> list[Any]:
    """The completion as a Python literal; what is not a list becomes a list of one."""
    value = ast.literal_eval(completion)
    return value if isinstance(value, list) else [value]


def replace_parser(
    completion: Any, replacer: Mapping[Any, Any], default_replacer: Any = "auto"
) -> list[Any]:
    """What stands for the completion in `replacer`; else `default_replacer`, where "auto" is the
    completion itself."""
    default = completion if default_replacer == "auto" else default_replacer
    return [replacer.get(completion, default)]


def logprob_parser(
    completion: Reply,
    numerator_token: str,
    denominator_tokens: Sequence[str],
    is_binarize: bool = True,
    log_prob_index: Literal["batch"] | int = "batch",
) -> list[float]:
    """From a token's log-probabilities: 2 - p(numerator) / sum of p(denominators), or,
    binarized, 1 where the numerator is likelier than every denominator and else 2. What is not
    among the likeliest tokens has probability 0; raises ValueError where none of them is.
    `log_prob_index` -1 asks for the last token instead of the first.
    """
    last = log_prob_index == -1
    top_logprobs = completion.last_top_logprobs if last else completion.top_logprobs
    if top_logprobs is None:
        raise ValueError("the answer has no log-probabilities")
    wanted = {numerator_token, *denominator_tokens}
    found = {token: value for token, value in top_logprobs if token in wanted}
    if not found:
        raise ValueError(f"none of {sorted(wanted)} is among the likeliest tokens")
    numerator = found.get(numerator_token, -math.inf)
    if is_binarize:
        others = [found.get(t, -math.inf) for t in denominator_tokens if t != numerator_token]
        return [1 if all(numerator > other for other in others) else 2]
    highest = max(found.values())
    total = sum(math.exp(found[t] - highest) for t in denominator_tokens if t in found)
    return [2 - math.exp(numerator - highest) / total]


def pipeline_meta_parser(
    completion: Any, parsers_to_kwargs: Mapping[str, Mapping[str, Any]], is_squeeze: bool = True
) -> list[Any]:
    """Each parser applied to all that the one before it lists; with `is_squeeze`, a list of one
    that a later parser gives stands for its entry."""
    (name, keywords), *later = parsers_to_kwargs.items()
    found = PARSERS[name](_not_empty(completion), **keywords)
    if not later:
        return found
    lists = [pipeline_meta_parser(value, dict(later), is_squeeze) for value in found]
    return [values[0] if is_squeeze and len(values) == 1 else values for values in lists]


PARSERS: Mapping[str, Parser] = {
    parser.__name__: parser
    for parser in (
        regex_parser,
        lmsys_parser,
        ranking_parser,
        json_parser,
        eval_parser,
        replace_parser,
        logprob_parser,
        pipeline_meta_parser,
    )
}


def find_parser(name: str, keywords: Mapping[str, Any]) -> Parser:
    """The parser of that name with its keywords bound; it raises ValueError on an empty answer.
    Raises ConfigError for a name that is none, or for keywords that the parser does not take."""
    steps: Mapping[str, Any] = keywords.get("parsers_to_kwargs", {})
    for named, bound in ((name, keywords), *steps.items()):
        if named not in PARSERS:
            raise ConfigError(
                f"fn_completion_parser: there is no parser {named}; there are {', '.join(PARSERS)}."
            )
        try:
            inspect.signature(PARSERS[named]).bind("", **bound)
        except TypeError as error:
            raise ConfigError(f"completion_parser_kwargs of {named}: {error}.") from None
    parser = partial(PARSERS[name], **keywords)
    return lambda completion: parser(_not_empty(completion))


def _not_empty(completion: Any) -> Any:
    if completion == "":
        raise ValueError("the answer is empty")
    return completion
