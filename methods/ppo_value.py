"""Where PPO's value function comes from."""

from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from farm.artifacts import content_hash
from farm.errors import ConfigError
from farm.protocols import Scorer


@runtime_checkable
class ValueFunction(Protocol):
    """Builds the torch module that predicts returns (see `farm.models.heads`)."""

    def build(self, policy: Any, tokenizer: Any, reward: Scorer) -> Any:
        """A module: (ResponseBatch, Prediction) -> values [N], 0 everywhere before training."""
        ...


class TrunkValue:
    """A head on the policy's trunk: no second forward pass, and the trunk learns from both losses.

    AlpacaFarm keeps the two apart (`RewardModelCritic`).
    """

    stage_version: ClassVar[int] = 1

    def build(self, policy: Any, tokenizer: Any, reward: Scorer) -> Any:
        """The head alone; the trunk is the policy's."""
        from farm.models.heads import TrunkHead, output_width

        return TrunkHead(output_width(policy)).to(policy.device)


class RewardModelCritic:
    """A network of its own that starts from the reward model's trunk with a new head of zeros, as
    in AlpacaFarm (arXiv 2305.14387; `init_value_with_reward`).

    `path` is a reward model's directory; null takes that of the run's reward. Raises ConfigError
    where there is none, or where its tokenizer is not the policy's.
    """

    stage_version: ClassVar[int] = 1
    key_excludes: ClassVar[frozenset[str]] = frozenset({"path"})  # its content counts

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def resolved(self) -> dict[str, str]:
        """The hash of the named directory's content; the run's reward is in the key anyway."""
        return {} if self._path is None else {"path": content_hash(Path(self._path))}

    def build(self, policy: Any, tokenizer: Any, reward: Scorer) -> Any:
        """Trunk and head."""
        from farm.models.heads import Critic
        from farm.models.load import load_reward_model, load_tokenizer
        from farm.models.packing import packs

        path = self._path or getattr(reward, "path", None)
        if not isinstance(path, str | Path):
            raise ConfigError(
                f"method.value.path=null: the reward is a {type(reward).__name__}, not a reward "
                "model with a directory. Name a directory, or use methods.ppo_value.TrunkValue."
            )
        if load_tokenizer(path).get_vocab() != tokenizer.get_vocab():
            raise ConfigError(
                f"method.value.path={path}: its tokenizer is not the policy's, so it cannot read "
                "the policy's answers. Use methods.ppo_value.TrunkValue."
            )
        model = load_reward_model(path, str(policy.device), outputs=None)
        if packs(policy) and not packs(model):
            raise ConfigError(
                f"method.value.path={path}: rows of different length cannot be laid end to end for "
                f"a {type(model).__name__}, as they are for the policy. Use "
                "methods.ppo_value.TrunkValue."
            )
        return Critic(model.base_model, model.config.get_text_config().hidden_size).to(
            policy.device
        )
