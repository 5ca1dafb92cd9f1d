"""How far judges, people among them, agree, and how much more one of them likes the longer response."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from marl_bench.judgements import JudgedPair, judgement_folders, read_judgement, read_pairs
from marl_bench.reporting.comparison import Comparison
from marl_bench.reporting.formatting import NONE, interval, number, percent, percent_interval
from marl_bench.reporting.pairs import generator
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import RunDir
from marl_bench.statistics.intervals import Interval
from marl_bench.statistics.pair_labels import (
    Agreement,
    JudgeLabels,
    JudgeSummary,
    Pair,
    compare_labels,
    majority,
    summarise_labels,
)

LABELS = "labels:"
"""First part of the id of a judge who is a person."""

MAJORITY = "majority of"


def read_judges(experiments: Sequence[Path]) -> tuple[dict[str, Pair], list[JudgeLabels]]:
    """Returns the judged pairs of one or more experiments, and every judge's scores of them, models first.

    A model with judgements of several names is one judge for each. With several annotators their majority stands last, as a judge of its own.

    Raises:
        RecordError: A judgement is damaged.
    """
    pairs: dict[str, Pair] = {}
    scores: dict[str, dict[str, float]] = {}
    found = [(number_, folder) for number_, one in enumerate(experiments) for folder in judgement_folders(one)]
    names = {folder: read_judgement(folder).judge for _, folder in found}
    for number_, folder in found:
        judge = names[folder]
        # Of two judgements by one model, such as standard and official, neither may stand in for the other.
        if not is_person(judge) and len({one.name for one in names if names[one] == judge}) > 1:
            judge = f"{judge} ({folder.name})"
        for judged in read_pairs(folder):
            key = _key(number_, judged)
            pairs[key] = Pair(judged.prompt_id, judged.arm_words - judged.reference_words)
            if judged.score is not None:
                scores.setdefault(judge, {})[key] = judged.score
    judges = [JudgeLabels(name, scores[name]) for name in sorted(scores, key=lambda name: (is_person(name), name))]
    people = [judge for judge in judges if is_person(judge.name)]
    if len(people) > 1:
        judges.append(majority(f"{MAJORITY} {len(people)} annotators", people, pairs))
    return pairs, judges


def agreements(
    judges: Sequence[JudgeLabels], pairs: Mapping[str, Pair], *, members: Mapping[str, Sequence[str]]
) -> list[Agreement]:
    """Returns each judge held against every later one with which it shares a scored pair.

    Args:
        judges: The judges; who is held for true stands last.
        pairs: Pair id to what is known of the pair.
        members: Name of a majority to its members, who are not held against it.
    """
    found = (
        compare_labels(one, other, pairs, rng=generator(one.name, other.name, "agreement"))
        for one, other in itertools.combinations(judges, 2)
        if one.name not in members.get(other.name, ())
    )
    return [one for one in found if one.pairs]


def summaries(judges: Sequence[JudgeLabels], pairs: Mapping[str, Pair]) -> list[JudgeSummary]:
    """Returns each judge's win rates of the first responses."""
    return [summarise_labels(judge, pairs, rng=generator(judge.name, "labels")) for judge in judges]


def with_agreements(comparison: Comparison, run_dirs: Sequence[RunDir]) -> Comparison:
    """Returns the comparison with the judges of its experiments held against each other; what follows from it stands among its warnings.

    Raises:
        RecordError: A judgement is damaged.
    """
    found = judges_of_runs([run_dir.root for run_dir in run_dirs])
    return dataclasses.replace(comparison, agreements=found, warnings=[*comparison.warnings, *length_warnings(found)])


def length_warnings(found: Sequence[Agreement]) -> list[str]:
    """Returns a sentence for each model that likes longer responses more, or less, than people do, beyond its interval."""
    against_people = {
        one.judge: one for one in found if not is_person(one.judge)
    }  # the last is the one with the majority
    return [
        f"judge {one.judge}: the longer response wins {percent(one.longer)} of its pairs, and {percent(one.longer_other)} of the same pairs "
        f"with {one.other}; a difference of {points(one.length_bias)} points. Read its win rates at equal length."
        for one in against_people.values()
        if _is_people(one.other) and one.length_bias is not None and one.length_bias.excludes(0)
    ]


def _is_people(judge: str) -> bool:
    return is_person(judge) or judge.startswith(MAJORITY)


def judges_of_runs(experiments: Sequence[Path]) -> list[Agreement]:
    """Returns every two judges of the experiments' judgements that share a pair, held against each other."""
    pairs, judges = read_judges(experiments)
    people = [judge.name for judge in judges if is_person(judge.name)]
    return agreements(judges, pairs, members={judges[-1].name: people} if len(people) > 1 else {})


def agreement_table(found: Sequence[Agreement]) -> Table | None:
    """Returns judges held against each other, or None if there are no two."""
    if not found:
        return None
    heads = [
        "Judge",
        "Against",
        "Pairs",
        "Agreement",
        "95 %",
        "Kappa",
        "95 %",
        "Without ties",
        "Longer wins",
        "With the other",
        "Length bias",
    ]
    rows = [
        [
            one.judge,
            one.other,
            f"{one.pairs:,}",
            _share(one.same),
            percent_interval(one.same),
            number(one.kappa.estimate) if one.kappa else NONE,
            interval(one.kappa),
            f"{_share(one.same_decided)} of {one.decided:,}",
            percent(one.longer),
            percent(one.longer_other),
            points(one.length_bias),
        ]
        for one in found
    ]
    note = (
        "Agreement: share of pairs with the same winner, a tie being a third answer; 95 % Wilson interval, clustered by prompt. Kappa: "
        "Cohen's, its interval for independent pairs. Longer wins: how often the longer response wins with each of the two, a tie as half, "
        "over pairs of unequal length. Length bias: the first minus the second, in points, 95 % bootstrap interval over prompts."
    )
    return Table("Judges held against each other", heads, rows, note, text_columns=2)


def summary_table(found: Sequence[JudgeSummary]) -> Table:
    """Returns each judge's win rates of the first response."""
    heads = [
        "Judge",
        "Pairs",
        "First wins / tie / second",
        "Unscored",
        "Win rate of the first",
        "95 %",
        "At equal length",
        "95 %",
        "Longer wins",
        "95 %",
    ]
    rows = [
        [
            one.judge,
            f"{one.rate.scored + one.rate.unscored:,}",
            f"{one.rate.wins} / {one.rate.ties} / {one.rate.losses}",
            str(one.rate.unscored),
            _share(one.rate.rate),
            percent_interval(one.rate.rate),
            _share(one.length_controlled),
            percent_interval(one.length_controlled),
            _share(one.longer),
            percent_interval(one.longer),
        ]
        for one in found
    ]
    note = "A tie is half a win; unscored pairs are in neither side of a rate. Length in words."
    return Table("Win rates by judge", heads, rows, note)


def points(found: Interval | None) -> str:
    """Returns a difference of two shares with its interval, in points of percent."""
    if found is None:
        return NONE
    return f"{100 * found.estimate:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def is_person(judge: str) -> bool:
    """Returns True if a judge's id is that of an annotator."""
    return judge.startswith(LABELS)


def _share(found: Interval | None) -> str:
    return percent(found.estimate) if found else NONE


def _key(experiment: int, judged: JudgedPair) -> str:
    return "\n".join(
        map(str, (experiment, judged.arm, judged.reference, judged.seed, judged.prompt_id, judged.sample_index))
    )
