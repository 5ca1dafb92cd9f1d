"""Labels of pairs that somebody else made: any CSV or JSON-lines file with a column for each judge. No torch."""

import csv
import dataclasses
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import ConfigError, DataError, UnknownNameError, shown
from marl_bench.judging.cells import cells_of
from marl_bench.statistics.pair_labels import JudgeLabels, Pair, majority

Row = Mapping[str, Any]

SCORES: Mapping[str, float] = {"1": 1.0, "2": 0.0, "0": 0.5, "tie": 0.5, "draw": 0.5, "equal": 0.5}
"""What judges' values mean unless a file has its own: the score of the first response."""

_WORDS = {"1": 1.0, "2": 0.0, "tie": 0.5}


@dataclasses.dataclass(frozen=True)
class LabelFileOptions:
    """How a file of labels is read.

    Attributes:
        judges: Columns with a judge's values; `a.b` is the field `b` of `a` (an item, if `b` is a number) unless a column is called so.
        majorities: Name to the judges, of `judges`, whose majority it is.
        values: The file's own words for `1`, `2` and `tie`, beside the usual ones.
        unscored: Words for pairs that a judge could not judge; an empty value is one of them always.
        where: Column to the value that it must have; other rows are left out.
        responses: Columns of the first and of the second response; None means no lengths.
        cluster: Column of the prompt; None means that every row is a prompt of its own.
    """

    judges: Sequence[str]
    majorities: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unscored: Sequence[str] = ()
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)
    responses: tuple[str, str] | None = None
    cluster: str | None = None


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """What stands in a file of labels.

    Attributes:
        path: The file.
        pairs: Row number to what is known of its pair.
        judges: One a column, then one a majority.
    """

    path: Path
    pairs: Mapping[str, Pair]
    judges: Sequence[JudgeLabels]


def read_label_file(path: Path, options: LabelFileOptions) -> LabelFile:
    """Reads the labels of a file.

    Values are `1` or `2` for the better response, `0`, `tie`, `draw` or `equal` for a tie (in any case), or a number from 1 (the first is
    better) to 2 (the second is).

    Raises:
        ConfigError: An option is wrong.
        DataError: The file cannot be read, a column is missing or a value has no meaning.
    """
    scores = _meanings(options)
    unscored = {word.lower() for word in options.unscored} | {""}
    pairs: dict[str, Pair] = {}
    found: dict[str, dict[str, float]] = {name: {} for name in options.judges}
    for number, row in _rows(path):
        where = f"{path}, row {number}"
        if any(_text(_cell(row, name, where)) != value for name, value in options.where.items()):
            continue
        cluster = _text(_cell(row, options.cluster, where)) if options.cluster else str(number)
        pairs[str(number)] = Pair(cluster, _length_gap(row, options.responses, where))
        for name in options.judges:
            value = _text(_cell(row, name, where)).lower()
            if value not in unscored:
                found[name][str(number)] = _score(value, scores, f"{where}, column {name}")
    if not pairs:
        chosen = (
            f" where {', '.join(f'{name} is {shown(value)}' for name, value in options.where.items())}"
            if options.where
            else ""
        )
        raise DataError(f"{path}: has no row{chosen}; give a file with a row for each pair.")
    judges = [JudgeLabels(name, values) for name, values in found.items()]
    return LabelFile(path, pairs, [*judges, *_majorities(judges, options, pairs)])


def _meanings(options: LabelFileOptions) -> dict[str, float]:
    wrong = [word for word in options.values.values() if word not in _WORDS]
    if wrong:
        raise ConfigError(f"--values: {shown(wrong[0])} is no meaning; write for example model=1,gold=2,same=tie.")
    return {**SCORES, **{word.lower(): _WORDS[meaning] for word, meaning in options.values.items()}}


def _majorities(
    judges: Sequence[JudgeLabels], options: LabelFileOptions, pairs: Mapping[str, Pair]
) -> Iterator[JudgeLabels]:
    by_name = {judge.name: judge for judge in judges}
    for name, members in options.majorities.items():
        for member in members:
            if member not in by_name:
                raise UnknownNameError(f"judge of the majority '{name}'", member, by_name)
        yield majority(name, [by_name[member] for member in members], pairs)


def _score(value: str, scores: Mapping[str, float], where: str) -> float:
    known = scores.get(value)
    if known is not None:
        return known
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 1 <= number <= 2:
        raise DataError(
            f"{where}: {shown(value)} has no meaning; known are {', '.join(scores)} and numbers from 1 to 2. "
            f"Say what it means (--values {value}=1, =2 or =tie), or that the pair is unscored (--unscored {value})."
        )
    return 2 - number


def _length_gap(row: Row, responses: tuple[str, str] | None, where: str) -> int | None:
    if responses is None:
        return None
    first, second = (_text(_cell(row, name, where)) for name in responses)
    return len(first.split()) - len(second.split())


def _cell(row: Row, name: str, where: str) -> Any:
    """Returns the value of a column; a dotted name also goes into fields of fields."""
    found = _field(row, name)
    if found is None:
        raise DataError(f"{where}: has no column {shown(name)}; it has {shown(', '.join(map(str, row)))}.")
    return found[0]


def _field(row: Any, name: str) -> tuple[Any] | None:
    if isinstance(row, list):
        row = {str(number): item for number, item in enumerate(row)}
    if not isinstance(row, Mapping):
        return None
    if name in row:
        return (row[name],)
    for index, letter in enumerate(name):
        if letter == "." and name[:index] in row:
            found = _field(row[name[:index]], name[index + 1 :])
            if found is not None:
                return found
    return None


def _text(value: Any) -> str:
    return "" if value is None else value.strip() if isinstance(value, str) else str(value)


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yields number and row; of CSV the number counts the head, as a spreadsheet does."""
    text = _read(path)
    if path.name.removesuffix(".gz").endswith(".csv"):
        yield from _csv_rows(path, text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path}, row {number}: is no JSON ({error}); give a CSV or JSON-lines file."
                ) from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}, row {number}: is {type(row).__name__}, not an object with a field for each judge."
                )
            yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    names: list[str] = []
    number = 0
    try:
        for number, cells in enumerate(cells_of(text), start=1):
            if number == 1:
                names = cells
            elif any(cells):
                yield number, dict(zip(names, [*cells, *[""] * len(names)], strict=False))
    except csv.Error as error:
        raise DataError(f"{path}, row {number + 1}: is no CSV ({error}).") from error


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); give a CSV or JSON-lines file in UTF-8, plain or gzipped."
        ) from error
