"""The tables of a report, as text cells; how they look is the business of `rendering`."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from marl_bench.reporting.comparison import ORACLE, ArmSummary, Comparison, Difference
from marl_bench.reporting.formatting import (
    NONE,
    counted,
    interval,
    metric_name,
    number,
    p_value,
    percent,
    percent_interval,
    plus_minus,
    signed,
    titled,
)
from marl_bench.statistics.multiplicity import holm_adjusted

_ROLE_NAMES = {"start": "start", "token": "token PPO", "control": "control", "macro": "macro PPO", "other": "other"}

_MAIN_METRICS = frozenset({ORACLE, "kl", "response_tokens", "finished"})

_COSTS = (
    ("seconds_rollout", "Rollout s"),
    ("seconds_update", "Update s"),
    ("seconds_evaluation", "Evaluation s"),
    ("seconds_total", "Total s"),
    ("seconds_per_update", "s per update"),
    ("peak_memory_mib", "Peak MiB"),
)

_DIAGNOSTICS = (
    ("macro_length_mean", "Mean length", number),
    ("first_macro_credit", "First-macro credit", percent),
    ("explained_variance", "Explained variance", number),
    ("advantage_snr", "Advantage SNR", number),
    ("clip_fraction", "Clip fraction", percent),
    ("approximate_kl", "Approximate KL", number),
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        title: What it shows.
        columns: Heads; the first column names the row.
        rows: Rows, each as long as `columns`.
        note: What a reader must know to read it; may be empty.
        text_columns: Number of first columns that hold text; the others hold numbers.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    text_columns: int = 1


def arms_table(comparison: Comparison) -> Table:
    """Returns what each arm is."""
    rows = [
        [
            found.arm.label,
            _ROLE_NAMES[found.arm.role],
            found.arm.baseline,
            found.arm.rule or NONE,
            ", ".join(map(str, found.seeds)),
        ]
        for found in comparison.arms
    ]
    return Table("Arms", ["Arm", "Role", "Baseline", "Termination rule", "Seeds"], rows, text_columns=5)


def budget_table(comparison: Comparison) -> Table:
    """Returns what the arms used, as means over seeds; of those that sample nothing in training, that they do."""
    items = [
        ("updates", "Updates"),
        ("prompts", "Prompts"),
        ("responses_sampled", "Responses sampled"),
        ("tokens_sampled", "Tokens sampled"),
        ("max_response_tokens", "Response limit (tokens)"),
    ]
    rows = [
        [found.arm.label, *(_count(found.budget.get(item)) if found.arm.trained else NONE for item, _ in items)]
        for found in comparison.arms
    ]
    idle = [found.arm.label for found in comparison.arms if not found.arm.trained]
    note = f"Samples nothing in training, and is not held to the equal budget: {', '.join(idle)}." if idle else ""
    return Table("Budget per seed", ["Arm", *(head for _, head in items)], rows, note)


def scores_table(comparison: Comparison) -> Table:
    """Returns the main table: score, oracle, KL, length, truncation and unscored samples of each arm."""
    score = titled(metric_name(comparison.primary_metric))
    heads: list[tuple[str, Callable[[ArmSummary], str]]] = [
        ("Arm", lambda found: found.arm.label),
        ("Seeds", lambda found: str(len(found.seeds))),
        (f"{score} ± seeds", lambda found: _mean_over_seeds(found, comparison.primary_metric)),
        ("Over prompts", lambda found: _over_prompts(found, comparison.primary_metric)),
    ]
    deviation = comparison.reference_deviation
    if deviation:
        heads.append(("In ref. SD", lambda found: _scaled(found, comparison.primary_metric, deviation)))
    if comparison.has_oracle and comparison.primary_metric != ORACLE:
        heads.append(("Oracle ± seeds", lambda found: _mean_over_seeds(found, ORACLE)))
    heads += [
        ("KL (nats)", lambda found: _mean(found, "kl")),
        ("Tokens", lambda found: _mean(found, "response_tokens")),
        (
            "Truncated",
            lambda found: percent(1 - finished) if (finished := _value(found, "finished")) is not None else NONE,
        ),
        ("Unscored", lambda found: _unscored(found)),
    ]
    rows = [[cell(found) for _, cell in heads] for found in comparison.arms]
    note = (
        f"± is half of the 95 % interval over seeds (– with one seed); “over prompts” is the 95 % {_kind(comparison)}interval "
        "over prompts for these seeds."
    )
    if deviation:
        note += f" Ref. SD (reference standard deviation): spread of the scores of responses that the SFT model samples, {number(deviation)}."
    return Table("Scores on held-out prompts", [head for head, _ in heads], rows, note)


def metrics_table(comparison: Comparison) -> Table | None:
    """Returns the metrics that the main table leaves out, or None if there are none."""
    shown = _MAIN_METRICS | {comparison.primary_metric}
    names = sorted({name for found in comparison.arms for name in found.metrics} - shown)
    if not names:
        return None
    rows = [[found.arm.label, *(_mean_over_seeds(found, name) for name in names)] for found in comparison.arms]
    return Table(
        "Other metrics",
        ["Arm", *(titled(metric_name(name)) for name in names)],
        rows,
        "± is half of the 95 % interval over seeds.",
    )


def differences_table(comparison: Comparison) -> Table | None:
    """Returns the paired differences against SFT and the token arm, or None if there are none."""
    return _differences("Paired differences", comparison, comparison.differences)


def controls_table(comparison: Comparison) -> Table | None:
    """Returns the macro arms against their controls, or None if there is no such pair."""
    return _differences("Macro PPO against its controls", comparison, comparison.against_controls)


def win_rates_table(comparison: Comparison) -> Table | None:
    """Returns the win rates by the oracle, or None without any."""
    if not comparison.win_rates:
        return None
    rows = [
        [
            found.arm.label,
            found.reference.label,
            percent(found.rate.estimate),
            percent_interval(found.rate),
            f"{found.wins} / {found.ties} / {found.losses}",
            str(found.prompts),
            str(len(found.seeds)),
        ]
        for found in comparison.win_rates
    ]
    heads = ["Arm", "Against", "Win rate", "95 % interval", "Wins / ties / losses", "Prompts", "Seeds"]
    note = (
        "Decided by the task's oracle, pair by pair on the same prompt and seed; a tie counts as half a win. "
        "Wilson interval with the effective number of pairs when a prompt stands in several seeds."
    )
    return Table("Win rates by the oracle", heads, rows, note, text_columns=2)


def parity_table(comparison: Comparison) -> Table | None:
    """Returns the updates to parity, or None without a token arm or curves."""
    if not comparison.parities:
        return None
    rows = [
        [
            found.arm.label,
            f"{found.reached} of {len(found.seeds)}",
            _by_seed([found.updates[seed] for seed in found.seeds]),
            _by_seed([found.tokens[seed] for seed in found.seeds]),
            f"{found.speed_up:.2f} ×" if found.speed_up is not None else NONE,
            interval(found.speed_up_over_seeds),
        ]
        for found in comparison.parities
    ]
    heads = ["Arm", "Seeds at parity", "Updates", "Tokens sampled", "Speed-up", "Over seeds"]
    window = max(found.window for found in comparison.parities)
    note = (
        f"First update whose training score (trailing mean of {window}) reaches the token arm's last one, seed by "
        "seed. The speed-up is measured from the update at which the token arm itself first reached that score; – "
        "unless every seed reaches it."
    )
    return Table("Updates to parity with the token arm", heads, rows, note)


def over_optimisation_table(comparison: Comparison) -> Table | None:
    """Returns the gain in score beside the gain in oracle, both from SFT, or None without an oracle or SFT arm."""
    if not comparison.has_oracle or comparison.start is None or comparison.primary_metric == ORACLE:
        return None
    rows = []
    for found in comparison.arms:
        gain = comparison.difference(found.arm, comparison.start, comparison.primary_metric)
        gold = comparison.difference(found.arm, comparison.start, ORACLE)
        if gain and gold:
            rows.append(
                [
                    found.arm.label,
                    _mean(found, "kl"),
                    f"{signed(gain.delta)} {interval(gain.over_prompts.interval)}",
                    f"{signed(gold.delta)} {interval(gold.over_prompts.interval)}",
                ]
            )
    heads = ["Arm", "KL (nats)", f"{titled(metric_name(comparison.primary_metric))} gain", "Oracle gain"]
    note = (
        "Gains over SFT with their 95 % intervals over prompts. "
        "A score that rises while the oracle does not is over-optimised."
    )
    return Table("Score against oracle", heads, rows, note)


def diagnostics_table(comparison: Comparison) -> Table | None:
    """Returns the macro-action diagnostics of the last update, or None without curves."""
    with_curve = [found for found in comparison.arms if found.last_update]
    known = [item for item in _DIAGNOSTICS if any(item[0] in found.last_update for found in with_curve)]
    if not known:
        return None
    rows = [
        [
            found.arm.label,
            *(text(found.last_update.get(name)) for name, _, text in known),
            _length_spread(found),
        ]
        for found in with_curve
    ]
    note = (
        "Means over seeds. First-macro credit: share of the terminal delta that reaches the first macro action. "
        "Lengths in tokens: median (shortest–longest), and the most frequent one with its share."
    )
    return Table("Macro actions at the last update", ["Arm", *(head for _, head, _ in known), "Lengths"], rows, note)


def costs_table(comparison: Comparison) -> Table | None:
    """Returns times and memory, means over seeds; for the terminal, since a report must not depend on the clock."""
    known = [(name, head) for name, head in _COSTS if any(name in found.costs for found in comparison.arms)]
    if not known:
        return None
    per_update = {found.arm.name: found.costs.get("seconds_per_update") for found in comparison.arms}
    token = per_update.get(comparison.token.name) if comparison.token else None
    rows = []
    for found in comparison.arms:
        own = per_update[found.arm.name]
        ratios = [f"{own / token:.2f}" if own else NONE] if token else []
        rows.append([found.arm.label, *(number(found.costs.get(name)) for name, _ in known), *ratios])
    last = ["Per update, token = 1"] if token else []
    return Table("Costs per seed", ["Arm", *(head for _, head in known), *last], rows)


def open_cells_table(comparison: Comparison) -> Table | None:
    """Returns the failed and unfinished cells, or None if all are complete."""
    rows = [[found.arm, str(found.seed), found.status, found.reason] for found in comparison.open_cells]
    return (
        Table("Cells that are not in the numbers", ["Arm", "Seed", "Status", "Reason"], rows, text_columns=4)
        if rows
        else None
    )


def _kind(comparison: Comparison) -> str:
    return "" if comparison.has_many_prompts else "bootstrap "


def _differences(title: str, comparison: Comparison, differences: Sequence[Difference]) -> Table | None:
    if not differences:
        return None
    heads = ["Arm", "Minus", "Metric", "Difference"]
    if comparison.reference_deviation:
        heads.append("In ref. SD")
    heads += ["Over prompts", "Over seeds", "Higher / equal / lower", "Sign test p", "p (Holm)", "Prompts", "Seeds"]
    adjusted, families = _holm(differences)
    rows = []
    for found, p_holm in zip(differences, adjusted, strict=True):
        paired = found.over_prompts
        deviation = found.reference_deviation
        row = [found.arm.label, found.reference.label, metric_name(found.metric), signed(found.delta)]
        if comparison.reference_deviation:
            row.append(signed(found.delta / deviation) if deviation else NONE)
        row += [
            interval(paired.interval),
            interval(found.over_seeds),
            f"{paired.higher} / {paired.equal} / {paired.lower}",
            p_value(paired.p_value),
            p_value(p_holm),
            _prompts(found),
            str(len(found.seeds)),
        ]
        rows.append(row)
    note = (
        f"Per prompt the mean over shared seeds; 95 % {_kind(comparison)}interval over prompts, and 95 % interval over seeds (– "
        "with one seed). "
        "Higher / equal / lower counts prompts; the sign test is exact and two-sided. Holm over arms: the family is the tests of one "
        f"metric against one arm ({' or '.join(counted(size, 'test') for size in families)}). A small p says that other prompts would "
        "agree, not that other seeds would."
    )
    return Table(title, heads, rows, note, text_columns=3)


def _holm(differences: Sequence[Difference]) -> tuple[list[float], list[int]]:
    """Returns each sign test's p-value after Holm over the arms held against the same one on the same metric, and the families' sizes."""
    families: dict[tuple[str, str], list[int]] = {}
    for place, found in enumerate(differences):
        families.setdefault((found.reference.name, found.metric), []).append(place)
    adjusted = [1.0] * len(differences)
    for places in families.values():
        values = holm_adjusted([differences[place].over_prompts.p_value for place in places])
        for place, value in zip(places, values, strict=True):
            adjusted[place] = value
    return adjusted, sorted({len(places) for places in families.values()})


def _prompts(found: Difference) -> str:
    left_out = f" ({found.prompts_left_out} left out)" if found.prompts_left_out else ""
    return f"{found.over_prompts.prompts}{left_out}"


def _value(found: ArmSummary, metric: str) -> float | None:
    summary = found.metrics.get(metric)
    return summary.mean if summary else None


def _mean(found: ArmSummary, metric: str) -> str:
    return number(_value(found, metric))


def _mean_over_seeds(found: ArmSummary, metric: str) -> str:
    summary = found.metrics.get(metric)
    return plus_minus(summary.mean, summary.over_seeds) if summary else NONE


def _over_prompts(found: ArmSummary, metric: str) -> str:
    summary = found.metrics.get(metric)
    return interval(summary.over_prompts) if summary else NONE


def _scaled(found: ArmSummary, metric: str, deviation: float) -> str:
    value = _value(found, metric)
    return signed(value / deviation) if value is not None else NONE


def _unscored(found: ArmSummary) -> str:
    if not found.unscored:
        return f"0 of {found.samples}"
    return "; ".join(f"{metric_name(name)} {count} of {found.samples}" for name, count in found.unscored.items())


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _by_seed(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return NONE
    if len(values) == 1:
        return f"{known[0]:,}"
    singly = ", ".join(_count(value) for value in values)
    return f"{number(math.fsum(known) / len(known))} ({singly})"


def _length_spread(found: ArmSummary) -> str:
    lengths = sorted(found.macro_lengths.items())
    total = sum(count for _, count in lengths)
    if not total:
        return NONE
    median = next(_reaching(lengths, total / 2))
    frequent, count = max(lengths, key=lambda item: (item[1], -item[0]))
    return f"{median} ({lengths[0][0]}–{lengths[-1][0]}); {frequent}: {percent(count / total)}"


def _reaching(lengths: Sequence[tuple[int, int]], half: float) -> Iterator[int]:
    seen = 0
    for length, count in lengths:
        seen += count
        if seen >= half:
            yield length
