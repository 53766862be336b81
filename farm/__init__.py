"""The sandbox: nouns, protocols, stages, artefacts, cluster, evaluation."""

import os

# Read by the Hugging Face libraries and vLLM when they are imported: they report to nobody, draw no
# bars among ours, and keep their advice to themselves. A value that the user set stays.
for _name, _value in {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_NO_USAGE_STATS": "1",
}.items():
    os.environ.setdefault(_name, _value)
