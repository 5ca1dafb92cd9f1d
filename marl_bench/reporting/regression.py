"""Is the later side worse than the baseline by more than a margin? With confidence, and never silently."""

import dataclasses
import math
from collections.abc import Sequence

from marl_bench.errors import ConfigError, RecordError, UnscoredError
from marl_bench.reporting.comparison import Difference
from marl_bench.reporting.contrasts import Contrast, Pair
from marl_bench.reporting.formatting import counted, interval, metric_name, percent, signed
from marl_bench.reporting.side_by_side import SideBySide
from marl_bench.statistics.intervals import Interval

REGRESSED, WITHIN, INCONCLUSIVE = "regressed", "within margin", "inconclusive"

FEWEST_PROMPTS = 6
"""With fewer prompts not even all of them worse would be shown at 95 %: the exact sign test of 5 of 5 has p = 0.0625."""


@dataclasses.dataclass(frozen=True)
class Margin:
    """How much worse a metric may be, in its unit."""

    metric: str
    size: float


@dataclasses.dataclass(frozen=True)
class MarginVerdict:
    """What an interval says about a margin.

    Attributes:
        contrast: The arm against its baseline.
        margin: How much worse it may be.
        verdict: `regressed`, `within margin` or `inconclusive`.
        interval: The interval that decided, as change for the better; None where there is none.
        over: What that interval is over: prompts or seeds.
        reason: Why it is inconclusive; empty otherwise.
    """

    contrast: Contrast
    margin: Margin
    verdict: str
    interval: Interval | None
    over: str
    reason: str = ""


def parse_margin(text: str, *, option: str) -> Margin:
    """Reads `METRIC:MARGIN`.

    Raises:
        ConfigError: It is none, or the margin is no number of at least 0.
    """
    metric, colon, size = text.rpartition(":")
    try:
        margin = Margin(metric.strip(), float(size))
    except ValueError:
        margin = Margin(metric.strip(), math.nan)
    if not colon or not margin.metric or not 0 <= margin.size < math.inf:
        raise ConfigError(
            f"{option} '{text}': should be METRIC:MARGIN with a margin of at least 0 in the metric's unit, for example oracle:0.05."
        )
    return margin


def judge_margins(
    found: SideBySide, margins: Sequence[Margin], *, max_unscored: float, option: str, force: bool = False
) -> list[MarginVerdict]:
    """Returns the verdict on each margin for each pair of arms; without margins nothing has to be whole.

    Args:
        found: What was compared.
        margins: How much worse which metric may be.
        max_unscored: Largest share of samples without a score, and of the baseline's prompts without a partner.
        option: Name of the option that gave the margins, for errors.
        force: Take prompts of one id and other texts as partners.

    Raises:
        ConfigError: A metric has no better end.
        RecordError: A metric is missing for a pair, or an arm or cell of the baseline has no counterpart.
        UnscoredError: More than `max_unscored` of the samples have no score, or of the baseline's prompts no partner.
    """
    if not margins:
        return []
    if found.missing_arms:
        raise RecordError(
            f"{option}: no other side has {', '.join(found.missing_arms)}, so nothing says whether it became worse; run these arms, or "
            "name the arms to compare as RUN:ARM."
        )
    if found.open_cells:
        raise RecordError(
            f"{option}: {'; '.join(found.open_cells)}; what did not finish cannot pass. Finish the run, or name arm and seed."
        )
    return [
        margin_verdict(
            _checked(found, margin, pair, max_unscored=max_unscored, where=f"{option} {margin.metric}", force=force),
            margin,
        )
        for margin in margins
        for pair in found.pairs
    ]


def margin_verdict(contrast: Contrast, margin: Margin) -> MarginVerdict:
    """Returns what the interval of the contrast says: over prompts with one seed, else the wider of both.

    `regressed`: it lies wholly beyond the margin on the worse side. `within margin`: none of it does. Else `inconclusive`.
    """
    found = contrast.difference
    decisive, over = deciding_interval(found)
    prompts = found.over_prompts.prompts
    if decisive is None or prompts < FEWEST_PROMPTS:
        reason = f"{counted(prompts, 'prompt')} cannot show anything at 95 %"
        return MarginVerdict(contrast, margin, INCONCLUSIVE, None, over, reason)
    better = decisive
    if found.higher_is_better is False:
        better = Interval(-decisive.estimate, -decisive.high, -decisive.low)
    if better.high < -margin.size:
        return MarginVerdict(contrast, margin, REGRESSED, better, over)
    if better.low >= -margin.size:
        return MarginVerdict(contrast, margin, WITHIN, better, over)
    return MarginVerdict(
        contrast, margin, INCONCLUSIVE, better, over, "the interval reaches to both sides of the margin"
    )


def deciding_interval(found: Difference) -> tuple[Interval | None, str]:
    """Returns the interval over prompts for one seed, else the wider of those over prompts and over seeds, and its name."""
    prompts, seeds = found.over_prompts.interval, found.over_seeds
    if seeds is not None and (prompts is None or seeds.half_width > prompts.half_width):
        return seeds, counted(len(found.seeds), "seed")
    return prompts, counted(found.over_prompts.prompts, "prompt")


def verdict_sentence(found: MarginVerdict) -> str:
    """Returns the verdict as one sentence with its numbers."""
    difference = found.contrast.difference
    pair = f"{difference.arm.label} against {difference.reference.label}"
    margin = f"{metric_name(found.margin.metric)}, margin {found.margin.size:g}"
    seeds = "" if len(difference.seeds) > 1 else "; one seed, so another training run may say otherwise"
    says = {
        REGRESSED: "regressed: worse by more than the margin",
        WITHIN: "within margin: not worse by more than the margin",
        INCONCLUSIVE: f"inconclusive: not shown to be within the margin ({found.reason})",
    }[found.verdict]
    change = f"change for the better {signed(-difference.delta if difference.higher_is_better is False else difference.delta)}"
    return f"{pair}, {margin}: {says}; {change}, 95 % over {found.over} {interval(found.interval)}{seeds}."


def _checked(
    found: SideBySide, margin: Margin, pair: Pair, *, max_unscored: float, where: str, force: bool
) -> Contrast:
    arm, reference = pair.first.arm.label, pair.second.arm.label
    where = f"{where}: {arm} against {reference}"
    contrast = next(
        (
            one
            for one in found.overall
            if (one.difference.arm.label, one.difference.reference.label, one.difference.metric)
            == (arm, reference, margin.metric)
        ),
        None,
    )
    if contrast is None:
        known = sorted({one.difference.metric for one in found.overall})
        raise RecordError(f"{where}: no shared prompt has this metric on both sides; known are {', '.join(known)}.")
    if contrast.difference.higher_is_better is None:
        raise ConfigError(
            f"{where}: neither end of this metric is better, so it cannot become worse; name another one."
        )
    require_scored(contrast, where=where, max_unscored=max_unscored, force=force)
    return contrast


def require_scored(contrast: Contrast, *, where: str, max_unscored: float, force: bool = False) -> None:
    """Raises `UnscoredError` if too many samples have no score, or too many of the baseline's prompts no partner.

    A prompt of the same id and another text is no partner, unless `force` takes it for one.
    """
    share = max(contrast.unscored_shares)
    if share > max_unscored:
        raise UnscoredError(
            f"{where}: {percent(share)} of the samples of one side have no score, more than {percent(max_unscored)}; what is unscored "
            "cannot pass. Evaluate them, or allow more with --max-unscored."
        )
    prompts, lost = contrast.difference.over_prompts.prompts, len(contrast.unpaired.only_second)
    if lost > max_unscored * (prompts + lost):
        raise UnscoredError(
            f"{where}: {counted(lost, 'prompt')} of the baseline's {prompts + lost} were not answered (first: "
            f"{contrast.unpaired.only_second[0]}), more than {percent(max_unscored)}; evaluate on the same prompts, or allow more with "
            "--max-unscored."
        )
    texts = contrast.unpaired.other_text
    if len(texts) > max_unscored * (prompts + lost) and not force:
        raise UnscoredError(
            f"{where}: {counted(len(texts), 'prompt')} of {prompts + lost} have the same id as the baseline's but another text (first: "
            f"{texts[0]}), more than {percent(max_unscored)}; compare runs on the same data, or allow more with --max-unscored."
        )
