"""Errors a user can cause or must hear about.

Each text says where, what is wrong, what was given, and what would be right. The command line prints the text alone (`--debug` shows the
traceback) and exits with `exit_status`.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class MarlBenchError(Exception):
    """Parent of all errors of this package."""

    exit_status = 2


class ConfigError(MarlBenchError, ValueError):
    """A setting has a wrong name, type or value."""


class UnknownNameError(MarlBenchError, LookupError):
    """A task, baseline, rule, preset or key of that name does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
        more = f" and {len(known) - 15} more" if len(known) > 15 else ""
        listing = f" Known: {', '.join(known[:15]) or 'none'}{more}." if not (more and nearest) else ""
        super().__init__(f"unknown {kind} '{name}'.{hint}{listing}")


class DataError(MarlBenchError, ValueError):
    """A data source is missing, empty or has a row that does not fit the schema."""


def shown(value: object) -> str:
    """Returns a value as an error shows it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class RowError(DataError):
    """A row of a data set cannot be used; the others may be.

    Attributes:
        reason: Short name under which such rows are counted.
    """

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class ModelError(MarlBenchError, ValueError):
    """A model or tokenizer cannot be loaded or does not fit the others."""


class PluginError(MarlBenchError, ImportError):
    """A plugin cannot be imported, is of a wrong type, or shares its id with another."""


class RunFolderError(MarlBenchError, OSError):
    """An experiment folder cannot be written, is in use, or belongs to another configuration."""


class RecordError(MarlBenchError, ValueError):
    """A stored record cannot be read or does not belong into the comparison."""


class SegmentationError(MarlBenchError, ValueError):
    """A termination rule did not return a partition of the response tokens."""


class RuleContractError(MarlBenchError, ValueError):
    """A termination rule breaks its contract."""

    exit_status = 1


class TaskContractError(MarlBenchError, ValueError):
    """A task breaks its contract."""

    exit_status = 1


class IsolationError(MarlBenchError, RuntimeError):
    """Programs cannot be run here with the isolation that is asked for, or at all."""


class UnscoredError(MarlBenchError, RuntimeError):
    """More samples than allowed could not be scored, for no fault of their own; what could be is kept."""

    exit_status = 1


class CoverageError(MarlBenchError, RuntimeError):
    """An interval does not hold the truth, or a test does not reject, as often as it should."""

    exit_status = 1


class RegressionError(MarlBenchError, AssertionError):
    """A run is worse than what it is held against by more than a margin, with confidence; or was not shown not to be, where that was asked."""

    exit_status = 1


class JudgeError(MarlBenchError, RuntimeError):
    """The judge's server cannot be used (any more); every answer it gave is kept."""

    exit_status = 1


class ServerError(MarlBenchError, RuntimeError):
    """A server that holds a model cannot be used (any more); every response it gave is kept."""

    exit_status = 1


class SamplerError(MarlBenchError, RuntimeError):
    """What samples the responses cannot be used (any more), or does not hold the weights it should; what was done is kept."""

    exit_status = 1


class TrainingError(MarlBenchError, RuntimeError):
    """Training broke an invariant (not finite, wrong ratio); what was done is kept."""

    exit_status = 1


class DiskFullError(MarlBenchError, OSError):
    """The disk of the experiment is full; what was written is whole."""

    exit_status = 1


class CheckpointError(MarlBenchError, ValueError):
    """A checkpoint is damaged, or belongs to another training."""


class OutOfMemoryError(MarlBenchError, MemoryError):
    """Not even the smallest micro-batch fits into memory, or making it smaller was forbidden; what was done is kept."""

    exit_status = 1


class CellFailedError(MarlBenchError, RuntimeError):
    """One or more cells of the experiment failed; the others are complete and, if there are any, compared in `comparison`."""

    exit_status = 1

    def __init__(self, text: str, *, comparison: object = None) -> None:
        super().__init__(text)
        self.comparison = comparison


class ElsewhereError(MarlBenchError, RuntimeError):
    """Another process of the same run failed and says so itself; carries its exit status.

    Attributes:
        failure: What it told.
        where: The exchange at whose end it told.
    """

    def __init__(self, text: str, *, exit_status: int = 1, failure: Any = None, where: str = "") -> None:
        super().__init__(text)
        self.exit_status, self.failure, self.where = exit_status, failure, where


class Interrupted(MarlBenchError):  # noqa: N818 (an interruption is not an error of anyone)
    """The user pressed Ctrl-C, or the system asked to end; the write in progress was finished."""

    exit_status = 130


class ProcessLostError(Interrupted):
    """Another process of the same run has gone without a word, killed perhaps."""

    exit_status = 1
