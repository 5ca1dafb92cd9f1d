"""Answers of judges on disk: asked once, kept for ever. Safe for several processes at a time."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock

from marl_bench.errors import RecordError, RunFolderError
from marl_bench.judging.answers import Answer

LAYOUT = 1
_WAIT_SECONDS = 60.0
_KEYS_AT_ONCE = 500
_ELSEWHERE = "move it away or choose another --cache."


class AnswerCache:
    """A table from the key of a question to its answer."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it.

        Raises:
            RunFolderError: It cannot be written.
            RecordError: It is no cache, or one of another layout.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        except (OSError, sqlite3.OperationalError) as error:
            raise RunFolderError(f"{path}: cannot be written ({error}); choose another place with --cache.") from error
        try:
            # SQLite does not wait for another process that is changing the kind of the journal: one at a time.
            with FileLock(f"{path}.lock", timeout=_WAIT_SECONDS):
                layout = self._set_up()
        except OSError as error:
            self._database.close()
            raise RunFolderError(f"{path}: cannot be opened ({error}); choose another place with --cache.") from error
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise RecordError(f"{path}: no cache of answers ({error}); {_ELSEWHERE}") from error
        if layout not in (0, LAYOUT):
            self._database.close()
            raise RecordError(
                f"{path}: a cache of layout {layout}, this marl-bench reads {LAYOUT}; choose another --cache."
            )

    def _set_up(self) -> int:
        """Makes the table where there is none; returns the layout that the file had, 0 for a new one."""
        # With the write-ahead log a killed process loses no committed answer, and readers do not wait for writers.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        layout = int(self._database.execute("PRAGMA user_version").fetchone()[0])
        if layout == 0:
            self._database.execute(f"PRAGMA user_version={LAYOUT}")
        return layout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._database.close()

    def get(self, key: str) -> Answer | None:
        """Returns the stored answer to a question, or None."""
        return self.get_all([key]).get(key)

    def get_all(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Returns the stored answers by key; keys without one are absent.

        Raises:
            RecordError: A stored answer or the file is damaged.
        """
        wanted = list(keys)
        found: dict[str, Answer] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            try:
                rows = self._database.execute(
                    f"SELECT key, answer FROM answers WHERE key IN ({marks})", some
                ).fetchall()
            except sqlite3.DatabaseError as error:  # a page of the file is damaged
                raise RecordError(f"{self._path}: cannot be read ({error}); {_ELSEWHERE}") from error
            for key, text in rows:
                try:
                    found[key] = Answer(**json.loads(text))
                except (ValueError, TypeError) as error:
                    raise RecordError(
                        f"{self._path}: the answer {key} is damaged ({error}); choose another --cache."
                    ) from error
        return found

    def put(self, key: str, answer: Answer, *, replace: bool = False) -> None:
        """Stores an answer; one that is there already stays, unless it is to be replaced.

        Raises:
            ValueError: The judge itself did not answer; such an answer must be asked for again.
            RunFolderError: The file cannot be written (any more).
            RecordError: It is damaged.
        """
        if not answer.is_real:
            raise ValueError(f"AnswerCache.put: '{answer.status}' is no answer of a judge.")
        what = "REPLACE" if replace else "IGNORE"
        row = (key, json.dumps(dataclasses.asdict(answer), ensure_ascii=False))
        try:
            self._database.execute(f"INSERT OR {what} INTO answers (key, answer) VALUES (?, ?)", row)
        except sqlite3.OperationalError as error:  # the disk is full, or another process holds the file for too long
            raise RunFolderError(
                f"{self._path}: an answer cannot be stored ({error}); the same command goes on."
            ) from error
        except sqlite3.DatabaseError as error:
            raise RecordError(f"{self._path}: an answer cannot be stored ({error}); {_ELSEWHERE}") from error
