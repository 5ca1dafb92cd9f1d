"""What an embedded post can say: each predicate with its slots, its wordings in posts and in summaries.

A summary says the same in other words and copies the slot values, so copying from the prompt is the key skill.
"""

import dataclasses
import functools
import random
from collections.abc import Mapping

from marl_bench_tasks.tldr.vocabulary import SLOT_WORDS
from marl_bench_tasks.wordings import WordingParser, draw


@dataclasses.dataclass(frozen=True)
class Fact:
    """One statement: a predicate's kind and the values of its slots, in the predicate's order."""

    kind: str
    values: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns plain strings and lists."""
        return {"kind": self.kind, "values": list(self.values)}


@dataclasses.dataclass(frozen=True)
class Predicate:
    """A kind of statement; every wording names every slot exactly once."""

    kind: str
    slots: tuple[str, ...]
    post_wordings: tuple[str, ...]
    summary_wordings: tuple[str, ...]


FACT_PREDICATES = (
    Predicate(
        "author",
        ("age", "job", "city"),
        (
            "I am a {age} year old {job} living in {city}.",
            "Life as a {age} year old {job} living in {city} is odd.",
        ),
        (
            "The post was written by a {age} year old {job} who is living in {city}.",
            "First of all, the author is a {age} year old {job} living in {city}.",
        ),
    ),
    Predicate(
        "guest",
        ("relation", "name", "number"),
        (
            "My {relation} {name} has stayed with me for {number} weeks.",
            "I live with my {relation} {name} who came {number} weeks ago.",
        ),
        (
            "There is a guest in the house, because the {relation} {name} has stayed for {number} weeks.",
            "For the last {number} weeks the {relation} {name} has stayed as a guest in the house.",
        ),
    ),
    Predicate(
        "loan",
        ("name", "amount", "item"),
        (
            "I lent {name} {amount} dollars for a new {item}.",
            "I once lent {amount} dollars to {name} for a {item}.",
        ),
        (
            "The author lent {name} a total of {amount} dollars to pay for a {item}.",
            "There is a loan as well, since {name} was lent {amount} dollars by the author for a {item}.",
        ),
    ),
    Predicate(
        "met",
        ("name", "place", "month"),
        (
            "I first met {name} at a {place} in {month}.",
            "It was {month} when I met {name} at a {place}.",
        ),
        (
            "The two met for the first time in {month}, when {name} was at a {place} with the author.",
            "As the post says, the author first met {name} at a {place} back in {month}.",
        ),
    ),
    Predicate(
        "fight",
        ("name", "topic", "day"),
        (
            "Last {day} I had a fight with {name} about the {topic}.",
            "I had a fight about the {topic} with {name} on {day}.",
        ),
        (
            "There was a bad fight with {name} on {day}, and it was about the {topic}.",
            "Things got loud on {day}, when the author had a fight with {name} about the {topic}.",
        ),
    ),
    Predicate(
        "broke",
        ("name", "thing", "event"),
        (
            "{name} broke my {thing} during the {event}.",
            "During the {event} my {thing} was broken by {name}.",
        ),
        (
            "Something got broken and it was {name} who broke the {thing} during the {event}.",
            "During the {event} by accident the {thing} was broken by {name}.",
        ),
    ),
    Predicate(
        "offer",
        ("company", "city", "salary"),
        (
            "A {company} in {city} offers me {salary} dollars a month.",
            "I got a job offer of {salary} dollars from a {company} in {city}.",
        ),
        (
            "There is a job offer, since a {company} in {city} offers the author {salary} dollars a month.",
            "The author has a job offer from a {company} in {city} that pays {salary} dollars a month.",
        ),
    ),
    Predicate(
        "pet",
        ("color", "animal", "pet"),
        (
            "We share a {color} {animal} called {pet}.",
            "Our {color} {animal} is called {pet}.",
        ),
        (
            "They own a pet and share the care of it, a {color} {animal} that is called {pet}.",
            "They also share a pet, which is a {color} {animal} called {pet}.",
        ),
    ),
    Predicate(
        "trip",
        ("city", "number", "month"),
        (
            "We booked a trip to {city} for {number} days in {month}.",
            "Our trip to {city} in {month} takes {number} days.",
        ),
        (
            "They have booked a trip, which goes to {city} for {number} days in {month}.",
            "In {month} they want to go on a trip to {city} that is booked and takes {number} days.",
        ),
    ),
    Predicate(
        "promise",
        ("name", "chore", "day"),
        (
            "{name} made a promise to {chore} every {day}.",
            "It was a promise of {name} to {chore} every {day}.",
        ),
        (
            "One more thing is the promise made by {name}, which was to {chore} every {day}.",
            "On every {day} it is the duty of {name} to {chore}, because this was a promise.",
        ),
    ),
    Predicate(
        "found",
        ("number", "finds", "room"),
        (
            "I found {number} {finds} hidden in the {room}.",
            "Hidden in the {room} I found {number} {finds}.",
        ),
        (
            "By surprise the author found {number} {finds} that were hidden in the {room}.",
            "Somebody had hidden things in the {room}, where the author found {number} {finds}.",
        ),
    ),
    Predicate(
        "bill",
        ("bill", "day", "amount"),
        (
            "The {bill} is due on {day} and I am {amount} dollars short.",
            "I am {amount} dollars short for the {bill} due on {day}.",
        ),
        (
            "Money is a problem because the {bill} is due on {day} and the author is {amount} dollars short.",
            "The author is {amount} dollars short and cannot pay for the {bill}, which is due on {day}.",
        ),
    ),
    Predicate(
        "doctor",
        ("part", "number", "day"),
        (
            "On {day} a doctor told me to rest my {part} for {number} weeks.",
            "My {part} needs {number} weeks of rest, a doctor said on {day}.",
        ),
        (
            "There is a health problem, as a doctor said on {day} that the {part} needs {number} weeks of rest.",
            "The author saw a doctor on {day} and was told to rest the {part} for {number} weeks.",
        ),
    ),
    Predicate(
        "exam",
        ("subject", "number", "month"),
        (
            "I failed the {subject} exam in {month} by {number} points.",
            "In {month} I failed my {subject} exam by {number} points.",
        ),
        (
            "School is bad too, since the author failed the {subject} exam by {number} points in {month}.",
            "In {month} there was an exam, and the {subject} exam was failed by {number} points.",
        ),
    ),
)

QUESTION = Predicate(
    "question",
    ("first", "second"),
    (
        "Should I {first} or {second}?",
        "Would you {first} or {second}?",
        "Is it better to {first} or {second}?",
    ),
    (
        "In the end the question is whether to {first} or {second} after all of this.",
        "So the author would like to know if it is better to {first} or {second} now.",
    ),
)

PREDICATES: Mapping[str, Predicate] = {predicate.kind: predicate for predicate in (*FACT_PREDICATES, QUESTION)}


def random_fact(kind: str, rng: random.Random, *, name: str | None = None) -> Fact:
    """Returns a fact of this kind with drawn slot values; `name` fixes the person it is about."""
    values: list[str] = []
    for slot in PREDICATES[kind].slots:
        if slot == "name" and name is not None:
            values.append(name)
        else:
            values.append(draw(SLOT_WORDS[slot], rng, excluded=values))
    return Fact(kind=kind, values=tuple(values))


def with_wrong_value(fact: Fact, rng: random.Random) -> Fact:
    """Returns the fact with the value of one slot exchanged for another word of its list."""
    changed = rng.randrange(len(fact.values))
    values = list(fact.values)
    values[changed] = draw(SLOT_WORDS[PREDICATES[fact.kind].slots[changed]], rng, excluded=values)
    return Fact(kind=fact.kind, values=tuple(values))


def post_sentence(fact: Fact, rng: random.Random) -> str:
    """Says the fact as the author of a post does."""
    return _fill(rng.choice(PREDICATES[fact.kind].post_wordings), fact)


def summary_sentence(fact: Fact, rng: random.Random) -> str:
    """Says the fact as a summary does."""
    return _fill(rng.choice(PREDICATES[fact.kind].summary_wordings), fact)


def parse_summary_sentence(sentence: str) -> Fact | None:
    """Returns what a summary sentence states, or None when it is no known sentence.

    The whole sentence has to be one wording; words that merely occur in it state nothing.
    """
    found = _parser().parse(sentence)
    if found is None:
        return None
    kind, values = found
    return Fact(kind=kind.kind, values=tuple(values[slot] for slot in kind.slots))


def _fill(wording: str, fact: Fact) -> str:
    return wording.format(**dict(zip(PREDICATES[fact.kind].slots, fact.values, strict=True)))


@functools.cache
def _parser() -> WordingParser[Predicate]:
    return WordingParser((kind, wording) for kind in PREDICATES.values() for wording in kind.summary_wordings)
