"""What a policy tries when it chases a reward: every fault that an answer to an embedded dialogue can have."""

import random
from collections.abc import Callable, Mapping

from marl_bench_tasks import faults
from marl_bench_tasks.hh.answers import (
    chatter_sentence,
    compliant_sentences,
    invented_item,
    mediocre_sentences,
    reference_sentences,
    wrong_claim,
)
from marl_bench_tasks.hh.claims import Claim, answer_sentence, parse_sentence
from marl_bench_tasks.hh.dialogues import Dialogue
from marl_bench_tasks.hh.gold import gold_facts

_MAX_WORDS = 110


def corrupted_answer(dialogue: Dialogue, rng: random.Random, *, kind: str) -> str:
    """Spoils a good or mediocre answer.

    Args:
        dialogue: the dialogue that it answers.
        rng: draws the answer and its fault.
        kind: a key of `CORRUPTIONS`.
    """
    write = reference_sentences if rng.random() < 0.6 else mediocre_sentences
    return CORRUPTIONS[kind](write(dialogue, rng), dialogue, rng)


def _repeat_in_other_words(sentences: list[str], _dialogue: Dialogue, rng: random.Random) -> str:
    """Claims things again, possibly in the other wording."""
    claims = [claim for claim in map(parse_sentence, sentences) if claim is not None]
    kept = list(sentences)
    for _ in range(rng.randint(1, 3)):
        kept.insert(rng.randint(1, len(kept)), answer_sentence(rng.choice(claims or [Claim("closing")]), rng))
    return " ".join(kept)


def _too_long(sentences: list[str], dialogue: Dialogue, rng: random.Random) -> str:
    """Goes on after the end."""
    more = [
        chatter_sentence(dialogue, rng) if rng.random() < 0.5 else answer_sentence(invented_item(dialogue, rng), rng)
        for _ in range(rng.randint(1, 4))
    ]
    return " ".join([*sentences, *more])


def _impolite(sentences: list[str], dialogue: Dialogue, rng: random.Random) -> str:
    """Leaves greeting or closing out, or puts something else in their place."""
    kept = sentences[1:] if rng.random() < 0.5 else sentences[:-1]
    if rng.random() < 0.5:
        kept.insert(rng.choice((0, len(kept))), chatter_sentence(dialogue, rng))
    return " ".join(kept or [chatter_sentence(dialogue, rng)])


def _unasked_items(sentences: list[str], dialogue: Dialogue, rng: random.Random) -> str:
    """Names items nobody asked for, true or invented, beside others or in their place."""
    kept = list(sentences)
    for _ in range(rng.randint(1, 3)):
        true = rng.choice(dialogue.unasked) if dialogue.unasked and rng.random() < 0.7 else None
        place = rng.randint(1, len(kept))
        kept[place : place + rng.randint(0, 1)] = [answer_sentence(true or invented_item(dialogue, rng), rng)]
    return " ".join(kept)


def _wrong_values(sentences: list[str], _dialogue: Dialogue, rng: random.Random) -> str:
    """Claims the same with wrong values, or gives the reasons of another harm."""
    kept = list(sentences)
    claims = {index: claim for index, text in enumerate(sentences) if (claim := parse_sentence(text)) and claim.values}
    for index in rng.sample(sorted(claims), rng.randint(1, len(claims))) if claims else ():
        kept[index] = answer_sentence(wrong_claim(claims[index], rng), rng)
    return " ".join(kept)


def _chatter(sentences: list[str], dialogue: Dialogue, rng: random.Random) -> str:
    """Puts chatter in place of other sentences."""
    kept = list(sentences)
    for index in faults.some_places(sentences, rng):
        kept[index] = chatter_sentence(dialogue, rng)
    return " ".join(kept)


def _shuffled(sentences: list[str], _dialogue: Dialogue, rng: random.Random) -> str:
    """Begins with another sentence and says the others in any order."""
    first = rng.randrange(1, len(sentences)) if len(sentences) > 1 else 0
    others = [sentence for index, sentence in enumerate(sentences) if index != first]
    rng.shuffle(others)
    return " ".join([sentences[first], *others])


def _quotes(sentences: list[str], dialogue: Dialogue, rng: random.Random) -> str:
    """Copies what the human said instead of answering."""
    kept = list(sentences)
    said = [f"{part}." for turn in dialogue.turns[::2] for part in turn.rstrip(".?").replace("?", ".").split(". ")]
    for index in faults.some_places(sentences, rng):
        kept[index] = rng.choice(said)
    return " ".join(kept)


def _misjudged(sentences: list[str], dialogue: Dialogue, rng: random.Random) -> str:
    """Refuses a helpful request, or complies with a harmful wish; alone or beside the right answer."""
    refusal = [answer_sentence(gold_facts(dialogue).refusal, rng)]
    wrong = compliant_sentences(dialogue, rng) if dialogue.harmful else refusal
    body = sentences[1:-1] if rng.random() < 0.4 else []
    return " ".join([*sentences[:1], *wrong, *body, *sentences[-1:]])


CORRUPTIONS: Mapping[str, Callable[[list[str], Dialogue, random.Random], str]] = {
    "repeated_sentences": lambda sentences, _dialogue, rng: faults.repeat_sentences(sentences, rng, most=4),
    "repeated_claims": _repeat_in_other_words,
    "word_loop": lambda sentences, _dialogue, rng: faults.loop_words(sentences, rng, max_words=_MAX_WORDS),
    "too_long": _too_long,
    "cut_short": lambda sentences, _dialogue, rng: faults.cut_short(sentences, rng),
    "few_sentences": lambda sentences, _dialogue, rng: faults.few_sentences(sentences, rng, left_out=1),
    "impolite": _impolite,
    "unasked_items": _unasked_items,
    "wrong_values": _wrong_values,
    "chatter": _chatter,
    "shuffled": _shuffled,
    "garbled": lambda sentences, _dialogue, rng: faults.garble(sentences, rng),
    "slips": lambda sentences, dialogue, rng: faults.slip(sentences, rng, otherwise=[dialogue.turns[-1]]),
    "quotes": _quotes,
    "misjudged": _misjudged,
}
