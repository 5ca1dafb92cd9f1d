"""What embedded references can say: articles about structures, people and towns, and the relations they state.

A reference states three facts of one entity in one sentence; an answer says one fact a sentence in other words, with the
value at its end, so copying from the right reference is the key skill.
"""

import dataclasses
import functools
import random
import re
from collections.abc import Mapping, Sequence

from marl_bench_tasks.webgpt.vocabulary import FIRST_NAMES, LAST_NAMES, SLOT_WORDS, STRUCTURE_NAMES, STRUCTURE_TYPES

# Long enough for every entity and value, short enough that babble between two known words is neither.
_SLOT_PATTERN = r"([\w'-]+(?: [\w'-]+){0,2})"
# Numbers stand before the end of the sentence: "... [2]." or "... [1, 3]." or "... [1][3]."
_CITED = re.compile(r"(.*?)((?: ?\[\d+(?:, ?\d+)*\])*)\.")


@dataclasses.dataclass(frozen=True)
class Fact:
    """One statement: a relation of an entity, and its value."""

    relation: str
    entity: str
    value: str


@dataclasses.dataclass(frozen=True)
class Relation:
    """What can be asked and said about an entity.

    Attributes:
        name: Unique.
        slot: Where its values come from: a word list, `person` or `town`.
        question: The direct question.
        topic: The same question after "to know"; it stands in openings.
        statements: Wordings of an answer, without the citation and the full stop; each ends with the value.
        leads_to: Kind of article about the value, for questions over two references.
        described: The value by its relation, as the subject of such a question.
    """

    name: str
    slot: str
    question: str
    topic: str
    statements: tuple[str, str]
    leads_to: str | None = None
    described: str = ""


@dataclasses.dataclass(frozen=True)
class Article:
    """A kind of reference.

    Attributes:
        kind: Unique.
        about: What its entities are: `structure`, `person` or `town`.
        wordings: Each names every relation exactly once.
        relations: What it states.
    """

    kind: str
    about: str
    wordings: tuple[str, str]
    relations: tuple[Relation, ...]


@dataclasses.dataclass(frozen=True)
class Reference:
    """One reference of a prompt: the entity is its title."""

    kind: str
    entity: str
    text: str
    facts: tuple[Fact, ...]


@dataclasses.dataclass(frozen=True)
class Statement:
    """A sentence of an answer that states a fact, and the references it cites."""

    fact: Fact
    cited: tuple[int, ...]


ARTICLES = (
    Article(
        "made",
        "structure",
        (
            "Designed by {designer} in {designed}, it is made of {material}.",
            "It is made of {material} and was designed in {designed} by {designer}.",
        ),
        (
            Relation(
                "designer",
                "person",
                "Who designed the {entity}?",
                "who designed the {entity}",
                (
                    "As one can read there, the {entity} was designed by {value}",
                    "The person who once designed the {entity} was {value}",
                ),
                leads_to="life",
                described="the person who designed the {entity}",
            ),
            Relation(
                "designed",
                "year",
                "When was the {entity} designed?",
                "when the {entity} was designed",
                (
                    "The plans are old, since the {entity} was designed in {value}",
                    "It is said that the {entity} was first designed in the year {value}",
                ),
            ),
            Relation(
                "material",
                "material",
                "What is the {entity} made of?",
                "what the {entity} is made of",
                (
                    "From top to bottom the {entity} is made of {value}",
                    "The strong walls of the {entity} are all made of {value}",
                ),
            ),
        ),
    ),
    Article(
        "site",
        "structure",
        (
            "It stands in {town}, has {steps} steps and belongs to {owner}.",
            "It belongs to {owner}, stands in {town} and has {steps} steps.",
        ),
        (
            Relation(
                "town",
                "town",
                "In which town does the {entity} stand?",
                "in which town the {entity} stands",
                (
                    "Visitors will find that the {entity} stands in {value}",
                    "The place where the {entity} still stands today is {value}",
                ),
                leads_to="town",
                described="the town where the {entity} stands",
            ),
            Relation(
                "steps",
                "steps",
                "How many steps does the {entity} have?",
                "how many steps the {entity} has",
                (
                    "The number of steps that the {entity} has is {value}",
                    "If one counts all the steps of the {entity}, there are {value}",
                ),
            ),
            Relation(
                "owner",
                "owner",
                "To whom does the {entity} belong?",
                "to whom the {entity} belongs",
                (
                    "As a matter of fact the {entity} now belongs to {value}",
                    "By law the whole of the {entity} belongs to {value}",
                ),
            ),
        ),
    ),
    Article(
        "life",
        "person",
        (
            "Born in {birthplace}, the architect studied {subject} and played {instrument}.",
            "The architect played {instrument}, studied {subject} and was born in {birthplace}.",
        ),
        (
            Relation(
                "birthplace",
                "town",
                "Where was {entity} born?",
                "where {entity} was born",
                (
                    "As for the early years, {entity} was born in {value}",
                    "The small place where {entity} was born is {value}",
                ),
                leads_to="town",
                described="the town where {entity} was born",
            ),
            Relation(
                "subject",
                "subject",
                "What did {entity} study?",
                "what {entity} studied",
                (
                    "As a young student at the time {entity} studied {value}",
                    "Before the first work was done {entity} studied {value}",
                ),
            ),
            Relation(
                "instrument",
                "instrument",
                "Which instrument did {entity} play?",
                "which instrument {entity} played",
                (
                    "When there was some time left {entity} played {value}",
                    "At home and among friends {entity} often played {value}",
                ),
            ),
        ),
    ),
    Article(
        "town",
        "town",
        (
            "It lies on the river {river}, was founded in {founded} and sells {product}.",
            "Founded in {founded}, it sells {product} and lies on the river {river}.",
        ),
        (
            Relation(
                "river",
                "river",
                "On which river does {entity} lie?",
                "on which river {entity} lies",
                (
                    "On the map one can see that {entity} lies on the river {value}",
                    "The water that one sees in {entity} is the river {value}",
                ),
            ),
            Relation(
                "founded",
                "year",
                "When was {entity} founded?",
                "when {entity} was founded",
                (
                    "By all that is known {entity} was founded in {value}",
                    "It is said that {entity} was founded back in the year {value}",
                ),
            ),
            Relation(
                "product",
                "product",
                "What does {entity} sell?",
                "what {entity} sells",
                (
                    "Up to this day the town of {entity} sells {value}",
                    "To all who come there {entity} sells {value}",
                ),
            ),
        ),
    ),
)

ARTICLE_OF: Mapping[str, Article] = {article.kind: article for article in ARTICLES}
RELATIONS: Mapping[str, Relation] = {relation.name: relation for article in ARTICLES for relation in article.relations}


class Names:
    """Draws entities and values, each at most once, so that in one prompt a word belongs to one fact."""

    def __init__(self, rng: random.Random) -> None:
        """Starts with all words; `rng` draws."""
        self._rng = rng
        self._taken: set[str] = set()

    def entity(self, about: str) -> str:
        """Returns a new structure, person or town."""
        if about == "structure":
            return f"{self._draw(STRUCTURE_NAMES)} {self._rng.choice(STRUCTURE_TYPES)}"
        if about == "person":
            return f"{self._draw(FIRST_NAMES)} {self._draw(LAST_NAMES)}"
        return self._draw(SLOT_WORDS[about])

    def value(self, relation: Relation) -> str:
        """Returns a new value of a relation."""
        return self.entity(relation.slot)

    def _draw(self, words: Sequence[str]) -> str:
        word = self._rng.choice([word for word in words if word not in self._taken])
        self._taken.add(word)
        return word


def make_reference(kind: str, names: Names, rng: random.Random, *, entity: str | None = None) -> Reference:
    """Returns a reference with drawn values; `entity` fixes what it is about."""
    article = ARTICLE_OF[kind]
    entity = entity or names.entity(article.about)
    facts = tuple(Fact(relation.name, entity, names.value(relation)) for relation in article.relations)
    text = rng.choice(article.wordings).format(**{fact.relation: fact.value for fact in facts})
    return Reference(kind, entity, text, facts)


def state(fact: Fact, rng: random.Random, *, cited: Sequence[int] = ()) -> str:
    """Says a fact as an answer does, with its citation."""
    wording = rng.choice(RELATIONS[fact.relation].statements)
    return f"{wording.format(entity=fact.entity, value=fact.value)}{citation(cited)}."


def citation(numbers: Sequence[int]) -> str:
    """Returns ` [1]` or ` [1, 2]`; nothing without numbers."""
    return f" [{', '.join(map(str, numbers))}]" if numbers else ""


def without_citation(sentence: str) -> tuple[str, tuple[int, ...]] | None:
    """Returns a sentence without citation and full stop, and the cited numbers; None if it does not end with a full stop."""
    match = _CITED.fullmatch(sentence)
    if match is None:
        return None
    return match[1], tuple(int(number) for number in re.findall(r"\d+", match[2]))


def parse_statement(sentence: str) -> Statement | None:
    """Returns what a sentence of an answer states, or None when it is no known sentence.

    The whole sentence has to be one wording; words that merely occur in it state nothing.
    """
    parts = without_citation(sentence)
    if parts is None:
        return None
    body, cited = parts
    for marker, pattern, relation in _parsers():
        if marker in body and (match := pattern.fullmatch(body)):
            return Statement(Fact(relation, *match.groups()), cited)
    return None


@functools.cache
def _parsers() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Returns (longest literal piece, pattern, relation) of every wording; in all of them the entity stands first.

    The literal piece is looked for first because a substring test is far cheaper than a match.
    """
    parsers = []
    for relation in RELATIONS.values():
        for wording in relation.statements:
            literals = re.split(r"\{\w+\}", wording)
            pattern = re.compile(_SLOT_PATTERN.join(re.escape(literal) for literal in literals))
            parsers.append((max(literals, key=len), pattern, relation.name))
    return tuple(parsers)
