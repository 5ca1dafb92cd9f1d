"""The embedded data of the task, in the schema of the hub's `openai/summarize_from_feedback`, config `comparisons`."""

import random
from typing import Any

from marl_bench_tasks.annotators import LabelledPair
from marl_bench_tasks.tldr.annotator import make_preference_pairs
from marl_bench_tasks.tldr.gold import gold_facts
from marl_bench_tasks.tldr.posts import Post, make_posts
from marl_bench_tasks.tldr.summaries import mediocre_summary, reference_summary

TRAIN_ROWS = 4000
VALIDATION_ROWS = 256


def embedded_rows(*, seed: int = 0) -> list[dict[str, Any]]:
    """Returns one comparison row per post, the training rows first.

    Beyond the hub's fields a row has `sft_summary` (what SFT learns from, mediocre on purpose), `reference_summary` (a
    good one, for ROUGE and win rates) and `facts` (what `GoldFacts.from_json` reads).

    Args:
        seed: the only source of randomness.
    """
    posts = make_posts(count=TRAIN_ROWS + VALIDATION_ROWS, seed=seed)
    rng = random.Random(f"tldr rows {seed}")
    pairs = make_preference_pairs(posts, seed=seed)
    return [_row(pair, rng, split="train" if index < TRAIN_ROWS else "validation") for index, pair in enumerate(pairs)]


def _row(pair: LabelledPair[Post], rng: random.Random, *, split: str) -> dict[str, Any]:
    post = pair.item
    choice = rng.randrange(2)
    summaries = [{"text": pair.rejected, "policy": pair.rejected_source} for _ in range(2)]
    summaries[choice] = {"text": pair.chosen, "policy": pair.chosen_source}
    return {
        "info": {"id": post.id, "post": post.body, "title": post.title, "subreddit": post.subreddit},
        "summaries": summaries,
        "choice": choice,
        "split": split,
        "facts": gold_facts(post).to_json(),
        "sft_summary": mediocre_summary(post, rng),
        "reference_summary": reference_summary(post, rng),
    }
