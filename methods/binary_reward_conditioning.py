"""Binary reward conditioning: both answers are learned, each behind a token that says which it is.

AlpacaFarm (arXiv 2305.14387): supervised fine-tuning on winners and losers with a
control token in front of the prompt; answers are then drawn behind the winner's. The two tokens are
new ones of the policy's tokenizer, and the learned policy asks for its own (`Decoding.control`).
AlpacaFarm states no settings of its own for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from farm.seeds import generator
from farm.training.preferences import Preference, decided, heard, note_labels
from farm.types import Inputs, Need, PolicyRef
from methods.sft import SFT

if TYPE_CHECKING:
    from farm.context import Context
    from farm.models.chat import Example

WINNER, LOSER = "<|winner|>", "<|loser|>"


@dataclass(frozen=True, kw_only=True)
class BinaryRewardConditioning(SFT):
    """Learns from both answers of `inputs.judgments`, two rows for each label that leans to a side;
    ties and missing verdicts give none and are counted in `labels.json`. Metrics as of SFT.

    Raises `ConfigError` for values out of range and `DataError` where no judgment prefers an
    answer.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"judgments"})

    def fit(self, start: PolicyRef, inputs: Inputs, context: "Context") -> PolicyRef:
        """The policy that answers as winners do behind the winner's token."""
        policy = context.work / "policy"
        if not policy.exists():
            found = heard(inputs.judgments or ())
            note_labels(found, context)
            self._fit_both(start, decided(found.labels), context)
        return PolicyRef(str(policy), replace(start.decoding, control=WINNER))

    def _fit_both(
        self, start: PolicyRef, preferences: Sequence[Preference], context: "Context"
    ) -> None:
        from farm.models.load import load_policy, load_tokenizer, save_policy
        from farm.stages.pointers import point_to_policy

        tokenizer, model = load_tokenizer(start.path), load_policy(start.path, context.device)
        _add_control_tokens(tokenizer, model, context.seed)

        def save(model: Any, path: Path) -> None:
            save_policy(model, tokenizer, path)
            point_to_policy(path, str(path), control=WINNER)

        self.learn(model, tokenizer, self._both(tokenizer, preferences), context, save)

    def _both(self, tokenizer: Any, preferences: Sequence[Preference]) -> "list[Example]":
        from farm.models import chat

        answers = {
            WINNER: [preference.chosen for preference in preferences],
            LOSER: [preference.rejected for preference in preferences],
        }
        return [
            example
            for control, texts in answers.items()
            for example in chat.examples(
                tokenizer,
                [preference.instruction.messages for preference in preferences],
                texts,
                max_prompt_tokens=self.max_prompt_tokens,
                max_new_tokens=self.max_new_tokens,
                control=control,
            )
        ]


def _add_control_tokens(tokenizer: Any, model: Any, seed: int) -> None:
    """New tokens with random embeddings like all others: where embeddings do not learn (adapters),
    equal ones would never come to mean two things."""
    import torch

    from farm.models.load import cover

    tokenizer.add_tokens([WINNER, LOSER], special_tokens=True)
    cover(model, len(tokenizer))
    ids = tokenizer.convert_tokens_to_ids([WINNER, LOSER])
    weight_V_D = model.get_input_embeddings().weight
    noise_2_D = generator(seed, "control tokens").standard_normal((2, weight_V_D.shape[1]))
    with torch.no_grad():
        spread, center_D = weight_V_D.std(), weight_V_D.mean(dim=0)
        weight_V_D[ids] = center_D + spread * torch.from_numpy(noise_2_D).to(weight_V_D)
