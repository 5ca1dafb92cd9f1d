"""How termination rules cut real responses: the pieces, and statistics of their lengths."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from marl_bench.batches import Rollout, Segmentation
from marl_bench.errors import ConfigError
from marl_bench.finished_run import open_run
from marl_bench.interfaces import TerminationRule
from marl_bench.macro.segmentation import check_partition
from marl_bench.models.actors import load_actors
from marl_bench.models.loading import load_tokenizer, model_folder
from marl_bench.models.reading import read_responses
from marl_bench.models.responses import log_prob_temperature
from marl_bench.planning import Rule, build_rule
from marl_bench.plugins import Registry
from marl_bench.records import EvalSample, Response
from marl_bench.reporting.formatting import NONE, number
from marl_bench.reporting.tables import Table

_ROWS_A_PASS = 16


@dataclasses.dataclass(frozen=True)
class CutResponse:
    """One response as the rules cut it.

    Attributes:
        label: What it is.
        pieces: Canonical rule text to the texts of its macro actions. One without characters of its own (a part of a character, a special
            token that is not EOS) is empty.
    """

    label: str
    pieces: Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class SegmentView:
    """Responses side by side under several rules.

    Attributes:
        rules: Canonical rule texts.
        responses: The responses.
        lengths: Statistics of the macro lengths in tokens, a row a rule.
        notes: Which tokens and which models they are.
    """

    rules: Sequence[str]
    responses: Sequence[CutResponse]
    lengths: Table
    notes: Sequence[str]


def view_texts(texts: Sequence[str], rules: Sequence[Rule], registry: Registry) -> SegmentView:
    """Returns texts as the rules cut them, read by the shipped base model.

    Raises:
        ConfigError: A text is empty, or a parser is not installed.
    """
    if not all(texts):
        raise ConfigError("--text: is empty; give the text of a response.")
    # The model needs something to stand before the first token.
    start = load_tokenizer("tiny").eos_token
    samples = [
        EvalSample(f"text {index}", "", start, Response(f"text {index}", text, 0, True), {})
        for index, text in enumerate(texts, start=1)
    ]
    notes = ["tokens and log-probs of the shipped tiny base model, without a prompt; the texts are taken as finished"]
    return view_samples(samples, rules, registry, model="tiny", notes=notes)


def view_samples(
    samples: Sequence[EvalSample], rules: Sequence[Rule], registry: Registry, *, model: str, notes: Sequence[str]
) -> SegmentView:
    """Returns responses as the rules cut them, read by a base model.

    Args:
        samples: Prompts with their responses, which are encoded again.
        rules: The rules.
        registry: The plugins.
        model: `tiny`, a hub id or a folder.
        notes: What the caller has to say of the responses.

    Raises:
        ConfigError: A parser is not installed.
    """
    folder = Path(model_folder(model))
    actors = load_actors(
        policy=folder, sft=folder, reward_model=None, dtype="float32", critic_scale=None, device=torch.device("cpu")
    )
    ids = [actors.tokenizer(sample.response.text, add_special_tokens=False)["input_ids"] for sample in samples]
    unfitted = [build_rule(rule, registry) for rule in rules]
    built = [rule.fit(iter(ids)) for rule in unfitted]
    needs = _needs(built)
    rollout = read_responses(actors, samples, temperature=1.0, needs=needs, batch_size=_ROWS_A_PASS)
    notes = list(notes)
    if "values" in needs:
        notes.append("there is no critic without a run: all values are 0")
    if any(rule is not before for rule, before in zip(built, unfitted, strict=True)):
        notes.append("rules that learn from data are fitted to these texts alone")
    labels = [sample.prompt_id for sample in samples]
    eos = actors.tokenizer.eos_token
    return _view(rollout, [rule.text for rule in rules], built, labels=labels, notes=notes, eos=eos)


def view_run(root: Path, rules: Sequence[Rule], registry: Registry, *, limit: int, arm: str | None) -> SegmentView:
    """Returns the first stored samples of a run's cell as the rules cut them, read by the run's models.

    Raises:
        RecordError: There is no experiment with a complete cell.
        UnknownNameError: No complete cell is of that arm.
        ConfigError: A parser is not installed.
    """
    run = open_run(root, registry)
    cell = run.cell(arm)
    samples = cell.samples[:limit]
    actors = run.actors(cell)
    built = run.fitted(rules)
    needs = _needs(built)
    temperature = log_prob_temperature(run.config.sampling)
    rollout = read_responses(actors, samples, temperature=temperature, needs=needs, batch_size=_ROWS_A_PASS)
    name = run.folder(cell).name
    notes = [f"samples of the cell {name}, encoded again; the reference is the run's SFT model"]
    if "values" in needs:
        notes.append(f"values of {run.critic_name(cell)}")
    labels = [f"prompt {sample.prompt_id}" for sample in samples]
    return _view(
        rollout, [rule.text for rule in rules], built, labels=labels, notes=notes, eos=actors.tokenizer.eos_token
    )


def _needs(rules: Sequence[TerminationRule]) -> frozenset[str]:
    return frozenset({"offsets"}).union(*(rule.needs for rule in rules))


def _view(
    rollout: Rollout,
    names: Sequence[str],
    rules: Sequence[TerminationRule],
    *,
    labels: Sequence[str],
    notes: Sequence[str],
    eos: str,
) -> SegmentView:
    found: dict[str, Segmentation] = {}
    for name, rule in zip(names, rules, strict=True):
        found[name] = rule.segment(rollout)
        check_partition(found[name], rollout.tokens.response_mask)
    responses = [
        CutResponse(label, {name: pieces_of(rollout, parts, row, eos=eos) for name, parts in found.items()})
        for row, label in enumerate(labels)
    ]
    return SegmentView(list(found), responses, length_table(found), notes)


def pieces_of(rollout: Rollout, segmentation: Segmentation, row: int, *, eos: str) -> list[str]:
    """Returns the texts of a response's macro actions; together they are the response, and EOS where it finished.

    Args:
        rollout: The responses, with offsets.
        segmentation: Their macro actions.
        row: Which of them.
        eos: How EOS is written.
    """
    assert rollout.token_offsets is not None  # always asked for
    text, spans = rollout.texts[row], rollout.token_offsets[row]
    lengths = segmentation.macro_lengths[row][segmentation.macro_mask[row]].tolist()
    pieces, place = [], 0
    for length in lengths:
        pieces.append(text[spans[place][0] : spans[place + length - 1][1]])
        place += length
    if pieces and bool(rollout.tokens.finished[row]):
        pieces[-1] += eos
    return pieces


def length_table(found: Mapping[str, Segmentation]) -> Table:
    """Returns statistics of the macro lengths, a row a rule."""
    return Table(
        "Macro lengths in tokens",
        ["Rule", "Macro actions", "Mean", "Median", "Min", "Max", "Fallbacks"],
        [[rule, *_statistics(parts)] for rule, parts in found.items()],
    )


def _statistics(parts: Segmentation) -> list[str]:
    lengths = parts.macro_lengths[parts.macro_mask].double()
    if not lengths.numel():
        return ["0", NONE, NONE, NONE, NONE, str(parts.fallbacks)]
    # torch's median takes the lower of the two in the middle.
    middle = float(lengths.quantile(0.5))
    ends = [f"{float(end):.0f}" for end in (lengths.min(), lengths.max())]
    return [f"{lengths.numel():,}", number(float(lengths.mean())), number(middle), *ends, str(parts.fallbacks)]
