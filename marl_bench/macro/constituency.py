"""Constituency trees over the tokens of a response, and the cut-off that makes macro actions of them."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from marl_bench.macro.parsed import Offsets

Tree: TypeAlias = "str | Sequence[Tree]"
"""A word, or a phrase as the sequence of its parts; the trees of nltk are such sequences."""


@dataclasses.dataclass(frozen=True)
class _Node:
    """A word or phrase with how many words and policy tokens it has."""

    words: int
    tokens: int
    children: Sequence["_Node"] = ()


def words_of(tree: Tree) -> Iterator[str]:
    """Yields the words of a tree from left to right."""
    if isinstance(tree, str):
        yield tree
    else:
        for child in tree:
            yield from words_of(child)


def word_tokens(words: Sequence[str], text: str, spans: Offsets) -> list[int] | None:
    """Returns how many tokens each word has, or None if the words are not the text.

    A token belongs to the word in which its last character that is not white space stands; one of white space alone, and EOS, to the word
    before. A word that lies inside a token of its neighbour has none.

    Args:
        words: From left to right; nothing but white space may stand between them.
        text: The response.
        spans: The (start, end) characters of its tokens.
    """
    owners: list[int] = []
    for index, word in enumerate(words):
        begin = text.find(word, len(owners))
        if begin < 0 or not word or text[len(owners) : begin].strip():
            return None
        owners += [max(index - 1, 0)] * (begin - len(owners)) + [index] * len(word)
    if not words or text[len(owners) :].strip():
        return None
    owners += [len(words) - 1] * (len(text) - len(owners))
    counts = [0] * len(words)
    for start, end in spans:
        place = start + len(text[start:end].rstrip()) - 1 if text[start:end].strip() else end - 1
        if start == end and start < len(text):  # a part of the character that begins here
            place = start
        counts[owners[max(place, 0)]] += 1
    return counts


def constituent_starts(tree: Tree, tokens: Sequence[int], *, cutoff: int) -> list[int]:
    """Returns the tokens that begin a macro action: phrases of fewer tokens than the cutoff, found from the top and from left to right.

    A phrase with at least `cutoff` tokens is walked into. A single word (or a phrase of one) joins the macro action just before it, whatever
    made that one, and opens one only at the start; a word of several tokens is still one word. For `(The quick brown fox) (jumped (over (the
    lazy dog))) .` with one token a word: cutoff 4 begins macro actions at 0 and 6, 5 at 0 and 5, 6 at 0 and 4, and 3 at 0 alone.

    Args:
        tree: The response's tree.
        tokens: How many tokens each of its words has.
        cutoff: Phrases with fewer tokens are macro actions.
    """
    starts: list[int] = []
    place = 0
    waiting = [_weighed(tree, iter(tokens))]
    while waiting:
        node = waiting.pop()
        if node.words > 1 and node.tokens >= cutoff:
            waiting.extend(reversed(node.children))
            continue
        if node.words > 1 or (node.words == 1 and not starts):
            starts.append(place)
        place += node.tokens
    return starts


def _weighed(tree: Tree, tokens: Iterator[int]) -> _Node:
    if isinstance(tree, str):
        count = next(tokens)
        return _Node(words=int(count > 0), tokens=count)
    children = [_weighed(child, tokens) for child in tree]
    return _Node(sum(child.words for child in children), sum(child.tokens for child in children), children)
