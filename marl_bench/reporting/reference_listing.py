"""The references of a folder as a table."""

from pathlib import Path

from marl_bench.reporting.formatting import NONE
from marl_bench.reporting.references import find_references, means_only, read_means, read_reference
from marl_bench.reporting.tables import Table
from marl_bench.run_dir import RunDir, read_config


def listing_table(reference_dir: Path) -> Table:
    """Returns a row for each reference, those with means only among them.

    Raises:
        RecordError: A reference cannot be read.
    """
    rows = [_means_row(folder) if means_only(folder) else _row(folder) for folder in find_references(reference_dir)]
    heads = ["Reference", "Keeps", "Task", "Configuration", "Arms", "Seeds", "Prompts", "Version", "Commit"]
    return Table(f"References in {reference_dir}", heads, rows, text_columns=5)


def _row(folder: Path) -> list[str]:
    cells = read_reference(folder).cells
    record = cells[0].record
    prompts = {prompt for cell in cells for prompt in cell.columns.prompt_ids}
    version = (record.environment.get("packages") or {}).get("marl-bench")
    commit = record.environment.get("git_commit")
    return [
        folder.name,
        "scores by prompt",
        str(record.task["id"]),
        record.config_hash[:12],
        str(len({cell.record.arm["name"] for cell in cells})),
        str(len({cell.record.seed for cell in cells})),
        str(len(prompts)),
        version or NONE,
        commit[:9] if commit else NONE,
    ]


def _means_row(folder: Path) -> list[str]:
    means = read_means(folder)
    config = read_config(RunDir(folder))
    arms, seeds = {arm for arm, _ in means}, {seed for by_seed in means.values() for seed in by_seed}
    return [
        folder.name,
        "means only",
        str(config.get("task", NONE)),
        str(config.get("config_hash", NONE))[:12],
        str(len(arms)),
        str(len(seeds)),
        NONE,
        NONE,
        NONE,
    ]
