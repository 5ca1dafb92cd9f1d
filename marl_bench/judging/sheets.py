"""Blind annotation sheets: a CSV file for people, and the key that says whose response stands where."""

import csv
import dataclasses
import hashlib
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path

from marl_bench.errors import DataError, RunFolderError
from marl_bench.judgements import Order
from marl_bench.judging.cells import CELL_LIMIT, as_cell, digest_of_cells
from marl_bench.judging.selection import Pair
from marl_bench.run_dir import write_bytes_atomically

COLUMNS = ("id", "prompt", "response_1", "response_2", "choice", "comment")
CHOICES = ("1", "2", "tie")
KEY_SUFFIX = ".key.json"
KEY_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class KeyItem:
    """Whose responses stand in one row of a sheet.

    Attributes:
        id: The row's id; its last part is a digest of the row's texts.
        prompt_id: Id of the prompt.
        subset: Subset of the prompt.
        arm: Folder name of the arm.
        reference: Likewise, of the arm it is held against.
        seed: Seed of both cells.
        sample_index: Which sample of the prompt, in both.
        order: Whose response is `response_1`.
        arm_words: Words of the arm's response.
        reference_words: Words of the reference's.
    """

    id: str
    prompt_id: str
    subset: str
    arm: str
    reference: str
    seed: int
    sample_index: int
    order: Order
    arm_words: int
    reference_words: int


@dataclasses.dataclass(frozen=True)
class SheetKey:
    """The key of a sheet; people who fill the sheet in must not see it.

    Attributes:
        sheet: Id of the sheet, the first part of its rows' ids.
        seed: Of the choice of pairs, the sides and the order of the rows.
        items: One a row.
    """

    sheet: str
    seed: int
    items: Sequence[KeyItem]


@dataclasses.dataclass(frozen=True)
class SheetFiles:
    """A written sheet.

    Attributes:
        sheet: The CSV file.
        key: The key.
        rows: Number of rows.
        warnings: Sentences for the person who sends it out.
    """

    sheet: Path
    key: Path
    rows: int
    warnings: Sequence[str]


def write_sheet(pairs: Sequence[Pair], path: Path, *, seed: int) -> SheetFiles:
    """Writes a sheet of pairs with sides and rows shuffled by the seed, and its key beside it; the same call again writes the same bytes.

    Raises:
        DataError: There are no pairs.
        RunFolderError: Another sheet, perhaps half filled in, stands there, or the file cannot be written.
    """
    if not pairs:
        raise DataError(
            f"{path}: no pairs to put into the sheet; the runs need two arms with complete cells of one seed."
        )
    text, key = _rows(pairs, seed=seed)
    data = text.encode("utf-8-sig")  # without the byte-order mark Excel takes UTF-8 for the local code page
    key_path = key_path_of(path)
    key_data = json.dumps({"format": KEY_FORMAT, **dataclasses.asdict(key)}, indent=1, ensure_ascii=False).encode()
    for file, new in ((path, data), (key_path, key_data)):
        if file.exists() and file.read_bytes() != new:
            raise RunFolderError(
                f"{file}: is there already and holds something else: answers, or the key of a sheet that was sent out; "
                "nothing was written. Choose another --out."
            )
    try:
        write_bytes_atomically(key_path, key_data)
        write_bytes_atomically(path, data)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error.strerror or error}); choose another --out.") from error
    long = sum(
        1 for pair in pairs if max(map(len, (pair.prompt, pair.arm_response, pair.reference_response))) >= CELL_LIMIT
    )
    warnings = [
        f"{long} rows have a text of more than {CELL_LIMIT:,} characters, which Excel cuts; use another program."
    ]
    return SheetFiles(path, key_path, len(pairs), warnings if long else [])


def key_path_of(path: Path) -> Path:
    """Returns where the key of a sheet stands."""
    return path.with_name(path.stem + KEY_SUFFIX)


def read_key(path: Path) -> SheetKey:
    """Reads a key.

    Raises:
        DataError: It is missing, damaged or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != KEY_FORMAT:
            raise ValueError(f"its format is not {KEY_FORMAT}")
        return SheetKey(**{**data, "items": tuple(KeyItem(**item) for item in data["items"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path}: no key of a sheet ({error}); give the file that marl-bench judge sheet wrote beside the sheet."
        ) from error


def _rows(pairs: Sequence[Pair], *, seed: int) -> tuple[str, SheetKey]:
    """Returns the text of the sheet and its key."""
    rng = random.Random(seed)
    shuffled = rng.sample(list(pairs), k=len(pairs))
    orders: list[Order] = [rng.choice(("arm_first", "reference_first")) for _ in shuffled]
    cells = [_cells(pair, order) for pair, order in zip(shuffled, orders, strict=True)]
    digests = [digest_of_cells(*row) for row in cells]
    # Digits alone a spreadsheet could take for a number or a date.
    sheet = f"s{hashlib.sha256(f'{seed} {digests}'.encode()).hexdigest()[:8]}"
    ids = [f"{sheet}-{number:04d}-{digest}" for number, digest in enumerate(digests, start=1)]
    text = io.StringIO()
    writer = csv.writer(text)  # its default line end is that of RFC 4180
    writer.writerow(COLUMNS)
    writer.writerows([id_, *row, "", ""] for id_, row in zip(ids, cells, strict=True))
    items = [_key_item(id_, pair, order) for id_, pair, order in zip(ids, shuffled, orders, strict=True)]
    return text.getvalue(), SheetKey(sheet, seed, items)


def _cells(pair: Pair, order: Order) -> tuple[str, str, str]:
    first, second = pair.arm_response, pair.reference_response
    if order == "reference_first":
        first, second = second, first
    return as_cell(pair.prompt), as_cell(first), as_cell(second)


def _key_item(id_: str, pair: Pair, order: Order) -> KeyItem:
    return KeyItem(
        id=id_,
        prompt_id=pair.prompt_id,
        subset=pair.subset,
        arm=pair.arm,
        reference=pair.reference,
        seed=pair.seed,
        sample_index=pair.sample_index,
        order=order,
        arm_words=len(pair.arm_response.split()),
        reference_words=len(pair.reference_response.split()),
    )
