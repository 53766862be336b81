"""What a dry run says that annotation will take."""

from pathlib import Path

from farm.artifacts import Store
from farm.builder import Planner
from farm.config import build, compose, plain, unpaid
from farm.console import Console
from farm.data.records import make_pair, user_instruction
from farm.estimate import estimates
from farm.pipeline import Pipeline
from farm.settings import Settings
from simulators.chat.quote import NOT_ASKED

SMOKE = ("experiment=smoke", "annotators=judge", "annotators.train.p=0.0")


def estimated(tmp_path: Path, *overrides: str) -> list[str]:
    config = plain(compose([*SMOKE, f"runs_dir={tmp_path}/runs", *overrides]))
    settings = Settings.from_plain(config)
    planner = Planner(Store(tmp_path / "store"), Console())
    pipeline = Pipeline(config, settings, planner)
    return [str(estimate) for estimate in estimates(config, settings, pipeline)]


def test_requests_tokens_and_dollars_are_estimated_without_asking(tmp_path: Path) -> None:
    """No key is set and no server is there: nothing can have been asked."""
    labels, *measuring, judging = estimated(tmp_path)
    assert "128 pairs, 128 requests" in labels and "at most $0." in labels
    assert "answers not sampled yet" in labels
    assert "16 pairs, 16 requests" in judging
    assert len(measuring) == 2  # the reward model, by `train` and by `clean`
    assert all("reward model" in m and "16 pairs" in m for m in measuring)
    several = estimated(tmp_path, "annotators=alpaca_farm")  # the later choice of a group wins
    requests = int(several[0].split("pairs, ")[1].split(" requests")[0])
    assert 128 / 13 * 5 < requests < 128  # batches of four and five share requests


def test_an_unknown_price_is_said_not_counted_as_nothing(tmp_path: Path) -> None:
    labels, *_ = estimated(tmp_path, "endpoints.strong.model.model=nobody-knows")
    assert "price not known" in labels and "$0" not in labels


def test_feedback_is_estimated_by_its_budget(tmp_path: Path) -> None:
    learner = ["method=online_dpo", "method.judgments=300", "method.episodes_per_step=32"]
    feedback, judging = estimated(tmp_path, *learner)  # no labels, no reward model
    assert "feedback while learning (annotators.train): 300 pairs" in feedback
    assert "judging one policy" in judging


def test_programs_are_free_and_give_no_estimate(tmp_path: Path) -> None:
    assert estimated(tmp_path, "annotators=barnyard") == []


def test_a_dry_run_writes_and_spends_nothing(tmp_path: Path) -> None:
    node = {
        "_target_": "simulators.recorder.Recorder",
        "path": f"{tmp_path}/judgments.jsonl",
        "annotator": {
            "_target_": "simulators.judges.judge.Judge",
            "name": "judge",
            "prompt": "letter",
            "parser": {"_target_": "simulators.judges.parsers.Letter"},
            "sampling": {"max_tokens": 1},
            "model": {
                "_target_": "simulators.chat.cached.Cached",
                "path": f"{tmp_path}/replies.sqlite",
                "model": {
                    "_target_": "simulators.chat.budget.Budget",
                    "ledger": f"{tmp_path}/ledger.sqlite",
                    "calls": 3,
                    "model": {"_target_": "simulators.chat.endpoint.Endpoint", "model": "m"},
                },
            },
        },
    }
    pair = make_pair(user_instruction("x"), "a", "b")
    (judgment,) = build(unpaid(node)).annotate([pair], seed=0)
    assert judgment.error == NOT_ASKED
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_loads_no_local_model(tmp_path: Path) -> None:
    """There are no weights in the folder: loading them would fail."""
    (tmp_path / "model").mkdir()
    node = {
        "_target_": "simulators.judges.judge.Judge",
        "name": "judge",
        "prompt": "letter",
        "parser": {"_target_": "simulators.judges.parsers.Letter"},
        "sampling": {"max_tokens": 1},
        "model": {"_target_": "simulators.chat.local.LocalModel", "path": f"{tmp_path}/model"},
    }
    pair = make_pair(user_instruction("x"), "a", "b")
    (judgment,) = build(unpaid(node)).annotate([pair], seed=0)
    assert (judgment.error, judgment.cost_usd) == (NOT_ASKED, 0.0)
