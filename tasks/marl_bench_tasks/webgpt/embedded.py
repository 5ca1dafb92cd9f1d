"""The embedded data of the task, in the schema of the hub's `openai/webgpt_comparisons`."""

import random
from typing import Any

from marl_bench_tasks.webgpt.annotator import LabelledPair, label_pairs
from marl_bench_tasks.webgpt.answers import mediocre_answer, reference_answer
from marl_bench_tasks.webgpt.gold import gold_facts
from marl_bench_tasks.webgpt.questions import make_questions

TRAIN_ROWS = 6000
TEST_ROWS = 256
DATASET = "embedded"


def embedded_rows(*, seed: int = 0, train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS) -> list[dict[str, Any]]:
    """Returns one comparison row per question, the training rows first.

    Beyond the hub's fields a row has `split`, `subset`, `sft_answer` (what SFT learns from, mediocre on purpose),
    `reference_answer` (a good one, for ROUGE and win rates), `sources` (how each answer was written) and `facts` (what
    `GoldFacts.from_json` reads).

    Args:
        seed: the only source of randomness.
        train_rows: how many of the questions are for training.
        test_rows: how many are for evaluation.
    """
    questions = make_questions(count=train_rows + test_rows, seed=seed)
    rng = random.Random(f"webgpt rows {seed}")
    pairs = label_pairs(questions, seed=seed)
    return [_row(pair, rng, split="train" if index < train_rows else "test") for index, pair in enumerate(pairs)]


def _row(pair: LabelledPair, rng: random.Random, *, split: str) -> dict[str, Any]:
    question = pair.question
    quotes = {
        "title": [reference.entity for reference in question.references],
        "extract": [reference.text for reference in question.references],
    }
    row: dict[str, Any] = {
        "question": {"dataset": DATASET, "id": question.id, "full_text": question.text},
        "split": split,
        "subset": question.subset,
        "sources": list(pair.sources),
        "sft_answer": mediocre_answer(question, rng),
        "reference_answer": reference_answer(question, rng),
        "facts": gold_facts(question).to_json(),
    }
    for side, score in enumerate((pair.score, -pair.score)):
        row[f"quotes_{side}"] = quotes
        row[f"answer_{side}"] = pair.answers[side]
        row[f"tokens_{side}"] = {"prefix": [], "completion": []}
        row[f"score_{side}"] = score
    return row
