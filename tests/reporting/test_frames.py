"""Records as DataFrames."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest

from marl_bench.errors import RecordError
from marl_bench.records import Cell
from marl_bench.reporting.frames import load_curves, load_samples, load_scores
from marl_bench.reporting.report import write_report
from marl_bench.run_dir import RunDir

WriteCells = Callable[[Path, Sequence[Cell]], RunDir]


@pytest.fixture
def folder(tmp_path: Path, three_arms: list[Cell], write_cells: WriteCells) -> Path:
    return write_cells(tmp_path / "run", three_arms).root


def test_scores_frame_equals_the_csv(folder: Path) -> None:
    frame = load_scores(folder)
    written = pd.read_csv(write_report([RunDir(folder)], out=folder, formats=("csv",)).scores)
    assert list(frame.columns) == ["arm", "seed", "metric", "value"]
    assert frame.values.tolist() == written.values.tolist()
    macro = frame[(frame.arm == "macro_ppo-fixed_n5") & (frame.metric == "reward_model_score")]
    assert dict(zip(macro.seed, macro.value, strict=True)) == {0: 2.0, 1: 3.0}


def test_curves_frame_has_a_row_an_update(folder: Path) -> None:
    frame = load_curves(str(folder))
    assert list(frame.columns[:4]) == ["arm", "seed", "update", "score"]
    # Three trained arms x two seeds x four updates; the SFT arm has no curve.
    assert len(frame) == 24
    token = frame[(frame.arm == "token_ppo") & (frame.seed == 0)]
    assert token.score.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_samples_frame_has_a_row_a_sample(folder: Path) -> None:
    frame = load_samples(folder)
    assert len(frame) == 4 * 2 * 4
    assert frame.finished.dtype == bool
    sft = frame[(frame.arm == "sft") & (frame.seed == 1)]
    assert sft.prompt_id.tolist() == ["p0", "p1", "p2", "p3"]
    assert sft.oracle.tolist() == [0.5] * 4


def test_unscored_samples_are_missing_values(
    tmp_path: Path, make_cell: Callable[..., Cell], write_cells: WriteCells
) -> None:
    write_cells(tmp_path / "run", [make_cell("token_ppo", 0, {"reward_model_score": [1.0, None]})])
    assert load_samples(tmp_path / "run").reward_model_score.isna().tolist() == [False, True]


def test_a_folder_without_an_experiment_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no experiment there"):
        load_scores(tmp_path)


def test_an_experiment_that_has_just_begun_gives_empty_frames(tmp_path: Path, write_cells: WriteCells) -> None:
    write_cells(tmp_path / "run", [])
    assert list(load_curves(tmp_path / "run").columns) == ["arm", "seed", "update"]
    assert list(load_samples(tmp_path / "run").columns) == ["arm", "seed", "prompt_id"]
    assert load_scores(tmp_path / "run").empty
