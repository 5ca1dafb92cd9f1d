"""A procedural generator of questions with numbered references, of which one or two answer them.

Everything follows from the seed. The stated facts stay with the question, because the gold score is computed from them.
"""

import dataclasses
import random
from collections.abc import Sequence

from marl_bench_tasks.webgpt.world import ARTICLE_OF, ARTICLES, RELATIONS, Fact, Names, Reference, make_reference

SUBSETS = ("one_fact", "two_facts", "two_references")
_SUBSET_WEIGHTS = (0.4, 0.2, 0.4)
_KINDS = [article.kind for article in ARTICLES]
_CHAINS = tuple(
    (article.kind, relation) for article in ARTICLES for relation in article.relations if relation.leads_to is not None
)


@dataclasses.dataclass(frozen=True)
class Question:
    """A question, the references of its prompt, and what a good answer says.

    Attributes:
        id: Unique.
        subset: How many facts it asks for, and whether they stand in two references.
        text: The question.
        topic: The question after "to know", as openings restate it.
        references: In the order of their numbers, which begin at 1.
        asked: The facts that answer it.
        subject: What the question names, as closings say it again.
    """

    id: str
    subset: str
    text: str
    topic: str
    references: tuple[Reference, ...]
    asked: tuple[Fact, ...]
    subject: str

    def number_of(self, fact: Fact) -> int | None:
        """Returns the number of the reference that states a fact."""
        for number, reference in enumerate(self.references, start=1):
            if fact in reference.facts:
                return number
        return None

    @property
    def details(self) -> Sequence[Fact]:
        """What the references about the asked entities state beyond the asked facts."""
        entities = {fact.entity for fact in self.asked}
        return [
            fact
            for reference in self.references
            if reference.entity in entities
            for fact in reference.facts
            if fact not in self.asked
        ]

    @property
    def distractions(self) -> Sequence[Fact]:
        """What the references about other entities state."""
        entities = {fact.entity for fact in self.asked}
        return [fact for reference in self.references if reference.entity not in entities for fact in reference.facts]


def make_questions(*, count: int, seed: int) -> list[Question]:
    """Returns `count` questions whose prompts are distinct; a larger count continues the same sequence.

    Args:
        count: number of questions.
        seed: the only source of randomness.
    """
    rng = random.Random(f"webgpt questions {seed}")
    questions: list[Question] = []
    seen: set[tuple[str, tuple[Reference, ...]]] = set()
    while len(questions) < count:
        question = _make_question(f"embedded-{seed}-{len(questions):05d}", rng)
        key = (question.text, question.references)
        if key not in seen:
            seen.add(key)
            questions.append(question)
    return questions


def _make_question(question_id: str, rng: random.Random) -> Question:
    subset = rng.choices(SUBSETS, weights=_SUBSET_WEIGHTS)[0]
    names = Names(rng)
    if subset == "two_references":
        return _over_two_references(question_id, names, rng)
    kind = rng.choice(ARTICLES).kind
    main = make_reference(kind, names, rng)
    references = _in_order([main, *_distractors([main], names, rng)])
    asked = tuple(rng.sample(main.facts, 1 if subset == "one_fact" else 2))
    topics = [RELATIONS[fact.relation].topic.format(entity=fact.entity) for fact in asked]
    topic = " and ".join(topics)
    direct = RELATIONS[asked[0].relation].question.format(entity=asked[0].entity)
    text = direct if subset == "one_fact" else f"Can you tell me {topic}?"
    return Question(question_id, subset, text, topic, references, asked, _subject(main))


def _subject(reference: Reference) -> str:
    return f"the {reference.entity}" if ARTICLE_OF[reference.kind].about == "structure" else reference.entity


def _distractors(answering: Sequence[Reference], names: Names, rng: random.Random) -> list[Reference]:
    """Returns references of the other kinds, about other entities, so that there are three or four in all."""
    taken = {reference.kind for reference in answering}
    kinds = [article.kind for article in ARTICLES if article.kind not in taken]
    return [make_reference(kind, names, rng) for kind in rng.sample(kinds, rng.choice((3, 4)) - len(answering))]


def _in_order(references: Sequence[Reference]) -> tuple[Reference, ...]:
    """Returns the references sorted by kind.

    So a model of two layers can count which kinds stand before; to look up the number before any word is more than it learns in
    minutes.
    """
    return tuple(sorted(references, key=lambda reference: _KINDS.index(reference.kind)))


def _over_two_references(question_id: str, names: Names, rng: random.Random) -> Question:
    kind, first = rng.choice(_CHAINS)
    start = make_reference(kind, names, rng)
    link = next(fact for fact in start.facts if fact.relation == first.name)
    second = make_reference(str(first.leads_to), names, rng, entity=link.value)
    end = rng.choice(second.facts)
    references = _in_order([start, second, *_distractors([start, second], names, rng)])
    described = first.described.format(entity=start.entity)
    relation = RELATIONS[end.relation]
    # A described entity brings its own article.
    text, topic = (wording.replace("the {entity}", "{entity}") for wording in (relation.question, relation.topic))
    return Question(
        id=question_id,
        subset="two_references",
        text=text.format(entity=described),
        topic=topic.format(entity=described),
        references=references,
        asked=(link, end),
        subject=_subject(start),
    )
