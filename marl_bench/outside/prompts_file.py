"""The evaluation prompts as a file, so that responses can be sampled elsewhere. No torch, unless they are those of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marl_bench.errors import RunFolderError
from marl_bench.outside.plan import open_prompts
from marl_bench.outside.request import Request
from marl_bench.plugins import Registry
from marl_bench.records import Prompt
from marl_bench.run_dir import write_jsonl_atomically


def write_prompts(request: Request, registry: Registry, *, out: Path) -> int:
    """Writes the prompts that an evaluation with these settings has, one a line, and returns how many they are.

    A line holds `id`, `text` (for completion), `messages` (for chat), `subset` and `reference`. With a run the texts are those that its
    policies read, chat template and cuts included; else they are whole.

    Raises:
        ConfigError: A setting is wrong, or there is neither task nor run.
        DataError: The data cannot be loaded.
        RunFolderError: The file cannot be written.
    """
    prompts = open_prompts(request, registry)
    try:
        write_jsonl_atomically(out, _rows(prompts))
    except OSError as error:
        raise RunFolderError(f"--out {out}: cannot be written ({error.strerror or error}).") from error
    return len(prompts)


def _rows(prompts: list[Prompt]) -> Iterator[dict[str, Any]]:
    for prompt in prompts:
        messages = [dict(turn) for turn in prompt.messages]
        yield {
            "id": prompt.id,
            "text": prompt.text,
            "messages": messages or [{"role": "user", "content": prompt.text.strip()}],
            "subset": prompt.subset,
            "reference": prompt.reference,
        }
