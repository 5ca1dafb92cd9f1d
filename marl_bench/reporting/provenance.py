"""What was run and what it cannot say, as plain texts that the Markdown and the HTML report share."""

from collections.abc import Iterator, Mapping
from typing import Any

from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.formatting import number, percent, percent_interval
from marl_bench.reporting.tables import Table
from marl_bench.statistics.bootstrap import BOOTSTRAP_BELOW_CLUSTERS
from marl_bench.statistics.intervals import wilson_interval

Fact = tuple[str, str]
"""What a number or a text is, and the number or text."""

_CLOCK_OR_MEMORY = ("second", "mib")


def run_facts(comparison: Comparison) -> Iterator[Fact]:
    """Yields the digests and the environment; what differs between cells stands side by side."""
    setting = comparison.setting
    for name, values in setting.digests.items():
        yield f"{name.replace('_', ' ')} digest", ", ".join(value[:12] for value in values)
    for name, values in setting.environments.items():
        yield name.replace("_", " "), " | ".join(values)


def data_table(comparison: Comparison) -> Table | None:
    """Returns what was read, dropped and cut, or None if the data are not described."""
    counts = (comparison.setting.shared.get("data") or {}).get("counts") or {}
    rows = [[name.replace("_", " "), f"{count:,}"] for name, count in counts.items()]
    return Table("Data", ["Data", "Count"], rows) if rows else None


def stage_facts(comparison: Comparison) -> Iterator[Fact]:
    """Yields the results of the shared stages, except what comes from the clock or the memory."""
    shared = comparison.setting.shared
    reward = shared.get("reward") or {}
    if reward.get("sources"):
        yield "Score", f"the sum of {', '.join(reward['sources'])}"
    yield from _stage_facts("Score", reward)
    yield from _reward_model_facts(shared.get("reward_model") or {})
    yield from _stage_facts("SFT", shared.get("sft") or {})


def _reward_model_facts(stage: Mapping[str, Any]) -> Iterator[Fact]:
    accuracy, pairs = stage.get("pair_accuracy"), stage.get("pairs")
    if accuracy is not None and pairs:
        found = wilson_interval(min(accuracy * pairs, pairs), pairs)
        text = f"{percent(accuracy)} on {pairs:,} pairs, 95 % {percent_interval(found)}"
        yield "Reward model", f"held-out pair accuracy {text}"
    elif accuracy is not None:
        yield "Reward model", f"held-out pair accuracy {percent(accuracy)}"
    if stage.get("score_std") is not None:
        yield "Reward model", f"standard deviation of the scores of SFT samples {number(stage['score_std'])}"
    told = ("pair_accuracy", "pairs", "score_std")
    yield from _stage_facts("Reward model", {name: stage[name] for name in stage if name not in told})


def _stage_facts(stage: str, results: Mapping[str, Any]) -> Iterator[Fact]:
    for name, value in results.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not any(word in name for word in _CLOCK_OR_MEMORY):
            text = f"{value:,}" if isinstance(value, int) else number(value)
            yield stage, f"{name.replace('_', ' ')} {text}"


def limit_sentences(comparison: Comparison) -> list[str]:
    """Returns what the numbers leave out, a sentence or two each."""
    training = [
        "SFT model and reward model are trained once and shared by all arms and seeds; a seed changes the sampling "
        "and the PPO run. The intervals over seeds therefore leave out the spread of another SFT or reward model.",
        "Trained arms are checked for the same SFT model, reward model, data, responses sampled, updates, response "
        "limit and task version; a forced gap stands as a warning at the top. Tokens sampled may differ: see the "
        "budget table.",
    ]
    no_training = [
        "Nothing was trained here: for models and samples that were given, a seed changes the sampling alone, and no interval says "
        "what another training run of theirs would give."
    ]
    sentences = [
        *(training if comparison.trains else no_training),
        "Intervals are 95 %, each for itself: with many arms and metrics some exclude 0 by chance. Over prompts: "
        f"percentile bootstrap with a fixed generator{_many(comparison)}. Over seeds: Student t below 20 seeds, from 20 on a bootstrap "
        "over seeds and prompts.",
        "No difference shown is not the same as no difference: the interval says what is left possible.",
    ]
    if comparison.has_oracle:
        sentences.append(
            "The oracle is the task's known optimum. It was never used in training, and it is not a human or a "
            "language-model judge."
        )
    return sentences


def _many(comparison: Comparison) -> str:
    if not comparison.has_many_prompts:
        return ""
    return f", from {BOOTSTRAP_BELOW_CLUSTERS} prompts on Student t with a cluster-robust standard error"
