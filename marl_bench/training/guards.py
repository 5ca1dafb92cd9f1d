"""Looks at every update for signs of a training that has gone wrong, and warns or stops as configured.

What a guard needs to know of earlier updates it takes from the lines of the curve, so a resumed training is guarded as one that was never
interrupted; where several processes train together all take it from the first one's, so that they decide alike. A guard that fires puts a
sentence under `warnings` into the update's line; a curve without warnings has no such key.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.config_guards import GuardConfig
from marl_bench.errors import TrainingError
from marl_bench.models.out_of_memory import Halvings
from marl_bench.run_dir import CURVE, read_jsonl
from marl_bench.training.progress import Progress
from marl_bench.training.rollout import ScoredRollout, rollout_figures
from marl_bench.world import ALONE, World

WARNINGS = "warnings"
"""Key of a curve's line; its values begin with a guard's name and a colon."""
NOT_FINITE, OUT_OF_MEMORY = "not_finite", "out_of_memory"
SKIPPED, SKIPPED_IN_A_ROW = "skipped_steps", "skipped_steps_in_a_row"
_LEAST_KL_TO_GROW_FROM = 5.0
"""Nats a response; from next to nothing any KL has grown many times."""

Line = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class History:
    """What guards remember of the updates before.

    Attributes:
        updates: Finished updates.
        entropy: Of the first update.
        critic_loss: Of the first update that has one.
        kl: Of the last update.
        all_truncated: The last so many updates had truncated responses only.
        constant_scores: The last so many updates had one score for all responses.
        skipped_steps: The last so many optimizer steps were left out.
    """

    updates: int = 0
    entropy: float | None = None
    critic_loss: float | None = None
    kl: float | None = None
    all_truncated: int = 0
    constant_scores: int = 0
    skipped_steps: int = 0

    def after(self, line: Line) -> "History":
        """Returns the history with one more update."""
        return History(
            updates=self.updates + 1,
            entropy=line["entropy"] if self.entropy is None else self.entropy,
            critic_loss=line.get("critic_loss") if self.critic_loss is None else self.critic_loss,
            kl=line["kl"],
            all_truncated=self.all_truncated + 1 if _all_truncated(line) else 0,
            constant_scores=self.constant_scores + 1 if _constant_scores(line) else 0,
            skipped_steps=line.get(SKIPPED_IN_A_ROW, 0),
        )


def _all_truncated(line: Line) -> bool:
    return bool(line["truncated"] == 1)


def _constant_scores(line: Line) -> bool:
    return bool(line["score_std"] == 0)


def _exploding_kl(guards: GuardConfig, line: Line, history: History) -> str | None:
    kl = abs(line["kl"])
    if kl > guards.max_kl:
        return f"the mean KL is {line['kl']:.4g} nats a response, above {guards.max_kl:g} (guards.max_kl)"
    before = max(abs(history.kl or 0.0), _LEAST_KL_TO_GROW_FROM)
    if history.kl is not None and kl > guards.max_kl_growth * before:
        return (
            f"the mean KL has grown from {history.kl:.4g} to {line['kl']:.4g} nats a response in one update, more than "
            f"{guards.max_kl_growth:g} times (guards.max_kl_growth)"
        )
    return None


def _collapsed_entropy(guards: GuardConfig, line: Line, history: History) -> str | None:
    entropy = line["entropy"]
    if entropy < guards.min_entropy:
        return f"the mean entropy is {entropy:.4g} nats a token, below {guards.min_entropy:g} (guards.min_entropy)"
    if history.entropy is not None and entropy < guards.min_entropy_share * history.entropy:
        return (
            f"the mean entropy is {entropy:.4g} nats a token, below {guards.min_entropy_share:g} of the first update's "
            f"{history.entropy:.4g} (guards.min_entropy_share)"
        )
    return None


def _empty_responses(guards: GuardConfig, line: Line, _: History) -> str | None:
    if line["empty"] > guards.max_empty_share:
        return f"{line['empty']:.0%} of the responses are empty, above {guards.max_empty_share:.0%} (guards.max_empty_share)"
    return None


def _all_responses_truncated(guards: GuardConfig, line: Line, history: History) -> str | None:
    count = history.all_truncated + 1
    if _all_truncated(line) and count >= guards.updates_in_a_row:
        return f"every response was cut at sampling.max_response_tokens in {count} updates in a row"
    return None


def _scores_constant(guards: GuardConfig, line: Line, history: History) -> str | None:
    count = history.constant_scores + 1
    if _constant_scores(line) and count >= guards.updates_in_a_row:
        return f"all responses have the same score, {line['score']:.4g}, in {count} updates in a row; nothing is learnt from it"
    return None


def _exploding_critic(guards: GuardConfig, line: Line, history: History) -> str | None:
    first, loss = history.critic_loss, line.get("critic_loss")
    if first and loss is not None and loss > guards.max_critic_loss_growth * first:
        return (
            f"the critic's loss is {loss:.4g}, more than {guards.max_critic_loss_growth:g} times the first update's {first:.4g} "
            "(guards.max_critic_loss_growth)"
        )
    return None


Guard = Callable[[GuardConfig, Line, History], str | None]
OF_THE_ROLLOUT: Mapping[str, Guard] = {
    "exploding_kl": _exploding_kl,
    "collapsed_entropy": _collapsed_entropy,
    "empty_responses": _empty_responses,
    "all_truncated": _all_responses_truncated,
    "constant_scores": _scores_constant,
}
OF_THE_UPDATE: Mapping[str, Guard] = {"exploding_critic": _exploding_critic}
_REMEDIES: Mapping[str, str] = {
    "exploding_kl": "Lower ppo.learning_rate or raise ppo.kl_coef",
    "collapsed_entropy": "Lower ppo.learning_rate or raise ppo.kl_coef",
    "empty_responses": "Look at what the reward gives for an empty response, or raise ppo.kl_coef",
    "all_truncated": "Raise sampling.max_response_tokens, or ppo.missing_eos_penalty",
    "constant_scores": "Look at the reward: it tells no response from another",
    "exploding_critic": "Lower ppo.critic_learning_rate, or set ppo.value_clip_range",
}


class Watch:
    """Guards one training."""

    def __init__(self, guards: GuardConfig, folder: Path, halvings: Halvings, world: World = ALONE) -> None:
        """Takes the limits, the folder of the curve, what tells of halved micro-batches, and the processes that train together."""
        self._guards, self._folder, self._halvings, self._world = guards, folder, halvings, world
        self.history = History()
        self._told: set[str] = set()
        self._noticed: set[str] = set()

    def remember(self) -> None:
        """Learns of the updates that a process before has made from the curve, which the first process has."""
        path = self._folder / CURVE
        lines = self._world.on_main("guards", lambda: list(read_jsonl(path)) if path.exists() else [])
        self.history = History()
        for line in lines:
            self.history = self.history.after(line)
            self._noticed.update(text for name, text in _parted(line) if name == OUT_OF_MEMORY)

    def check_rollout(self, scored: ScoredRollout, where: str) -> None:
        """Stops before anything is learnt from a rollout.

        Raises:
            TrainingError: Its log-probs or values are not finite, or a guard stops the training.
        """
        for name in ("token_log_probs", "token_ref_log_probs", "token_values"):
            if not bool(torch.isfinite(getattr(scored.rollout, name)).all()):
                raise TrainingError(f"{where}: {name} of the rollout are not finite; lower the learning rate.")
        self._found(OF_THE_ROLLOUT, _with_empty(scored, rollout_figures(scored)), where)

    def warned(self, scored: ScoredRollout, figures: Line, where: str) -> dict[str, Any]:
        """Returns what the line of the curve gains: the warnings of this update, or nothing.

        Raises:
            TrainingError: A figure is not finite, or a guard stops the training.
        """
        _check_figures(figures, where)
        found = self._found({**OF_THE_ROLLOUT, **OF_THE_UPDATE}, _with_empty(scored, figures), where)
        if figures.get(SKIPPED):
            found.append(
                f"{NOT_FINITE}: {figures[SKIPPED]} optimizer steps were left out; a loss or gradient was not finite"
            )
        notices = self._world.exchange("notices", lambda: list(self._halvings.notices))
        new = dict.fromkeys(notice for own in notices for notice in own if notice not in self._noticed)
        self._noticed.update(new)
        found += [f"{OUT_OF_MEMORY}: {notice}" for notice in new]
        return {WARNINGS: found} if found else {}

    def take(self, line: Line, progress: Progress) -> None:
        """Takes notice of a finished update, and tells of each guard when it fires for the first time."""
        for name, text in _parted(line):
            if name == OUT_OF_MEMORY or name not in self._told:
                self._told.add(name)
                progress.note(f"update {line['update']}: {text}")
        self.history = self.history.after(line)

    def _found(self, guards: Mapping[str, Guard], figures: Line, where: str) -> list[str]:
        found = []
        for name, guard in guards.items():
            reaction = getattr(self._guards, name)
            text = None if reaction == "off" else guard(self._guards, figures, self.history)
            if text is not None and reaction == "stop":
                raise TrainingError(f"{where}: {text}. {how_to_go_on(_REMEDIES[name], guard=name)}")
            if text is not None:
                found.append(f"{name}: {text}")
        return found


def how_to_go_on(remedy: str, *, guard: str | None = None) -> str:
    """Returns what the user can do after a stop."""
    beyond = f", beyond this point with --set guards.{guard}=warn" if guard else " and would stop here again"
    return f"{remedy}, with another --out. The curve and the checkpoints from before are kept; the same command goes on from them{beyond}."


def trouble(folder: Path, notices: Sequence[str] = ()) -> list[str]:
    """Returns a sentence for the report about each guard that fired in a cell, and about micro-batches that were halved.

    Args:
        folder: Of the cell, with its curve.
        notices: What this process has halved, the evaluation included.
    """
    lines = list(read_jsonl(folder / CURVE)) if (folder / CURVE).exists() else []
    fired: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        for name, text in _parted(line):
            fired.setdefault(name, []).append((line["update"], text))
    sentences = []
    for name, found in fired.items():
        if name == OUT_OF_MEMORY:
            sentences += [f"From update {update}: {text}" for update, text in found]
            continue
        share = f"{len(found)} of {len(lines)} updates"
        sentences.append(f"The guard {name} fired in {share}, first in update {found[0][0]}: {found[0][1]}.")
    known = {text for _, text in fired.get(OUT_OF_MEMORY, ())}
    return sentences + [f"{notice[0].upper()}{notice[1:]}" for notice in notices if notice not in known]


def _parted(line: Line) -> list[tuple[str, str]]:
    """Returns name and text of each warning of a line."""
    parts = [warning.partition(": ") for warning in line.get(WARNINGS, ())]
    return [(name, text) for name, _, text in parts]


def first_not_finite(figures: Mapping[str, float]) -> str | None:
    """Returns the first figure that is not finite, in words."""
    return next((f"{name} is {value}" for name, value in figures.items() if not math.isfinite(value)), None)


def _with_empty(scored: ScoredRollout, figures: Line) -> Line:
    empty = sum(not response.text.strip() for response in scored.responses)
    return {**figures, "empty": empty / len(scored.responses)}


def _check_figures(figures: Line, where: str) -> None:
    bad = [name for name, value in figures.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad:
        raise TrainingError(f"{where}: {', '.join(bad)} is not finite; lower the learning rate or raise ppo.kl_coef.")
