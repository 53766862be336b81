"""Annotation through a storm of failures, with one kill in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from farm.config import compose, plain
from farm.data.records import make_pair, user_instruction
from farm.types import Pair
from simulators.recorder import read_lines
from simulators.serve import SERVE
from simulators.serving.app import make_app
from simulators.serving.background import serving

COUNT = 240
STORM = (
    "annotators=longest", "faults.latency_s=0.02", "faults.rate_429=0.3",
    "faults.retry_after_s=0.02", "faults.rate_500=0.1", "faults.rate_timeout=0.05",
    "faults.hang_s=5", "faults.rate_reset=0.03", "faults.rate_garbage=0.05",
)  # fmt: skip
ANNOTATE = """
import json, sys
from farm.heartbeat import listening
from simulators.chat.cached import Cached
from simulators.chat.endpoint import Endpoint
from simulators.chat.limits import Limits, Patience
from simulators.chat.prices import Price
from simulators.judges.asking import Sampling
from simulators.judges.judge import Judge
from simulators.judges.parsers import Reasoned
from simulators.recorder import Recorder
from test_storm import storm_pairs

class Notes:
    notes = []
    def beat(self, done, metrics): pass
    def note(self, text): self.notes.append(text)

base_url, folder = sys.argv[1:]
endpoint = Endpoint(
    model="clean", base_url=base_url, api_key_env=None, price=Price(0.0, 0.0),
    limits=Limits(concurrency=16),
    patience=Patience(timeout_s=0.6, max_attempts=6, max_retry_s=60.0),
)
judge = Judge(
    name="judge", prompt="reasoned", parser=Reasoned(), sampling=Sampling(100), max_unparsed=0.2,
    model=Cached(model=endpoint, path=f"{folder}/replies.sqlite"),
)
with listening(Notes()):
    Recorder(annotator=judge, path=f"{folder}/judgments.jsonl").annotate(storm_pairs(), seed=0)
print(json.dumps(Notes.notes))
"""


def storm_pairs() -> list[Pair]:
    return [
        make_pair(user_instruction(f"task {n}"), "a" * (1 + n % 7), "b" * (1 + n % 5))
        for n in range(COUNT)
    ]


def annotate(base_url: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", ANNOTATE, base_url, str(folder)],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip


def test_every_pair_ends_with_a_verdict_or_a_reason(tmp_path: Path) -> None:
    with serving(make_app(plain(compose(STORM, SERVE)))) as base_url:

        def stats() -> dict[str, int]:
            counts: dict[str, int] = httpx2.get(base_url.removesuffix("/v1") + "/stats").json()
            return counts

        first = annotate(base_url, tmp_path)
        while stats()["answered"] < COUNT // 3:
            assert first.poll() is None
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=30)
        second = annotate(base_url, tmp_path)
        notes = json.loads(second.communicate(timeout=240)[0])
        counts = stats()
    assert second.returncode == 0
    judged = list(read_lines(tmp_path / "judgments.jsonl"))
    assert [pair for pair, _ in judged] == storm_pairs()  # order kept, every pair there
    verdicts = [judgment for _, judgment in judged]
    for pair, judgment in judged:
        sign = (len(pair.output_b) > len(pair.output_a)) - (len(pair.output_b) < len(pair.output_a))
        assert judgment.preference in (None, (1 + sign) / 2)
        assert (judgment.preference is None) == (judgment.error is not None)
    garbage = sum("no verdict" in (j.error or "") for j in verdicts)
    gave_up = sum("gave up after retries" in (j.error or "") for j in verdicts)
    assert garbage + gave_up == sum(j.preference is None for j in verdicts)
    assert 0.02 * COUNT < garbage < 0.1 * COUNT
    assert gave_up < 0.05 * COUNT
    assert all(counts[kind] > 0 for kind in ("429", "500", "hung", "reset", "garbage"))
    # What was recorded is not asked again: only what was in flight at the kill can have been
    # answered twice, and the note counts it.
    (note,) = notes
    lost = int(note.split()[0])
    assert 0 < lost <= 16
    assert counts["bodies_answered_again"] <= lost
