"""Files of samples that somebody made elsewhere: JSON lines or CSV with `id` and `response`. No torch."""

import csv
import dataclasses
import gzip
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import DataError, UnknownNameError, shown
from marl_bench.records import Prompt, Response

_IDS = ("id", "prompt_id")
_FINISH_REASONS = {"stop": True, "eos": True, "eos_token": True, "length": False}
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_GZIP = b"\x1f\x8b"
_BIGGEST_FIELD = 2**27
"""Characters of a CSV field; csv's own limit is 128 KiB, which a long program reaches."""


@dataclasses.dataclass(frozen=True)
class SampleRow:
    """One row of a file.

    Attributes:
        where: File and line.
        response: What it holds.
    """

    where: str
    response: Response


def read_samples(path: Path) -> list[SampleRow]:
    """Reads a file of samples, also one with gzip, a byte-order mark or other line ends.

    The fields are `id` (or `prompt_id`), `response`, and where known `sample_index` (without it the order of a prompt's rows counts),
    `token_count`, and `finished` or `finish_reason`; others are left alone.

    Raises:
        DataError: There is no such file or no sample in it, or a row is wrong, or a sample stands there twice.
    """
    if not path.is_file():
        raise DataError(f"samples '{path}': is no file; give JSON lines or CSV with id and response.")
    rows: list[SampleRow] = []
    places: dict[tuple[str, int], str] = {}
    counts: Counter[str] = Counter()
    for where, row in _rows(path):
        response = _response(where, row, counts)
        key = (response.prompt_id, response.sample_index)
        if key in places:
            raise DataError(
                f"{where}: sample {key[1]} of prompt '{key[0]}' stands already at {places[key]}; give each its own sample_index, or none."
            )
        places[key] = where
        rows.append(SampleRow(where, response))
    if not rows:
        raise DataError(f"samples '{path}': holds no sample; give at least one row with id and response.")
    return rows


def matched(
    rows: Sequence[SampleRow], prompts: Sequence[Prompt], *, known: Iterable[str], name: str, allow_missing: bool
) -> tuple[list[Response], list[str]]:
    """Returns the responses to the prompts in the order of the prompts, and what a report must say of them.

    Args:
        rows: Of the file.
        prompts: Those that are evaluated.
        known: Ids of all prompts that the task has for evaluation; rows of those that are not evaluated are left out.
        name: Of the file, for errors.
        allow_missing: Take a file that lacks some prompts.

    Raises:
        UnknownNameError: A row's id is of no prompt; the text names the row and the nearest id.
        DataError: A prompt has no response.
    """
    ids = set(known)
    unknown = [row for row in rows if row.response.prompt_id not in ids]
    if unknown:
        _refuse_unknown(unknown, ids, total=len(rows), name=name)
    by_prompt: dict[str, list[Response]] = {}
    for row in rows:
        by_prompt.setdefault(row.response.prompt_id, []).append(row.response)
    missing = [prompt.id for prompt in prompts if prompt.id not in by_prompt]
    if missing and (not allow_missing or len(missing) == len(prompts)):
        raise DataError(
            f"samples '{name}': {len(missing)} of {len(prompts)} prompts have no response, the first: '{missing[0]}'; "
            + (
                "none is left to evaluate."
                if allow_missing
                else "add them, or evaluate the others with --allow-missing."
            )
        )
    found = [
        sorted(by_prompt[prompt.id], key=lambda response: response.sample_index)
        for prompt in prompts
        if prompt.id in by_prompt
    ]
    return list(itertools.chain.from_iterable(found)), _notes(found, missing, rows, prompts)


def _notes(
    found: Sequence[Sequence[Response]], missing: Sequence[str], rows: Sequence[SampleRow], prompts: Sequence[Prompt]
) -> list[str]:
    notes = []
    if missing:
        notes.append(
            f"{len(missing)} of {len(prompts)} prompts have no response and are in no number, the first: '{missing[0]}'."
        )
    counts = sorted({len(responses) for responses in found})
    if len(counts) > 1:
        notes.append(f"The prompts have between {counts[0]} and {counts[-1]} responses; means are over responses.")
    left_out = len(rows) - sum(len(responses) for responses in found)
    if left_out:
        notes.append(
            f"{left_out} of {len(rows)} rows are of prompts that this evaluation leaves out (evaluation.max_prompts, data.limit)."
        )
    return notes


def _refuse_unknown(unknown: Sequence[SampleRow], known: set[str], *, total: int, name: str) -> None:
    first = unknown[0]
    if len(unknown) == total:
        raise DataError(
            f"samples '{name}': none of its {total} ids is of a prompt that is evaluated here, the first: '{first.response.prompt_id}'. Is "
            "it of another task, other data or another seed? marl-bench task prompts TASK writes the ids."
        )
    error = UnknownNameError("prompt id", first.response.prompt_id, known)
    more = f" ({len(unknown)} of {total} rows have ids of no prompt.)" if len(unknown) > 1 else ""
    error.args = (f"{first.where}: {error}{more}",)
    raise error


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields place and fields of every row.

    Raises:
        DataError: The file cannot be read as one of the two formats.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
        with gzip.open(path, "rb") if packed else path.open("rb") as binary:
            # Line ends stay as they are: a response may hold any of them.
            text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
            yield from _csv_rows(path, text) if ".csv" in suffixes else _json_rows(path, text)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"samples '{path}': cannot be read ({error}); give UTF-8 text, plain or with gzip.") from error


def _json_rows(path: Path, text: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text, start=1):
        where = f"{path.name}, line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{where}: is no JSON ({error}); give one object a line, or a file that ends in .csv."
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: holds {shown(row)}; should be an object with id and response.")
        yield where, row


def _csv_rows(path: Path, text: Iterable[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    before = csv.field_size_limit(_BIGGEST_FIELD)
    try:
        reader = csv.DictReader(text, strict=True)
        head = list(reader.fieldnames or [])
        if head and not {"response"} <= set(head):
            raise DataError(f"{path.name}, line 1: the columns are {shown(head)}; should be id, response.")
        for row in reader:
            where = f"{path.name}, line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{where}: has another number of fields than the {len(head)} columns.")
            # An empty field says that the value is not known; an empty response is one.
            yield where, {name: value for name, value in row.items() if value != "" or name == "response"}
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: is no CSV ({error}).") from error
    finally:
        csv.field_size_limit(before)


def _response(where: str, row: Mapping[str, Any], counts: Counter[str]) -> Response:
    ids = [row[name] for name in _IDS if row.get(name) is not None]
    if not ids or "response" not in row:
        raise DataError(f"{where}: has {', '.join(sorted(map(str, row))) or 'nothing'}; should have id and response.")
    prompt_id, text = ids[0], row["response"]
    if isinstance(prompt_id, bool) or not isinstance(prompt_id, str | int):
        raise DataError(f"{where}: id is {shown(prompt_id)}; should be a text.")
    if not isinstance(text, str):
        raise DataError(f"{where}: response is {shown(text)}; should be a text.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: response holds half a character ({error.reason}); it is no text.") from error
    prompt_id = str(prompt_id)
    index = _whole_number(where, row, "sample_index")
    index = counts[prompt_id] if index is None else index
    counts[prompt_id] += 1
    return Response(prompt_id, text, _whole_number(where, row, "token_count"), _finished(where, row), index)


def _whole_number(where: str, row: Mapping[str, Any], name: str) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise DataError(f"{where}: {name} is {shown(value)}; should be a whole number from 0.")
    return number


def _finished(where: str, row: Mapping[str, Any]) -> bool | None:
    value = row.get("finished")
    if value is None:
        return _FINISH_REASONS.get(str(row.get("finish_reason")))
    found = value if isinstance(value, bool) else _TRUTHS.get(str(value).lower())
    if found is None:
        raise DataError(f"{where}: finished is {shown(value)}; should be true or false.")
    return found
