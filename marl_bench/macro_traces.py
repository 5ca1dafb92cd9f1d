"""Where an arm's rule cuts its evaluated responses, and what each macro action was worth: for the sample browser and credit plots. No torch.

A cell writes `macro_actions.jsonl` beside `samples.jsonl`, for its first evaluated samples.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

MACRO_ACTIONS = "macro_actions.jsonl"


@dataclasses.dataclass(frozen=True)
class MacroTrace:
    """The macro actions of one evaluated response.

    Attributes:
        prompt_id: Id of the prompt.
        sample_index: Which sample of the prompt.
        starts: Where each macro action begins, as an offset in characters of the response's text; ascending, the first is 0. An action
            without characters of its own (EOS) begins at the text's end.
        tokens: Number of tokens of each macro action.
        advantages: Advantage of each macro action before whitening, in the unit of the score that training uses; None where the arm has no
            critic (or an old run has not kept it) or the response no score.
    """

    prompt_id: str
    sample_index: int
    starts: Sequence[int]
    tokens: Sequence[int]
    advantages: Sequence[float] | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain data, one line of `macro_actions.jsonl`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "MacroTrace":
        """Reads what `to_json` wrote."""
        return cls(**row)
