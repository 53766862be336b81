"""How much memory learning takes, computed from a model's shape: `python -m farm.memory`.

Of one rank, in bytes. Weights are held in 32 bits, whatever the precision of products. Ranks hold
whole copies, so that more of them do not make it less, or with `cluster.sharded=true` a part each.

- weights 4 P, of all P parameters; the KL anchor another 4 P where everything learns, nothing
  beside adapters, which are switched off for it;
- gradients 4 T and AdamW's two moments 8 T, of the T parameters that learn;
- activations that wait for the way back: 11 h + 4 f numbers per token of a layer of width h with
  feed-forward width f, as counted of what autograd keeps of transformers' Llama (attention scores
  are not kept); with gradient checkpointing each layer's input and one layer's activations;
- logits of the tokens that are learned from, in 32 bits, three times: themselves, their
  log-softmax and its gradient.

Sharded over N ranks, weights, anchor, gradients and moments are an Nth each. During an update a
rank gathers embeddings and output layer and, at a time, two layers, with their gradients; while
answers are drawn the whole policy, 4 P, when gradients, activations and logits are not there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

GIB = 2**30


@dataclass(frozen=True)
class Shape:
    """A decoder of Llama's kind: grouped-query attention, gated feed-forward layers."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    tied: bool
    """Whether the output layer is the embedding."""
    attention_bias: bool = False
    """Of queries, keys and values, as in Qwen2."""

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of one layer's matrices."""
        h, f = self.hidden, self.intermediate
        kv = h // self.heads * self.key_value_heads
        return [(h, h), (h, kv), (h, kv), (h, h), (h, f), (h, f), (f, h)]

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.layers * self.layer + self.embeddings + self.hidden

    @property
    def layer(self) -> int:
        """Those of one layer."""
        bias = sum(outputs for _, outputs in self.linears[:3]) if self.attention_bias else 0
        return sum(i * o for i, o in self.linears) + bias + 2 * self.hidden

    @property
    def embeddings(self) -> int:
        """Those of the embeddings and the output layer."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def lora_parameters(self, rank: int) -> int:
        """Of adapters at every linear layer of the trunk."""
        return self.layers * sum(rank * (i + o) for i, o in self.linears)


SHAPES = (
    Shape("Qwen2.5 0.5B", 24, 896, 4864, 14, 2, 151936, tied=True, attention_bias=True),
    Shape("Qwen2.5 1.5B", 28, 1536, 8960, 12, 2, 151936, tied=True, attention_bias=True),
    Shape("Llama 3.1 8B", 32, 4096, 14336, 32, 8, 128256, tied=False),
    Shape("Llama 3.1 70B", 80, 8192, 28672, 64, 8, 128256, tied=False),
)

Precision = Literal["float32", "bfloat16"]
LORA_RANK = 16
SHARDS = 8


class Memory(NamedTuple):
    """Bytes of one rank."""

    weights: int
    anchor: int
    optimizer: int
    gradients: int
    activations: int
    logits: int
    gathered: int
    """From other ranks during an update, with its gradients."""
    drawing: int
    """Gathered while answers are drawn, when the four before it are not there."""

    @property
    def peak(self) -> int:
        """The most that is there at one time."""
        update = self.gradients + self.activations + self.logits + self.gathered
        return self.weights + self.anchor + self.optimizer + max(update, self.drawing)


@dataclass(frozen=True)
class Training:
    """How a model learns."""

    tokens: int
    """In one forward pass (`tokens_per_batch`)."""
    learned_tokens: int
    """Of them those whose logits are computed: answers."""
    precision: Precision
    lora_rank: int | None = None
    """None: everything learns."""
    checkpointing: bool = False
    shards: int = 1
    """Ranks that hold a part each; 1: every rank holds all."""

    def memory(self, shape: Shape) -> Memory:
        """What it takes."""
        everything = shape.parameters
        adapters = 0 if self.lora_rank is None else shape.lora_parameters(self.lora_rank)
        learning = adapters or everything
        whole = 4 * (everything + adapters)
        return Memory(
            weights=whole // self.shards,
            anchor=0 if adapters else 4 * everything // self.shards,
            optimizer=8 * learning // self.shards,
            gradients=4 * learning // self.shards,
            activations=self._activations(shape),
            logits=3 * 4 * self.learned_tokens * shape.vocabulary,
            gathered=8 * (shape.embeddings + 2 * shape.layer) if self.shards > 1 else 0,
            drawing=whole if self.shards > 1 else 0,
        )

    def _activations(self, shape: Shape) -> int:
        size = {"float32": 4, "bfloat16": 2}[self.precision]
        layer = size * self.tokens * (11 * shape.hidden + 4 * shape.intermediate)
        if not self.checkpointing:
            return shape.layers * layer
        return shape.layers * size * self.tokens * shape.hidden + layer


def rows() -> Iterator[tuple[str, str, Memory]]:
    """(model, tuning, memory) of the table in the README: 8,192 tokens in a pass, half of them
    learned from, bfloat16, gradient checkpointing."""
    tunings = (
        ("full", None, 1),
        (f"full, {SHARDS} shards", None, SHARDS),
        (f"LoRA {LORA_RANK}", LORA_RANK, 1),
        (f"LoRA {LORA_RANK}, {SHARDS} shards", LORA_RANK, SHARDS),
    )
    for shape in SHAPES:
        for name, rank, shards in tunings:
            training = Training(8192, 4096, "bfloat16", rank, checkpointing=True, shards=shards)
            yield shape.name, name, training.memory(shape)


def main() -> None:
    """Print the table in GiB, as Markdown."""
    print("| model | tuning | " + " | ".join(Memory._fields) + " | peak GiB |")
    print("| --- | --- |" + " ---: |" * (len(Memory._fields) + 1))
    for model, tuning, memory in rows():
        parts = [f"{part / GIB:.1f}" for part in (*memory, memory.peak)]
        print(f"| {model} | {tuning} | " + " | ".join(parts) + " |")


if __name__ == "__main__":
    main()
