"""A reward behind a URL."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from farm.checks import require, require_at_least
from farm.data.records import chunks
from farm.errors import ConfigError, DataError, FarmError
from farm.protocols import FloatArray
from farm.types import Instruction

if TYPE_CHECKING:
    from tenacity import RetryCallState

_SHOWN = 300
"""Characters of a server's answer that an error quotes."""
_TRANSIENT = (408, 409, 429)


class HttpScorerError(FarmError):
    """The server refuses, or has not answered for as long as it is waited for."""

    exit_code = 6


class HttpScorer:
    """A `Scorer` that asks a server, one batch after another. It POSTs ::

        {"answers": [{"messages": [{"role": "user", "content": "..."}], "answer": "..."}, ...]}

    and expects one number for each answer, or null where the reward does not apply (NaN)::

        {"scores": [0.25, null, ...]}

    Transient failures (429, 408, 409, 5xx, timeouts, lost connections) are retried with growing
    pauses, or after what `retry-after` says, until `max_retry_s` ends; any other status stops at
    once. Both raise HttpScorerError with the server's message; scores of another form raise
    DataError. A server that changes what it serves under the same `url` is not noticed.

    Args:
        url: where to POST; without a password in it, since it stands in manifests.
        api_key_env: the environment variable whose value goes along as a bearer token; null for
            servers that want none.
        batch_size: answers of a request.
        timeout_s: of one attempt.
        max_retry_s: no attempt at a request begins later than this after its first.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset(
        {"api_key_env", "batch_size", "timeout_s", "max_retry_s"}
    )

    def __init__(
        self,
        url: str,
        *,
        api_key_env: str | None = None,
        batch_size: int = 64,
        timeout_s: float = 120.0,
        max_retry_s: float = 600.0,
    ) -> None:
        if re.match(r"\w+://[^/?#]*@", url):
            raise ConfigError(
                "url: it holds a user or password, which manifests would show. Leave it out; the "
                "value of the environment variable api_key_env goes along as a bearer token."
            )
        require("url", url, "a URL that begins with http:// or https://", _is_url(url))
        require_at_least("batch_size", batch_size, 1)
        require("timeout_s", timeout_s, "above 0", timeout_s > 0)
        require_at_least("max_retry_s", max_retry_s, 0)
        self._url = url
        self._api_key_env = api_key_env
        self._batch_size = batch_size
        self._timeout_s = timeout_s
        self._max_retry_s = max_retry_s

    def score(self, instructions: Sequence[Instruction], completions: Sequence[str]) -> FloatArray:
        """Scores [N], NaN where the reward does not apply."""
        answers = [
            {
                "messages": [{"role": m.role, "content": m.content} for m in instruction.messages],
                "answer": text,
            }
            for instruction, text in zip(instructions, completions, strict=True)
        ]
        scores = [self._scores(batch) for batch in chunks(answers, self._batch_size)]
        return np.concatenate([np.empty(0), *scores])

    def check_key(self) -> None:
        """Raise ConfigError where the environment holds no usable key."""
        name = self._api_key_env
        if name is None:
            return
        if not os.environ.get(name):
            raise ConfigError(
                f"{self._url}: the environment variable {name} (api_key_env) holds no key. Set it, "
                "or set api_key_env to null where the server wants none."
            )
        if not re.fullmatch(r"[!-~]+", os.environ[name]):
            raise ConfigError(
                f"{self._url}: the key in {name} (api_key_env) has a space, a line's end or "
                "another character that no key has. Set it anew."
            )

    def _scores(self, answers: Sequence[Mapping[str, Any]]) -> FloatArray:
        response = self._patiently(answers)
        try:
            scores = response.json()["scores"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._malformed(self._quoted(response.text)) from None
        if not isinstance(scores, list):
            raise self._malformed(f"`scores` = {self._quoted(repr(scores))}")
        if len(scores) != len(answers):
            raise self._malformed(f"{len(scores)} scores for {len(answers)} answers")
        for number, score in enumerate(scores):
            if not _is_score(score):
                raise self._malformed(f"{self._quoted(repr(score))} as score {number}")
        return np.array([np.nan if score is None else score for score in scores], np.float64)

    def _patiently(self, answers: Sequence[Mapping[str, Any]]) -> Any:
        """The server's response with status 200. Raises HttpScorerError."""
        import httpx2
        from tenacity import Retrying, retry_if_exception, stop_before_delay

        retrying = Retrying(
            retry=retry_if_exception(_is_transient),
            stop=stop_before_delay(self._max_retry_s),
            wait=_wait_s,
            reraise=True,
        )
        try:
            return retrying(self._attempt, answers)
        except httpx2.HTTPStatusError as error:
            status, said = error.response.status_code, self._quoted(error.response.text)
            how = "still fails after retries" if _is_transient(error) else "refuses"
            raise HttpScorerError(f"{self._url} {how}: status {status}, {said}") from None
        except httpx2.RequestError as error:
            raise HttpScorerError(
                f"{self._url} does not answer: {type(error).__name__}: {self._quoted(str(error))}"
            ) from None

    def _attempt(self, answers: Sequence[Mapping[str, Any]]) -> Any:
        response = self._client.post(self._url, json={"answers": answers})
        response.raise_for_status()
        return response

    @cached_property
    def _client(self) -> Any:
        import httpx2

        self.check_key()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx2.Client(headers=headers, timeout=self._timeout_s)

    @property
    def _key(self) -> str | None:
        return None if self._api_key_env is None else os.environ.get(self._api_key_env)

    def _malformed(self, found: str) -> DataError:
        return DataError(
            f"{self._url} answered with {found}; right would be "
            '{"scores": [...]} with a finite number or null for each answer.'
        )

    def _quoted(self, text: str) -> str:
        """The beginning of a text on one line, without the key."""
        line = " ".join(text.split())
        shown = line.replace(self._key, "[key]") if self._key else line
        return repr(shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}...")


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address that is none
        return False


def _is_score(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return False
    try:
        return value is None or math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_transient(error: BaseException) -> bool:
    import httpx2

    if isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
        return status in _TRANSIENT or status >= 500
    return isinstance(error, httpx2.TransportError)


def _wait_s(state: "RetryCallState") -> float:
    from tenacity import wait_exponential_jitter

    error = state.outcome.exception() if state.outcome else None
    response = getattr(error, "response", None)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    if asked.replace(".", "", 1).isdigit():
        return float(asked)
    return float(wait_exponential_jitter(initial=0.5, max=30.0, jitter=0.5)(state))
