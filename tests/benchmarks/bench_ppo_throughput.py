"""PPO throughput, ours against TRL 1.12's PPOTrainer: episodes per second at natural stopping.

    make bench-peers && python tests/benchmarks/bench_ppo_throughput.py [--rounds 3] [--steps 5]

Both sides learn from the same start policy, frozen reward model and prompts, with as many episodes
a step, epochs and minibatches; each in a process of its own, in turns, the first step left out.
Lengths are those of the start policy, which was taught here to stop after a geometrically
distributed number of tokens; the learning rate is too small to change it. TRL runs with its
default rollout batch and with all of a step's rows at once; the faster one is compared.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from farm.data.records import user_instruction, write_instructions
from farm.seeds import generator, seed_libraries

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".peers" / "trl-1.12" / "bin" / "python"
WORDS = [f"w{number}" for number in range(90)]
SETTING = {
    "max_prompt_tokens": 48,
    "max_new_tokens": 53,  # TRL's default response_length
    "episodes_per_step": 512,
    "epochs": 4,
    "minibatch_size": 128,
    "learning_rate": 1e-7,
}
MEAN_LENGTH = 15
MODEL = {"hidden_size": 96, "layers": 3, "heads": 4, "intermediate_size": 256}


def prepare(folder: Path, steps: int) -> None:
    """Prompts, the start policy, the reward model and the setting, below `folder`."""
    from farm.models import chat
    from farm.models.fresh import FreshLlama
    from farm.models.load import load_policy, load_reward_model, load_tokenizer, save_policy
    from farm.models.tokenizers import WordLevel

    rng = generator(0, "bench_ppo")
    texts = [" ".join(rng.choice(WORDS, rng.integers(10, 30))) for _ in range(2048)]
    instructions = [user_instruction(text) for text in texts]
    everything = user_instruction(" ".join(WORDS), demonstration=" ".join(WORDS))
    limits = {key: SETTING[key] for key in ("max_prompt_tokens", "max_new_tokens")}
    fresh = FreshLlama(tokenizer=WordLevel(), tie_embeddings=True, **MODEL, **limits)  # type: ignore[arg-type]
    path = fresh.build([everything], folder / "fresh", seed=0)
    tokenizer, model = load_tokenizer(path), load_policy(path)
    prompts = chat.prompts_ids(tokenizer, [i.messages for i in instructions], max_prompt_tokens=48)
    _teach_to_stop(model, tokenizer, prompts, rng)
    save_policy(model, tokenizer, folder / "policy")
    seed_libraries(0, "bench_ppo")
    save_policy(load_reward_model(folder / "policy"), tokenizer, folder / "reward_model")
    write_instructions(instructions, folder / "instructions.parquet")
    setting = {**SETTING, "steps": steps, "prompts": prompts}
    (folder / "setting.json").write_text(json.dumps(setting))


def _teach_to_stop(
    model: Any, tokenizer: Any, prompts: list[list[int]], rng: np.random.Generator
) -> None:
    """A few steps on random words of geometrically distributed number."""
    import torch

    from farm.generation.logprobs import predict, response_batch, token_logprobs
    from farm.models import chat

    words = [token for token in range(len(tokenizer)) if token not in tokenizer.all_special_ids]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(80):
        asked = [prompts[i] for i in rng.integers(0, len(prompts), 64)]
        sizes = np.minimum(rng.geometric(1 / MEAN_LENGTH, 64), SETTING["max_new_tokens"])
        answers = [[*rng.choice(words, n - 1), chat.end_id(tokenizer)] for n in sizes]
        batch = response_batch(model, asked, answers)
        loss = -token_logprobs(predict(model, batch).logits_N_V, batch.tokens_N).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def run(command: list[str]) -> list[dict[str, float]]:
    """The steps of one side, once."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    steps: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return steps


def main() -> None:
    """Measure in turns, print one markdown row for each side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options.steps)
        ours = [sys.executable, str(HERE / "ppo_farm.py"), name]
        sides = {"farm, value head on the trunk": [*ours, "trunk"],
                 "farm, separate critic": [*ours, "critic"]}  # fmt: skip
        if PEER.exists():
            theirs = [str(PEER), str(HERE / "ppo_trl.py"), name]
            sides |= {"TRL 1.12, rollout batch 64": [*theirs, "64"],
                      "TRL 1.12, rollout batch 512": [*theirs, "512"]}  # fmt: skip
        else:
            print(f"{PEER} is missing: run `make bench-peers` to compare with TRL.")
        steps: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side, command in sides.items():
                steps[side] += run(command)
                print(f"{side}: {steps[side]}", file=sys.stderr, flush=True)
    report(steps)


def report(steps: dict[str, list[dict[str, float]]]) -> None:
    """Medians over all steps, as a markdown table, and the ratios to TRL's faster setting."""
    episodes = SETTING["episodes_per_step"]
    print("| side | episodes/s | episodes per processor second | mean length | steps |")
    print("| --- | --- | --- | --- | --- |")
    rates = {}
    for side, measured in steps.items():
        wall_s, cpu_s, length = (
            statistics.median(step[key] for step in measured)
            for key in ("wall_s", "cpu_s", "length")
        )
        rates[side] = episodes / wall_s
        print(
            f"| {side} | {rates[side]:.0f} | {episodes / cpu_s:.0f} | {length:.1f} "
            f"| {len(measured)} |"
        )
    peers = [rate for side, rate in rates.items() if side.startswith("TRL")]
    for side, rate in rates.items():
        if peers and side.startswith("farm"):
            print(f"{side}: {rate / max(peers):.1f} times TRL 1.12")


if __name__ == "__main__":
    main()
