"""Rows of a data set that can be used, and an account of those that cannot. No torch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from marl_bench.errors import DataError, RowError

MAX_UNUSABLE_SHARE = 0.1
"""A data set with more unusable rows than this is another data set than the task takes it for."""

Row = TypeVar("Row")


class UnusableRows:
    """Counts the rows that cannot be used, by reason, and keeps the first of each reason by name."""

    def __init__(self) -> None:
        """Starts with none."""
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}
        self._usable = 0

    def keep_usable(
        self, rows: Iterable[tuple[str, str, Mapping[str, Any]]], check: Callable[..., Row]
    ) -> Iterator[Row]:
        """Yields `check(row, split=..., where=...)` of every row for which it raises no `RowError`.

        Args:
            rows: Split, place and row, as `dataset_rows` yields them.
            check: Returns the row with its fields checked.
        """
        for split, where, row in rows:
            try:
                checked = check(row, split=split, where=where)
            except RowError as error:
                self.add(error)
                continue
            self._usable += 1
            yield checked

    def add(self, error: RowError) -> None:
        """Counts one unusable row."""
        self._counts[error.reason] = self._counts.get(error.reason, 0) + 1
        self._first.setdefault(error.reason, str(error))

    def counts(self) -> dict[str, int]:
        """Returns the number of unusable rows by reason, under names that begin with `unusable_`."""
        return {f"unusable_{reason}": count for reason, count in self._counts.items()}

    def notes(self) -> list[str]:
        """Returns one sentence a reason, with the place of the first such row."""
        return [
            f"{count} {'row was' if count == 1 else 'rows were'} left out; the first: {self._first[reason]}"
            for reason, count in self._counts.items()
        ]

    def check_share(self, *, source: str) -> None:
        """Checks, after all rows were read, that not too many of them are unusable.

        Raises:
            DataError: More than a tenth are; the text names the first of each reason.
        """
        unusable = sum(self._counts.values())
        if unusable > MAX_UNUSABLE_SHARE * (unusable + self._usable):
            raise DataError(
                f"{source}: {unusable} of {unusable + self._usable} rows cannot be used. {' '.join(self._first.values())}"
            )
