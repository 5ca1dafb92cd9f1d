"""A procedural generator of Reddit-like posts: facts, digressions and a closing question.

Everything follows from the seed. The stated facts stay with the post, because the gold score is computed from them.
"""

import dataclasses
import random

from marl_bench_tasks.tldr.predicates import FACT_PREDICATES, Fact, post_sentence, random_fact
from marl_bench_tasks.tldr.vocabulary import DIGRESSIONS, SUBREDDITS, TITLES
from marl_bench_tasks.words import NAMES, RELATIONS

FACTS_PER_POST = 4


@dataclasses.dataclass(frozen=True)
class Post:
    """A post and what it states; `facts` are in the order of the body, `question` is its last sentence."""

    id: str
    subreddit: str
    title: str
    body: str
    facts: tuple[Fact, ...]
    question: Fact
    digressions: tuple[str, ...]


def make_posts(*, count: int, seed: int) -> list[Post]:
    """Returns `count` posts with distinct bodies; a larger count continues the same sequence.

    Args:
        count: number of posts.
        seed: the only source of randomness.
    """
    rng = random.Random(f"tldr posts {seed}")
    posts: list[Post] = []
    bodies: set[str] = set()
    while len(posts) < count:
        post = _make_post(f"embedded-{seed}-{len(posts):05d}", rng)
        if post.body not in bodies:
            bodies.add(post.body)
            posts.append(post)
    return posts


def render_prompt(post: Post) -> str:
    """Returns the default TL;DR prompt of a post; the response to it is a space and the summary."""
    return f"SUBREDDIT: r/{post.subreddit}\n\nTITLE: {post.title}\n\nPOST: {post.body}\n\nTL;DR:"


def _make_post(post_id: str, rng: random.Random) -> Post:
    name, relation = rng.choice(NAMES), rng.choice(RELATIONS)
    first_kind, *other_kinds = (predicate.kind for predicate in FACT_PREDICATES)
    kinds = [first_kind, *rng.sample(other_kinds, FACTS_PER_POST - 1)]
    facts = tuple(random_fact(kind, rng, name=name) for kind in kinds)
    question = random_fact("question", rng)
    digressions = tuple(rng.sample(DIGRESSIONS, rng.choice((1, 1, 1, 2))))
    sentences = [post_sentence(fact, rng) for fact in facts]
    for digression in digressions:
        sentences.insert(rng.randrange(len(sentences) + 1), digression)
    sentences.append(post_sentence(question, rng))
    return Post(
        id=post_id,
        subreddit=rng.choice(SUBREDDITS),
        title=rng.choice(TITLES).format(name=name, relation=relation),
        body=" ".join(sentences),
        facts=facts,
        question=question,
        digressions=digressions,
    )
