"""The embedded data of the task, in the schema of the hub's `Anthropic/hh-rlhf`."""

import random
from typing import Any

from marl_bench_tasks.annotators import LabelledPair
from marl_bench_tasks.hh.annotator import make_answer_pairs
from marl_bench_tasks.hh.answers import mediocre_answer, reference_answer
from marl_bench_tasks.hh.dialogues import Dialogue, make_dialogues, render_prompt
from marl_bench_tasks.hh.gold import gold_facts

TRAIN_ROWS = 6000
TEST_ROWS = 256


def embedded_rows(*, seed: int = 0) -> list[dict[str, Any]]:
    """Returns one row of two transcripts per dialogue, the training rows first.

    Beyond the hub's columns a row has `id`, `split`, `subset` (`helpful` or `harmless`), `sft_answer` (what SFT learns
    from, mediocre on purpose), `reference_answer` (a good one) and `facts` (what `GoldFacts.from_json` reads).

    Args:
        seed: the only source of randomness.
    """
    dialogues = make_dialogues(count=TRAIN_ROWS + TEST_ROWS, seed=seed)
    rng = random.Random(f"hh rows {seed}")
    pairs = make_answer_pairs(dialogues, seed=seed)
    return [_row(pair, rng, split="train" if number < TRAIN_ROWS else "test") for number, pair in enumerate(pairs)]


def _row(pair: LabelledPair[Dialogue], rng: random.Random, *, split: str) -> dict[str, Any]:
    dialogue = pair.item
    prompt = render_prompt(dialogue)
    return {
        "chosen": f"{prompt} {pair.chosen}",
        "rejected": f"{prompt} {pair.rejected}",
        "id": dialogue.id,
        "split": split,
        "subset": "harmless" if dialogue.harmful else "helpful",
        "sft_answer": mediocre_answer(dialogue, rng),
        "reference_answer": reference_answer(dialogue, rng),
        "facts": gold_facts(dialogue).to_json(),
    }
