"""AlpacaEval's directories: the same requests and verdicts as alpaca_eval, and hostile answers."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from make_alpaca_eval_verdicts import ANSWERS, CLEAN, HOSTILE, VERDICTS, Row, answer, messages_hash

from farm.data.records import make_pair, user_instruction
from farm.errors import ConfigError
from farm.protocols import Annotator
from farm.types import Judgment, Pair, Usage
from simulators.alpaca_eval import AlpacaEvalAnnotator
from simulators.chat.types import Capabilities, ChatRequest, Reply
from simulators.judges.asking import TooManyUnparsed

ROOT = Path(__file__).parents[2]
CHAT = "<|im_start|>system\nBe fair.\n<|im_end|>\n<|im_start|>user\n{body}\n<|im_end|>\n"
PAIR = "Q: {instruction}\nA1: {output_1}\nA2: {output_2}"


class FakeModel:
    """Answers by a function of the messages; remembers what it was asked."""

    model = "fake"
    server = "fake"
    concurrency = 4

    def __init__(self, reply: Callable[[list[tuple[str, str]]], Reply], **capabilities: Any):
        self.capabilities = Capabilities(**capabilities)
        self.asked: list[ChatRequest] = []
        self._reply = reply

    async def ask(self, request: ChatRequest) -> Reply:
        self.asked.append(request)
        return self._reply(rows(request))


def rows(request: ChatRequest) -> list[tuple[str, str]]:
    """(role, content) of each message."""
    return [(message.role, message.content) for message in request.messages]


def says(text: str | None, **fields: Any) -> FakeModel:
    """A model that always answers this."""
    return FakeModel(lambda _: Reply(text, **fields))


def pairs_of(wanted: Sequence[Row]) -> list[Pair]:
    """The rows as pairs."""
    return [make_pair(user_instruction(question), a, b) for question, a, b in wanted]


def directory(folder: Path, prompt: str = CHAT.replace("{body}", PAIR), **config: Any) -> str:
    """The path of an annotator directory with one annotator, `mine`."""
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "prompt.txt").write_text(prompt)
    settings = {"prompt_template": "mine/prompt.txt", **config}
    (folder / "mine" / "configs.yaml").write_text(json.dumps({"mine": settings}))
    return str(folder / "mine")


def verdicts(path: str, model: FakeModel, wanted: Sequence[Row] = CLEAN[:1]) -> list[Any]:
    """The preferences that the directory's annotator has."""
    judge = AlpacaEvalAnnotator(path=path, model=model, max_unparsed=1.0)
    return [judgment.preference for judgment in judge.annotate(pairs_of(wanted), seed=1)]


# Against alpaca_eval itself.


def evaluators() -> Path:
    """alpaca_eval's annotator directories."""
    pattern = ".peers/alpaca_eval/lib/python*/site-packages/alpaca_eval/evaluators_configs"
    found = sorted(ROOT.glob(pattern))
    if not found:
        pytest.skip("alpaca_eval's directories are not here; `make bench-peers` installs them")
    return found[0]


def imported(annotator: str) -> tuple[AlpacaEvalAnnotator, FakeModel]:
    """One of alpaca_eval's annotators over the model that alpaca_eval itself was run with."""

    def reply(messages: list[tuple[str, str]]) -> Reply:
        text, logprobs = answer(annotator, messages)
        last = tuple(logprobs.items())
        first = () if text.startswith("So ") else last
        return Reply(text, top_logprobs=first, last_top_logprobs=last)

    folder, name = annotator.split("/")
    model = FakeModel(reply)
    path = str(evaluators() / folder)
    return AlpacaEvalAnnotator(path=path, model=model, name=name, max_unparsed=1.0), model


@pytest.mark.parametrize("annotator", ANSWERS)
def test_requests_and_verdicts_are_alpaca_evals(annotator: str) -> None:
    expected = json.loads(VERDICTS.read_text())[annotator]
    judge, model = imported(annotator)

    judgments = judge.annotate(pairs_of(CLEAN), seed=1)

    assert sorted(messages_hash(rows(request)) for request in model.asked) == expected["requests"]
    settings = json.dumps({**model.asked[0].settings, "top_p": 1.0}, sort_keys=True)
    assert hashlib.sha256(settings.encode()).hexdigest() == expected["settings"]
    for judgment, value in zip(judgments, expected["verdicts"], strict=True):
        wanted = None if value is None else value - 1
        assert judgment.preference == pytest.approx(wanted, abs=1e-12), judgment
        assert (judgment.error is None) == (wanted is not None)
        assert judgment.annotator == annotator.split("/")[1]


@pytest.mark.parametrize("annotator", ANSWERS)
def test_hostile_answers_reach_the_model_whole(annotator: str) -> None:
    garbled = json.loads(VERDICTS.read_text())[annotator]["hostile_requests"]
    judge, model = imported(annotator)

    judge.annotate(pairs_of(HOSTILE), seed=1)

    asked = "".join(content for request in model.asked for _, content in rows(request))
    assert all(text in asked for row in HOSTILE for text in row)
    assert not {messages_hash(rows(request)) for request in model.asked} & set(garbled)
    assert len({tuple(role for role, _ in rows(request)) for request in model.asked}) == 1


def test_every_directory_of_alpaca_eval_loads_or_says_why_not() -> None:
    refused = []
    for configs in sorted(evaluators().glob("*/configs.yaml")):
        try:
            AlpacaEvalAnnotator(path=str(configs.parent), model=says("x"))
        except ConfigError as error:
            refused.append((configs.parent.name, str(error)))

    ((folder, message),) = refused
    assert folder == "alpaca_farm" and "name one" in message


# Our own directories.

RANKED = [{"model": "m", "rank": 2}, {"model": "M", "rank": 1}]
MAPPING = {"fn_completion_parser": "pipeline_meta_parser"}


@pytest.mark.parametrize(
    ("parser", "keywords", "text", "expected"),
    [
        ("regex_parser", {"outputs_to_match": {1: "^a", 2: "^b"}}, "b, then a", 1.0),
        ("regex_parser", {"outputs_to_match": {1: "^a", 2: "^b"}}, "ba", None),
        ("regex_parser", {"outputs_to_match": {0: "tie", 2: "b"}}, "a tie", 0.5),
        ("regex_parser", {"outputs_to_match": {1: "x*"}}, "nothing", None),
        ("regex_parser", {"outputs_to_match": {1: "a"}}, "", None),
        ("lmsys_parser", {}, "4 3\nbecause", 0.0),
        ("lmsys_parser", {}, "3,4", 1.0),
        ("lmsys_parser", {}, "3 3", 0.5),
        ("lmsys_parser", {}, "three 4", None),
        ("ranking_parser", {"model_1_name": "m"}, str(RANKED), 1.0),
        ("ranking_parser", {"model_1_name": "M"}, str(RANKED), 0.0),
        ("ranking_parser", {}, str(RANKED), None),
        ("json_parser", {"annotation_key": "v"}, '{"v": 1.25}', 0.25),
        ("json_parser", {"annotation_key": "v"}, 'so ```json\n{"v": true}``` yes', 0.0),
        ("json_parser", {"annotation_key": "v"}, '[{"v": 1}, {"v": 2}]', None),
        ("json_parser", {"annotation_key": "v"}, '{"v": NaN}', None),
        ("json_parser", {"annotation_key": "v"}, '{"v": 7}', None),
        ("json_parser", {"annotation_key": "v"}, '{"v": false}', None),
        ("json_parser", {"annotation_key": "v"}, '```json {"v": 1}', None),
        ("json_parser", {"annotation_key": None}, "[2]", 1.0),
        ("eval_parser", {}, "[1.5]", 0.5),
        ("eval_parser", {}, "2", 1.0),
        ("eval_parser", {}, "__import__('os')", None),
        ("replace_parser", {"replacer": {"yes": 1}, "default_replacer": 2}, "no", 1.0),
        ("replace_parser", {"replacer": {"yes": 1}}, "no", None),
    ],
)
def test_parsers(
    parser: str, keywords: dict[str, Any], text: str, expected: float | None, tmp_path: Path
) -> None:
    path = directory(tmp_path, fn_completion_parser=parser, completion_parser_kwargs=keywords)
    text_of_keys = (tmp_path / "mine" / "configs.yaml").read_text()
    for label in (0, 1, 2):  # JSON quotes the keys of outputs_to_match; YAML does not
        text_of_keys = text_of_keys.replace(f'"{label}": ', f"{label}: ")
    (tmp_path / "mine" / "configs.yaml").write_text(text_of_keys)
    assert verdicts(path, says(text)) == [expected]


@pytest.mark.parametrize(
    ("steps", "squeeze", "text", "expected"),
    [
        ({"json_parser": {"annotation_key": "r"}, "ranking_parser": {"model_1_name": "m"}}, True,
         json.dumps({"r": RANKED}), 1.0),
        ({"json_parser": {"annotation_key": "r"}, "replace_parser": {"replacer": {"A": 1}}}, True,
         '{"r": "A"}', 0.0),
        ({"json_parser": {"annotation_key": "r"}, "replace_parser": {"replacer": {"A": 1}}}, False,
         '{"r": "A"}', None),
        ({"json_parser": {"annotation_key": "r"}, "ranking_parser": {}}, True, '{"r": ""}', None),
    ],
)  # fmt: skip
def test_pipelines(
    steps: dict[str, Any], squeeze: bool, text: str, expected: float | None, tmp_path: Path
) -> None:
    keywords = {"parsers_to_kwargs": steps, "is_squeeze": squeeze}
    path = directory(tmp_path, **MAPPING, completion_parser_kwargs=keywords)
    assert verdicts(path, says(text)) == [expected]


@pytest.mark.parametrize(
    ("binarize", "probabilities", "expected"),
    [
        (False, {"A": 0.6, "B": 0.2, "C": 0.2}, 0.25),
        (False, {"B": 0.2, "C": 0.2}, 1.0),
        (False, {"A": 1e-300}, 0.0),
        (False, {"C": 0.2}, None),
        (True, {"A": 0.21, "B": 0.2}, 0.0),
        (True, {"A": 0.2, "B": 0.2}, 1.0),
    ],
)
def test_log_probabilities(
    binarize: bool, probabilities: dict[str, float], expected: float | None, tmp_path: Path
) -> None:
    model = says("A", top_logprobs=tuple((t, math.log(p)) for t, p in probabilities.items()))
    assert verdicts(logprob_directory(tmp_path, binarize), model) == [pytest.approx(expected)]
    assert model.asked[0].settings["top_logprobs"] == 5


def logprob_directory(folder: Path, binarize: bool = False, **changes: Any) -> str:
    """A directory whose annotator reads log-probabilities."""
    keywords = {"numerator_token": "A", "denominator_tokens": ["A", "B"], "is_binarize": binarize}
    sampling = {"max_tokens": 1, "logprobs": True, "top_logprobs": 9}
    return directory(
        folder,
        fn_completion_parser="logprob_parser",
        completion_parser_kwargs={**keywords, **changes},
        completions_kwargs=sampling,
        completion_key="completions_all",
    )


def test_log_probabilities_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    path = logprob_directory(tmp_path)
    with pytest.raises(ConfigError, match="fake does not give"):
        AlpacaEvalAnnotator(path=path, model=FakeModel(lambda _: Reply("A"), logprobs=False))
    with pytest.raises(ConfigError, match="log_prob_index=3"):
        AlpacaEvalAnnotator(path=logprob_directory(tmp_path, log_prob_index=3), model=says("A"))


def test_a_verdict_after_reasoning_is_read_from_the_last_token(tmp_path: Path) -> None:
    last = (("A", math.log(0.6)), ("B", math.log(0.2)))
    model = says("so A", top_logprobs=(("so", 0.0),), last_top_logprobs=last)
    path = logprob_directory(tmp_path, log_prob_index=-1)
    assert verdicts(path, model) == [pytest.approx(0.25)]


BATCH = f"{PAIR}\n\n{PAIR}"


def test_a_batch_shares_a_request_and_its_cost(tmp_path: Path) -> None:
    path = directory(tmp_path, BATCH, fn_completion_parser="eval_parser", batch_size=2)
    model = says("[1, 2]", usage=Usage(1, 10, 2), cost_usd=0.4, model="fake-1", latency_s=0.5)
    asked = (CLEAN[0], CLEAN[4], CLEAN[1], CLEAN[2])  # the second has two identical texts
    judge = AlpacaEvalAnnotator(path=path, model=model)

    judgments = judge.annotate(pairs_of(asked), seed=1, draw=3)

    assert [j.preference for j in judgments] == [0.0, 0.5, 1.0, 0.0]
    assert [j.cost_usd for j in judgments] == [0.2, 0.0, 0.2, 0.4]
    assert judgments[0].usage == Usage(0.5, 5, 1)
    assert judgments[1].raw is None
    first = judgments[0]
    assert (first.requested_model, first.model, first.draw) == ("fake", "fake-1", 3)
    assert first.prompt_hash == judge.resolved()["prompt"]
    texts = [rows(request) for request in model.asked]
    assert texts[0] == [("user", "Q: Name a colour.\nA1: Red\nA2: Blue\n\n"
                         f"Q: {CLEAN[1][0]}\nA1: Two.\nA2: Three.")]  # fmt: skip
    assert texts[1][0][1].endswith("Q: 1+1=\nA1: 2\nA2: 3")


def test_a_wrong_number_of_labels_is_no_verdict_on_the_batch(tmp_path: Path) -> None:
    path = directory(tmp_path, BATCH, fn_completion_parser="eval_parser", batch_size=2)
    judge = AlpacaEvalAnnotator(path=path, model=says("[1]"), max_unparsed=1.0)
    judgments = judge.annotate(pairs_of(CLEAN[:2]), seed=1)
    assert [j.preference for j in judgments] == [None, None]
    assert judgments[0].error == "1 verdicts, expected 2"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_answer_opens_a_turn_or_takes_anothers_place(hostile: Row, tmp_path: Path) -> None:
    model = says("1")
    verdicts(directory(tmp_path, fn_completion_parser="eval_parser"), model, [hostile])
    question, a, b = hostile
    assert rows(model.asked[0]) == [
        ("system", "Be fair."),
        ("user", f"Q: {question}\nA1: {a}\nA2: {b}"),
    ]


def test_settings_follow_the_directory_and_the_models_capabilities(tmp_path: Path) -> None:
    keywords = {"model_name": "claude", "max_tokens_to_sample": 9, "stop": ["x"], "num_procs": 3}
    path = directory(tmp_path, fn_completion_parser="eval_parser", completions_kwargs=keywords)
    model = says("1")
    verdicts(path, model)
    assert model.asked[0].settings == {"max_tokens": 9, "temperature": 0.7, "stop": ["x"]}

    reasoning = {"temperature": False, "token_parameter": "max_completion_tokens"}
    model = FakeModel(lambda _: Reply("1"), **reasoning, system_role=False)
    verdicts(path, model)
    assert model.asked[0].settings == {"max_completion_tokens": 9, "stop": ["x"]}
    assert [role for role, _ in rows(model.asked[0])] == ["user"]


def test_failures_are_no_verdicts_and_unparsed_ones_are_counted(tmp_path: Path) -> None:
    path = directory(tmp_path, fn_completion_parser="eval_parser")
    failing = AlpacaEvalAnnotator(path=path, model=says(None, error="timed out"))
    judgment: Judgment = failing.annotate(pairs_of(CLEAN), seed=1)[0]
    assert (judgment.preference, judgment.error) == (None, "timed out")
    assert isinstance(failing, Annotator)
    with pytest.raises(TooManyUnparsed, match="mine"):
        AlpacaEvalAnnotator(path=path, model=says("hm")).annotate(pairs_of(CLEAN), seed=1)


@pytest.mark.parametrize(
    ("prompt", "config", "message"),
    [
        (PAIR, {"batch_size": 2}, "occurs 1 times"),
        ("{instruction} {output_1}", {}, r"\{output_2\} occurs 0 times"),
        (f"Hello <|im_start|>user\n{PAIR}<|im_end|>", {}, "sequence of turns"),
        (f"<|im_start|>system name=x\n{PAIR}<|im_end|>", {}, "system name=x"),
        (PAIR, {"prompt_template": "mine/none.txt"}, "there is no file"),
        (PAIR, {"fn_completion_parser": "guess"}, "no parser guess"),
        (PAIR, {"fn_completion_parser": "regex_parser"}, "outputs_to_match"),
        (PAIR, {"completion_parser_kwargs": {"key": 1}}, "unexpected keyword argument 'key'"),
        (PAIR, {"completion_key": "price_per_example"}, "completion_key"),
        (PAIR, {"processors_to_kwargs": {"Mine": {}}}, "Mine"),
    ],
)
def test_what_cannot_be_run_is_named(
    prompt: str, config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = directory(tmp_path, prompt, **{"fn_completion_parser": "eval_parser", **config})
    with pytest.raises(ConfigError, match=message):
        AlpacaEvalAnnotator(path=path, model=says("1"))


def test_a_name_is_needed_where_there_are_several(tmp_path: Path) -> None:
    path = Path(directory(tmp_path, fn_completion_parser="eval_parser"))
    configs = json.loads((path / "configs.yaml").read_text())
    (path / "configs.yaml").write_text(json.dumps({"other": configs["mine"], **configs}))
    with pytest.raises(ConfigError, match="other, mine"):
        AlpacaEvalAnnotator(path=str(path), model=says("1"))
    judge = AlpacaEvalAnnotator(path=str(path), model=says("1"), name="mine")
    assert judge.annotate(pairs_of(CLEAN[:1]), seed=1)[0].annotator == "mine"
    with pytest.raises(ConfigError, match=r"no configs\.yaml"):
        AlpacaEvalAnnotator(path=str(tmp_path), model=says("1"))
