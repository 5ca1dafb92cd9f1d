"""What a comparison of arms consists of: frozen records that every table, plot and sentence reads."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marl_bench.statistics.bootstrap import BOOTSTRAP_BELOW_CLUSTERS
from marl_bench.statistics.bradley_terry import BradleyTerry
from marl_bench.statistics.intervals import Interval
from marl_bench.statistics.pair_labels import Agreement
from marl_bench.statistics.paired import PairedDifference

if TYPE_CHECKING:
    from marl_bench.reporting.judged import JudgedRates

ORACLE = "oracle"
"""Name of the metric that a task with a known optimum fills; never used in training."""

ROLES = ("start", "token", "control", "macro", "other")
"""Roles of arms in the order in which reports show them."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One configured baseline, as its records describe it.

    Attributes:
        name: Readable folder name; the key of everything by arm.
        label: What a user types and reads.
        baseline: Id of the baseline.
        rule: Canonical text of the termination rule, or None.
        role: `start`, `token`, `control`, `macro` or `other`.
        trained: False for arms that sample nothing in training.
        isolates: One sentence: which effect a control isolates; empty for others.
        options: The arm's own settings; with the rule they say which macro arm a control is matched to.
        without_effect: For controls: options that change nothing in it, so that arms which differ in them share it.
        version: Versions of baseline and rule and the hash of the rule's definition.
    """

    name: str
    label: str
    baseline: str
    rule: str | None
    role: str
    trained: bool
    isolates: str
    options: tuple[tuple[str, str], ...]
    without_effect: frozenset[str]
    version: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """One metric of one arm.

    Attributes:
        mean: Mean over seeds of each seed's mean over scored samples.
        by_seed: Seed to its mean.
        over_seeds: Interval over seeds; None with one seed.
        over_prompts: Bootstrap interval over prompts for these seeds; None below two prompts.
    """

    mean: float
    by_seed: Mapping[int, float]
    over_seeds: Interval | None
    over_prompts: Interval | None


@dataclasses.dataclass(frozen=True)
class PassRate:
    """How often at least one of k samples of a problem passes, with the number of problems."""

    rate: Interval
    problems: int


@dataclasses.dataclass(frozen=True)
class ArmSummary:
    """Everything known of one arm.

    Attributes:
        arm: The arm.
        seeds: Seeds of its complete cells.
        metrics: Metric name to its summary.
        samples: Evaluated samples, all seeds together.
        unscored: Metric name to the number of samples without a value, all seeds together; zeros left out.
        budget: Budget item to its mean over seeds.
        last_update: Diagnostic of the curve's last line to its mean over seeds.
        macro_lengths: Macro-action length in tokens to its count at the last update, all seeds together.
        costs: Cost (seconds by stage, MiB) to its mean over seeds.
        by_subset: Subset of the data to metric to mean over samples and seeds; empty if there is one subset only.
        pass_at_k: Subset of the data, and `all`, to k to the rate; empty for tasks whose samples do not pass or fail.
    """

    arm: Arm
    seeds: Sequence[int]
    metrics: Mapping[str, Summary]
    samples: int
    unscored: Mapping[str, int]
    budget: Mapping[str, float]
    last_update: Mapping[str, float]
    macro_lengths: Mapping[int, int]
    costs: Mapping[str, float]
    by_subset: Mapping[str, Mapping[str, float]]
    pass_at_k: Mapping[str, Mapping[int, PassRate]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Difference:
    """One arm minus another on one metric, over the prompts and seeds that both have.

    Attributes:
        arm: The first arm.
        reference: The arm that is subtracted.
        metric: Name of the metric.
        higher_is_better: Which end of the metric is better, or None.
        seeds: Seeds that both arms have.
        over_prompts: Differences of the prompts' means over seeds, with an interval over prompts.
        over_seeds: Interval over seeds; None with one seed.
        prompts_left_out: Prompts that only one arm has or that are unscored somewhere.
        reference_deviation: Standard deviation of the scores of SFT samples for this metric, or None if unknown.
    """

    arm: Arm
    reference: Arm
    metric: str
    higher_is_better: bool | None
    seeds: Sequence[int]
    over_prompts: PairedDifference
    over_seeds: Interval | None
    prompts_left_out: int
    reference_deviation: float | None

    @property
    def delta(self) -> float:
        """The difference in the unit of the metric."""
        return self.over_prompts.delta


@dataclasses.dataclass(frozen=True)
class WinRate:
    """How often one arm's response is better than another's to the same prompt with the same seed.

    Attributes:
        arm: The first arm.
        reference: The arm it is held against.
        judge: What decided; `oracle` is the task's known optimum.
        seeds: Seeds that both arms have.
        rate: Share of wins, a tie counted as half, with a Wilson interval for clusters of one prompt.
        prompts: Prompts, the independent unit.
        wins: Pairs won.
        ties: Pairs tied.
        losses: Pairs lost.
    """

    arm: Arm
    reference: Arm
    judge: str
    seeds: Sequence[int]
    rate: Interval
    prompts: int
    wins: int
    ties: int
    losses: int


@dataclasses.dataclass(frozen=True)
class Parity:
    """When an arm's smoothed training score first reaches the token arm's final one, seed by seed.

    Attributes:
        arm: The arm.
        seeds: Seeds that both arms have.
        updates: Seed to the first update at parity, or None if it was never reached.
        tokens: Seed to the tokens sampled until then, or None.
        token_updates: Seed to the update at which the token arm itself first reached its final smoothed score.
        speed_up: Geometric mean over seeds of token_updates / updates with its Student t interval on the logarithm;
            None unless all seeds reach parity.
        window: Updates of the trailing mean that smooths both curves.
    """

    arm: Arm
    seeds: Sequence[int]
    updates: Mapping[int, int | None]
    tokens: Mapping[int, int | None]
    token_updates: Mapping[int, int]
    speed_up: float | None
    speed_up_over_seeds: Interval | None
    window: int

    @property
    def reached(self) -> int:
        """Number of seeds that reach parity."""
        return sum(1 for update in self.updates.values() if update is not None)

    @property
    def same_in_every_seed(self) -> bool:
        """Whether the seeds have one and the same speed-up, so that their interval has no width and shows no spread."""
        over = self.speed_up_over_seeds
        return over is not None and math.isclose(over.low, over.high, rel_tol=1e-9)


@dataclasses.dataclass(frozen=True)
class OpenCell:
    """A cell that is in the experiment but not in the numbers."""

    arm: str
    seed: int
    status: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all cells of the comparison share, for the head of the report.

    Attributes:
        experiments: Names of the experiments.
        task: Id of the task.
        task_versions: Versions of the task; one unless forced.
        config_hashes: Configuration hashes; one for one experiment.
        digests: Digest name to its values; one each unless forced.
        environments: Environment item to its distinct values as text.
        shared: Results of the shared stages.
    """

    experiments: Sequence[str]
    task: str
    task_versions: Sequence[str]
    config_hashes: Sequence[str]
    digests: Mapping[str, Sequence[str]]
    environments: Mapping[str, Sequence[str]]
    shared: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All numbers of one report.

    Attributes:
        setting: What was run.
        primary_metric: Name of the task's primary metric.
        higher_is_better: Metric name to True, False, or None where neither end is better.
        reference_deviation: Standard deviation of the scores of SFT samples for the primary metric, or None if unknown.
        arms: Summaries in the order of `ROLES`, then by name.
        start: The SFT arm, or None.
        token: The plain token-PPO arm, or None.
        differences: Against SFT and against the token arm, on the primary metric and the oracle.
        against_controls: Macro arms against their controls, on the same metrics.
        win_rates: By the oracle, against SFT and against the token arm; empty without an oracle.
        parities: Updates to parity of the trained arms; empty without a token arm.
        open_cells: Failed and unfinished cells.
        warnings: Sentences the report must show first.
        judged: Win rates by judges; empty where none was asked.
        ranking: Strengths of three or more arms by the oracle; None without them.
        agreements: Judges, people among them, held against each other; empty where no two judged the same pair.
    """

    setting: Setting
    primary_metric: str
    higher_is_better: Mapping[str, bool | None]
    reference_deviation: float | None
    arms: Sequence[ArmSummary]
    start: Arm | None
    token: Arm | None
    differences: Sequence[Difference]
    against_controls: Sequence[Difference]
    win_rates: Sequence[WinRate]
    parities: Sequence[Parity]
    open_cells: Sequence[OpenCell]
    warnings: Sequence[str]
    judged: Sequence["JudgedRates"] = ()
    ranking: BradleyTerry | None = None
    agreements: Sequence[Agreement] = ()

    @property
    def trains(self) -> bool:
        """True if some arm learned in a run; False where only finished models and samples were evaluated."""
        return any(summary.arm.trained for summary in self.arms)

    @property
    def title(self) -> str:
        """What is compared, in one line."""
        reference = f" against {self.start.label}" if self.start is not None and len(self.arms) > 1 else ""
        what = "token PPO against macro PPO" if self.trains else f"evaluation{reference}"
        return f"{', '.join(self.setting.experiments)}: {what}"

    @property
    def has_oracle(self) -> bool:
        """True if some arm was scored by the task's oracle."""
        return any(ORACLE in summary.metrics for summary in self.arms)

    @property
    def seeds(self) -> Sequence[int]:
        """All seeds with a complete cell, sorted."""
        return sorted({seed for summary in self.arms for seed in summary.seeds})

    @property
    def has_many_prompts(self) -> bool:
        """True if some interval over prompts is no bootstrap, because there are enough prompts without."""
        return any(found.over_prompts.prompts >= BOOTSTRAP_BELOW_CLUSTERS for found in self.differences)

    def difference(self, arm: Arm, reference: Arm | None, metric: str) -> Difference | None:
        """Returns the difference of two arms on a metric if it was computed."""
        for found in (*self.differences, *self.against_controls):
            if reference is not None and (found.arm.name, found.reference.name, found.metric) == (
                arm.name,
                reference.name,
                metric,
            ):
                return found
        return None
