"""Writes the last answer of embedded dialogues: good ones, and mediocre ones for supervised fine-tuning."""

import random

from marl_bench_tasks.hh.claims import ITEMS, Claim, answer_sentence, random_claim, with_wrong_value
from marl_bench_tasks.hh.dialogues import Dialogue
from marl_bench_tasks.hh.gold import gold_facts
from marl_bench_tasks.hh.vocabulary import CHATTER, HARMS

CLOSING = Claim("closing")
_LOWEST_CARE = 0.25
_HIGHEST_CARE = 0.75
_NEEDLESS_REFUSAL_SHARE = 0.12
_COMPLIANCE_SHARE = 0.4


def reference_answer(dialogue: Dialogue, rng: random.Random) -> str:
    """Greets, names what was asked for in its order (or refuses, says why and what else to do), and closes."""
    return " ".join(reference_sentences(dialogue, rng))


def mediocre_answer(dialogue: Dialogue, rng: random.Random) -> str:
    """Fluent and properly ended, but with much missing, wrong or beside the point: what SFT learns from.

    Some refuse a helpful request, some comply with a harmful wish. How careful the writer is differs from answer to
    answer, so that the quality does too.
    """
    return " ".join(mediocre_sentences(dialogue, rng))


def reference_sentences(dialogue: Dialogue, rng: random.Random) -> list[str]:
    """Returns the sentences of a good answer."""
    facts = gold_facts(dialogue)
    body = (facts.refusal, facts.reason, facts.alternative) if facts.harmful else facts.asked
    return [answer_sentence(claim, rng) for claim in (facts.greeting, *body, CLOSING)]


def mediocre_sentences(dialogue: Dialogue, rng: random.Random) -> list[str]:
    """Returns the sentences of a mediocre answer."""
    care = rng.uniform(_LOWEST_CARE, _HIGHEST_CARE)
    facts = gold_facts(dialogue)
    # The dialogue's own chatter is taken first, because copying it is the fault; none is said twice.
    asides = [*rng.sample([text for text in CHATTER if text not in dialogue.chatter], 12), *dialogue.chatter]
    sentences = []
    if rng.random() < (1 + care) / 2:
        sentences.append(answer_sentence(facts.greeting, rng))
    if facts.harmful and rng.random() < _COMPLIANCE_SHARE:
        sentences.extend(compliant_sentences(dialogue, rng))
        sentences.extend(_some_chatter(asides, rng, care=care))
    elif facts.harmful:
        sentences.append(answer_sentence(facts.refusal, rng))
        for claim in (facts.reason, facts.alternative):
            sentences.extend([answer_sentence(claim, rng)] if rng.random() < care else _careless(claim, asides, rng))
    elif rng.random() < _NEEDLESS_REFUSAL_SHARE:
        sentences.append(answer_sentence(facts.refusal, rng))
        sentences.extend(_some_chatter(asides, rng, care=care))
    else:
        unasked = list(facts.unasked)
        for claim in facts.asked:
            if rng.random() < care:
                sentences.append(answer_sentence(claim, rng))
            elif unasked and rng.random() < 0.25:
                sentences.append(answer_sentence(unasked.pop(), rng))
            else:
                sentences.extend(_careless(claim, asides, rng))
    sentences.append(answer_sentence(CLOSING, rng) if rng.random() < (1 + care) / 2 else asides.pop())
    return sentences


def compliant_sentences(dialogue: Dialogue, rng: random.Random) -> list[str]:
    """Returns what complies with a harmful wish, one or both of its sentences."""
    claims = [
        Claim("compliance", (dialogue.act, dialogue.topic)),
        Claim("instruction", (dialogue.owner, dialogue.topic)),
    ]
    return [answer_sentence(claim, rng) for claim in claims[: rng.choice((1, 2, 2))]]


def wrong_claim(claim: Claim, rng: random.Random) -> Claim:
    """Returns the claim with a wrong value; reasons and alternatives become, half of the time, those of another harm."""
    harm, _, part = claim.kind.partition("_")
    if harm in HARMS and rng.random() < 0.5:
        return Claim(f"{rng.choice([other for other in HARMS if other != harm])}_{part}", claim.values)
    return with_wrong_value(claim, rng)


def invented_item(dialogue: Dialogue, rng: random.Random) -> Claim:
    """Returns an item that the dialogue does not tell."""
    told = {claim.kind for claim in (*dialogue.asked, *dialogue.unasked)}
    return random_claim(rng.choice([kind for kind in ITEMS if kind not in told]), rng)


def chatter_sentence(dialogue: Dialogue, rng: random.Random) -> str:
    """Returns a sentence beside the point, often one of the dialogue's own."""
    return rng.choice(dialogue.chatter) if rng.random() < 0.6 else rng.choice(CHATTER)


def _some_chatter(asides: list[str], rng: random.Random, *, care: float) -> list[str]:
    """Returns as much chatter as other answers have; without it a reward model would take chatter for a good sign."""
    return [asides.pop() for _ in range(3) if rng.random() > (1 + care) / 2]


def _careless(claim: Claim, asides: list[str], rng: random.Random) -> list[str]:
    """Returns what stands in place of a claim; takes what it says of `asides` from there."""
    fault = rng.choices(("wrong", "chatter", "missing"), weights=(12, 70, 18))[0]
    if fault == "wrong":
        return [answer_sentence(wrong_claim(claim, rng), rng)]
    return [asides.pop() for _ in range(rng.choice((1, 2)))] if fault == "chatter" else []
