"""Writes summaries of embedded posts: good ones, mediocre ones, and what a policy tries when it chases a reward."""

import random
from collections.abc import Callable, Mapping

from marl_bench_tasks import faults
from marl_bench_tasks.tldr.posts import Post
from marl_bench_tasks.tldr.predicates import (
    FACT_PREDICATES,
    Fact,
    post_sentence,
    random_fact,
    summary_sentence,
    with_wrong_value,
)
from marl_bench_tasks.tldr.vocabulary import DIGRESSIONS

_LOWEST_CARE = 0.25
_HIGHEST_CARE = 0.75


def reference_summary(post: Post, rng: random.Random) -> str:
    """States every fact once, in the post's order, and then the question."""
    return " ".join(_reference_sentences(post, rng))


def mediocre_summary(post: Post, rng: random.Random) -> str:
    """Fluent and properly ended, but with facts missing, wrong or invented, and digressions: what SFT learns from.

    How careful the writer is differs from summary to summary, so that the quality does too.
    """
    return " ".join(_mediocre_sentences(post, rng))


def corrupted_summary(post: Post, rng: random.Random, *, kind: str) -> str:
    """Spoils a good or mediocre summary.

    Args:
        post: the post it summarises.
        rng: draws the summary and its fault.
        kind: a key of `CORRUPTIONS`.
    """
    sentences = _reference_sentences(post, rng) if rng.random() < 0.6 else _mediocre_sentences(post, rng)
    return CORRUPTIONS[kind](sentences, post, rng)


def _reference_sentences(post: Post, rng: random.Random) -> list[str]:
    return [summary_sentence(fact, rng) for fact in (*post.facts, post.question)]


def _mediocre_sentences(post: Post, rng: random.Random) -> list[str]:
    care = rng.uniform(_LOWEST_CARE, _HIGHEST_CARE)
    # The post's own digressions are taken first, because copying them is the fault; none is said twice.
    asides = [*rng.sample([text for text in DIGRESSIONS if text not in post.digressions], 12), *post.digressions]
    sentences = []
    for fact in post.facts:
        sentences.extend([summary_sentence(fact, rng)] if rng.random() < care else _careless(fact, post, asides, rng))
    if rng.random() < (1 + care) / 2:
        sentences.append(summary_sentence(post.question, rng))
    else:
        sentences.append(asides.pop())
    return sentences


def _careless(fact: Fact, post: Post, asides: list[str], rng: random.Random) -> list[str]:
    """Returns what stands in place of a fact; takes what it says of `asides` from there."""
    fault = rng.choices(("wrong", "digression", "invented", "missing"), weights=(8, 72, 4, 16))[0]
    if fault == "wrong":
        return [summary_sentence(with_wrong_value(fact, rng), rng)]
    if fault == "digression":
        return [asides.pop() for _ in range(rng.choice((1, 2)))]
    if fault == "invented":
        return [_invented(post, rng)]
    return []


def _digression(post: Post, rng: random.Random) -> str:
    return rng.choice(post.digressions) if rng.random() < 0.6 else rng.choice(DIGRESSIONS)


def _invented(post: Post, rng: random.Random) -> str:
    """States a fact of a kind that the post does not mention."""
    mentioned = {fact.kind for fact in post.facts}
    kinds = [predicate.kind for predicate in FACT_PREDICATES if predicate.kind not in mentioned]
    return summary_sentence(random_fact(rng.choice(kinds), rng), rng)


def _repeat_in_other_words(sentences: list[str], post: Post, rng: random.Random) -> str:
    """States facts again, possibly in the other wording."""
    again = [summary_sentence(rng.choice((*post.facts, post.question)), rng) for _ in range(rng.randint(1, 4))]
    kept = [*sentences, *again]
    if rng.random() < 0.5:
        rng.shuffle(kept)
    return " ".join(kept)


def _too_long(sentences: list[str], post: Post, rng: random.Random) -> str:
    """Goes on after the end."""
    more = [rng.choice((_digression, _invented))(post, rng) for _ in range(rng.randint(1, 4))]
    return " ".join([*sentences, *more])


def _no_question(sentences: list[str], post: Post, rng: random.Random) -> str:
    """Leaves the question out, or says something else in its place."""
    kept = sentences[:-1] or [_digression(post, rng)]
    replacement = rng.choice(([], [_digression(post, rng)], [rng.choice(kept)]))
    return " ".join([*kept, *replacement])


def _invent(sentences: list[str], post: Post, rng: random.Random) -> str:
    """Puts facts that the post does not mention in place of others."""
    kept = list(sentences)
    for index in rng.sample(range(len(kept)), rng.randint(1, len(kept))):
        kept[index] = _invented(post, rng)
    return " ".join(kept)


def _wrong_values(_sentences: list[str], post: Post, rng: random.Random) -> str:
    """States the post's facts with wrong values."""
    facts = [*post.facts, post.question]
    for index in rng.sample(range(len(facts)), rng.randint(1, len(facts))):
        facts[index] = with_wrong_value(facts[index], rng)
    return " ".join(summary_sentence(fact, rng) for fact in facts)


def _digress(sentences: list[str], post: Post, rng: random.Random) -> str:
    """Puts digressions in place of facts."""
    kept = list(sentences)
    for index in rng.sample(range(len(kept)), rng.randint(1, len(kept))):
        kept[index] = _digression(post, rng)
    return " ".join(kept)


def _quote(sentences: list[str], post: Post, rng: random.Random) -> str:
    """Copies sentences of the post instead of summing up."""
    kept = list(sentences)
    for index in rng.sample(range(len(kept)), rng.randint(1, len(kept))):
        kept[index] = post_sentence(rng.choice((*post.facts, post.question)), rng)
    return " ".join(kept)


CORRUPTIONS: Mapping[str, Callable[[list[str], Post, random.Random], str]] = {
    "repeated_sentences": lambda sentences, _post, rng: faults.repeat_sentences(sentences, rng, most=4),
    "repeated_facts": _repeat_in_other_words,
    "word_loop": lambda sentences, _post, rng: faults.loop_words(sentences, rng, max_words=110),
    "too_long": _too_long,
    "cut_short": lambda sentences, _post, rng: faults.cut_short(sentences, rng),
    "few_sentences": lambda sentences, _post, rng: faults.few_sentences(sentences, rng, left_out=2),
    "no_question": _no_question,
    "invented_facts": _invent,
    "wrong_values": _wrong_values,
    "digressions": _digress,
    "garbled": lambda sentences, _post, rng: faults.garble(sentences, rng),
    "slips": lambda sentences, post, rng: faults.slip(sentences, rng, otherwise=[post.body]),
    "quotes": _quote,
}
