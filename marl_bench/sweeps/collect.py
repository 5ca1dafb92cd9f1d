"""Samples and scores what a sweep needs and does not have yet."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

from marl_bench.evaluation.evaluate import policy_kl
from marl_bench.evaluation.measure import measure, oracle_scores
from marl_bench.evaluation.results import length_columns
from marl_bench.models.actors import Actors
from marl_bench.models.responses import respond, sampling_settings
from marl_bench.records import EvalSample, Prompt
from marl_bench.reporting.comparison import ORACLE
from marl_bench.run_dir import claim, locked, make_writable
from marl_bench.score_parts import ToScore
from marl_bench.sweeps.plan import Policy, SweepPlan, policy_digest
from marl_bench.sweeps.store import SampleFile

Done = Callable[[int, str], None]
"""Told how many responses are there, and a few words."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Samples that a sweep needs of one policy.

    Attributes:
        policy: The policy.
        temperature: 0 is greedy.
        samples: Responses a prompt.
    """

    policy: Policy
    temperature: float
    samples: int


@dataclasses.dataclass(frozen=True)
class Collected:
    """What was wanted, with each prompt's samples in the order of their index."""

    wanted: Wanted
    samples: dict[str, list[EvalSample]]


def count_responses(plan: SweepPlan, wanted: Sequence[Wanted]) -> int:
    """Returns the number of responses of a sweep."""
    return sum(one.samples for one in wanted) * len(plan.prompts)


def collect(plan: SweepPlan, wanted: Sequence[Wanted], done: Done) -> Iterator[Collected]:
    """Samples what is missing and yields all that is wanted, policy by policy, so that one file at a time is in memory.

    A response depends on policy, prompt, temperature and sample index alone: its row seed is that of the run's own evaluation, so the first
    sample of a prompt at the run's temperature is the one that the run has evaluated, and temperatures share their random numbers.

    Raises:
        RunFolderError: The folder cannot be written, or another process works in it.
        RecordError: Stored samples are damaged or of another policy.
        ModelError: A policy cannot be loaded.
    """
    make_writable(plan.out)
    ready = 0
    with locked(plan.out):
        claim(plan.out, plan.lasting_config.model_dump(mode="json"), config_hash=plan.config_hash)
        for policy in dict.fromkeys(one.policy for one in wanted):
            load = functools.cache(functools.partial(plan.actors, policy))
            digest = policy_digest(policy)
            for one in (one for one in wanted if one.policy == policy):
                path = plan.out.cell(policy.arm, policy.seed) / f"temperature_{one.temperature!r}.jsonl"
                file = SampleFile(path, policy=digest)
                for batch in batches(plan.prompts, one.samples, size=plan.config.ppo.sample_batch_size):
                    if any((prompt.id, index) not in file for prompt, index in batch):
                        file.append(_sampled(plan, load(), one, batch))
                    ready += len(batch)
                    done(ready, f"{policy.label} seed {policy.seed}, temperature {one.temperature:g}")
                yield Collected(one, file.samples([prompt.id for prompt in plan.prompts], one.samples))


def batches(prompts: Sequence[Prompt], samples: int, *, size: int) -> list[list[tuple[Prompt, int]]]:
    """Returns the rows in batches of at most `size`, about equal: every prompt with index 0, then every prompt with index 1, ...

    No batch holds two indices, so that it is the same whatever number of samples is wanted, to the last bit of its log-probs.
    """
    parts = -(-len(prompts) // size)
    ends = [len(prompts) * part // parts for part in range(parts + 1)]
    blocks = [prompts[start:end] for start, end in itertools.pairwise(ends)]
    return [[(prompt, index) for prompt in block] for index in range(samples) for block in blocks]


def _sampled(plan: SweepPlan, actors: Actors, wanted: Wanted, batch: Sequence[tuple[Prompt, int]]) -> list[EvalSample]:
    """Returns a whole batch: a batch of which a part is stored is sampled in the same company again, so that no rounding differs."""
    prompts = [prompt for prompt, _ in batch]
    config, size = plan.config, plan.config.ppo.score_batch_size
    settings = sampling_settings(config.sampling, temperature=wanted.temperature)
    at = wanted.temperature or settings.log_prob_temperature
    sampled = respond(
        actors.sampler,
        actors.tokenizer,
        prompts,
        settings=dataclasses.replace(settings, log_prob_temperature=at),
        batch_size=len(batch),
        seed_parts=(wanted.policy.seed, "evaluation"),
        indices=[index for _, index in batch],
    )
    responses, task = sampled.responses, plan.evaluation.task
    columns: dict[str, Sequence[float | None]] = {
        plan.score: actors.reward.scores(ToScore(task, prompts, responses, sampled.samples.tokens, size))
    }
    oracle = oracle_scores(task, prompts, responses)
    if oracle is not None:
        columns[ORACLE] = list(oracle)
    columns.update(measure(plan.metrics, prompts, responses).columns)
    columns.update(length_columns(responses))
    if wanted.policy.is_reference and wanted.temperature == plan.reference_temperature:
        columns["kl"] = [0.0] * len(batch)  # the model that KL is measured from
    else:
        columns["kl"] = policy_kl(
            actors, sampled, temperature=plan.reference_temperature, size=size, greedy=wanted.temperature == 0
        )
    return [
        EvalSample(prompt.id, prompt.subset, "", response, {name: values[row] for name, values in columns.items()})
        for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
    ]
