"""Trees from parsers whose models the user has installed: spaCy's dependencies, benepar's constituents. Optional, imported when asked for."""

from collections.abc import Callable, Sequence
from typing import Any

from marl_bench.errors import ConfigError
from marl_bench.macro.constituency import Tree


def spacy_parser(pipeline: str) -> Callable[[str], Tree]:
    """Returns the function from a text to the dependency trees of its sentences.

    A word with the words that depend on it is a phrase. Where phrases cross, the words of the tree are not those of the text, and the
    response falls back.

    Args:
        pipeline: Name or folder of an installed spaCy pipeline with a parser.

    Raises:
        ConfigError: spaCy or the pipeline is not installed, or the pipeline does not parse.
    """
    parse = _load_spacy(pipeline, needs={"parser"})
    return lambda text: [dependency_tree(sentence.root) for sentence in parse(text).sents]


def benepar_parser(pipeline: str, model: str) -> Callable[[str], Tree]:
    """Returns the function from a text to the constituency trees of its sentences.

    Args:
        pipeline: Name or folder of an installed spaCy pipeline that finds sentences.
        model: Name or folder of an installed benepar model.

    Raises:
        ConfigError: benepar, spaCy, the pipeline or the model is not installed.
    """
    parse = _load_spacy(pipeline, needs={"parser", "senter", "sentencizer"})
    try:
        import benepar  # noqa: F401 (registers itself with spaCy)

        parse.add_pipe("benepar", config={"model": model})
    except ImportError as error:
        raise _missing("benepar", "marl-bench[benepar]") from error
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(
            f"termination rule 'parsing': benepar model '{model}' cannot be loaded ({type(error).__name__}); install it first."
        ) from error
    return lambda text: [constituent_tree(sentence) for sentence in parse(text).sents]


def dependency_tree(word: Any) -> Tree:
    """Returns a word of spaCy with all that depends on it, from left to right; a word on which nothing depends is a leaf."""
    own = [] if word.is_space else [word.text]
    around = [[dependency_tree(child) for child in side if not child.is_space] for side in (word.lefts, word.rights)]
    parts: Sequence[Tree] = [*around[0], *own, *around[1]]
    return parts[0] if len(parts) == 1 else parts


def constituent_tree(span: Any) -> Tree:
    """Returns a span of spaCy with benepar's constituents in it; a span of one word is a leaf."""
    children = list(span._.children)
    if children:
        return [constituent_tree(child) for child in children]
    words = [word.text for word in span if not word.is_space]
    return words[0] if len(words) == 1 else words


def _load_spacy(pipeline: str, *, needs: set[str]) -> Any:
    try:
        import spacy
    except ImportError as error:
        raise _missing("spaCy", "marl-bench[spacy]") from error
    try:
        parse = spacy.load(pipeline)
    except OSError as error:
        raise ConfigError(
            f"termination rule 'parsing': spaCy pipeline '{pipeline}' is not installed; install it, or give the name or folder of another."
        ) from error
    if not needs & set(parse.pipe_names):
        raise ConfigError(
            f"termination rule 'parsing': spaCy pipeline '{pipeline}' has {parse.pipe_names}; it needs one of {sorted(needs)}."
        )
    return parse


def _missing(name: str, extra: str) -> ConfigError:
    return ConfigError(f"termination rule 'parsing': needs {name}, which is not installed; install {extra}.")
