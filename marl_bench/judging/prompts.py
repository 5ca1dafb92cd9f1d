"""The prompts of judges: read from data files, checked, chosen by subset."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marl_bench.errors import ConfigError, shown
from marl_bench.interfaces import JudgePrompt
from marl_bench.yaml_text import parse_yaml

PRESETS = Path(__file__).parent / "presets"
PLACEHOLDERS = ("prompt", "first", "second")
_FIELDS = {field.name for field in dataclasses.fields(JudgePrompt)}


def load_judge_prompts(path: Path) -> tuple[JudgePrompt, ...]:
    """Reads a YAML file with the list `prompts`, each with the fields of `JudgePrompt`.

    Raises:
        ConfigError: The file cannot be read or a prompt is not usable; the text names file and prompt.
    """
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a YAML file with judge prompts.") from error
    rows = data.get("prompts") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{path}: no list of judge prompts under the key 'prompts'.")
    return check_judge_prompts([_prompt(row, f"{path}, prompt {number}") for number, row in enumerate(rows, start=1)])


def general_prompts() -> tuple[JudgePrompt, ...]:
    """Returns the prompts for tasks that bring none of their own."""
    return load_judge_prompts(PRESETS / "general.yaml")


def check_judge_prompts(prompts: Sequence[JudgePrompt]) -> tuple[JudgePrompt, ...]:
    """Returns the prompts if they can be used together.

    Raises:
        ConfigError: A placeholder is missing or stands twice, an id or a subset stands twice, or a pattern is none.
    """
    names = [prompt_name(prompt) for prompt in prompts]
    subsets = [subset for prompt in prompts for subset in prompt.subsets or [""]]
    for kind, values in (("id with version", names), ("subset", subsets)):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ConfigError(f"judge prompts: the {kind} {shown(twice[0])} stands in two of them; give each its own.")
    for prompt in prompts:
        for name in PLACEHOLDERS:
            count = prompt.template.count(f"{{{{{name}}}}}")
            if count != 1:
                raise ConfigError(
                    f"judge prompt '{prompt.id}': its template holds {{{{{name}}}}} {count} times; once is right."
                )
        try:
            groups = re.compile(prompt.stratum).groups
        except re.error as error:
            raise ConfigError(f"judge prompt '{prompt.id}': stratum is no regular expression ({error}).") from error
        if prompt.stratum and groups < 1:
            raise ConfigError(f"judge prompt '{prompt.id}': stratum {shown(prompt.stratum)} has no group ( ).")
    return tuple(prompts)


def prompt_for(prompts: Sequence[JudgePrompt], subset: str) -> JudgePrompt:
    """Returns the prompt that is for a subset: the one that names it, else the one that names none.

    Raises:
        ConfigError: None is.
    """
    for prompt in prompts:
        if subset in prompt.subsets:
            return prompt
    for prompt in prompts:
        if not prompt.subsets:
            return prompt
    known = ", ".join(prompt_name(prompt) for prompt in prompts) or "none"
    raise ConfigError(f"no judge prompt is for the subset {shown(subset)}; there are: {known}. Give --prompts FILE.")


def prompt_name(prompt: JudgePrompt) -> str:
    """Returns id and version as they stand beside win rates."""
    return f"{prompt.id}@{prompt.version}"


def stratum_of(prompt: JudgePrompt, *, subset: str, text: str) -> str:
    """Returns what pairs are drawn evenly by: the subset, and what the prompt's pattern finds in the text."""
    found = re.search(prompt.stratum, text) if prompt.stratum else None
    return f"{subset}\n{found.group(1)}" if found else subset


def _prompt(row: Any, where: str) -> JudgePrompt:
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: is {shown(row)}, should be a mapping with id, version, system and template.")
    unknown, missing = sorted(set(row) - _FIELDS), sorted({"id", "version", "system", "template"} - set(row))
    if unknown or missing:
        raise ConfigError(f"{where}: unknown keys {unknown}, missing keys {missing}; known are {sorted(_FIELDS)}.")
    subsets = row.get("subsets", [])
    texts = [row[name] for name in row if name != "subsets"]
    if not all(isinstance(text, str) for text in texts) or not isinstance(subsets, list):
        raise ConfigError(f"{where}: every value is a text (quote the version), and subsets a list.")
    return JudgePrompt(**{**row, "subsets": tuple(map(str, subsets))})
