"""Comparison rows of openai/summarize_from_feedback, read from a folder or the hub through `datasets` and checked."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from marl_bench.dataset_rows import check_data_folder, dataset_rows
from marl_bench.errors import RowError, shown

HUB_ID = "openai/summarize_from_feedback"
CONFIG = "comparisons"
# The data set is a script, which `datasets` no longer runs; this branch holds the hub's own conversion.
HUB_REVISION = "refs/convert/parquet"
PUBLISHED_TRAIN_ROWS = 92_858


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        id: Id of the post, unique by text.
        group: What must not stand in two stages: all rows with the id of the post, or with its text where it has none.
        split: `train` or another.
        post: Text of the post.
        subreddit: Empty if unknown.
        title: Empty if unknown.
        chosen: The preferred summary.
        rejected: The other one.
        sft_summary: What SFT learns; the preferred summary in real data.
        reference: What ROUGE compares with; the preferred summary in real data.
        facts: What the gold score needs, in embedded data.
    """

    id: str
    group: str
    split: str
    post: str
    subreddit: str
    title: str
    chosen: str
    rejected: str
    sft_summary: str
    reference: str
    facts: Mapping[str, Any] | None


def check_row(row: Mapping[str, Any], *, split: str, where: str) -> Row:
    """Returns a raw row with its fields checked.

    Raises:
        RowError: A required field is missing or wrong; the text names `where` and the field.
    """
    info = row.get("info")
    if not isinstance(info, Mapping):
        raise RowError(
            f"{where}: field info is {shown(info)}; should hold post, title and subreddit.", reason="without_post"
        )
    post = info.get("post")
    if not isinstance(post, str) or not post.strip():
        raise RowError(f"{where}: field info.post is {post!r}; should be a text.", reason="without_post")
    summaries = row.get("summaries")
    given = summaries if isinstance(summaries, list) else []
    texts: list[Any] = [each.get("text") for each in given if isinstance(each, Mapping)]
    if len(texts) != 2 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise RowError(
            f"{where}: field summaries is {shown(summaries)}; should be two entries with a text each.",
            reason="without_two_summaries",
        )
    choice = row.get("choice")
    if not isinstance(choice, int) or isinstance(choice, bool) or choice not in (0, 1):
        raise RowError(
            f"{where}: field choice is {choice!r}; should be 0 or 1, the index of the preferred summary.",
            reason="without_choice",
        )
    chosen, rejected = texts[choice], texts[1 - choice]
    digest = hashlib.sha256(post.encode()).hexdigest()[:8]
    return Row(
        # The hub has some ids with two versions of a post; prompts are told apart by their text.
        id=f"{info.get('id') or 'post'}-{digest}",
        group=str(info.get("id") or digest),
        split=split,
        post=post.strip(),
        subreddit=info.get("subreddit") or "",
        title=info.get("title") or "",
        chosen=chosen,
        rejected=rejected,
        sft_summary=row.get("sft_summary") or chosen,
        reference=row.get("reference_summary") or chosen,
        facts=row.get("facts"),
    )


def folder_rows(folder: Path) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Returns split, place and row of the rows of a local folder with the hub's schema.

    Raises:
        DataError: The folder is missing, empty or not readable.
    """
    check_data_folder(folder, holds=f"{CONFIG}/train and validation files as {HUB_ID} has them")
    arguments: dict[str, Any] = {"path": str(folder)}
    if _names_config(folder):
        arguments["name"] = CONFIG
    elif (folder / CONFIG).is_dir():
        arguments["data_dir"] = CONFIG
    return dataset_rows(arguments, source=f"data folder '{folder}'")


def hub_rows(revision: str | None) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """Returns the rows of the hub's data set; raises as `folder_rows`."""
    arguments = {"path": HUB_ID, "data_dir": CONFIG, "revision": revision or HUB_REVISION}
    return dataset_rows(arguments, source=f"hub data set {HUB_ID}")


def _names_config(folder: Path) -> bool:
    readme = folder / "README.md"
    return readme.is_file() and f"config_name: {CONFIG}" in readme.read_text(encoding="utf-8", errors="replace")
