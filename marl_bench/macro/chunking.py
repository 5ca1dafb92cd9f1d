"""A shallow constituency parser of English that needs no download: TextBlob's tagger and chunker, and verbs with what follows them."""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence

from marl_bench.errors import ConfigError
from marl_bench.macro.constituency import Tree

_COMPLEMENTS = frozenset({"NP", "PNP", "PP", "ADJP", "ADVP", "PRT"})


@dataclasses.dataclass(frozen=True)
class _Phrase:
    label: str
    parts: Sequence[Tree]

    @property
    def tree(self) -> Tree:
        return self.parts[0] if len(self.parts) == 1 else self.parts


def english_chunker() -> Callable[[str], Tree]:
    """Returns the function from a text to its tree: sentences, in them phrases, in them words.

    Noun, verb, adjective, adverb and prepositional chunks are phrases; a preposition and its noun phrase are one, and so are a verb and the
    phrases directly behind it, up to a punctuation mark, a conjunction or the next verb.

    Raises:
        ConfigError: TextBlob is not installed.
    """
    try:
        from textblob.en.parsers import PatternParser
    except ImportError as error:
        raise ConfigError(
            "termination rule 'parsing': needs TextBlob, which is not installed; install marl-bench[parsing]."
        ) from error
    parser = PatternParser()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # the first text reads the lexicon, and TextBlob leaves its file open
        parser.parse("word")

    def parse(text: str) -> Tree:
        return [_sentence(line) for line in str(parser.parse(text)).split("\n") if line]

    return parse


def _sentence(line: str) -> Tree:
    # word/tag/chunk/prepositional phrase, for example `over/IN/B-PP/B-PNP the/DT/B-NP/I-PNP`
    words = [tuple(word.split("/")) for word in line.split(" ")]
    return [phrase.tree for phrase in _with_complements([*_prepositional(words)])]


def _prepositional(words: Sequence[tuple[str, ...]]) -> Iterator[_Phrase]:
    """Yields chunks, those of one prepositional phrase as one."""
    for begin, end in _runs([word[3] for word in words]):
        chunks = [*_chunks(words[begin:end])]
        if words[begin][3] == "O":
            yield from chunks
        else:
            yield _Phrase("PNP", [chunk.tree for chunk in chunks])


def _chunks(words: Sequence[tuple[str, ...]]) -> Iterator[_Phrase]:
    for begin, end in _runs([word[2] for word in words]):
        tokens = [word[0].replace("&slash;", "/") for word in words[begin:end]]
        label = words[begin][2].partition("-")[2]
        if label:
            yield _Phrase(label, tokens)
        else:
            yield from (_Phrase("", [token]) for token in tokens)


def _runs(marks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yields (begin, end) of the runs of marks B-x I-x I-x, and of O."""
    begin = 0
    for place in range(1, len(marks) + 1):
        goes_on = place < len(marks) and (marks[place].startswith("I-") or (marks[place] == "O" == marks[begin]))
        if not goes_on:
            yield begin, place
            begin = place


def _with_complements(phrases: Sequence[_Phrase]) -> Iterator[_Phrase]:
    place = 0
    while place < len(phrases):
        end = place + 1
        if phrases[place].label == "VP":
            while end < len(phrases) and phrases[end].label in _COMPLEMENTS:
                end += 1
        group = phrases[place:end]
        yield group[0] if len(group) == 1 else _Phrase("VP", [phrase.tree for phrase in group])
        place = end
