"""ROUGE of many pairs of texts, in this process or shared out to processes of their own; the values are rouge-score's either way.

Run as a module it is such a process: pairs as JSON on stdin, values as JSON on stdout.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from marl_bench.errors import DataError

NAMES = ("rouge1", "rouge2", "rougeL")

WORK_OF_A_START = 5_000_000
"""Work, in the unit of `work`, that takes about as long as starting a process that has loaded rouge-score: one second."""

# Scripts written without spaces have no words to cut at, so each of their characters is a token.
_TOKEN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u3040-\u30ff\u0e00-\u0eff]|[^\W_]+")

Pair = tuple[str, str]
"""A prediction and its reference."""


class UnicodeTokenizer:
    """Lower-cased words and single characters of scripts without spaces; rouge-score's own tokenizer keeps ASCII only."""

    def tokenize(self, text: str) -> list[str]:
        """Returns the tokens of a text."""
        return _TOKEN.findall(text.lower())


def rouge_scores(pairs: Sequence[Pair], *, processes: int | None = None) -> dict[str, list[float]]:
    """Returns the F-measures of each name, one a pair, in the order of the pairs.

    Args:
        pairs: Predictions with their references.
        processes: At most so many processes side by side; None takes `free_processes()`. Fewer are started where there is too little
            work, and none for what takes a few seconds.

    Raises:
        DataError: A process failed; the text has the last line that it wrote.
    """
    count = processes_for(pairs, free_processes() if processes is None else processes)
    if count < 2:
        return scores_in_process(pairs)
    # Every count-th pair to each process: neighbours often have similar lengths, and the shares come out even.
    with ThreadPoolExecutor(count) as threads:
        shares = list(threads.map(_scores_of_process, [pairs[first::count] for first in range(count)]))
    return {name: [shares[place % count][name][place // count] for place in range(len(pairs))] for name in NAMES}


def free_processes() -> int:
    """Returns how many processor cores this process was told it may use: `OMP_NUM_THREADS`, and 1 without it.

    Cells run side by side, one a core, and their executor sets that variable to the threads of each (`--threads`): a cell that was
    given one core starts no process for ROUGE, one that was given four may.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(given)) if given.isdigit() else 1


def processes_for(pairs: Sequence[Pair], most: int) -> int:
    """Returns how many processes are worth their start: each must have more than twice the work that starting it costs."""
    return max(1, min(most, int(work(pairs) // (2 * WORK_OF_A_START)))) if most > 1 else 1


def work(pairs: Sequence[Pair]) -> float:
    """Returns what scoring costs, about 0.2 microseconds each: the product of both lengths in words, and 700 a pair."""
    return sum(700 + (len(prediction) / 5) * (len(reference) / 5) for prediction, reference in pairs)


def scores_in_process(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """Returns the F-measures, computed by rouge-score one pair after the other."""
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(list(NAMES), tokenizer=UnicodeTokenizer())
    scores = [scorer.score(reference, prediction) for prediction, reference in pairs]
    return {name: [score[name].fmeasure for score in scores] for name in NAMES}


def _scores_of_process(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """Returns the F-measures, computed by another process.

    A pipe and no pool: when this process is killed, its helper reads or writes a closed pipe and ends too.
    """
    # -P keeps modules of the working folder out; ours is found where this one was.
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(list(pairs)),
        capture_output=True,
        encoding="ascii",
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"rouge: a process that scores {len(pairs)} pairs ended with status {done.returncode}: {last}.")
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Scores the pairs on stdin."""
    json.dump(scores_in_process(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
