"""The termination rule `parsing`: phrases of a constituency tree are macro actions."""

import functools
from collections.abc import Callable, Sequence

from pydantic import Field

from marl_bench.config import Section
from marl_bench.interfaces import TerminationSpec
from marl_bench.macro.chunking import english_chunker
from marl_bench.macro.constituency import Tree, constituent_starts, word_tokens, words_of
from marl_bench.macro.installed_parsers import benepar_parser, spacy_parser
from marl_bench.macro.parsed import Offsets, ParsedRule


class ParsingParameters(Section):
    """Parameters of `parsing`."""

    cutoff: int = Field(5, ge=2, description="phrases of fewer tokens are macro actions")
    parser: str = Field(
        "textblob",
        pattern=r"^(textblob|spacy:[^:]+|benepar:[^:]+:[^:]+)$",
        description="textblob (English, no download), 'spacy:PIPELINE' or 'benepar:PIPELINE:MODEL' that are installed",
    )


def phrase_starts(text: str, spans: Offsets, *, parse: Callable[[str], Tree], cutoff: int) -> Sequence[int] | None:
    """Returns the tokens that begin a macro action, or None where the words of the tree are not those of the text.

    Args:
        text: The response; one of white space alone is one macro action.
        spans: The (start, end) characters of its tokens.
        parse: From the text to its tree.
        cutoff: Phrases with fewer tokens are macro actions.
    """
    if not text.strip():
        return []
    tree = parse(text)
    tokens = word_tokens([*words_of(tree)], text, spans)
    return None if tokens is None else constituent_starts(tree, tokens, cutoff=cutoff)


def _build(parameters: ParsingParameters) -> ParsedRule:
    return ParsedRule(functools.partial(phrase_starts, parse=_parser(parameters.parser), cutoff=parameters.cutoff))


def _parser(text: str) -> Callable[[str], Tree]:
    kind, *models = text.split(":")
    if kind == "spacy":
        return spacy_parser(*models)
    return benepar_parser(*models) if kind == "benepar" else english_chunker()


PARSING = TerminationSpec(
    "parsing",
    "1",
    "a phrase of fewer tokens than the cutoff is a macro action; fixed(5) where words and tokens do not fit",
    _build,
    ParsingParameters,
)
