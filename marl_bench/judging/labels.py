"""Labels of people become judgements like any other."""

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from marl_bench.errors import DataError, RecordError, UnknownNameError
from marl_bench.judgements import JUDGEMENT, JUDGEMENTS, PAIRS, JudgedPair, Judgement, Verdict, Winner
from marl_bench.judging.cells import as_cell, digest_of_cells
from marl_bench.judging.plan import complete_cells, prompts_for_runs
from marl_bench.judging.selection import Pair, choose_pairs
from marl_bench.judging.sheet_reading import FilledSheet, SheetLabel, read_sheet, sheet_of
from marl_bench.judging.sheets import KEY_SUFFIX, SheetKey, read_key
from marl_bench.plugins import Registry
from marl_bench.records import Cell, EvalSample
from marl_bench.run_dir import (
    RunDir,
    folder_written_atomically,
    write_json_atomically,
    write_jsonl_atomically,
)

PREFIX = "labels:"
"""First part of the id of a judge who is a person."""

Place = tuple[str, int]
"""Folder name of an arm, and a seed."""

SampleId = tuple[str, int, str, int]
"""Place, prompt id and sample index."""


@dataclasses.dataclass(frozen=True)
class TakenLabels:
    """The labels of one annotator, taken over.

    Attributes:
        judge: Id of the judge, `labels:<name>`.
        labelled: Rows with a label.
        unlabelled: Rows without one.
        folders: Where the judgement stands, one an experiment.
    """

    judge: str
    labelled: int
    unlabelled: int
    folders: Sequence[Path]


def pairs_for_sheet(
    runs: Sequence[Path],
    registry: Registry,
    *,
    count: int | None,
    seed: int,
    arms: Sequence[str],
    references: Sequence[str],
) -> list[Pair]:
    """Returns the pairs that a judge with the same seed and number of pairs is asked about.

    Args:
        runs: Folders of the experiments.
        registry: The plugins: the task's judge prompts say what pairs are drawn evenly by.
        count: Pairs of each comparison; None means all.
        seed: Of the choice of pairs.
        arms: Labels or folder names of the arms to show; empty means all.
        references: Likewise, of those they are held against.

    Raises:
        RecordError: Runs cannot be read or do not belong together.
        UnknownNameError: No arm has such a name.
    """
    cells, _ = complete_cells([RunDir(run) for run in runs])
    prompts = prompts_for_runs(cells, registry, file=None)
    names = {str(cell.record.arm[key]): str(cell.record.arm["name"]) for cell in cells for key in ("label", "name")}
    for arm in [*arms, *references]:
        if arm not in names:
            raise UnknownNameError("arm", arm, {str(cell.record.arm["label"]) for cell in cells})
    kept, against = ({names[arm] for arm in some} for some in (arms, references))
    return [
        pair
        for pair in choose_pairs(cells, prompts, count=count, seed=seed, order="single")
        if (not kept or pair.arm in kept) and (not against or pair.reference in against)
    ]


def take_labels(
    runs: Sequence[Path], files: Sequence[Path], *, key: Path | None = None, partial: bool = False
) -> list[TakenLabels]:
    """Takes the filled-in sheets of one or more annotators over as judgements; all files are checked before anything is written.

    A judgement of the same name is replaced: the file is the source.

    Args:
        runs: Folders of the experiments from which the sheets were made.
        files: Filled-in sheets; a file's name, without its ending, is the annotator's.
        key: The key; None looks beside each file for the one of its sheet.
        partial: Accept sheets with rows that are missing or have no choice.

    Raises:
        DataError: A file has something wrong, no key, or the name of another file.
        RecordError: The responses of the runs are not those of the sheet.
    """
    names = [_name(path) for path in files]
    twice = next((path for path, name in zip(files, names, strict=True) if names.count(name) > 1), None)
    if twice:
        raise DataError(f"{twice}: another file has the name '{_name(twice)}' too; call each file by its annotator.")
    cells, homes = complete_cells([RunDir(run) for run in runs])
    filled = []
    for path in files:
        found_key = read_key(key or _key_beside(path))
        filled.append((found_key, read_sheet(path, found_key, partial=partial)))
    samples = _samples(cells, [sheet for _, sheet in filled])
    for _, sheet in filled:
        _check_texts(sheet, samples)
    return [_write(name, key, sheet, homes) for name, (key, sheet) in zip(names, filled, strict=True)]


def _write(name: str, key: SheetKey, sheet: FilledSheet, homes: Mapping[Place, RunDir]) -> TakenLabels:
    by_run: dict[Path, list[SheetLabel]] = {}
    for label in sheet.labels:
        by_run.setdefault(homes[label.item.arm, label.item.seed].root, []).append(label)
    left = len(sheet.unlabelled)
    notes = [f"{left} of {len(key.items)} rows of the sheet have no label and are left out."] if left else []
    judgement = Judgement(
        judge=f"{PREFIX}{name}",
        prompts=(),
        protocol="standard",
        order="single",
        seed=key.seed,
        parameters={"sheet": key.sheet, "file": hashlib.sha256(sheet.path.read_bytes()).hexdigest()},
        notes=notes,
    )
    folders = []
    for run, labels in by_run.items():
        folder = run / JUDGEMENTS / f"labels-{name}"
        with folder_written_atomically(folder) as new:
            write_jsonl_atomically(new / PAIRS, (_judged(label).to_json() for label in labels))
            write_json_atomically(new / JUDGEMENT, judgement.to_json())
        folders.append(folder)
    return TakenLabels(judgement.judge, len(sheet.labels), left, folders)


def _judged(label: SheetLabel) -> JudgedPair:
    item = label.item
    winner: Winner = (
        "tie"
        if label.choice == "tie"
        else "arm"
        if (label.choice == "1") == (item.order == "arm_first")
        else "reference"
    )
    verdict = Verdict(
        order=item.order, status="tie" if winner == "tie" else "ok", winner=winner, reason=label.comment, path="label"
    )
    return JudgedPair(
        prompt_id=item.prompt_id,
        subset=item.subset,
        arm=item.arm,
        reference=item.reference,
        seed=item.seed,
        sample_index=item.sample_index,
        arm_words=item.arm_words,
        reference_words=item.reference_words,
        verdicts=(verdict,),
    )


def _samples(cells: Sequence[Cell], sheets: Sequence[FilledSheet]) -> dict[SampleId, EvalSample]:
    """Returns the samples that were shown, as they stand in the runs now; those that are not there are absent."""
    items = [label.item for sheet in sheets for label in sheet.labels]
    wanted = {
        (arm, item.seed, item.prompt_id, item.sample_index) for item in items for arm in (item.arm, item.reference)
    }
    return {
        id_: sample
        for cell in cells
        for sample in cell.samples
        if (id_ := (*_place(cell), sample.prompt_id, sample.response.sample_index)) in wanted
    }


def _place(cell: Cell) -> Place:
    return str(cell.record.arm["name"]), cell.record.seed


def _check_texts(sheet: FilledSheet, samples: Mapping[SampleId, EvalSample]) -> None:
    """Checks that the runs still hold the texts that were shown."""
    for label in sheet.labels:
        item = label.item
        arms = (item.arm, item.reference) if item.order == "arm_first" else (item.reference, item.arm)
        first, second = (samples.get((arm, item.seed, item.prompt_id, item.sample_index)) for arm in arms)
        if first and second:
            texts = (first.prompt, first.response.text, second.response.text)
            if digest_of_cells(*map(as_cell, texts)) == item.id.rsplit("-", 1)[1]:
                continue
        wrong = "are not those that were shown" if first and second else "are not all there"
        raise RecordError(
            f"{sheet.path}, row {item.id}: the responses of {item.arm} and {item.reference}, seed {item.seed}, to {item.prompt_id} {wrong}; "
            "give the runs from which the sheet was made."
        )


def _key_beside(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}: is not there; give a filled-in annotation sheet.")
    sheet = sheet_of(path)
    beside = sorted(path.parent.glob(f"*{KEY_SUFFIX}"))
    for candidate in beside:
        with contextlib.suppress(DataError):  # what else ends like a key is not ours to judge
            if read_key(candidate).sheet == sheet:
                return candidate
    names = ", ".join(candidate.name for candidate in beside) or "none"
    raise DataError(f"{path}: no key of sheet '{sheet}' beside it (found: {names}); give the key with --key FILE.")


def _name(path: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", path.stem).strip("-.") or "unnamed"
