"""The contracts of the plugin kinds: tasks, baselines, termination rules, metrics. No torch at run time."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from marl_bench.config import PpoConfig, RunConfig, SamplingConfig, Section
from marl_bench.records import Prompt, Response, TaskData

if TYPE_CHECKING:
    from marl_bench.batches import Advantages, Experience, LossTerms, Rollout, Segmentation, TokenOutputs, TokenRewards


class NoOptions(Section):
    """For plugins without options of their own."""


# Tasks


@dataclasses.dataclass(frozen=True)
class DataSource:
    """Where a task reads from.

    Attributes:
        kind: `embedded`, `hub` or `folder`.
        path: The folder, for `folder`.
        revision: Hub revision, or None for the task's own.
        split: `prompt` or `official`.
    """

    kind: Literal["embedded", "hub", "folder"]
    path: Path | None = None
    revision: str | None = None
    split: Literal["prompt", "official"] = "prompt"


class Metric(Protocol):
    """A per-sample metric; aggregates are made once, in statistics."""

    @property
    def names(self) -> Sequence[str]:
        """Metrics that it computes."""
        ...

    @property
    def higher_is_better(self) -> bool | None:
        """Which end is better, or None."""
        ...

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Mapping[str, Sequence[float | None]]:
        """Returns for each of `names` one value a response; None where it cannot be scored."""
        ...


@dataclasses.dataclass(frozen=True)
class MetricSpec:
    """What a metric's entry point holds.

    Attributes:
        id: Name at the command line.
        version: Raised whenever results change.
        summary: One line for `list`.
        build: Makes the metric.
    """

    id: str
    version: str
    summary: str
    build: Callable[[], Metric]


class Task(Protocol):
    """Data, reward and metrics."""

    @property
    def metrics(self) -> Sequence[Metric]:
        """Per-sample metrics of the task."""
        ...

    def load(self, source: DataSource, *, seed: int) -> TaskData:
        """Reads and splits the data."""
        ...

    def score(
        self, prompts: Sequence[Prompt], responses: Sequence[Response]
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]:
        """Returns rule rewards, None = unscored; may be async. Only called for tasks whose `reward_kind` is `rule`, from a thread of its own."""
        ...

    def oracle(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Sequence[float | None] | None:
        """Returns the known true scores (None = unscored), or None where the data has none. Never used in training."""
        ...


@dataclasses.dataclass(frozen=True)
class JudgePrompt:
    """What a judge of pairs is asked.

    Attributes:
        id: Name in tables, for example `tldr-summary`.
        version: Raised whenever a word changes.
        system: System message.
        template: User message, in which `{{prompt}}`, `{{first}}` and `{{second}}` are replaced by texts, literally and once.
        subsets: Subsets of the prompts that it is for; empty means all that no other prompt of the task names.
        stratum: Regular expression whose first group, found in a prompt's text, is what pairs are drawn evenly by beside the subset,
            for example a subreddit; empty where the subset is enough.
    """

    id: str
    version: str
    system: str
    template: str
    subsets: Sequence[str] = ()
    stratum: str = ""


@dataclasses.dataclass(frozen=True)
class StageRows:
    """Rows of the stages, before any limit.

    Attributes:
        sft: Pairs for supervised fine-tuning.
        preferences: Pairs for the reward model.
        rl: Prompts of the PPO stage.
    """

    sft: int
    preferences: int
    rl: int


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What a task's entry point holds.

    Attributes:
        id: Name at the command line.
        version: Raised whenever results change.
        summary: One line for `list`.
        build: Makes the task from its typed options.
        config_type: Type of the options.
        reward_kind: `model` (a reward model is trained on the preference pairs) or `rule` (`Task.score`).
        primary_metric: The name under which the score stands in tables; comparisons lead with it.
        score_range: Lowest and highest score of a `rule` reward; None for a reward model or where there are no bounds.
        base_model: Folder of the small base model that `model.path=tiny` means for this task, or None for the package's own.
        settings: Preset name to the configuration keys that the task puts over that preset.
        judge_prompts: What a judge of pairs is asked; empty means a general prompt.
        hub_rows: Gives, for its typed options, about how many rows the hub's data have for each stage, so that a dry run can count steps
            without them; None where that is not known.
    """

    id: str
    version: str
    summary: str
    build: Callable[[Any], Task]
    config_type: type[BaseModel] = NoOptions
    reward_kind: Literal["model", "rule"] = "model"
    primary_metric: str = "reward_model_score"
    score_range: tuple[float, float] | None = None
    base_model: Path | None = None
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    judge_prompts: Sequence[JudgePrompt] = ()
    hub_rows: Callable[[Any], StageRows | None] = lambda _: None


# Termination rules


@runtime_checkable
class TerminationRule(Protocol):
    """Cuts responses into macro actions."""

    @property
    def needs(self) -> frozenset[str]:
        """Of: logprobs, ref_logprobs, entropies, values, text, offsets; only what is needed is gathered."""
        ...

    @property
    def nominal_length(self) -> float | None:
        """Tokens a macro action by definition (may be infinite); None where it depends on the text."""
        ...

    def fit(self, token_ids: Iterable[Sequence[int]]) -> TerminationRule:
        """Returns the rule fitted to the SFT responses; most rules return themselves."""
        ...

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns a partition of each row's response tokens; rows stay independent."""
        ...


@dataclasses.dataclass(frozen=True)
class TerminationSpec:
    """What a termination rule's entry point holds.

    Attributes:
        id: Name in rule texts.
        version: Raised whenever the rule cuts differently.
        summary: One line for `list`.
        build: Makes the rule from its typed parameters.
        parameters: Type of the parameters; their order is that of positional arguments.
    """

    id: str
    version: str
    summary: str
    build: Callable[[Any], TerminationRule]
    parameters: type[BaseModel] = NoOptions


# Baselines


class PolicyBaseline(Protocol):
    """Hooks that the shared trainer calls."""

    @property
    def ppo(self) -> PpoConfig:
        """Settings that the trainer runs with; a control may have changed them."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """Of: critic, end_values, groups (`ppo.group_size` responses a prompt), and what its termination rule needs."""
        ...

    def segment(self, rollout: Rollout) -> Segmentation:
        """Returns the macro actions of a rollout."""
        ...

    def advantages(self, rollout: Rollout, segmentation: Segmentation, rewards: TokenRewards) -> Advantages:
        """Returns advantages and returns per macro action."""
        ...

    def loss(self, minibatch: Experience, outputs: TokenOutputs) -> LossTerms:
        """Returns the losses of a minibatch."""
        ...


class TrainerBaseline(Protocol):
    """Trains by itself, or not at all."""

    def train(self, context: TrainContext) -> PolicyFolder:
        """Returns the policy to evaluate and what its training used."""
        ...


@dataclasses.dataclass(frozen=True)
class PolicyFolder:
    """What a baseline that trains by itself leaves.

    Attributes:
        path: `from_pretrained` folder of the policy.
        updates: Updates of the policy, each on one batch of responses or examples.
        responses_sampled: Responses sampled in training.
        tokens_sampled: Their tokens.
        best_of: Responses sampled for each one that is evaluated: the one with the highest score is.
    """

    path: Path
    updates: int = 0
    responses_sampled: int = 0
    tokens_sampled: int = 0
    best_of: int = 1


@dataclasses.dataclass(frozen=True)
class TrainContext:
    """What a baseline that trains by itself gets.

    Attributes:
        sft: Folder of the SFT model.
        reward_model: Folder of the reward model, or None for rule rewards.
        data: The task's data.
        cell: Folder of the cell.
        seed: Seed of the cell.
        ppo: Settings of the trainer with the arm's options put over them: batch, learning rate, KL coefficient.
        sampling: How responses are drawn.
        updates: Updates that PPO makes on these prompts, so that arms can be compared at equal numbers of sampled responses.
        score: Gives the scores of responses as PPO's reward has them: scaled, clipped, less the penalty for a missing EOS; None = unscored.
        dtype: Of the weights.
        step: Told how many of all optimizer steps are done, with figures; raises if the user wants to stop.
    """

    sft: Path
    reward_model: Path | None
    data: TaskData
    cell: Path
    seed: int
    ppo: PpoConfig
    sampling: SamplingConfig
    updates: int
    score: Callable[[Sequence[Prompt], Sequence[Response]], Sequence[float | None]]
    dtype: str
    step: Callable[[int, int, Mapping[str, float]], None]


@dataclasses.dataclass(frozen=True)
class PolicyContext:
    """What a policy baseline is built from.

    Attributes:
        ppo: Settings of the trainer with the arm's options put over them.
        rule: The arm's fitted termination rule, or None if it has none.
        mean_macro_length: The rule's nominal length, else its mean macro length on rollouts of the SFT model; None without a rule.
    """

    ppo: PpoConfig
    rule: TerminationRule | None
    mean_macro_length: float | None


@dataclasses.dataclass(frozen=True)
class BaselineSpec:
    """What a baseline's entry point holds.

    Attributes:
        id: Name at the command line.
        version: Raised whenever results change.
        summary: One line for `list`.
        build: Makes the baseline: from a `PolicyContext` (kind `policy`) or from nothing (kind `trainer`).
        kind: Whether the shared trainer runs it, or it trains by itself.
        check: For kind `trainer`: raises `ConfigError` for settings (`ppo` with the arm's options over it) that it cannot work with, so
            that they are refused before any work; for kind `policy` building does.
        learns_pairs: True if it learns from the preference pairs, so that data without any are refused before any training.
        samples: For kind `trainer`: whether it samples responses in training; the shared trainer always does.
        role: What it is in a comparison: the start, the token arm, a control, a macro arm, or anything else.
        default_rule: Rule of a bare `--arm ID`; None if the baseline takes no rule.
        isolates: For controls: one sentence on what is left when the control is taken off.
        controls: For controls: whether it takes something off an arm with these settings and this nominal macro length (None if that
            depends on the text); `--with-controls` adds it where it does.
        without_effect: For controls: options that change nothing in it, so that arms which differ in them share it.
    """

    id: str
    version: str
    summary: str
    build: Callable[..., PolicyBaseline | TrainerBaseline]
    kind: Literal["policy", "trainer"] = "policy"
    check: Callable[[RunConfig], None] = lambda _: None
    learns_pairs: bool = False
    samples: bool = False
    role: Literal["start", "token", "control", "macro", "other"] = "other"
    default_rule: str | None = None
    isolates: str = ""
    controls: Callable[[PpoConfig, float | None], bool] = lambda _, __: False
    without_effect: frozenset[str] = frozenset()
