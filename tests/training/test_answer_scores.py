"""Scores with gradients are those of transformers' own sequence classifier on padded rows, and do
not look at ids to find where a row ends."""

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from farm.models.packing import allow_packing, packs
from farm.seeds import seed_libraries
from farm.training.answer_scores import answer_scores

PAD, EOS = 0, 2
ROWS = [
    [5, 6, 7, EOS],
    [8, 9, 10, 11, 12, 13, 14, EOS],
    [15, EOS],
    [3, EOS, 4, 5, 6, EOS],  # a turn of the prompt has ended before
    [7, 7, 7, 9, 1],  # cut: no end id
]


def classifier(pad: int) -> Any:
    seed_libraries(0, "test_answer_scores")
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.3,
        pad_token_id=pad,
        eos_token_id=EOS,
        num_labels=3,
    )
    return LlamaForSequenceClassification(config).eval()


def gradients(model: Any, outputs_B_K: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    (outputs_B_K**2).sum().backward()
    return [p.grad.clone() for p in model.parameters()]


def padded(model: Any, left: bool) -> torch.Tensor:
    """What transformers makes of all rows in one batch."""
    width = max(map(len, ROWS))
    fill = [[PAD] * (width - len(row)) for row in ROWS]
    ids = [pad + row if left else row + pad for row, pad in zip(ROWS, fill, strict=True)]
    mask = [[int(bool(id != PAD)) for id in row] for row in ids]
    logits: torch.Tensor = model(torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
    return logits


def alone(model: Any, row: list[int]) -> torch.Tensor:
    """The head on the last position of a row without any padding."""
    hidden_1_L_D = model.model(torch.tensor([row])).last_hidden_state
    outputs_K: torch.Tensor = model.score(hidden_1_L_D[0, -1])
    return outputs_K


@pytest.mark.parametrize("packed", [True, False])
def test_scores_and_gradients_are_those_of_padded_rows(packed: bool) -> None:
    theirs, ours = classifier(PAD), classifier(PAD)
    ours = allow_packing(ours) if packed else ours
    assert packs(ours) == packed
    expected_B_K, found_B_K = padded(theirs, left=False), answer_scores(ours, ROWS)
    assert found_B_K.shape == (len(ROWS), 3) and expected_B_K.std() > 0.1
    torch.testing.assert_close(found_B_K, expected_B_K, atol=1e-5, rtol=0)
    torch.testing.assert_close(found_B_K, padded(theirs, left=True), atol=1e-5, rtol=0)
    for one, other in zip(gradients(ours, found_B_K), gradients(theirs, expected_B_K), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("packed", [True, False])
def test_end_ids_are_read_where_they_are_the_padding_too(packed: bool) -> None:
    """A classifier that pads with its end id does not see that answers end; here all the same."""
    model = classifier(EOS)
    expected_B_K = torch.stack([alone(model, row) for row in ROWS])
    found_B_K = answer_scores(allow_packing(model) if packed else model, ROWS)
    torch.testing.assert_close(found_B_K, expected_B_K, atol=1e-5, rtol=0)
    pooled_K = classifier(EOS)(torch.tensor([ROWS[0]])).logits[0]
    assert (pooled_K - expected_B_K[0]).abs().max() > 1e-2
