"""What a judge said: frozen records from the judge to tables, reports and the sample browser. No torch.

Layout: `<experiment>/judgements/<name>/` holds `judgement.json` (one `Judgement`: who judged what, and how) and `pairs.jsonl` (one
`JudgedPair` a line). A pair stands in the experiment of its arm; the reference may be an arm of another one.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from marl_bench.errors import RecordError

JUDGEMENTS = "judgements"
JUDGEMENT = "judgement.json"
PAIRS = "pairs.jsonl"

MAX_UNSCORED = 0.02
"""Share of pairs without a score above which a judgement fails, or is warned of."""

IDENTICAL = "identical"
"""Path of a verdict on two responses of the same text: a tie, about which nobody was asked."""

Status = Literal["ok", "tie", "parse_error", "refusal", "truncated", "content_filter", "api_error", "budget"]
"""How one call ended; only `ok` and `tie` are scored."""

Order = Literal["arm_first", "reference_first"]
"""Whose response the judge read first."""

Winner = Literal["arm", "reference", "tie"]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One call of a judge, or one label of a person.

    Attributes:
        order: Whose response was read first.
        status: How the call ended.
        winner: Who won, in terms of the pair, not of the order; None unless the status is `ok` or `tie`.
        reason: What the judge gave as its reason, or the error; may be empty.
        path: How the verdict was read: `structured`, `pattern`, `label`, `identical`, or empty where there is none.
        model: Exact id of the model that answered.
        prompt_tokens: Tokens read, 0 where the server does not say.
        completion_tokens: Tokens written.
    """

    order: Order
    status: Status
    winner: Winner | None
    reason: str = ""
    path: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclasses.dataclass(frozen=True)
class JudgedPair:
    """Two responses to one prompt, and the verdicts on them.

    Attributes:
        prompt_id: Id of the prompt.
        subset: Subset of the prompt.
        arm: Folder name of the arm (`RunRecord.arm["name"]`).
        reference: Likewise, of the arm it is held against.
        seed: Seed of both cells.
        sample_index: Which sample of the prompt, in both.
        arm_words: Words of the arm's response, for length control.
        reference_words: Words of the reference's.
        verdicts: One an order that was asked.
    """

    prompt_id: str
    subset: str
    arm: str
    reference: str
    seed: int
    sample_index: int
    arm_words: int
    reference_words: int
    verdicts: Sequence[Verdict]

    @property
    def score(self) -> float | None:
        """Mean of the verdicts with the arm's win as 1, a tie as 1/2, a loss as 0; None if any verdict is unscored."""
        points = [_POINTS.get(verdict.winner or "") for verdict in self.verdicts]
        known = [point for point in points if point is not None]
        return sum(known) / len(known) if known and len(known) == len(points) else None

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, one line of `pairs.jsonl`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "JudgedPair":
        """Reads what `to_json` wrote."""
        return cls(**{**row, "verdicts": tuple(Verdict(**verdict) for verdict in row["verdicts"])})


_POINTS = {"arm": 1.0, "tie": 0.5, "reference": 0.0}


@dataclasses.dataclass(frozen=True)
class Judgement:
    """Who judged, and how: what stands beside every win rate.

    Attributes:
        judge: Exact id, for example `openai:gpt-4o-2024-11-20`, `labels:<file>`.
        prompts: Id with version of each judge prompt that was used.
        protocol: `standard`, or the preset of another protocol, for example `official`.
        order: `both` or `single`.
        seed: Of the choice of pairs and of single orders.
        parameters: Temperature, limits and whatever else decides the answers.
        cost: Money in US dollars, None where no price is known.
        notes: Sentences that the report must show.
    """

    judge: str
    prompts: Sequence[str]
    protocol: str
    order: Literal["both", "single"]
    seed: int
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    cost: float | None = None
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain data for `judgement.json`."""
        return dataclasses.asdict(self)


def judgement_folders(experiment: Path) -> list[Path]:
    """Returns the folders of an experiment's finished judgements, sorted by name."""
    return sorted(path.parent for path in (experiment / JUDGEMENTS).glob(f"*/{JUDGEMENT}"))


def read_judgement(folder: Path) -> Judgement:
    """Returns who judged.

    Raises:
        RecordError: The file is damaged or of another layout.
    """
    path = folder / JUDGEMENT
    try:
        return Judgement(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{path}: no judgement ({error}); judge again.") from error


def read_pairs(folder: Path) -> Iterator[JudgedPair]:
    """Yields the judged pairs.

    Raises:
        RecordError: A line is damaged; the text names file and line.
    """
    path = folder / PAIRS
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield JudgedPair.from_json(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise RecordError(f"{path}, line {number}: no judged pair ({error}); judge again.") from error
