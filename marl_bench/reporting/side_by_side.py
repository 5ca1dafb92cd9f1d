"""`marl-bench compare`: sides in, contrasts out; a pure function on what was read."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from marl_bench.errors import RecordError, UnknownNameError
from marl_bench.records import Cell
from marl_bench.reporting.arm_cells import ArmCells, PromptIndex, arms_of
from marl_bench.reporting.budget import check_budget, require_one_task
from marl_bench.reporting.comparison import ORACLE
from marl_bench.reporting.contrasts import Contrast, Pair, contrasts, metrics_of
from marl_bench.reporting.formatting import counted, listed
from marl_bench.reporting.pairs import shared_seeds
from marl_bench.reporting.side_settings import settings_that_differ
from marl_bench.reporting.sides import Side


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """All numbers of one comparison of sides.

    Attributes:
        sides: Names of the sides, as labels and tables show them.
        task: Id of the task.
        primary_metric: Name of the task's primary metric.
        pairs: What was held against what.
        contrasts: By metric, then subset, then pair.
        unmatched: Labels of the baseline side's arms that another side lacks, and the reverse, as sentences.
        missing_arms: Labels of arms of the first side that no other side has.
        open_cells: Texts of failed and unfinished cells of the compared arms.
        settings: Settings that differ, with the value of each side.
        warnings: Sentences that must be seen first.
    """

    sides: Sequence[str]
    task: str
    primary_metric: str
    pairs: Sequence[Pair]
    contrasts: Sequence[Contrast]
    unmatched: Sequence[str]
    missing_arms: Sequence[str]
    open_cells: Sequence[str]
    settings: Sequence[tuple[str, Sequence[str]]]
    warnings: Sequence[str]

    @property
    def overall(self) -> Sequence[Contrast]:
        """The contrasts over all subsets."""
        return [one for one in self.contrasts if not one.subset]


def compare_sides(
    sides: Sequence[Side],
    *,
    metrics: Sequence[str] = (),
    effects: Mapping[str, float] | None = None,
    force: bool = False,
) -> SideBySide:
    """Compares the later sides with the first, or the arms of a single side with its baseline.

    Args:
        sides: At least one. One side: the named arm is the baseline of the run's others; without one the token arm, else SFT.
        metrics: Names of metrics; empty takes all that are shared.
        effects: Metric to the difference whose visibility is asked about; the key '' stands for the primary metric.
        force: Compare unequal budgets and prompts of other texts too; the gaps become warnings.

    Raises:
        RecordError: Different tasks, unequal budgets without `force`, or nothing is shared.
        UnknownNameError: No pair has a named metric.
    """
    everything = [cell for side in sides for cell in [*side.cells, *(side.others if len(sides) == 1 else [])]]
    require_one_task(everything)
    primary = str(everything[0].record.task["primary_metric"])
    pairs, unmatched, missing = _pairs(sides, everything)
    compared = [cell for pair in pairs for arm in (pair.first, pair.second) for cell in arm.cells.values()]
    one_experiment = len({side.root.resolve() for side in sides}) == 1
    warnings = check_budget(_distinct(compared), force=force, one_experiment=one_experiment)
    known = metrics_of(pairs, first=[primary, *([ORACLE] if primary != ORACLE else [])])
    for name in metrics:
        if name not in known:
            raise UnknownNameError("metric of both sides", name, known)
    directions = _directions(compared)
    chosen = list(dict.fromkeys(metrics)) or known
    wanted = {name or primary: value for name, value in (effects or {}).items()}
    for name in wanted:
        if name not in chosen:
            raise UnknownNameError("metric of --effect among those compared", name, chosen)
    found = contrasts(
        pairs,
        chosen,
        directions=directions,
        effects=wanted,
        deviations={primary: _deviation(compared)},
        by_subset=list(metrics) or [primary, ORACLE],
    )
    warnings += _sharing_warnings(pairs, found, chosen, force=force)
    return SideBySide(
        sides=side_names(sides),
        task=str(everything[0].record.task["id"]),
        primary_metric=primary,
        pairs=pairs,
        contrasts=found,
        unmatched=unmatched,
        missing_arms=missing,
        open_cells=[text for side in sides for text in _open_texts(side, pairs)],
        settings=settings_that_differ(sides) if not one_experiment else [],
        warnings=warnings,
    )


def side_names(sides: Sequence[Side]) -> list[str]:
    """Returns a short name for each side: that of its folder, with its parent's where two folders are called the same."""
    names = [side.name for side in sides]
    if len({side.root.resolve() for side in sides}) == len(set(names)):
        return names
    longer = ["/".join(side.root.resolve().parts[-2:]) for side in sides]
    if len({side.root.resolve() for side in sides}) == len(set(longer)):
        return longer
    return [side.given for side in sides]


def _pairs(sides: Sequence[Side], everything: Sequence[Cell]) -> tuple[list[Pair], list[str], list[str]]:
    index = PromptIndex(everything)
    if len(sides) == 1:
        return _within(sides[0], index), [], []
    names = side_names(sides)
    one_run = len({side.root.resolve() for side in sides}) == 1
    arms = [
        [arm if one_run else _labelled(arm, name) for arm in arms_of(side.cells, index)]
        for side, name in zip(sides, names, strict=True)
    ]
    pairs: list[Pair] = []
    unmatched: list[str] = []
    missing: set[str] = set()
    for later in arms[1:]:
        matched = list(_matched(arms[0], later))
        pairs += [_same_seed(pair) for pair in matched]
        left = [arm.arm.label for arm in arms[0] if all(pair.second is not arm for pair in matched)]
        extra = [arm.arm.label for arm in later if all(pair.first is not arm for pair in matched)]
        missing.update(left)
        if left or extra:
            unmatched.append(f"Only one side has {listed([*left, *extra])}; not compared.")
    if not pairs:
        given = " | ".join(
            f"{name}: {', '.join(arm.arm.name for arm in found)}" for name, found in zip(names, arms, strict=True)
        )
        raise RecordError(f"the sides share no arm ({given}); name one arm of each as RUN:ARM to compare them.")
    return pairs, unmatched, sorted(missing)


def _within(side: Side, index: PromptIndex) -> list[Pair]:
    named = arms_of(side.cells, index)
    if side.arm_named:
        return _against(arms_of(side.others, index), named[0], side)
    by_role = {arm.arm.role: arm for arm in reversed(named)}
    baseline = by_role.get("token") or by_role.get("start") or named[0]
    return _against([arm for arm in named if arm is not baseline], baseline, side)


def _against(arms: Sequence[ArmCells], baseline: ArmCells, side: Side) -> list[Pair]:
    if not arms:
        raise RecordError(
            f"{side.given}: one complete arm ({baseline.arm.label}) and nothing to compare it with; give a second run or arm."
        )
    return [_same_seed(Pair(arm, baseline)) for arm in arms]


def _matched(baselines: Sequence[ArmCells], arms: Sequence[ArmCells]) -> Iterator[Pair]:
    """Yields one arm against one whatever their names, one baseline against all arms, and else arms of the same name."""
    if len(baselines) == 1:
        yield from (Pair(arm, baselines[0]) for arm in arms if arm.cells != baselines[0].cells)
        return
    by_name = {arm.arm.name: arm for arm in baselines}
    yield from (Pair(arm, by_name[arm.arm.name]) for arm in arms if arm.arm.name in by_name)


def _labelled(arm: ArmCells, side: str) -> ArmCells:
    return dataclasses.replace(arm, arm=dataclasses.replace(arm.arm, label=f"{side}:{arm.arm.label}"))


def _same_seed(pair: Pair) -> Pair:
    """Returns the pair as it is, or, where each side has one seed and they differ, with the baseline's seed called as the arm's."""
    first, second = pair.first, pair.second
    if len(first.cells) == len(second.cells) == 1 and not shared_seeds(first, second):
        [seed], [other] = first.cells, second.cells
        label = f"{second.arm.label} (seed {other})"
        named = dataclasses.replace(second.arm, label=label)
        arm = dataclasses.replace(first.arm, label=f"{first.arm.label} (seed {seed})")
        moved = ArmCells(named, {seed: second.cells[other]}, second.prompts, {seed: second.places[other]})
        return Pair(dataclasses.replace(first, arm=arm), moved)
    return pair


def _distinct(cells: Sequence[Cell]) -> list[Cell]:
    return list({id(cell): cell for cell in cells}.values())


def _directions(cells: Sequence[Cell]) -> dict[str, bool | None]:
    """Returns the better end of each metric; None too where the cells do not agree on it."""
    found: dict[str, set[bool | None]] = {}
    for cell in cells:
        for name, better in cell.record.higher_is_better.items():
            found.setdefault(name, set()).add(better)
    return {name: better.pop() if len(better) == 1 else None for name, better in found.items()}


def _deviation(cells: Sequence[Cell]) -> float | None:
    stages = [cell.record.shared.get("reward") or cell.record.shared.get("reward_model") or {} for cell in cells]
    found = {float(stage["score_std"]) for stage in stages if stage.get("score_std")}
    return found.pop() if len(found) == 1 else None


def _open_texts(side: Side, pairs: Sequence[Pair]) -> Iterator[str]:
    compared = {arm.arm.name for pair in pairs for arm in (pair.first, pair.second)}
    for cell in side.open_cells:
        if str(cell.record.arm["name"]) in compared:
            reason = " ".join((cell.record.error or "").split()) or "no result"
            yield f"{side.name}: {cell.record.arm['name']} seed {cell.record.seed} is {cell.record.status} ({reason})"


def _sharing_warnings(
    pairs: Sequence[Pair], found: Sequence[Contrast], metrics: Sequence[str], *, force: bool
) -> list[str]:
    warnings: list[str] = []
    empty = [pair for pair in pairs if not any(_is_of(one, pair) for one in found)]
    if len(empty) == len(pairs):
        more = f"; likewise {counted(len(empty) - 1, 'more pair')}" if len(empty) > 1 else ""
        raise RecordError(f"nothing is shared: {_why_nothing(empty[0], metrics)}{more}.")
    warnings += [f"Not compared: {_why_nothing(pair, metrics)}." for pair in empty]
    for pair in pairs:
        own = [one for one in found if _is_of(one, pair) and not one.subset]
        if not own:
            continue
        texts, prompts = own[0].unpaired.other_text, own[0].difference.over_prompts.prompts
        label = f"{pair.first.arm.label} and {pair.second.arm.label}"
        if texts and len(texts) > prompts / 2 and not force:
            raise RecordError(
                f"{label}: {len(texts)} of {prompts} prompts have the same id but other texts (first: {texts[0]}), so they are not "
                "the same prompts; compare runs on the same data, or pair them anyway with compare --force."
            )
        if texts:
            warnings.append(
                f"{label}: {counted(len(texts), 'prompt')} with the same id have other texts ({_some(texts)})."
            )
        warnings += _seed_warnings(pair, label)
    return warnings


def _seed_warnings(pair: Pair, label: str) -> Iterator[str]:
    first, second = set(pair.first.cells), set(pair.second.cells)
    if first != second:
        only = "; ".join(
            f"only {arm.arm.label}: {', '.join(map(str, sorted(seeds)))}"
            for arm, seeds in ((pair.first, first - second), (pair.second, second - first))
            if seeds
        )
        yield f"{label} have different seeds ({only}); the shared ones count."


def _why_nothing(pair: Pair, metrics: Sequence[str]) -> str:
    seeds = shared_seeds(pair.first, pair.second)
    if seeds and bool((pair.first.answered(seeds) & pair.second.answered(seeds)).any()):
        return (
            f"{pair.first.arm.label} and {pair.second.arm.label} have answered the same prompts, but on none of them do both have a score "
            f"of {' or '.join(metrics)} in every shared seed"
        )
    return " and ".join(
        f"{arm.arm.label} has seeds {', '.join(map(str, arm.cells))} and prompts such as "
        f"{_some(list(next(iter(arm.cells.values())).columns.prompt_ids))}"
        for arm in (pair.first, pair.second)
    )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f", and {len(ids) - 3} more" if len(ids) > 3 else "")


def _is_of(contrast: Contrast, pair: Pair) -> bool:
    found = contrast.difference
    return found.arm == pair.first.arm and found.reference == pair.second.arm
