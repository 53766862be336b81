"""PPO throughput, ours against TRL 1.12's PPOTrainer: episodes per second.

    make bench-peers
    python tests/benchmarks/bench_ppo_throughput.py [--setting natural] [--rounds 3] [--steps 5]

Both sides learn from the same start policy, frozen reward model and prompts, with as many episodes
a step, epochs and minibatches; each in processes of its own on all cores, in turns, the first step
left out. Lengths are those of the start policy, which is taught here when to stop; the learning
rate is too small to change it. TRL runs with its default rollout batch and with all of a step's
rows at once; the faster one is compared. Settings:

- `natural`: 0.35 M parameters, answers of geometrically distributed length, mean below 20, at most
  53 tokens (TRL's default);
- `forced`: the same model, taught never to stop: 28 tokens for everyone;
- `medium`: 31 M parameters, mean below 50, at most 128 tokens; `medium-forced`: 128 for everyone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from taught import MAX_PROMPT_TOKENS, MEDIUM, TINY, Model, teach

from farm.data.records import write_instructions
from farm.seeds import seed_libraries

HERE = Path(__file__).parent
PEER = HERE.parents[1] / ".peers" / "trl-1.12" / "bin" / "python"


@dataclass(frozen=True)
class Setting:
    """What both sides do."""

    model: Model
    max_new_tokens: int
    mean_length: int | None
    """Of the distribution that is taught, in tokens; None: no end."""
    episodes_per_step: int
    minibatch_size: int
    epochs: int = 4
    learning_rate: float = 1e-7


SETTINGS = {
    "natural": Setting(TINY, 53, 15, 512, 128),
    "forced": Setting(TINY, 28, None, 512, 128),
    "medium": Setting(MEDIUM, 128, 40, 32, 16),
    "medium-forced": Setting(MEDIUM, 128, None, 32, 16),
}


def prepare(folder: Path, setting: Setting, steps: int) -> None:
    """Prompts, the start policy, the reward model and the setting, below `folder`."""
    from farm.models.load import load_reward_model, save_policy

    taught = teach(setting.model, setting.max_new_tokens, setting.mean_length)
    save_policy(taught.model, taught.tokenizer, folder / "policy")
    seed_libraries(0, "bench_ppo")
    scorer = load_reward_model(folder / "policy")
    save_policy(scorer, taught.tokenizer, folder / "reward_model")
    write_instructions(taught.instructions, folder / "instructions.parquet")
    keys = ("max_new_tokens", "episodes_per_step", "epochs", "minibatch_size", "learning_rate")
    told = {key: getattr(setting, key) for key in keys}
    told |= {"max_prompt_tokens": MAX_PROMPT_TOKENS, "steps": steps, "prompts": taught.prompts}
    (folder / "setting.json").write_text(json.dumps(told))


def run(command: list[str]) -> list[dict[str, float]]:
    """The steps of one side, once."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    steps: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return steps


def sides_of(folder: str, episodes: int) -> dict[str, list[str]]:
    """Everyone's command, by name."""
    ours = [sys.executable, str(HERE / "ppo_farm.py"), folder]
    cores = str(os.cpu_count())
    sides = {
        "farm, one process": [*ours, "trunk", "1"],
        f"farm, {cores} ranks": [*ours, "trunk", cores],
        "farm, one process, separate critic": [*ours, "critic", "1"],
    }
    if not PEER.exists():
        print(f"{PEER} is missing: run `make bench-peers` to compare with TRL.")
        return sides
    theirs = [str(PEER), str(HERE / "ppo_trl.py"), folder]
    batches = sorted({min(64, episodes), episodes})
    return sides | {f"TRL 1.12, rollout batch {b}": [*theirs, str(b)] for b in batches}


def main() -> None:
    """Measure in turns, print one markdown row for each side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=["natural", "forced"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    for name in options.setting:
        print(f"\n{name}\n", flush=True)
        measure(SETTINGS[name], options.rounds, options.steps)


def measure(setting: Setting, rounds: int, steps: int) -> None:
    """One setting, from preparing it to its table."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), setting, steps)
        sides = sides_of(folder, setting.episodes_per_step)
        found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, command in sides.items():
                found[side] += run(command)
                print(f"{side}: {found[side]}", file=sys.stderr, flush=True)
    report(found, setting.episodes_per_step)


def report(steps: dict[str, list[dict[str, float]]], episodes: int) -> None:
    """Medians over all steps, as a markdown table, and the ratios to TRL's faster setting."""
    print("| side | episodes/s | mean length | steps |")
    print("| --- | ---: | ---: | ---: |")
    rates = {}
    for side, measured in steps.items():
        wall_s, length = (
            statistics.median(step[key] for step in measured) for key in ("wall_s", "length")
        )
        rates[side] = episodes / wall_s
        print(f"| {side} | {rates[side]:.1f} | {length:.1f} | {len(measured)} |")
    peers = [rate for side, rate in rates.items() if side.startswith("TRL")]
    for side, rate in rates.items():
        if peers and side.startswith("farm"):
            print(f"{side}: {rate / max(peers):.1f} times TRL 1.12")


if __name__ == "__main__":
    main()
