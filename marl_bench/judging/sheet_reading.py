"""Reads a filled-in annotation sheet; says of everything that is wrong in which file, row and column it is, and what would be right."""

import codecs
import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from marl_bench.errors import DataError, shown
from marl_bench.judging.cells import cells_of, digest_of_cells, from_cell
from marl_bench.judging.sheets import CHOICES, COLUMNS, KeyItem, SheetKey

_NEEDED = COLUMNS[:5]
_SEPARATORS = ",;\t"
_PROBLEMS_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class SheetLabel:
    """One answer of an annotator.

    Attributes:
        item: Whose responses were shown.
        choice: `1`, `2` or `tie`.
        comment: What the annotator wrote beside it; may be empty.
    """

    item: KeyItem
    choice: str
    comment: str


@dataclasses.dataclass(frozen=True)
class FilledSheet:
    """The answers of one annotator.

    Attributes:
        path: The file.
        labels: One a labelled row, in the order of the key.
        unlabelled: Ids of rows that are missing or have no choice; empty unless that was allowed.
    """

    path: Path
    labels: Sequence[SheetLabel]
    unlabelled: Sequence[str]


def read_sheet(path: Path, key: SheetKey, *, partial: bool = False) -> FilledSheet:
    """Reads a filled-in sheet; rows may stand in any order, and further columns are left alone.

    Args:
        path: The file: CSV with commas, semicolons or tabs, in UTF-8, or in UTF-16 with its mark, as spreadsheets save it.
        key: The key of the sheet.
        partial: Leave rows out that are missing or have no choice, instead of refusing the sheet.

    Raises:
        DataError: Something is wrong; the text has a line for each of the first problems.
    """
    rows = list(_rows(path))
    known = {item.id: item for item in key.items}
    found: dict[str, tuple[int, SheetLabel | None]] = {}
    problems: list[str] = []
    for number, row in rows:
        id_ = row["id"].strip()
        problem = _problem(row, known, found)
        if problem:
            problems.append(f"{path}, row {number}, column {problem}")
        if id_ in known and id_ not in found:
            choice = _choice(row)
            label = (
                SheetLabel(known[id_], choice, from_cell(row.get("comment", "")).strip()) if choice in CHOICES else None
            )
            found[id_] = (number, label)
            if not choice and not partial:
                problems.append(
                    f"{path}, row {number}, column choice: is empty; write {_choices()} (or allow a partial sheet)."
                )
    missing = [id_ for id_ in known if id_ not in found]
    if missing and not partial:
        problems.append(_missing(path, missing, key))
    if problems:
        more = len(problems) - _PROBLEMS_SHOWN
        text = "\n".join(problems[:_PROBLEMS_SHOWN]) + (f"\n... and {more} more" if more > 0 else "")
        raise DataError(f"{text}\nNothing was taken over; the file is as it was.")
    labels = [label for id_ in known if id_ in found and (label := found[id_][1])]
    labelled = {label.item.id for label in labels}
    return FilledSheet(path, labels, [id_ for id_ in known if id_ not in labelled])


def sheet_of(path: Path) -> str:
    """Returns the id of the sheet that a filled-in file comes from: the first part of its first row's id.

    Raises:
        DataError: The file cannot be read or has no rows.
    """
    _, first = next(_rows(path), (0, None))
    if first is None:
        raise DataError(f"{path}: has no rows; give a filled-in annotation sheet.")
    return first["id"].strip().split("-")[0]


def _problem(row: Mapping[str, str], known: Mapping[str, KeyItem], found: Mapping[str, tuple[int, object]]) -> str:
    """Returns the column and what is wrong in it; empty if nothing is (or only the choice is empty)."""
    id_, choice = row["id"].strip(), _choice(row)
    if id_ not in known:
        return f"id: {shown(id_)} is no row of this sheet; copy the id from the sheet that was sent out."
    if id_ in found:
        return f"id: {shown(id_)} stands in row {found[id_][0]} already; keep one of the two rows."
    if digest_of_cells(row["prompt"], row["response_1"], row["response_2"]) != id_.rsplit("-", 1)[1]:
        edited = (
            f"prompt, response_1 or response_2: the text is not the one that was sent out ({shown(row['response_1'])})"
        )
        return f"{edited}; copy the row's texts from the sheet, the choice can stay."
    if choice and choice not in CHOICES:
        return f"choice: {shown(row['choice'].strip())} given; write {_choices()}."
    return ""


def _choice(row: Mapping[str, str]) -> str:
    return row["choice"].strip().lower().removesuffix(".0")  # a column of numbers may come back with decimals


def _choices() -> str:
    return "1, 2 or tie"


def _missing(path: Path, missing: Sequence[str], key: SheetKey) -> str:
    listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return (
        f"{path}: {len(missing)} of the sheet's {len(key.items)} rows are missing ({listed}); "
        "copy them from the sheet that was sent out (or allow a partial sheet)."
    )


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the number that a spreadsheet shows beside a row, and the row's cells by column; empty rows are left out."""
    text = _text(path)
    reader = cells_of(text, separator=_separator(text))
    names: list[str] = []
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if number == 1:
                names = _header(path, cells)
            elif any(cell.strip() for cell in cells):
                # Some spreadsheets leave empty cells at the end of a row out.
                yield number, dict(zip(names, [*cells, *[""] * len(names)], strict=False))
    except csv.Error as error:
        raise DataError(
            f"{path}, row {number + 1}: is no CSV ({error}); save the sheet from the spreadsheet again."
        ) from error
    if not names:
        raise DataError(f"{path}: is empty; give a filled-in annotation sheet.")


def _header(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    missing = [name for name in _NEEDED if name not in names]
    twice = sorted({name for name in names if name in _NEEDED and names.count(name) > 1})
    if missing or twice:
        wrong = f"no column {', '.join(missing)}" if missing else f"column {', '.join(twice)} twice"
        raise DataError(f"{path}, row 1: {wrong}; given: {shown(', '.join(names))}, wanted: {', '.join(COLUMNS)}.")
    return names


def _separator(text: str) -> str:
    head = text.split("\n", 1)[0]
    return max(_SEPARATORS, key=head.count)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); give a filled-in annotation sheet."
        ) from error
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError(f"{path}: is a workbook, not CSV; save it as 'CSV UTF-8 (comma delimited)'.")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, {_place(data[: error.start], encoding)}: {_bytes(error, encoding)}") from error


def _bytes(error: UnicodeDecodeError, encoding: str) -> str:
    given = error.object[error.start : error.start + 1].hex()
    return (
        f"byte 0x{given} is not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'}; "
        "save the sheet as 'CSV UTF-8 (comma delimited)', not as plain CSV."
    )


def _place(before: bytes, encoding: str) -> str:
    text = before.decode(encoding, "ignore")
    read = list(cells_of(text, separator=_separator(text), strict=False))
    if not read:
        return "row 1"
    column = len(read[-1]) - 1
    name = read[0][column].strip() if len(read) > 1 and 0 <= column < len(read[0]) else f"number {column + 1}"
    return f"row {len(read)}, column {name}"
