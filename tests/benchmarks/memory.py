"""The memory table's arithmetic against measured peaks, at sizes that fit this machine.

    python tests/benchmarks/memory.py

Each row is a process of its own that takes one step of SFT's loss with AdamW on `TOKENS` tokens,
all of them learned from, in 32 bits; measured is the growth of its peak resident memory from before
the model was there.
"""

import json
import resource
import subprocess
import sys

from farm.memory import GIB, Shape, Training

SHAPES = {
    "20 M": Shape("20 M", 6, 384, 1024, 6, 6, 8192, tied=True),
    "60 M": Shape("60 M", 8, 640, 1792, 10, 10, 16384, tied=True),
    "160 M": Shape("160 M", 12, 896, 2432, 14, 14, 32768, tied=True),
}
TOKENS = 2048
ROW_LENGTH = 256
TUNINGS = {"full": None, "LoRA 16": 16}


def measure(name: str, tuning: str, checkpointing: bool) -> None:
    """One step; the growth of the peak in bytes, as a JSON line."""
    import torch
    from torch.optim import AdamW
    from transformers import LlamaConfig, LlamaForCausalLM

    from farm.models.adapters import add_lora

    shape = SHAPES[name]
    torch.manual_seed(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = LlamaForCausalLM(
        LlamaConfig(
            num_hidden_layers=shape.layers, hidden_size=shape.hidden,
            intermediate_size=shape.intermediate, num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads, vocab_size=shape.vocabulary,
            tie_word_embeddings=shape.tied, attn_implementation="sdpa",
        )
    )  # fmt: skip
    rank = TUNINGS[tuning]
    if rank is not None:
        model = add_lora(model, rank=rank, alpha=2 * rank, targets="all-linear")
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    ids = torch.randint(0, shape.vocabulary, (TOKENS // ROW_LENGTH, ROW_LENGTH))
    for _ in range(2):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"bytes": (peak - before) * 1024}))


def main() -> None:
    """A table: computed beside measured."""
    if len(sys.argv) > 1:
        name, tuning, checkpointing = sys.argv[1:]
        measure(name, tuning, checkpointing == "True")
        return
    print("| model | tuning | checkpointing | computed GiB | measured GiB | ratio |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for name, shape in SHAPES.items():
        for tuning, rank in TUNINGS.items():
            for checkpointing in (False, True):
                training = Training(TOKENS, TOKENS, "float32", rank, checkpointing)
                computed = training.memory(shape)._replace(anchor=0).peak
                run = subprocess.run(
                    [sys.executable, __file__, name, tuning, str(checkpointing)],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                measured = json.loads(run.stdout.strip().splitlines()[-1])["bytes"]
                print(
                    f"| {name} | {tuning} | {'yes' if checkpointing else 'no'} | "
                    f"{computed / GIB:.2f} | {measured / GIB:.2f} | {measured / computed:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
