"""Three or more arms on one scale: Bradley-Terry strengths from the oracle's or a judge's pairs."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from marl_bench.judgements import JudgedPair
from marl_bench.reporting.arm_cells import ArmCells
from marl_bench.reporting.comparison import ORACLE, Comparison
from marl_bench.reporting.formatting import counted, interval, percent, signed
from marl_bench.reporting.pairs import generator, outcomes, shared_seeds, with_places
from marl_bench.reporting.tables import Table
from marl_bench.statistics.bradley_terry import BradleyTerry, Contest, bradley_terry, strengths_of_wins

_FEWEST = 3
"""Of two arms the win rate says it all."""


def oracle_ranking(arms: Sequence[ArmCells], *, higher_is_better: bool | None) -> BradleyTerry | None:
    """Returns the strengths of all arms by the oracle, or None below three arms or where no finite strengths fit.

    A contest is one prompt with one seed of two arms, as in the win rates; with several samples a prompt their mean decides.
    """
    if len(arms) < _FEWEST or higher_is_better is None:
        return None
    wins = np.zeros((len(arms[0].prompts), len(arms), len(arms)))
    for (row, first), (column, second) in itertools.combinations(enumerate(arms), 2):
        scores, other_scores, places = with_places(first, second, ORACLE)
        signs = outcomes(scores, other_scores) * (1 if higher_is_better else -1)
        points = ((signs + 1) / 2).sum(axis=0)
        wins[places, row, column] = points
        wins[places, column, row] = len(shared_seeds(first, second)) - points
    met = [place for place in range(len(arms)) if wins[:, place].any() or wins[:, :, place].any()]
    if len(met) < _FEWEST:
        return None
    names = [arms[place].arm.label for place in met]
    return strengths_of_wins(names, wins[:, met][:, :, met], rng=generator(*names, ORACLE, "ranking"))


def judged_ranking(pairs: Sequence[JudgedPair], *, judge: str, labels: Mapping[str, str]) -> BradleyTerry | None:
    """Returns the strengths of all arms in a judge's pairs; None as in `oracle_ranking`."""
    contests = [
        Contest(labels.get(pair.arm, pair.arm), labels.get(pair.reference, pair.reference), pair.score, pair.prompt_id)
        for pair in pairs
    ]
    names = sorted({name for contest in contests for name in (contest.first, contest.second)})
    if len(names) < _FEWEST:
        return None
    found = bradley_terry(contests, rng=generator(*names, judge, "ranking"))
    return found if found and len(found.strengths) >= _FEWEST else None


def ranking_table(found: BradleyTerry | None, *, by: str) -> Table | None:
    """Returns the strengths, best first, or None without any."""
    if found is None:
        return None
    rows = [
        [name, signed(strength.estimate), interval(strength), percent(1 / (1 + math.exp(-strength.estimate)))]
        for name, strength in found.strengths.items()
    ]
    unscored = f", {found.unscored:,} more left out as unscored" if found.unscored else ""
    note = (
        f"Bradley–Terry strengths from {counted(found.contests, 'pair')} on {counted(found.clusters, 'prompt')}{unscored}; a tie is half a "
        "win of each. Strengths add up to 0; a difference of d between two arms stands for a win rate of 1 / (1 + exp(−d)), and the last "
        "column is that against an arm of strength 0. 95 % intervals, clustered by prompt, for these seeds; they are of each arm by itself: "
        "for two arms see their win rate. One scale for all arms is assumed; where win rates run in a circle it hides that."
    )
    return Table(f"Ranking of the arms by {by}", ["Arm", "Strength", "95 % interval", "Against strength 0"], rows, note)


def oracle_ranking_table(comparison: Comparison) -> Table | None:
    """Returns the strengths by the oracle, or None without an oracle or below three arms."""
    return ranking_table(comparison.ranking, by="the oracle")
