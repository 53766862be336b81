"""TRL's side of `bench_ppo_throughput.py`, run in its own environment:
`.peers/trl-1.12/bin/python ppo_trl.py FOLDER ROLLOUT_BATCH`.

Writes one JSON line as `ppo_farm.py` does. What is not TRL's default: 32-bit floats without
gradient checkpointing, since both only cost time here; temperature 1 and stopping at the end
token, so that answers have the same lengths; no sample generations and no saving in between.
"""

import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer


class Clock(TrainerCallback):
    """Reads the clocks at every step's end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    """Train, with a clock at every step's end."""
    folder, rollout_batch = Path(sys.argv[1]), int(sys.argv[2])
    setting = json.loads((folder / "setting.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    policy, start = (AutoModelForCausalLM.from_pretrained(folder / "policy") for _ in range(2))
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(folder / "reward_model")
        for _ in range(2)
    )
    episodes = setting["episodes_per_step"]
    clock = Clock()
    with tempfile.TemporaryDirectory() as output:
        trainer = PPOTrainer(
            PPOConfig(
                output_dir=output,
                per_device_train_batch_size=episodes,
                num_mini_batches=episodes // setting["minibatch_size"],
                num_ppo_epochs=setting["epochs"],
                total_episodes=episodes * setting["steps"],
                learning_rate=setting["learning_rate"],
                response_length=setting["max_new_tokens"],
                local_rollout_forward_batch_size=rollout_batch,
                temperature=1.0,
                stop_token="eos",
                bf16=False,
                gradient_checkpointing=False,
                num_sample_generations=0,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            ),
            processing_class=tokenizer,
            model=policy,
            ref_model=start,
            reward_model=reward,
            value_model=value,
            train_dataset=Dataset.from_dict({"input_ids": setting["prompts"]}),
            eval_dataset=Dataset.from_dict({"input_ids": setting["prompts"][:episodes]}),
            callbacks=[clock],
        )
        lengths = _watch_lengths(trainer, tokenizer)
        trainer.train()
    print(json.dumps([
        {"wall_s": b - a, "length": length}
        for (a, b), length in zip(itertools.pairwise(clock.ends), lengths[1:], strict=True)
    ]))  # fmt: skip


def _watch_lengths(trainer: Any, tokenizer: Any) -> list[float]:
    """Mean answer lengths by step, counted up to each row's first end token."""
    from trl.experimental.ppo import ppo_trainer

    lengths: list[float] = []
    generate = ppo_trainer.batch_generation

    def watched(model: Any, queries: Any, *args: Any) -> Any:
        found, logits = generate(model, queries, *args)
        answers = found[:, queries.shape[1] :]
        ended = (answers == tokenizer.eos_token_id).int().cumsum(1)
        lengths.append(
            float(((ended - (answers == tokenizer.eos_token_id).int()) == 0).sum(1).float().mean())
        )
        return found, logits

    ppo_trainer.batch_generation = watched
    return lengths


if __name__ == "__main__":
    main()
