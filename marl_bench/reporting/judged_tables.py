"""Win rates by judges as tables and sentences."""

from collections.abc import Iterator, Sequence

from marl_bench.reporting.formatting import NONE, counted, percent, percent_interval
from marl_bench.reporting.judged import LEAST_CONSISTENT, JudgedRate, JudgedRates
from marl_bench.reporting.ranking import ranking_table
from marl_bench.reporting.tables import Table
from marl_bench.statistics.win_rates import ScoredRate

_NOTE = (
    "A tie counts as half a win; unscored pairs are in neither part of the rate, and the bounds count all of them as losses and as wins. "
    "“At equal length”: logistic fit on the difference in words. “Consistent”: same winner in both orders. “Detectable”: the distance "
    "from 50 % that so many prompts show with a chance of 80 %. Intervals are 95 %, clustered by prompt, for these seeds."
)


def judged_table(judged: JudgedRates) -> Table:
    """Returns the rates of one judge, one row a comparison."""
    heads = [
        "Arm",
        "Against",
        "Win rate",
        "95 % interval",
        "±",
        "At equal length",
        "Wins / ties / losses",
        "Unscored",
        "Bounds",
        "Consistent",
        "Detectable",
        "Prompts",
    ]
    return Table(_title(judged), heads, [_row(rate) for rate in judged.rates], _NOTE, text_columns=2)


def judged_terminal_table(judged: JudgedRates) -> Table:
    """Returns the same rates for a narrow terminal."""
    rows = [
        [
            f"{rate.arm} against {rate.reference}",
            _percent(rate.found),
            percent_interval(rate.found.rate),
            percent(rate.length_controlled.estimate if rate.length_controlled else None),
            str(rate.found.ties),
            str(rate.found.unscored),
        ]
        for rate in judged.rates
    ]
    return Table(_title(judged), ["Pair", "Win rate", "95 % interval", "At equal length", "Ties", "Unscored"], rows)


def judged_subsets_table(judged: JudgedRates) -> Table | None:
    """Returns the rates by subset of the data, or None where there is one subset only."""
    rows = [
        [
            rate.arm,
            rate.reference,
            subset,
            _percent(found),
            percent_interval(found.rate),
            f"{found.wins} / {found.ties} / {found.losses}",
            str(found.unscored),
        ]
        for rate in judged.rates
        for subset, found in rate.by_subset.items()
    ]
    heads = ["Arm", "Against", "Subset", "Win rate", "95 % interval", "Wins / ties / losses", "Unscored"]
    return Table(f"{_title(judged)}, by subset", heads, rows, text_columns=3) if rows else None


def judged_ranking_table(judged: JudgedRates) -> Table | None:
    """Returns the strengths of three or more arms by one judge, or None without them."""
    return ranking_table(judged.ranking, by=judged.judgement.judge)


def judged_sentences(judged: JudgedRates) -> Iterator[str]:
    """Yields who judged and how, and what is to be known of the judge."""
    judgement = judged.judgement
    orders = "both orders of each pair" if judgement.order == "both" else "one order of each pair"
    prompts = f"prompts {', '.join(f'`{name}`' for name in judgement.prompts)}, " if judgement.prompts else ""
    yield (f"Judge `{judgement.judge}`, {prompts}protocol {judgement.protocol}, {orders}, seed {judgement.seed}.")
    statuses = ", ".join(f"{count:,} {status}" for status, count in judged.statuses.items())
    paths = ", ".join(f"{count:,} {path}" for path, count in judged.paths.items())
    yield f"{counted(judged.pairs, 'pair')}, {judged.unscored:,} of them unscored; verdicts: {statuses}; read by: {paths or 'nothing'}."
    if judged.consistency is not None:
        yield f"Position: {percent(judged.consistency)} of the pairs scored in both orders have the same winner in both."
    first = judged.first_rate
    if first is not None:
        share = f"{percent(first.estimate)} {percent_interval(first)}"
        yield f"Position: the response read first won {share} of the verdicts that name a winner."
    read, written = judged.tokens
    if read or written:
        cost = f", {judgement.cost:,.2f} US dollars" if judgement.cost is not None else ""
        yield f"Tokens: {read:,} read, {written:,} written{cost}."
    parameters = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in judgement.parameters.items())
    if parameters:
        yield f"Parameters: {parameters}."
    yield from judgement.notes


def judged_reading(judgements: Sequence[JudgedRates]) -> Iterator[str]:
    """Yields what each rate allows to say."""
    for judged in judgements:
        if judged.consistency is not None and judged.consistency < LEAST_CONSISTENT:
            yield f"{_title(judged)} say nothing of the responses: the judge follows their position."
            continue
        for rate in judged.rates:
            if rate.found.rate is not None:
                yield f"{judged.judgement.judge}: {_verdict(rate)}"


def _verdict(rate: JudgedRate) -> str:
    """Returns one sentence on a rate that exists; nothing is shown that unscored pairs could turn around."""
    found, interval = rate.found, rate.found.rate
    assert interval is not None
    side = "better" if interval.estimate > 0.5 else "worse"
    bound = found.low_bound if interval.estimate > 0.5 else found.high_bound
    undecided = "no difference can be shown at this size"
    if not interval.excludes(0.5):
        conclusion = undecided
    elif (bound > 0.5) != (interval.estimate > 0.5):
        conclusion = f"{side} by the scored pairs, but the unscored ones could turn it around"
    else:
        conclusion = f"{side} with {'this seed' if len(rate.seeds) == 1 else 'these seeds'}"
    reach = (
        f"; {counted(found.clusters, 'prompt')} show a distance of {100 * rate.detectable:.1f} points from 50 % with a chance of 80 %"
        if rate.detectable
        else ""
    )
    return (
        f"{rate.arm} against {rate.reference}: {conclusion}; it wins {percent(interval.estimate)} of the pairs, 95 % "
        f"{percent_interval(interval)}{reach}."
    )


def _title(judged: JudgedRates) -> str:
    official = ", official protocol" if judged.judgement.protocol == "official" else ""
    return f"Win rates by {judged.judgement.judge}{official}"


def _row(rate: JudgedRate) -> list[str]:
    found, controlled = rate.found, rate.length_controlled
    return [
        rate.arm,
        rate.reference,
        _percent(found),
        percent_interval(found.rate),
        percent(found.rate.half_width if found.rate else None),
        f"{percent(controlled.estimate)} {percent_interval(controlled)}" if controlled else NONE,
        f"{found.wins} / {found.ties} / {found.losses}",
        str(found.unscored),
        f"{100 * found.low_bound:.1f} to {100 * found.high_bound:.1f} %" if found.unscored else NONE,
        percent(rate.consistency),
        percent(rate.detectable),
        str(found.clusters),
    ]


def _percent(found: ScoredRate) -> str:
    return percent(found.rate.estimate if found.rate else None)
