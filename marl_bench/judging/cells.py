"""Texts as cells of a spreadsheet, and back: no formula runs, no encoding breaks, an edit is noticed."""

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Iterator

CELL_LIMIT = 32_767
"""Characters that Excel keeps of one cell."""

# A spreadsheet takes these, and their full-width forms, for the start of a formula; the apostrophe is our own mark.
_STARTS = tuple("=+-@＝＋－＠'")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def as_cell(text: str) -> str:
    """Returns a text as a cell: with an apostrophe before what could be taken for a formula; control characters and half surrogates, which
    no CSV file carries, are replaced."""
    clean = _CONTROLS.sub(
        "\N{REPLACEMENT CHARACTER}", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    return f"'{clean}" if clean.lstrip().startswith(_STARTS) or clean.startswith(("\t", "\r")) else clean


def from_cell(cell: str) -> str:
    """Returns the text of a cell that `as_cell` wrote."""
    return cell.removeprefix("'")


def cells_of(text: str, *, separator: str = ",", strict: bool = True) -> Iterator[list[str]]:
    """Yields the cells of each row of a CSV text, however long they are.

    Raises:
        csv.Error: It is no CSV.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)


def digest_of_cells(*cells: str) -> str:
    """Returns ten hexadecimal digits of some cells' texts.

    What spreadsheets change without being asked does not count: line ends, spaces at the ends, the apostrophe (some drop it), the
    composition of letters.
    """
    same = [" ".join(unicodedata.normalize("NFC", cell).lstrip("'").split()) for cell in cells]
    return hashlib.sha256(json.dumps(same).encode()).hexdigest()[:10]
