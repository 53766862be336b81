"""What reward models of labelled pairs share: everything but the loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from farm.checks import require
from farm.training.offline import LossLearner, LossOfRows
from farm.training.preferences import Heard, heard, note_labels
from farm.types import LabeledPair, PolicyRef, ScorerRef
from methods.reward.held_out import Split, note_validation, split

if TYPE_CHECKING:
    from torch import Tensor

    from farm.context import Context
    from farm.training.loss_trainer import RowLosses

PairLosses = Callable[["Tensor", "Tensor", Sequence[int]], "RowLosses"]
"""(outputs of the answers a, outputs of the answers b, both [B, outputs], numbers of their labels)
-> what these pairs cost."""


class AnswerRows(NamedTuple):
    """Token ids of prompts with the answers a, and with the answers b."""

    a: list[list[int]]
    b: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class PairRewardLearner(LossLearner):
    """Learns from judgments, soft and tied ones as they are; missing verdicts are dropped and
    counted in `labels.json`. The model is the policy's trunk with a new head on the answer's last
    token.

    `validation_fraction` of the instructions are held out; `validation.json` says on how many of
    their pairs the model agrees with the (noisy) label; where that may be chance, the run warns of
    it. Raises `ConfigError` for values out of range and `DataError` where no judgment is left to
    learn from.
    """

    learning_rate: float = 5e-4
    epochs: float | None = 2.0
    warmup_ratio: float = 0.1
    validation_fraction: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction = self.validation_fraction
        require("validation_fraction", fraction, "in [0, 1)", 0 <= fraction < 1)

    def fit(
        self, start: PolicyRef, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """The reward model as a `RewardModelScorer`, learned from the policy's trunk."""

        def load() -> Any:
            model = self._load(start.path, context)
            model.score.weight.data.zero_()  # all answers start out alike
            return model

        return self._fit(load, start.path, judgments, context)

    def refine(
        self, reward_model: str, judgments: Sequence[LabeledPair], context: "Context"
    ) -> ScorerRef:
        """As `fit`, learned from a reward model's directory: its trunk and its head, which has as
        many outputs as this loss."""
        load = partial(self._load, reward_model, context)
        return self._fit(load, reward_model, judgments, context)

    def loss_on(self, labels: Sequence[LabeledPair]) -> PairLosses:
        """What pairs with these labels cost."""
        raise NotImplementedError

    def rows(self, tokenizer: Any, labels: Sequence[LabeledPair]) -> AnswerRows:
        """What the model reads of both answers."""
        from farm.models import chat

        def ids(texts: list[str]) -> list[list[int]]:
            examples = chat.examples(
                tokenizer,
                [label.pair.instruction.messages for label in labels],
                texts,
                max_prompt_tokens=self.max_prompt_tokens,
                max_new_tokens=self.max_new_tokens,
            )
            return [example.input_ids for example in examples]

        return AnswerRows(
            ids([label.pair.output_a for label in labels]),
            ids([label.pair.output_b for label in labels]),
        )

    def usable(self, labels: Sequence[LabeledPair]) -> list[LabeledPair]:
        """The labels that the loss can learn from."""
        return list(labels)

    @property
    def outputs(self) -> Mapping[str, float]:
        """The head's outputs by name, and how much each counts in the score."""
        return {"score": 1.0}

    def _fit(
        self,
        load: Callable[[], Any],
        path: str,
        judgments: Sequence[LabeledPair],
        context: "Context",
    ) -> ScorerRef:
        from farm.scorers.reward_model import RewardModelScorer

        config: dict[str, Any] = {
            "path": str(context.work / "reward_model"),
            "max_prompt_tokens": self.max_prompt_tokens,
            "max_new_tokens": self.max_new_tokens,
            "weights": dict(self.outputs),
        }
        found = self._heard(judgments, context)
        training, validation = self._split(found.labels, context.seed)
        if not (context.work / "reward_model").exists():
            note_labels(found, context)
            self._train(load, path, training, context)
        scorer = RewardModelScorer(**config, device=context.device)
        note_validation(scorer, validation, context)
        return ScorerRef({"_target_": "farm.scorers.reward_model.RewardModelScorer", **config})

    def _heard(self, judgments: Sequence[LabeledPair], context: "Context") -> Heard:
        found = heard(judgments)
        labels = self.usable(found.labels)
        if unusable := len(found.labels) - len(labels):
            context.note(
                f"{unusable} of {len(found.labels)} labels lack what this reward model learns from "
                "and were left out."
            )
        return found._replace(labels=labels)

    def _split(self, labels: Sequence[LabeledPair], seed: int) -> Split:
        return split(labels, self.validation_fraction, seed)

    def _load(self, path: str, context: "Context") -> Any:
        from farm.models.load import load_reward_model

        model = load_reward_model(path, context.device, outputs=len(self.outputs))
        model.config.id2label = dict(enumerate(self.outputs))
        model.config.label2id = {name: number for number, name in enumerate(self.outputs)}
        return model

    def _train(
        self,
        load: Callable[[], Any],
        path: str,
        training: Sequence[LabeledPair],
        context: "Context",
    ) -> None:
        from farm.models.load import load_tokenizer, save_policy
        from farm.training.loss_trainer import minimise
        from farm.training.trainer import publish

        pair_losses = self.loss_on(training)
        tokenizer = load_tokenizer(path)
        rows = self.rows(tokenizer, training)
        model = context.tuning.apply(load(), seed=context.seed)
        minimise(
            model,
            _row_losses(pair_losses, rows),
            [len(a) + len(b) for a, b in zip(rows.a, rows.b, strict=True)],
            self,
            context,
        )
        publish(context, "reward_model", partial(save_policy, model, tokenizer))


def _row_losses(pair_losses: PairLosses, rows: AnswerRows) -> LossOfRows:
    from farm.training.answer_scores import answer_scores

    def losses(model: Any, batch: Sequence[int]) -> "RowLosses":
        ids = [*(rows.a[i] for i in batch), *(rows.b[i] for i in batch)]
        a_B_K, b_B_K = answer_scores(model, ids).chunk(2)
        return pair_losses(a_B_K, b_B_K, batch)

    return losses


def preferences(labels: Sequence[LabeledPair]) -> "Tensor":
    """P(b is better) [N], float32."""
    import torch

    return torch.tensor([float(label.judgment.preference or 0.0) for label in labels])


def agreement(lead_B: "Tensor", preference_B: "Tensor") -> dict[str, "Tensor"]:
    """The metrics accuracy and margin, from how far b's score leads a's, over the pairs whose label
    leans to a side."""
    leans_B = preference_B != 0.5
    towards_B = (lead_B.detach() * (preference_B - 0.5).sign())[leans_B]
    return {"accuracy": (towards_B > 0).float(), "margin": towards_B}
