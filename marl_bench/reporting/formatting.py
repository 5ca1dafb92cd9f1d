"""Numbers as text, the same in every table and sentence."""

from marl_bench.reporting.comparison import ORACLE
from marl_bench.statistics.intervals import Interval

NONE = "–"
"""Stands where a number does not exist: an interval over one seed, a metric that an arm lacks."""

_METRIC_NAMES = {
    ORACLE: "oracle",
    "reward_model_score": "reward-model score",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "response_tokens": "response tokens",
    "finished": "finished",
    "kl": "KL",
}


def metric_name(metric: str) -> str:
    """Returns the readable name of a metric; an unknown one reads as its own name."""
    return _METRIC_NAMES.get(metric, metric.replace("_", " "))


def titled(text: str) -> str:
    """Returns the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def number(value: float | None) -> str:
    """Returns a number with as many decimals as its size deserves: 0.123, 12.34, 123.4, 12,345."""
    if value is None:
        return NONE
    size = abs(round(value, 3))  # 9.9996 is written 10.00, not 10.000
    decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def signed(value: float | None) -> str:
    """Returns a number with its sign, for differences."""
    if value is None:
        return NONE
    text = number(value)
    return text if text.startswith("-") or float(text.replace(",", "")) == 0 else f"+{text}"


def percent(share: float | None) -> str:
    """Returns a share of 1 in percent."""
    return NONE if share is None else f"{100 * share:.1f} %"


def interval(found: Interval | None) -> str:
    """Returns the two ends of an interval, or `–` if there is none."""
    return NONE if found is None else f"[{number(found.low)}, {number(found.high)}]"


def percent_interval(found: Interval | None) -> str:
    """Returns the two ends of an interval of a share, in percent."""
    return NONE if found is None else f"[{100 * found.low:.1f}, {100 * found.high:.1f}] %"


def plus_minus(mean: float, found: Interval | None) -> str:
    """Returns mean ± half the interval's width; `± –` if there is no interval."""
    return f"{number(mean)} ± {number(found.half_width) if found else NONE}"


def p_value(value: float) -> str:
    """Returns a p-value; below a thousandth the bound only."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun: 1 seed, 2 seeds."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: list[str]) -> str:
    """Returns names as a phrase: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
