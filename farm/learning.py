"""From instructions to a policy: which artefact comes from which while something learns.

instructions -> sft -> pairs, judgments -> reward -> policy and checkpoints. Each method asks for
what it needs, so DPO never trains a reward model; what is there is reused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

from farm.artifacts import Artifact
from farm.builder import Executor, Step
from farm.chains import PREVIOUS, START, class_label, links_of, needs_of
from farm.errors import ConfigError, DataError
from farm.protocols import RewardLearner
from farm.seeds import derive
from farm.settings import DataKeys, Settings
from farm.stages.job import CHECKPOINT_STAGE, checkpoint_key
from farm.stages.policy import POLICY
from farm.targets import target_class
from farm.training.on_policy import OnPolicyLearner
from farm.types import Need, SplitName

Node = Mapping[str, Any]


class Learning:
    """The artefacts that one run's policy comes from, each made when it is first asked for."""

    def __init__(self, config: Node, settings: Settings, executor: Executor) -> None:
        self._config = config
        self._settings = settings
        self._ensure = executor.ensure
        self._check_links()
        self._training_decoding = {
            "temperature": 1.0,
            "max_new_tokens": settings.decoding.max_new_tokens,
        }

    def _check_links(self) -> None:
        """Now, since a policy that a link names is not asked for before all links before it are
        there."""
        for key in ("sft", "method"):
            try:
                links_of(self._config[key])
            except ConfigError as error:
                raise ConfigError(f"{key}.{error}") from None

    def _seed(self, *items: str) -> int:
        return derive(self._settings.seed, "stage", *items)

    @cached_property
    def instructions(self) -> Artifact:
        """All splits."""
        step = Step(
            "instructions",
            "farm.stages.instructions:run",
            {"data": source_node(self._config)},
            {},
            seed=0,
            label="instructions",
        )
        return self._ensure(step)

    @cached_property
    def model(self) -> Artifact:
        """The policy before any learning."""
        return self._model(self._config["model"], "model")

    def _model(self, node: Node, label: str) -> Artifact:
        step = Step(
            "model",
            "farm.stages.model:run",
            {"model": node},
            {"instructions": self.instructions},
            seed=self._seed("model"),
            label=label,
        )
        return self._ensure(step)

    @cached_property
    def start(self) -> Artifact:
        """The policy that learning begins from, also the KL anchor."""
        starts: dict[str, Callable[[], Artifact]] = {
            "sft": lambda: last(self._fit_links(self._config["sft"], self.model, "sft")),
            "instruct": lambda: self.model,
        }
        return starts[self._settings.start]()

    @cached_property
    def draft(self) -> Artifact:
        """What proposes tokens in speculative sampling: the policy that `decoding.draft` names, or
        one made of the start."""
        path, node = self._config["decoding"].get("draft"), self._config["draft"]
        if path is not None:
            return self._given("decoding.draft", path, "draft (given)")
        return self.fit(node, self.start, "sft", label=class_label(node))

    @cached_property
    def head(self) -> Artifact:
        """What says when the draft stops: the acceptance head that `decoding.head` names, or one
        trained for the draft and the start."""
        path, node = self._config["decoding"]["head"], self._config["head"]
        if path is None:
            return self.fit(node, self.start, "sft", label=class_label(node))
        run, files = "farm.stages.speculation:given_head", {"path": Path(path).resolve()}
        return self._ensure(Step("head", run, {}, {}, 0, "acceptance head (given)", files=files))

    def _given(self, key: str, path: str, label: str) -> Artifact:
        """The policy that a key of the configuration names, a directory or a hub name."""
        node = {
            "_target_": "farm.models.pretrained.Pretrained",
            "path": path,
            "max_prompt_tokens": self._config["model"]["max_prompt_tokens"],
            "max_new_tokens": self._settings.decoding.max_new_tokens,
        }
        _ = self.instructions  # outside, so that what is wrong with them is not told as its fault
        try:
            return self._model(node, label)
        except (ConfigError, DataError) as error:
            raise type(error)(f"{key}: {error}") from error

    @cached_property
    def pairs(self) -> Artifact:
        """The start's own answers, to be labelled two by two."""
        pairs = self._settings.pairs
        decoding = {**self._training_decoding, "temperature": pairs.temperature}
        return self._sample(
            self.start,
            "preference",
            decoding,
            2 * pairs.per_instruction,
            pairs.instructions,
            "pairs",
        )

    @property
    def judgments_seed(self) -> int:
        """Of the annotators that label."""
        return self._seed("judgments")

    @cached_property
    def judgments(self) -> Artifact:
        """Labelled pairs of the start's own answers."""
        step = Step(
            "judgments",
            "farm.stages.judgments:run",
            {"annotator": self._config["annotators"]["train"]},
            {"outputs": self.pairs, "instructions": self.instructions},
            seed=self.judgments_seed,
            label="judgments",
        )
        return self._ensure(step)

    @cached_property
    def reward(self) -> Artifact:
        """The reward model, or the scorer that the config names in its place."""
        node = self._config["reward"]
        if not self._has_reward_learner:
            step = Step(
                "reward", "farm.stages.reward:given", {"reward": node}, {}, 0, "reward (given)"
            )
            return self._ensure(step)
        step = Step(
            "reward",
            "farm.stages.reward:run",
            {"reward": node, **self._training_nodes(node)},
            {
                "start": self.start,
                "judgments": self.judgments,
                "instructions": self.instructions,
            },
            seed=self._seed("reward"),
            label="reward",
            together=True,
        )
        return self._ensure(step)

    @property
    def _needs(self) -> frozenset[Need]:
        return needs_of(self._config["method"])

    @property
    def needs_reward(self) -> bool:
        """Whether the method learns from a reward."""
        return "reward" in self._needs

    @property
    def learns_reward(self) -> bool:
        """Whether that reward is learned, from labels."""
        return self.needs_reward and self._has_reward_learner

    @property
    def _has_reward_learner(self) -> bool:
        return issubclass(target_class(self._config["reward"]["_target_"]), RewardLearner)

    @property
    def uses_judgments(self) -> bool:
        """Whether the method, itself or through its reward, learns from labels that are there
        before it begins."""
        return "judgments" in self._needs or self.learns_reward

    @property
    def policy(self) -> Artifact:
        """What the method learned."""
        return last(self.links)

    @cached_property
    def links(self) -> dict[str, Artifact]:
        """The policies that the method's links learned, by name; the last one is the method's.
        Where the start has learned from the demonstrations of the split `sft`, they go on with
        those of `preference`."""
        splits: dict[str, SplitName] = {"sft": "preference", "instruct": "sft"}
        split = splits[self._settings.start]
        return self._fit_links(self._config["method"], self.start, split)

    @property
    def method_label(self) -> str:
        """The learner's class in small letters: what its stage is called."""
        return class_label(self._config["method"])

    def checkpoint(self, step: int) -> Artifact:
        """The method's policy at one step."""
        key = checkpoint_key(self.policy.key, step)
        return Artifact(
            CHECKPOINT_STAGE, key, self.policy.path.parent.parent / CHECKPOINT_STAGE / key
        )

    def _training_nodes(self, learner: Node) -> dict[str, Any]:
        of_start = self._config["start_tuning"] if learner is self._config["sft"] else None
        return {"tuning": of_start or self._config["tuning"], "decoding": self._training_decoding}

    def _fit_links(
        self, learner: Node, start: Artifact, demonstrations: SplitName
    ) -> dict[str, Artifact]:
        known = {START: start, PREVIOUS: start}
        learned = {}
        for name, link in links_of(learner).items():
            policies = [self._named(policy, known) for policy in link.get("policies", ())]
            learned[name] = self.fit(
                link, known[PREVIOUS], demonstrations, policies, label=name, of=learner
            )
            known |= {name: learned[name], PREVIOUS: learned[name]}
        return learned

    def _named(self, policy: str, known: Mapping[str, Artifact]) -> Artifact:
        """One of those that are known, or a directory or hub name."""
        return known[policy] if policy in known else self._given("policies", policy, policy)

    def fit(
        self,
        learner: Node,
        start: Artifact,
        demonstrations: SplitName,
        policies: Sequence[Artifact] = (),
        *,
        label: str,
        of: Node | None = None,
    ) -> Artifact:
        """What one learner, which may be a link `of` a chain, makes of a start and of what else it
        needs. Its key and its seed are the same in whatever chain it stands, so chains share what
        they begin with."""
        needs = needs_of(learner)
        config = {"learner": learner, **self._training_nodes(of or learner)}
        if issubclass(target_class(learner["_target_"]), OnPolicyLearner):
            config["sampler"] = self._config["sampler"]
        parents = {"start": start, "instructions": self.instructions}
        if "judgments" in needs:
            parents["judgments"] = self.judgments
        if "reward" in needs:
            parents["reward"] = self.reward
        if needs & {"demonstrations", "text"}:
            config["demonstrations"] = demonstrations
        if "draft" in needs:
            parents["draft"] = self.draft
        if "annotator" in needs:
            config["annotator"] = self._config["annotators"]["train"]
        parents |= {f"{POLICY}{n}": policy for n, policy in enumerate(policies)}
        run, seed = "farm.stages.policy:run", self._seed("policy", class_label(learner))
        return self._ensure(Step("policy", run, config, parents, seed, label, together=True))

    def _sample(
        self,
        policy: Artifact,
        split: SplitName,
        decoding: Node,
        n: int,
        limit: int | None,
        label: str,
        how: Node | None = None,
    ) -> Artifact:
        """Answers of a policy; one seed per split, so that policies share random numbers. `how` is
        the node of a way of decoding that needs more than the policy."""
        needs = target_class(how["_target_"]).needs if how else ()
        step = Step(
            "outputs",
            "farm.stages.outputs:sample",
            {
                "sampler": self._config["sampler"],
                "decoding": decoding,
                "split": split,
                "n": n,
                "limit": limit,
                **({"how": how} if needs else {}),
            },
            {
                "policy": policy,
                "instructions": self.instructions,
                **{need: getattr(self, need) for need in needs},
            },
            seed=self._seed("outputs", split),
            label=label,
        )
        return self._ensure(step)


def source_node(config: Node) -> dict[str, Any]:
    """The node of the instruction source: `data` without its keys for measuring."""
    for_measuring = {field.name for field in fields(DataKeys)}
    return {k: v for k, v in config["data"].items() if k not in for_measuring}


def last(links: Mapping[str, Artifact]) -> Artifact:
    """Of a chain's policies, the one that it ends with."""
    return list(links.values())[-1]
