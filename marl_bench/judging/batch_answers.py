"""Reads the files of a finished batch: what was answered, what was not, and what cannot be used."""

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class BatchAnswers:
    """What the files of a batch hold, held against what was asked.

    Attributes:
        bodies: Request id to the body of its answer.
        errors: Request id to the text of its error; such requests may be asked again.
        missing: Ids of requests about which nothing is said.
        unknown: Lines about requests that this batch did not hold.
        damaged: Lines that are no JSON or lack what they should have.
        conflicting: Ids with two different answers, of which neither is used.
        repeated: Lines that say again what was said.
    """

    bodies: Mapping[str, Mapping[str, Any]]
    errors: Mapping[str, str]
    missing: Collection[str]
    unknown: int
    damaged: int
    conflicting: Collection[str]
    repeated: int


def read_answers(files: Collection[Path], asked: Collection[str]) -> BatchAnswers:
    """Returns what the output and error files of a batch say; their lines come in any order."""
    bodies: dict[str, Mapping[str, Any]] = {}
    errors: dict[str, str] = {}
    conflicting: set[str] = set()
    wanted = set(asked)
    unknown = damaged = repeated = 0
    for line in _lines(files):
        id_, body, error = _parsed(line)
        if not id_ or (body is None and not error):
            damaged += 1
        elif id_ not in wanted:
            unknown += 1
        elif body is None:
            errors.setdefault(id_, error)
        elif id_ not in bodies:
            bodies[id_] = body
        elif bodies[id_] == body:
            repeated += 1
        else:
            conflicting.add(id_)
    for id_ in conflicting:
        del bodies[id_]
    for id_ in bodies.keys() & errors.keys():
        del errors[id_]
    missing = sorted(wanted - bodies.keys() - errors.keys() - conflicting)
    return BatchAnswers(bodies, errors, missing, unknown, damaged, sorted(conflicting), repeated)


def _lines(files: Collection[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as file:
            yield from (line for line in file if line.strip())


def _parsed(line: bytes) -> tuple[str, Mapping[str, Any] | None, str]:
    """Returns request id, body of the answer and text of the error; what a line lacks is empty."""
    try:
        row = json.loads(line)
    except ValueError:  # not UTF-8, or not JSON
        return "", None, ""
    if not isinstance(row, dict) or not isinstance(row.get("custom_id"), str):
        return "", None, ""
    response = row.get("response")
    status, body = (response.get("status_code"), response.get("body")) if isinstance(response, dict) else (None, None)
    if row.get("error"):
        return row["custom_id"], None, _error_text(row["error"])
    if response and (status != 200 or not isinstance(body, dict)):
        said = _error_text(body.get("error")) if isinstance(body, dict) else ""
        return row["custom_id"], None, said or f"status {status}"
    return row["custom_id"], body, ""


def _error_text(error: Any) -> str:
    if isinstance(error, dict):
        return ": ".join(str(error[name]) for name in ("code", "message") if error.get(name)) or "error"
    return str(error) if error else ""
