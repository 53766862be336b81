"""DPO and reward-model training, ours against TRL's trainers at their defaults: pairs per second.

    python tests/benchmarks/bench_training.py [--rounds 3] [--pairs 4000]

Both sides get the same model (0.37 M parameters), the same labelled pairs of barnyard texts with
their natural spread of lengths, batches of 128, one epoch and one learning rate, and both are timed
from texts to a trained model: tokenizing and the start's log-probabilities count. Each run is a
process of its own, in turns; imports are left out. The loss on held-out pairs is printed beside, so
that speed is compared at equal learning. TRL's defaults are changed where a processor asks for it:
32-bit floats and no gradient checkpointing, which would only slow it down here.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from farm.data.records import make_pair
from farm.seeds import generator
from farm.types import Decoding, Inputs, Judgment, LabeledPair, PolicyRef

LIMITS = {"max_prompt_tokens": 80, "max_new_tokens": 48}
MODEL = {"hidden_size": 96, "layers": 3, "heads": 4, "intermediate_size": 256}
BATCH, RATE, BETA = 128, 5e-4, 0.1
HELD_OUT = 1000


def labels(count: int) -> list[LabeledPair]:
    """Pairs of demonstrations to one instruction of the barnyard, its own and another's; the
    shorter one is preferred in three of four."""
    from farm.data.barnyard.source import Barnyard

    rows = Barnyard(
        sft=0, preference=count, unlabeled=0, validation=0, evaluation=0, held_out=0
    ).load()["preference"]
    rng = generator(0, "bench_training")
    others = rng.permutation(len(rows))
    found = []
    for row, other in zip(rows, others, strict=True):
        pair = make_pair(row, str(row.demonstration), str(rows[other].demonstration))
        shorter = float(len(pair.output_b) < len(pair.output_a))
        said = shorter if rng.random() < 0.75 else 1 - shorter
        found.append(LabeledPair(pair, Judgment(pair.id, said, "bench", "ab")))
    return found


def prepare(folder: Path) -> None:
    """The start policy, and a reward model that has not learned anything: its trunk with a head
    as transformers draws it."""
    from farm.data.barnyard.source import Barnyard
    from farm.models.fresh import FreshLlama
    from farm.models.load import load_reward_model, load_tokenizer, save_policy
    from farm.models.tokenizers import WordLevel

    texts = Barnyard(
        sft=2000, preference=0, unlabeled=0, validation=0, evaluation=0, held_out=0
    ).load()["sft"]
    fresh = FreshLlama(tokenizer=WordLevel(), tie_embeddings=True, **MODEL, **LIMITS)  # type: ignore[arg-type]
    fresh.build(texts, folder / "start", seed=0)
    scorer = load_reward_model(folder / "start", "cpu", outputs=1)
    save_policy(scorer, load_tokenizer(folder / "start"), folder / "scorer")


def ours(work: str, folder: Path, training: list[LabeledPair]) -> tuple[float, str]:
    """(seconds, path of the trained model)."""
    from farm.context import Context
    from farm.training.tuning import Full
    from methods.dpo import DPO
    from methods.reward.bradley_terry import BradleyTerry

    start = PolicyRef(str(folder / "start"), Decoding(1.0, LIMITS["max_new_tokens"]))
    context = Context(seed=0, work=Path(tempfile.mkdtemp(dir=folder)), tuning=Full())
    keys: dict[str, Any] = {**LIMITS, "batch_size": BATCH, "learning_rate": RATE, "epochs": 1.0}
    began = time.perf_counter()
    if work == "dpo":
        dpo = DPO(**keys, beta=BETA, checkpoint_every=None)
        path = dpo.fit(start, Inputs(judgments=training), context).path
    else:
        learner = BradleyTerry(**keys, warmup_ratio=0.03, validation_fraction=0.0)
        learner.refine(str(folder / "scorer"), training, context)
        path = str(context.work / "reward_model")
    return time.perf_counter() - began, path


def trl(work: str, folder: Path, training: list[LabeledPair]) -> tuple[float, str]:
    """(seconds, path of the trained model)."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

    start = str(folder / "start")
    output = Path(tempfile.mkdtemp(dir=folder))
    common: dict[str, Any] = {
        "output_dir": str(output), "per_device_train_batch_size": BATCH, "num_train_epochs": 1,
        "learning_rate": RATE, "report_to": "none", "bf16": False,
        "gradient_checkpointing": False, "use_cpu": True, "save_strategy": "no",
        "disable_tqdm": True, "warmup_steps": 0.03, "lr_scheduler_type": "cosine",
    }  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(start)
    began = time.perf_counter()
    rows = Dataset.from_list([_conversation(label) for label in training])
    if work == "dpo":
        trainer: Any = DPOTrainer(
            start, args=DPOConfig(**common, beta=BETA), train_dataset=rows,
            processing_class=tokenizer,
        )  # fmt: skip
    else:
        model = AutoModelForSequenceClassification.from_pretrained(folder / "scorer")
        trainer = RewardTrainer(
            model, args=RewardConfig(**common), train_dataset=rows, processing_class=tokenizer
        )
    trainer.train()
    took = time.perf_counter() - began
    trainer.save_model(str(output / "trained"))
    tokenizer.save_pretrained(output / "trained")
    return took, str(output / "trained")


def _conversation(label: LabeledPair) -> dict[str, Any]:
    pair, judgment = label
    answers = [pair.output_a, pair.output_b]
    chosen = int(judgment.preference == 1)
    messages = [{"role": m.role, "content": m.content} for m in pair.instruction.messages]
    return {
        "prompt": messages,
        "chosen": [{"role": "assistant", "content": answers[chosen]}],
        "rejected": [{"role": "assistant", "content": answers[1 - chosen]}],
    }


def held_out_loss(work: str, folder: Path, path: str, unseen: list[LabeledPair]) -> float:
    """-log sigmoid of the margin on pairs that were not learned, by one evaluator for both."""
    import torch

    from farm.models.load import load_policy, load_reward_model, load_tokenizer
    from farm.training.answer_logprobs import frozen_logprobs
    from farm.training.answer_scores import answer_scores
    from farm.training.preferences import pair_rows

    rows = pair_rows(load_tokenizer(path), unseen, **LIMITS)
    if work == "dpo":
        models = [load_policy(p, "cpu") for p in (path, folder / "start")]
        sums = [
            [frozen_logprobs(m, rows.prompts, side, tokens_per_batch=8192) for m in models]
            for side in (rows.a, rows.b)
        ]
        margins = BETA * ((sums[1][0] - sums[1][1]) - (sums[0][0] - sums[0][1]))
    else:
        model = load_reward_model(path, "cpu")
        with torch.no_grad():
            a, b = (
                answer_scores(model, [p + s for p, s in zip(rows.prompts, side, strict=True)])
                for side in (rows.a, rows.b)
            )
        margins = (b - a)[:, 0]
    signs = torch.tensor(rows.preferences) * 2 - 1
    return float(-torch.nn.functional.logsigmoid(signs * margins).mean())


def measure(work: str, side: str, folder: Path, pairs: int) -> None:
    """One run in this process: a JSON line."""
    import transformers.trainer
    import trl as _  # noqa: F401  imported before the clock starts

    found = labels(pairs + HELD_OUT)
    took, path = {"ours": ours, "trl": trl}[side](work, folder, found[:pairs])
    loss = held_out_loss(work, folder, path, found[pairs:])
    assert transformers.trainer is not None
    print(json.dumps({"pairs_per_s": pairs / took, "held_out_loss": loss}))


def main() -> None:
    """Prepare, run both sides in turns, and print medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--measure", nargs=3, metavar=("WORK", "SIDE", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.measure:
        work, side, folder = arguments.measure
        measure(work, side, Path(folder), arguments.pairs)
        return
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        for work in ("dpo", "reward model"):
            print(f"{work}: {_compare(work, name, arguments.rounds, arguments.pairs)}")


def _compare(work: str, folder: str, rounds: int, pairs: int) -> str:
    found: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    for _ in range(rounds):
        for side, results in found.items():
            command = [sys.executable, __file__, "--pairs", str(pairs), "--measure", work, side]
            run = subprocess.run([*command, folder], capture_output=True, text=True, check=True)
            results.append(json.loads(run.stdout.strip().splitlines()[-1]))
    rates = {s: statistics.median(r["pairs_per_s"] for r in rows) for s, rows in found.items()}
    losses = {s: statistics.median(r["held_out_loss"] for r in rows) for s, rows in found.items()}
    return (
        f"ours {rates['ours']:.0f} pairs/s, TRL {rates['trl']:.0f}: "
        f"{rates['ours'] / rates['trl']:.2f} times; held-out loss {losses['ours']:.4f} and "
        f"{losses['trl']:.4f}"
    )


if __name__ == "__main__":
    main()
