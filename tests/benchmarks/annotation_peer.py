"""Run by the peer's Python: alpaca_eval annotates the pairs of a file; prints seconds.

`python annotation_peer.py PAIRS.parquet BASE_URL CONCURRENCY`
"""

import os
import sys
import tempfile
import time

path, base_url, concurrency = sys.argv[1:]
os.environ |= {
    "OPENAI_API_KEY": "none",
    "OPENAI_API_BASE": base_url,
    "OPENAI_MAX_CONCURRENCY": concurrency,
    "IS_ALPACA_EVAL_2": "False",
}

import pandas as pd  # noqa: E402
from alpaca_eval.annotators import PairwiseAnnotator  # noqa: E402
from alpaca_eval.constants import EVALUATORS_CONFIG_DIR  # noqa: E402

rows = pd.read_parquet(path)
with tempfile.TemporaryDirectory() as folder:
    annotator = PairwiseAnnotator(
        annotators_config=EVALUATORS_CONFIG_DIR
        / "weighted_alpaca_eval_gpt4_turbo"
        / "configs.yaml",
        caching_path=f"{folder}/annotations.json",
    )
    started = time.perf_counter()
    annotated = annotator.annotate_pairs(rows[["instruction", "output_1", "output_2"]])
    assert sum(row["preference"] is not None for row in annotated) == len(rows)
    print(f"SECONDS {time.perf_counter() - started}")
