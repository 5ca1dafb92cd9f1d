"""Prints the texts that the task's tiny model is pretrained on, one JSON string a line.

    python -m marl_bench_tasks.hh.texts > texts.jsonl

Each is a training dialogue and notes about it: claims that fit it in any order, some of them twice, and chatter. So the
base model knows the language and can copy a value out of a dialogue; but it has seen no answer: what to say, in which
order, when to refuse and when to stop is left to supervised fine-tuning.
"""

import json
import random
import sys
from collections.abc import Sequence

from marl_bench_tasks.hh.answers import CLOSING
from marl_bench_tasks.hh.claims import Claim, answer_sentence
from marl_bench_tasks.hh.dialogues import Dialogue, make_dialogues, render_prompt
from marl_bench_tasks.hh.gold import gold_facts
from marl_bench_tasks.hh.vocabulary import CHATTER

# The first of the training dialogues.
DIALOGUES = 4000
_NOTES_PER_DIALOGUE = 7
_CHATTER_SHARE = 0.12
_FRAME_SHARE = 0.25
_ASKED_SHARE = 0.75


def pretraining_texts(*, seed: int = 0) -> list[str]:
    """Returns one text per dialogue."""
    rng = random.Random(f"hh texts {seed}")
    return [_with_notes(dialogue, rng) for dialogue in make_dialogues(count=DIALOGUES, seed=seed)]


def main() -> None:
    """Writes the texts to standard output."""
    for text in pretraining_texts():
        sys.stdout.write(json.dumps(text) + "\n")


def _with_notes(dialogue: Dialogue, rng: random.Random) -> str:
    notes = "".join(f" {_note(dialogue, rng)}" for _ in range(_NOTES_PER_DIALOGUE))
    return render_prompt(dialogue).removesuffix("Assistant:") + rng.choice(("Assistant:", "Notes:")) + notes


def _note(dialogue: Dialogue, rng: random.Random) -> str:
    if rng.random() < _CHATTER_SHARE:
        return rng.choice(CHATTER)
    facts = gold_facts(dialogue)
    if rng.random() < _FRAME_SHARE:
        return answer_sentence(rng.choice((facts.greeting, CLOSING, facts.refusal)), rng)
    claims: Sequence[Claim]
    if facts.harmful:
        claims = (
            facts.reason,
            facts.alternative,
            Claim("compliance", (facts.act, facts.topic)),
            Claim("instruction", (facts.owner, facts.topic)),
        )
    else:
        claims = facts.asked if rng.random() < _ASKED_SHARE else facts.unasked
    return answer_sentence(rng.choice(claims), rng)


if __name__ == "__main__":
    main()
