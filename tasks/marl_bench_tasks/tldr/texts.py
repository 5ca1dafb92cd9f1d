"""Prints the texts that the shipped tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.tldr.texts > texts.jsonl

The training posts, each followed by notes: true sentences about it in any order. So the base model knows the language and can
copy a value out of a post, but it has seen no summary; what to say and when to stop is left to supervised fine-tuning.
"""

import json
import random
import sys

from marl_bench_tasks.tldr.embedded import TRAIN_ROWS
from marl_bench_tasks.tldr.posts import Post, make_posts, render_prompt
from marl_bench_tasks.tldr.predicates import summary_sentence

_NOTES_PER_POST = 6


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns one text per training post."""
    rng = random.Random(f"tldr texts {seed}")
    return [_with_notes(post, rng) for post in make_posts(count=TRAIN_ROWS, seed=seed)]


def main() -> None:
    """Writes the texts to standard output."""
    for text in pretraining_texts():
        sys.stdout.write(json.dumps(text) + "\n")


def _with_notes(post: Post, rng: random.Random) -> str:
    notes = [summary_sentence(rng.choice((*post.facts, post.question)), rng) for _ in range(_NOTES_PER_POST)]
    return render_prompt(post) + "\n\nNOTES: " + " ".join(notes)


if __name__ == "__main__":
    main()
