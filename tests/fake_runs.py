"""Folders that look like finished runs, without running anything."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from farm.evaluation.curve import curve_frame, final_frame
from farm.evaluation.summary import summarize
from farm.seeds import generator

HOSTILE = "<script>alert(1)</script> & [bold]markup[/bold]"
STEPS = (0, 10, 20, 30, 40, 50, 60)
CONFIG = """\
seed: {seed}
name: {name}
start: sft
data:
  _target_: farm.data.barnyard.source.Barnyard
  gold: {{_target_: farm.data.barnyard.gold.Gold, correctness: 1.0}}
  headline_excludes: [unseen]
method:
  _target_: methods.{method}.Method
  kl_coefficient: {kl}
"""


def write_run(
    folder: Path,
    *,
    method: str = "ppo",
    name: str | None = None,
    seed: int = 0,
    kl: float = 0.15,
    instructions: int = 150,
    has_gold: bool = True,
) -> Path:
    """A run whose proxy rises throughout while gold turns over at step 30."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        CONFIG.format(seed=seed, method=method, name=name or method, kl=kl)
    )
    items = pd.concat(
        [_items(step, seed, instructions, "validation", has_gold) for step in STEPS],
        ignore_index=True,
    )
    curve = curve_frame([_curve_row(step, items, seed) for step in STEPS])
    curve.to_parquet(folder / "curve.parquet", index=False)
    items.to_parquet(folder / "curve_items.parquet", index=False)
    learned = pd.concat(
        [
            _items(step, seed, instructions, "evaluation", has_gold).assign(role=role)
            for role, step in (("selected", 30), ("last", 60))
        ],
        ignore_index=True,
    )
    learned.to_parquet(folder / "final_items.parquet", index=False)
    _final(learned, seed, instructions, has_gold).to_parquet(folder / "final.parquet", index=False)
    _samples(learned).to_parquet(folder / "samples.parquet", index=False)
    _write_metrics(folder / "metrics.jsonl")
    (folder / "run.json").write_text(json.dumps(_info(name or method, method, seed)))
    return folder


def _items(step: int, seed: int, count: int, split: str, has_gold: bool) -> pd.DataFrame:
    world = generator(0, "fake", split, count)
    rng = generator(seed, "fake", split, step, count)
    shift = rng.normal(0, 0.02)
    reference = world.normal(0, 0.7, count)
    gold = reference + shift + step / 25 * (1 - step / 70) + rng.normal(0, 0.5, count)
    expectation = 1 / (1 + np.exp(-2.5 * (gold - reference)))
    none = np.full(count, np.nan)
    return pd.DataFrame(
        {
            "instruction_id": [f"{split}-{i}" for i in range(count)],
            "category": ["unseen" if i % 10 == 0 else "sort" for i in range(count)],
            "output": [HOSTILE if i == 0 else f"the hens , the cows {i}" for i in range(count)],
            "stopped": True,
            "preference": (rng.random(count) < expectation).astype(float),
            "expectation": expectation,
            "held_out": 0.9 * expectation,
            "gold": gold if has_gold else none,
            "gold_reference": reference if has_gold else none,
            "proxy": gold + step / 30,
            "proxy_reference": reference,
            "length": rng.integers(10, 60, count),
            "length_reference": world.integers(10, 60, count),
            "kl": np.where(np.arange(count) < count // 2, step / 25, np.nan),
            "step": step,
        }
    )


def _headline(items: pd.DataFrame) -> pd.DataFrame:
    return items[items["category"] != "unseen"]


def _curve_row(step: int, items: pd.DataFrame, seed: int) -> dict[str, Any]:
    training = {"step": step, "episodes": 512 * step, "wall_s": 1.7 * step}
    bill = {"judgments_used": 22000, "cost_usd": 0.0}
    return {**summarize(_headline(items[items["step"] == step]), seed=seed), **training, **bill}


def _final(learned: pd.DataFrame, seed: int, count: int, has_gold: bool) -> pd.DataFrame:
    start = _headline(_items(0, seed, count, "evaluation", has_gold))
    tie = start.assign(preference=0.5, expectation=0.5, held_out=0.5, gold=start["gold_reference"])
    rows: list[dict[str, Any]] = [
        {**summarize(tie, seed=seed), "name": "start at temperature 0.3", "role": "reference"},
        {**summarize(start, seed=seed), "name": "start at temperature 1", "role": "start"},
        {**summarize(start, seed=seed), "name": "start, longest answer", "role": "control"},
    ]
    for role, step in (("selected", 30), ("last", 60)):
        summary = summarize(_headline(learned[learned["role"] == role]), seed=seed)
        rows.append({**summary, "name": f"{role} (step {step})", "role": role, "step": step})
    unseen = learned[(learned["role"] == "selected") & (learned["category"] == "unseen")]
    name = "selected, only unseen family unseen"
    rows.append({**summarize(unseen, seed=seed), "name": name, "role": "excluded"})
    return final_frame(rows)


def _samples(learned: pd.DataFrame) -> pd.DataFrame:
    rows = learned[learned["role"] == "selected"].head(20)
    return rows.assign(
        instruction=[f"sort {i} : the cow , the hen \n{HOSTILE}" for i in range(len(rows))],
        output_reference="the hen",
    )[
        [
            "instruction", "category", "output_reference", "output", "expectation", "preference",
            "held_out", "gold_reference", "gold", "length_reference", "length",
        ]
    ]  # fmt: skip


def _write_metrics(path: Path) -> None:
    lines = [
        {"stage": stage, "step": step, "loss": 1 / step, "time_s": 1e9 + step}
        for stage in ("sft", "ppo")
        for step in range(1, 4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _info(name: str, method: str, seed: int) -> dict[str, Any]:
    def stage(label: str, stage: str, wall_s: float, reused: bool = False) -> dict[str, Any]:
        key = f"{label}-key"
        return {"label": label, "stage": stage, "key": key, "wall_s": wall_s, "reused": reused}

    return {
        "name": name,
        "method": method,
        "seed": seed,
        "status": "finished",
        "config_key": f"{method}-{seed}",
        "selected_step": 30,
        "last_step": 60,
        "reference": {
            "description": "the start policy at temperature 0.3, its best by the pool",
            "path": "store/policy/sft",
            "temperature": 0.3,
        },
        "stages": [
            stage("sft", "policy", 0.0, reused=True),
            stage("judgments", "judgments", 0.0, reused=True),
            stage("reward", "reward", 70.26),
            stage(method, "policy", 105.0),
            stage("sft", "policy", 0.0, reused=True),
            stage("step 10 on validation", "outputs", 1.5),
            stage("step 20 on validation", "outputs", 2.5),
        ],
        "labels": 22000,
        "cost_usd": 0.0,
        "versions": {"python": "3.11.9", "torch": "2.13.0"},
        "warnings": ["The annotators also judge, so win rates may show what judges like."],
        "reward_model": {"validation": {"accuracy": 0.734, "pairs": 2000}},
    }
