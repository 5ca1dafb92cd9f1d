"""Where a score comes from, as text: the task's own reward, a classifier, a Python callable, or several with weights. No torch."""

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from marl_bench.errors import ConfigError

OWN = "task"
COMBINED_SCORE = "score"
"""Name of the score in tables where it is not the task's own reward alone."""

_SOURCE = re.compile(
    r"(?:(?P<weight>[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\*)?(?P<kind>task|classifier|python)(?::(?P<target>.+))?"
)
_SHAPE = "[WEIGHT*]task, [WEIGHT*]classifier:FOLDER_OR_HUB_ID or [WEIGHT*]python:FILE.py:NAME (or python:MODULE:NAME)"


@dataclasses.dataclass(frozen=True)
class RewardSource:
    """One part of the score.

    Attributes:
        text: As it was given.
        weight: What its scores are multiplied with.
        kind: `task` (the reward model, or the task's rule), `classifier` (a sequence classifier with a tokenizer of its own) or `python`.
        target: Folder or hub id of the classifier; `FILE.py:NAME` or `MODULE:NAME` of the callable; empty for `task`.
    """

    text: str
    weight: float
    kind: Literal["task", "classifier", "python"]
    target: str

    @property
    def name(self) -> str:
        """Its name in records and tables: the text without the folders of this machine."""
        if self.kind == OWN:
            return self.text
        head, separator, function = self.target.rpartition(":") if self.kind == "python" else (self.target, "", "")
        short = Path(head).name if Path(head).exists() or Path(head).is_absolute() else head
        return self.text.removesuffix(self.target) + short + separator + function


def parse_reward_sources(texts: Sequence[str]) -> list[RewardSource]:
    """Returns the parts of the score.

    Raises:
        ConfigError: A text has another shape, or a source stands twice.
    """
    sources = [_parse(text) for text in texts]
    places = [(source.kind, source.target) for source in sources]
    twice = sorted({source.text for source in sources if places.count((source.kind, source.target)) > 1})
    if twice:
        raise ConfigError(f"--reward {', '.join(twice)}: given twice; give each source once, with its weight.")
    names = [source.name for source in sources]
    alike = sorted({source.text for source in sources if names.count(source.name) > 1})
    if alike:
        raise ConfigError(
            f"--reward {', '.join(alike)}: would have one name in tables, which leave the folders out; rename a file or function."
        )
    return sources


def is_own_reward(texts: Sequence[str]) -> bool:
    """Returns True if the score is the task's own reward and nothing else."""
    return [(source.kind, source.weight) for source in parse_reward_sources(texts)] == [(OWN, 1.0)]


def stage_names(texts: Sequence[str], *, reward_kind: str) -> list[str]:
    """Returns the names of the shared stages that an experiment with this score has.

    Args:
        texts: The sources of the score.
        reward_kind: `model` or `rule`, what the task's own reward is.
    """
    names = ["sft"]
    if reward_kind == "model" and any(source.kind == OWN for source in parse_reward_sources(texts)):
        names.append("reward_model")
    return names if is_own_reward(texts) else [*names, "reward"]


def _parse(text: str) -> RewardSource:
    found = _SOURCE.fullmatch(text.strip())
    if found is None or (found["kind"] == OWN) != (found["target"] is None):
        raise ConfigError(f"--reward '{text}': should be {_SHAPE}.")
    if found["kind"] == "python" and not found["target"].rpartition(":")[0]:
        raise ConfigError(f"--reward '{text}': names no callable; should be {_SHAPE}.")
    try:
        weight = float(found["weight"] or 1)
    except ValueError as error:
        raise ConfigError(f"--reward '{text}': its weight is no number; should be {_SHAPE}.") from error
    if weight == 0 or not math.isfinite(weight):
        raise ConfigError(f"--reward '{text}': its weight is {weight}; should be a finite number other than 0.")
    return RewardSource(text.strip(), weight, found["kind"], found["target"] or "")  # type: ignore[arg-type]  # the pattern's own words
