"""What a user asks for, and the models that score. No torch."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Request:
    """What a user asks for; texts as on the command line.

    Attributes:
        models: `[NAME=]PATH_OR_ID` or `[NAME=]openai:MODEL`.
        samples: `[NAME=]FILE`.
        against: The reference, or None.
        task: Id of the task; None takes that of the run.
        run: Folder of a finished run whose SFT model, reward model, data and prompts are used.
        overrides: Dotted keys with their values.
        preset: Preset of an evaluation without a run.
        tokenizer: Counts the tokens of samples where neither run nor reward model says.
        seeds: So many times models are sampled.
        allow_missing: Take files that lack prompts.
        out: Folder of the result; None names it.
        base_url: Of the server that `openai:` models are asked of.
        concurrency: Requests at once.
    """

    models: Sequence[str] = ()
    samples: Sequence[str] = ()
    against: str | None = None
    task: str | None = None
    run: Path | None = None
    overrides: Sequence[tuple[str, Any]] = ()
    preset: str = "tiny"
    tokenizer: str | None = None
    seeds: int = 1
    allow_missing: bool = False
    out: Path | None = None
    base_url: str | None = None
    concurrency: int = 16


@dataclasses.dataclass(frozen=True)
class Scorer:
    """The models that score, as folders; torch reads them later.

    Attributes:
        tokenizer: Whose tokens the reward model and the reference read, and by which samples are counted; None if nothing does.
        reward_model: Stands for the task's own reward, or None.
        reference: Model that the KL is to, or None.
        fits_prompts: Whether prompts are cut to what this tokenizer's models read.
    """

    tokenizer: str | None = None
    reward_model: str | None = None
    reference: str | None = None
    fits_prompts: bool = False
