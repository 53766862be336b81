"""Run by the peer's Python: alpaca_eval 0.6.6 fits the length-controlled rate of every model.

    python length_control_peer.py ANNOTATIONS.parquet DIFFICULTY.csv GLM_NAME [GAMED.parquet]

Prints one JSON object per model: its rate, standard error, penalty, seconds and weights.
ANNOTATIONS and GAMED have the columns model, instruction_id, length_baseline, length_model and
preference in [1, 2]. alpaca_eval downloads its tables of difficulties and of the gamed baseline;
here they are made of these files. Answers are stand-ins of the recorded lengths, all that it reads
of them.
"""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from alpaca_eval.metrics import glm_winrate

warnings.filterwarnings("ignore")
annotations_path, difficulty_path, glm_name, *gamed_path = sys.argv[1:]
annotations = pd.read_parquet(annotations_path)
gamma = pd.read_csv(difficulty_path, index_col=0)["difficulty"]


def gamed_table() -> pd.DataFrame:
    """alpaca_eval's df_gamed.csv, from which it also takes the difficulties."""
    if not gamed_path:
        return pd.DataFrame({"index": gamma.index, "instruction_difficulty": gamma, "model": ""})
    rows = pd.read_parquet(*gamed_path)
    rows["delta"] = rows["length_baseline"] - rows["length_model"]
    return pd.DataFrame(
        {
            "model": rows["model"],
            "index": rows["instruction_id"],
            "preference": rows["preference"] - 1,
            "std_delta_len": rows["delta"] / rows.groupby("model")["delta"].transform("std"),
            "instruction_difficulty": gamma.loc[rows["instruction_id"]].to_numpy(),
            "not_gamed_baseline": False,
        }
    )


with tempfile.TemporaryDirectory() as folder:
    table = Path(folder) / "df_gamed.csv"
    gamed_table().to_csv(table, index=False)
    glm_winrate.hf_hub_download = lambda **_: str(table)
    fits = []
    fit = glm_winrate.fit_LogisticRegressionCV
    glm_winrate.fit_LogisticRegressionCV = lambda *args, **kwargs: (
        fits.append(fit(*args, **kwargs)) or fits[-1]
    )
    for model, rows in annotations.groupby("model", sort=False):
        pairs = pd.DataFrame(
            {
                "index": rows["instruction_id"].to_numpy(),
                "output_1": ["x" * length for length in rows["length_baseline"]],
                "output_2": ["x" * length for length in rows["length_model"]],
                "preference": rows["preference"].replace({0.0: 1.5}).to_numpy(),
                "generator_1": "baseline",
                "generator_2": model,
                "annotator": "judge",
            }
        )
        started = time.perf_counter()
        found = glm_winrate.get_length_controlled_winrate(
            pairs, glm_name=glm_name, save_weights_dir=None, is_warn_extreme_changes=False
        )
        seconds = time.perf_counter() - started
        names = ["length", "difficulty", "model"]
        kept = names if "minimal" not in glm_name else ["length", "model"]
        weights = dict(zip(kept, np.ravel(fits[-1].coef_).tolist(), strict=True))
        print(
            json.dumps(
                {
                    "model": model,
                    "value": float(found["length_controlled_winrate"]),
                    "published_standard_error": float(found["lc_standard_error"]),
                    "penalty_C": float(np.ravel(fits[-1].C_)[0]),
                    "seconds": seconds,
                    "weights": weights,
                }
            )
        )
