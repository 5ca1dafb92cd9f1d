"""Whether a reference supports a sentence: a lexical rule, and the citation metrics that stand on it.

Rule `lexical-v1`: a text supports a sentence if
- at least half of the sentence's distinct content words stand in the text, and
- every number and every capitalised name of the sentence stands in the text; the first word of a sentence is no name.
Content words are lower-cased words without common endings that are no stop words and no frame words, by which an answer
speaks of itself. The text of a reference is what the prompt shows of it, title included, because extracts often leave the name to the title.

It cannot see that a sentence says the opposite, or joins true parts wrongly: it is a bound that needs no model, the same
for all arms, not a judge. A raised version of the rule gets a new name.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping

from marl_bench.metrics.per_sample import PerSample
from marl_bench.records import Prompt, Response
from marl_bench_tasks.webgpt.citations import MARKER, cited_numbers, strip_citations
from marl_bench_tasks.webgpt.prompts import Quote, shown_quotes

SUPPORT_RULE = "lexical-v1"
MIN_CONTENT_OVERLAP = 0.5

_STOP_WORDS = """
a about above after again all also am an and any are as at be because been before being below both but by can could did do
does each few for from had has have he her here hers him his how i if in into is it its just me more most my no not now of
off on once one only or other our out over own same she should so some such than that the their them then there these they
this those to too under until up very was we were what when where which while who whom whose why will with would you your
"""
_FRAME_WORDS = """
according answer answers asked based article articles called cited conclusion end excerpt explained know known like look
mentioned page passage question read reference references said say says see short source sources stated states sum summary
text website
"""
_NO_CONTENT = frozenset(_STOP_WORDS.split()) | frozenset(_FRAME_WORDS.split())
_ENDINGS = (("ss", "ss"), ("ies", "y"), ("ied", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", ""))
_SHORTEST_STEM = 3
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# A sentence ends after closing punctuation, unless this was an initial or an abbreviation; markers that follow belong to it.
_SENTENCE_END = re.compile(
    rf"(?<!\b[A-Z])(?<!\b(?:Mr|Ms|Dr|St|Jr|Sr|vs))[.?!]+[\"'”’)]*(?:\s*{MARKER.pattern})*(?=\s|$)|\n+"
)
_LIST_NUMBER = re.compile(r"\(?\d{1,2}[.)]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence of an answer.

    Attributes:
        text: Without markers.
        cited: Numbers of its markers, as often as they stand there.
    """

    text: str
    cited: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class CitationCounts:
    """What the citation metrics are made of.

    Attributes:
        markers: Cited numbers, in all sentences.
        supporting_markers: Those that point to a reference that supports their sentence.
        statements: Sentences that say something beyond the question.
        supported: Statements that some reference supports.
        supported_and_cited: Statements with a marker to a reference that supports them.
    """

    markers: int
    supporting_markers: int
    statements: int
    supported: int
    supported_and_cited: int


def split_sentences(text: str) -> list[Sentence]:
    """Returns the sentences of an answer with their citations."""
    sentences, start = [], 0
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    for end in [*ends, len(text)]:
        if _LIST_NUMBER.fullmatch(text[start:end].strip()):
            continue  # it belongs to what follows
        piece, start = text[start:end], end
        sentence = Sentence(" ".join(strip_citations(piece).split()), cited_numbers(piece))
        if sentence.text or sentence.cited:
            sentences.append(sentence)
    return sentences


def content_words(text: str) -> set[str]:
    """Returns the stems of the distinct words that are neither stop words nor frame words."""
    return {_stem(word) for word in map(_plain, _WORD.findall(text)) if word not in _NO_CONTENT}


def supports(text: str, sentence: str) -> bool:
    """Returns whether a text supports a sentence, by the rule of this module."""
    content = content_words(sentence)
    words = {_plain(word) for word in _WORD.findall(text)}
    if not content or len(content & set(map(_stem, words))) < MIN_CONTENT_OVERLAP * len(content):
        return False
    return set(_NUMBER.findall(sentence)) <= set(_NUMBER.findall(text)) and _names(sentence) <= words


def citation_counts(prompt: Prompt, response: Response) -> CitationCounts | None:
    """Counts markers and statements of a response; None where the prompt shows no references."""
    references = _references(prompt)
    if not references:
        return None
    in_question = content_words(prompt.fields["question"])
    markers = supporting_markers = statements = supported = supported_and_cited = 0
    for sentence in split_sentences(response.text):
        holding = {number for number, text in references.items() if supports(text, sentence.text)}
        markers += len(sentence.cited)
        supporting_markers += sum(number in holding for number in sentence.cited)
        if content_words(sentence.text) <= in_question:
            continue  # the question again, or nothing at all
        statements += 1
        supported += bool(holding)
        supported_and_cited += bool(holding.intersection(sentence.cited))
    return CitationCounts(markers, supporting_markers, statements, supported, supported_and_cited)


def citation_metrics() -> tuple[PerSample, ...]:
    """Returns the metrics; all are None where the prompt shows no references, and 0 where there is nothing to divide by.

    `citation_precision`: share of the cited numbers that point to a reference that supports their sentence.
    `citation_recall`: share of the statements that cite a reference that supports them.
    `unsupported_sentences`: share of the statements that no reference supports.
    """
    return (
        PerSample("citation_precision", _share("supporting_markers", "markers"), higher_is_better=True),
        PerSample("citation_recall", _share("supported_and_cited", "statements"), higher_is_better=True),
        PerSample("unsupported_sentences", _unsupported, higher_is_better=False),
    )


def _references(prompt: Prompt) -> Mapping[int, str]:
    if not prompt.fields.get("quotes") or prompt.cuttable is None:
        return {}
    quotes = [Quote(**quote) for quote in prompt.fields["quotes"]]
    start, end = prompt.cuttable
    return dict(enumerate(shown_quotes(quotes, characters=end - start), start=1))


def _share(part: str, whole: str) -> Callable[[Prompt, Response], float | None]:
    return _Share(part, whole)


@dataclasses.dataclass(frozen=True)
class _Share:
    """A function of a response that can be pickled."""

    part: str
    whole: str

    def __call__(self, prompt: Prompt, response: Response) -> float | None:
        counts = citation_counts(prompt, response)
        if counts is None:
            return None
        whole = getattr(counts, self.whole)
        return getattr(counts, self.part) / whole if whole else 0.0


def _unsupported(prompt: Prompt, response: Response) -> float | None:
    counts = citation_counts(prompt, response)
    if counts is None:
        return None
    return (counts.statements - counts.supported) / counts.statements if counts.statements else 0.0


def _names(sentence: str) -> set[str]:
    words = _WORD.findall(sentence)
    return {_plain(word) for word in words[1:] if word[0].isupper() and word != "I"}


def _plain(word: str) -> str:
    """Returns the word in lower case, without a possessive ending."""
    return re.sub(r"['’]s$", "", word.lower())


def _stem(word: str) -> str:
    """Returns the word without the ending of a plural or a verb form, crudely but the same way on both sides."""
    for ending, replacement in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) + len(replacement) >= _SHORTEST_STEM:
            return word.removesuffix(ending) + replacement
    return word
