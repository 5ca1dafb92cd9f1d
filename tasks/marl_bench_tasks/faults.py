"""Faults that any text of whole sentences can have: what policies do when they chase a reward."""

import random
from collections.abc import Sequence


def some_places(sentences: Sequence[str], rng: random.Random) -> list[int]:
    """Returns the positions of some sentences, at least one, in any order."""
    return rng.sample(range(len(sentences)), rng.randint(1, len(sentences)))


def repeat_sentences(sentences: Sequence[str], rng: random.Random, *, most: int) -> str:
    """Says some sentences again, at once or later, in place of others; at most so many times."""
    kept = list(sentences[: rng.randint(1, len(sentences))])
    for _ in range(rng.randint(1, most)):
        kept.insert(rng.randint(0, len(kept)), rng.choice(kept))
    return " ".join(kept)


def loop_words(sentences: Sequence[str], rng: random.Random, *, max_words: int) -> str:
    """Falls into a loop over a few words, with or without an end."""
    words = " ".join(sentences).split()
    start = rng.randint(0, len(words) - 1)
    phrase = words[start : start + rng.randint(1, 5)]
    looped = words[:start] + phrase * rng.randint(2, 1 + 40 // len(phrase))
    ending = rng.choice(([], words[start:], words[start:]))
    return " ".join((looped + ending)[:max_words])


def cut_short(sentences: Sequence[str], rng: random.Random) -> str:
    """Stops inside a sentence."""
    words = " ".join(sentences).split()
    return " ".join(words[: rng.randint(1, len(words) - 1)]).rstrip(".?")


def few_sentences(sentences: Sequence[str], rng: random.Random, *, left_out: int) -> str:
    """Leaves at least so many sentences out, but ends after a whole one."""
    kept = rng.sample(range(len(sentences)), rng.randint(1, max(1, len(sentences) - left_out)))
    return " ".join(sentences[index] for index in sorted(kept))


def garble(sentences: Sequence[str], rng: random.Random) -> str:
    """Shuffles the words of some sentences, or of all."""
    kept = list(sentences)
    for index in some_places(sentences, rng):
        words = kept[index].split()
        rng.shuffle(words)
        kept[index] = " ".join(words)
    return " ".join(kept)


def slip(sentences: Sequence[str], rng: random.Random, *, otherwise: Sequence[str]) -> str:
    """Loses, doubles or mixes up words in some sentences, as a weak language model does.

    Args:
        sentences: of the text.
        rng: draws the slips.
        otherwise: sentences to slip into where there is only one.
    """
    kept = list(sentences)
    for index in some_places(sentences, rng):
        words = kept[index].split()
        at = rng.randrange(1, len(words))
        other = rng.choice([sentence for sentence in sentences if sentence != kept[index]] or otherwise).split()
        lost, doubled = words[:at] + words[at + 1 :], words[:at] + words[at - 1 :]
        kept[index] = " ".join(rng.choice((lost, doubled, words[:at] + other[min(at, len(other) - 1) :])))
    return " ".join(kept)
