"""What the numbers say, in plain sentences; and what they do not."""

import math
from collections.abc import Iterator, Sequence

from marl_bench.reporting.comparison import ORACLE, Arm, Comparison, Difference, Parity
from marl_bench.reporting.formatting import counted, interval, listed, metric_name, signed
from marl_bench.reporting.judged_tables import judged_reading
from marl_bench.statistics.intervals import Interval

SHOWN, SHOWN_FOR_ONE_SEED, SEEDS_OPEN, PROMPTS_OPEN, OPEN = "shown", "shown for one seed", "seeds", "prompts", "open"
"""How far the intervals of a difference carry: see `evidence`."""

_FEW_SEEDS = 4


def read(comparison: Comparison) -> list[str]:
    """Returns the reading of a comparison, a paragraph each."""
    if not comparison.trains:
        return [
            *_reference_sentences(comparison),
            *_over_optimisation_sentences(comparison),
            *_seed_sentences(comparison),
        ]
    return [
        *_learning_sentences(comparison),
        *_macro_sentences(comparison),
        *_control_sentences(comparison),
        *_parity_sentences(comparison),
        *_over_optimisation_sentences(comparison),
        *judged_reading(comparison.judged),
        *_seed_sentences(comparison),
    ]


def evidence(found: Difference) -> str:
    """Returns how far the intervals carry the difference.

    `shown`: the intervals over prompts and over seeds both exclude 0. `shown for one seed`: that over prompts does, and
    there is one seed. `seeds`: that over prompts does, that over seeds does not. `prompts`: the reverse. `open`:
    neither does.
    """
    prompts = found.over_prompts.interval is not None and found.over_prompts.interval.excludes(0)
    if found.over_seeds is None:
        return SHOWN_FOR_ONE_SEED if prompts else OPEN
    seeds = found.over_seeds.excludes(0)
    if prompts and seeds:
        return SHOWN
    return SEEDS_OPEN if prompts else PROMPTS_OPEN if seeds else OPEN


def word(found: Difference) -> str:
    """Returns better or worse, or higher or lower where neither end of the metric is better."""
    if found.higher_is_better is None:
        return "higher" if found.delta > 0 else "lower"
    return "better" if (found.delta > 0) == found.higher_is_better else "worse"


def describe(found: Difference) -> str:
    """Returns what a difference's intervals allow to say, then the numbers, as one sentence."""
    seeds = counted(len(found.seeds), "seed")
    undecided = "no difference can be shown at this size"
    if found.over_prompts.higher == found.over_prompts.lower == 0:
        undecided = f"equal on every prompt{'' if len(found.seeds) < 2 else ', over seeds taken together'}"
    conclusion = {
        SHOWN: word(found),
        SHOWN_FOR_ONE_SEED: f"{word(found)} on these prompts with this one seed, another seed may say otherwise",
        SEEDS_OPEN: f"{undecided} ({word(found)} so far, but over {seeds} 0 is not excluded)",
        PROMPTS_OPEN: f"{undecided} ({word(found)} so far, but over prompts 0 is not excluded)",
        OPEN: undecided,
    }[evidence(found)]
    pair = f"{found.arm.label} against {found.reference.label}, {metric_name(found.metric)}"
    return f"{pair}: {conclusion}; {_numbers(found)}."


def _numbers(found: Difference) -> str:
    size = signed(found.delta)
    if found.reference_deviation:
        size += f" ({signed(found.delta / found.reference_deviation)} reference standard deviations)"
    prompts = f"over {counted(found.over_prompts.prompts, 'prompt')} {interval(found.over_prompts.interval)}"
    seeds = f", over {counted(len(found.seeds), 'seed')} {interval(found.over_seeds)}" if found.over_seeds else ""
    return f"{size}, 95 % {prompts}{seeds}"


def _seed_sentences(comparison: Comparison) -> Iterator[str]:
    count = min(len(found.seeds) for found in comparison.arms)
    if count == 1:
        yield (
            "One seed: there is no interval over seeds (–). The intervals over prompts say what other prompts would "
            "give with these policies, not what another training run would give."
        )
    elif count <= _FEW_SEEDS:
        from scipy.special import stdtrit

        reach = float(stdtrit(count - 1, 0.975)) / math.sqrt(count)
        yield (
            f"With {count} seeds an interval over seeds reaches {reach:.1f} standard deviations of the seeds to each "
            "side; more seeds narrow it quickly."
        )


def _reference_sentences(comparison: Comparison) -> Iterator[str]:
    """Yields what models and samples that were made elsewhere are against the reference."""
    if comparison.start is None:
        yield "No reference was named (--against), so nothing here says whether one is better than another."
        return
    for found in comparison.differences:
        if found.reference.name == comparison.start.name:
            yield describe(found)


def _learning_sentences(comparison: Comparison) -> Iterator[str]:
    if comparison.start is None:
        yield "No SFT arm ran, so nothing here says how much was learned."
        return
    for found in comparison.arms:
        gain = comparison.difference(found.arm, comparison.start, comparison.primary_metric)
        if gain and found.arm.role == "token" and (evidence(gain) == OPEN or word(gain) in ("worse", "lower")):
            yield (
                f"{found.arm.label} shows no gain over {comparison.start.label}: a comparison with a learner that did "
                "not learn says little. " + describe(gain)
            )


def _macro_sentences(comparison: Comparison) -> Iterator[str]:
    macros = _with_role(comparison, "macro")
    if comparison.token is None:
        yield "No plain token-PPO arm is in the comparison, so nothing here says whether macro actions help."
        return
    if not macros:
        yield "No macro-PPO arm is in the comparison."
    for arm in macros:
        for metric in _metrics(comparison):
            found = comparison.difference(arm, comparison.token, metric)
            if found:
                yield describe(found)


def _control_sentences(comparison: Comparison) -> Iterator[str]:
    macros, controls = _with_role(comparison, "macro"), _with_role(comparison, "control")
    if not macros:
        return
    if not controls:
        yield (
            "No matched control ran: a gain of macro PPO could come from the longer credit horizon or the weaker KL "
            "penalty as well as from true granularity."
        )
    for control in controls:
        found = comparison.difference(control, comparison.token, comparison.primary_metric)
        if found:
            yield f"Control: {describe(found)}"
    for found in comparison.against_controls:
        if found.metric in _metrics(comparison):
            yield f"Left after the control: {describe(found)} {_granularity(comparison, found)}"


def _granularity(comparison: Comparison, left: Difference) -> str:
    """Returns what a macro arm minus its control says about true granularity."""
    gain = comparison.difference(left.arm, comparison.token, left.metric)
    carried = evidence(left)
    if carried in (SHOWN, SHOWN_FOR_ONE_SEED):
        caution = "" if carried == SHOWN else " (in this one seed)"
        if word(left) in ("worse", "lower"):
            return f"The control does better: nothing of the macro arm is left beyond it{caution}."
        return f"So the macro arm does something here that this control does not{caution}."
    widest = _widest(left)
    room = f" What is left lies within {interval(widest)}." if widest else ""
    if gain and evidence(gain) in (SHOWN, SHOWN_FOR_ONE_SEED) and word(gain) in ("better", "higher"):
        return f"The gain over {gain.reference.label} is not shown to be more than what this control reaches.{room}"
    nothing = "No gain over token PPO is shown either, so there is nothing to attribute yet." if gain else ""
    return f"{nothing}{room}".strip()


def _widest(found: Difference) -> Interval | None:
    known = [one for one in (found.over_prompts.interval, found.over_seeds) if one is not None]
    return max(known, key=lambda one: one.half_width) if known else None


def _parity_sentences(comparison: Comparison) -> Iterator[str]:
    for found in comparison.parities:
        if found.arm.role in ("macro", "control"):
            yield _parity_sentence(found)


def _parity_sentence(found: Parity) -> str:
    seeds = counted(len(found.seeds), "seed")
    if min(found.token_updates.values()) == 1:
        return (
            f"{found.arm.label}: parity says nothing here, because the token arm's training score ends no higher than "
            "it began."
        )
    if not found.reached:
        return f"{found.arm.label} never reaches the token arm's final training score ({seeds})."
    if found.speed_up is None:
        return (
            f"{found.arm.label} reaches the token arm's final training score in {found.reached} of {seeds}; "
            "no speed-up is given, because leaving out the others would flatter it."
        )
    known = [float(update) for update in found.updates.values() if update is not None]
    own = [float(update) for update in found.token_updates.values()]
    over = f", over seeds {interval(found.speed_up_over_seeds)}" if found.speed_up_over_seeds else " in this one seed"
    undecided = ""
    if found.same_in_every_seed:
        over = f" in each of {seeds}"
        undecided = "; equal seeds show no spread, so this says nothing of other seeds"
    elif found.speed_up_over_seeds is not None and not found.speed_up_over_seeds.excludes(1):
        undecided = "; no speed-up can be shown at this size"
    return (
        f"{found.arm.label} reaches the token arm's final training score after {sum(known) / len(known):.1f} updates, "
        f"the token arm itself after {sum(own) / len(own):.1f}: speed-up {found.speed_up:.2f}{over}{undecided}."
    )


def _over_optimisation_sentences(comparison: Comparison) -> Iterator[str]:
    if comparison.start is None or not comparison.has_oracle or comparison.primary_metric == ORACLE:
        return
    both: list[str] = []
    unclear: list[str] = []
    falling: list[str] = []
    for found in comparison.arms:
        gain = comparison.difference(found.arm, comparison.start, comparison.primary_metric)
        gold = comparison.difference(found.arm, comparison.start, ORACLE)
        if gain is None or gold is None or not _prompts_say(gain, "better"):
            continue
        kind = both if _prompts_say(gold, "better") else falling if _prompts_say(gold, "worse") else unclear
        kind.append(found.arm.label)
    score = metric_name(comparison.primary_metric)
    start = "SFT" if comparison.trains else comparison.start.label
    if both:
        yield f"Over {start}, {score} and oracle rise together in {listed(both)} (intervals over prompts)."
    if unclear:
        yield f"In {listed(unclear)} the {score} rises over {start}, but no rise of the oracle can be shown."
    if falling:
        yield f"Over-optimised: in {listed(falling)} the {score} rises over {start} while the oracle falls."


def _prompts_say(found: Difference, expected: str) -> bool:
    over = found.over_prompts.interval
    return over is not None and over.excludes(0) and word(found) == expected


def _with_role(comparison: Comparison, role: str) -> list[Arm]:
    return [found.arm for found in comparison.arms if found.arm.role == role]


def _metrics(comparison: Comparison) -> Sequence[str]:
    return [comparison.primary_metric, *([ORACLE] if comparison.primary_metric != ORACLE else [])]
