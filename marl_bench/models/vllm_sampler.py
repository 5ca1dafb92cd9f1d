"""Samples through vLLM with the policy's weights. Only the tokens are vLLM's: log-probs and entropies are the policy's own.

vLLM's numbers differ from those of the policy's forward pass (other kernels, other batches), and PPO's ratio must be 1 where nothing was
learnt; so its log-probs serve to measure the difference, and to weigh it if so configured, and nothing else.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from marl_bench.batches import Tokens
from marl_bench.config import RunConfig, SamplerConfig
from marl_bench.errors import ModelError, SamplerError
from marl_bench.models.actors import Actors
from marl_bench.models.out_of_memory import SCORING
from marl_bench.models.sampling import Sampler, Samples, SamplingSettings, read_samples
from marl_bench.models.vllm_engine import GO_ON, ColocatedEngine, Engine, Generated, sampling_fields
from marl_bench.models.vllm_server import ServerEngine
from marl_bench.models.vllm_weights import make_weights_folder, remove_weights_folder, sync_tolerance, write_weights


class Samplers:
    """Gives each policy its sampler. An engine takes a minute or two to start, so that all policies of a process share one.

    Attributes:
        tell: Takes a sentence for the user.
    """

    def __init__(self, config: RunConfig, *, log: Path) -> None:
        """Starts nothing yet.

        Args:
            config: Of the run.
            log: Where a colocated engine writes what it has to say.
        """
        self._config, self._log = config, log
        self._engine: Engine | None = None
        self.tell: Callable[[str], None] = lambda _: None

    def of(self, actors: Actors, *, start_from: Path) -> Sampler:
        """Returns what samples from the policy of `actors`, in place of the sampler that they have.

        Args:
            actors: The models of a cell.
            start_from: Folder of a model of the same shape, which a new engine starts with.

        Raises:
            ModelError: vLLM cannot be handed such a policy.
        """
        if self._config.sampler.backend == "transformers":
            return actors.sampler
        if hasattr(actors.policy, "peft_config"):
            raise ModelError(
                "sampler.backend=vllm: the policy is an adapter on its base, weights are handed over whole; "
                "set sampler.backend=transformers, or save the policy merged (lora.save=merged)."
            )

        def engine() -> Engine:
            if self._engine is None:
                if self._config.sampler.mode == "colocated":
                    self.tell("the vLLM engine starts, which takes a minute or two.")
                self._engine = make_engine(self._config, start_from, log=self._log)
            return self._engine

        size = actors.score_batch(self._config.ppo.score_batch_size)

        def read(tokens: Tokens, temperature: float) -> Samples:
            def in_parts(rows: int) -> Samples:
                fitting = dataclasses.replace(size, rows=rows)
                return read_samples(actors.policy, tokens, temperature=temperature, size=fitting)

            return actors.halvings.retried(SCORING, size.rows, in_parts)

        return VllmSampler(actors.policy, engine, self._config.sampler, read=read, broken=self.close)

    def close(self) -> None:
        """Ends the engine, if there is one; the next sample starts another."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()


def make_engine(config: RunConfig, model: Path, *, log: Path) -> Engine:
    """Starts a colocated engine, or connects to the server."""
    settings, sampling = config.sampler, config.sampling
    if settings.mode == "server":
        assert settings.base_url is not None  # the configuration holds them together
        return ServerEngine(settings.base_url, timeout_seconds=settings.timeout_seconds)
    eager = settings.enforce_eager if settings.enforce_eager is not None else not torch.cuda.is_available()
    arguments = {
        "model": str(model),
        "dtype": config.model.dtype,
        "seed": 0,  # every row has a seed of its own
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # a model folder's generation_config.json shall change nothing
        "max_model_len": settings.max_model_len or sampling.max_prompt_tokens + sampling.max_response_tokens,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "enforce_eager": eager,
        # Where a prompt is read in pieces vLLM 0.30 draws a token too many and turns the row's generator back, which those of a CPU cannot do.
        "enable_chunked_prefill": False,
        # Tempered, but not cut to top-k and top-p where log-probs are those at temperature 1.
        "logprobs_mode": "raw_logprobs" if _log_probs_at_one(config) else "processed_logprobs",
        "enable_sleep_mode": settings.sleep and torch.cuda.is_available(),
    }
    return ColocatedEngine(arguments, log=log, timeout_seconds=settings.timeout_seconds)


def _log_probs_at_one(config: RunConfig) -> bool:
    return config.sampling.logprobs == "full" or config.sampling.temperature == 1


class VllmSampler:
    """Samples from an engine whose weights are made the policy's before each rollout."""

    def __init__(
        self,
        policy: Any,
        engine: Callable[[], Engine],
        config: SamplerConfig,
        *,
        read: Callable[[Tokens, float], Samples],
        broken: Callable[[], None],
    ) -> None:
        """Starts nothing yet.

        Args:
            policy: Whose responses are wanted.
            engine: Gives the engine.
            config: How it is used.
            read: Gives log-probs and entropies of responses under the policy at a temperature.
            broken: Called when the engine cannot be used any more.
        """
        self._policy, self._make, self._config = policy, engine, config
        self._read, self._broken = read, broken
        self._synced: int | None = None

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        device: torch.device = self._policy.device
        return device

    def sample(
        self,
        prompt_ids: torch.Tensor,
        prompt_mask: torch.Tensor,
        row_seeds: Sequence[int],
        *,
        settings: SamplingSettings,
        eos_id: int,
        pad_id: int,
    ) -> Samples:
        """Samples one response a row, until EOS or the limit.

        Raises:
            SamplerError: The engine died, gave something else than responses, or does not hold the policy's weights.
        """
        prompts = [ids[mask].tolist() for ids, mask in zip(prompt_ids, prompt_mask, strict=True)]
        fields = [sampling_fields(settings, seed=seed, eos_id=eos_id) for seed in row_seeds]
        try:
            engine = self._make()
            if prompts:
                self._synchronise(engine, prompts[0])
            found = engine.generate(prompts, fields)
            _check(found, prompts, fields)
        except SamplerError:
            self._synced = None
            self._broken()
            raise
        tokens = _tokens(prompt_ids, prompt_mask, found, pad_id=pad_id)
        ours = self._read(tokens, settings.log_prob_temperature)
        if settings.temperature == 0:  # the engine gives a certain token the log-prob 0
            return ours
        theirs = _rows([row.log_probs for row in found], tokens, fill=0.0)
        return dataclasses.replace(ours, token_sampler_log_probs=theirs)

    def rest(self) -> None:
        """Lets the engine sleep where it can; the next sample hands the weights over again."""
        self._synced = None
        if self._config.sleep and self._config.mode == "colocated" and self.device.type == "cuda":
            self._make().sleep()

    def _synchronise(self, engine: Engine, prompt: Sequence[int]) -> None:
        """Hands the policy's weights over if they may have changed, and compares the log-probs of one prompt.

        Raises:
            SamplerError: The engine has other weights afterwards.
        """
        # Each change of a tensor in place counts its version up.
        version = sum(parameter._version for parameter in self._policy.parameters())
        if self._synced == version:
            return
        folder = make_weights_folder(self._config.weights_folder)
        try:
            write_weights(self._policy, folder)
            engine.load(folder)
        finally:
            remove_weights_folder(folder)
        self._check_weights(engine, prompt)
        self._synced = version

    @torch.no_grad()
    def _check_weights(self, engine: Engine, prompt: Sequence[int]) -> None:
        if len(prompt) < 2:
            return
        theirs = torch.tensor(engine.prompt_log_probs(prompt))
        ids = torch.tensor([prompt], device=self.device)
        log_probs = self._policy(input_ids=ids).logits[0, :-1].float().log_softmax(dim=-1)
        ours = log_probs.gather(1, ids[0, 1:].unsqueeze(1)).squeeze(1).cpu()
        difference = float((ours - theirs).abs().mean())
        allowed = self._config.max_sync_difference or sync_tolerance(self._policy.dtype)
        if not difference <= allowed:  # NaN is no agreement either
            raise SamplerError(
                f"vLLM engine: after a weight update its log-probs of a prompt differ from the policy's by {difference:.3g} nats a token, "
                f"allowed are {allowed:.3g} (sampler.max_sync_difference); it kept other weights than it was handed, or computes otherwise. "
                f"Set sampler.backend=transformers; {GO_ON}"
            )


def _check(found: Sequence[Generated], prompts: Sequence[Sequence[int]], fields: Sequence[dict[str, Any]]) -> None:
    """Checks that there is a response for every prompt, with as many tokens as allowed.

    Raises:
        SamplerError: There is not.
    """
    if len(found) != len(prompts):
        raise SamplerError(f"vLLM engine: gave {len(found)} responses to {len(prompts)} prompts.")
    for row, each in zip(found, fields, strict=True):
        ended = bool(row.token_ids) and row.token_ids[-1] in each["stop_token_ids"]
        if (
            not 0 < len(row.token_ids) <= each["max_tokens"]
            or len(row.log_probs) != len(row.token_ids)
            or row.finished != ended
            or (not ended and len(row.token_ids) < each["max_tokens"])
        ):
            raise SamplerError(
                f"vLLM engine: gave a response of {len(row.token_ids)} tokens and {len(row.log_probs)} log-probs that "
                f"{'ended' if row.finished else 'was cut'}; it should end with one of {each['stop_token_ids']} or at "
                f"{each['max_tokens']} tokens (sampler.max_model_len has to hold prompt and response)."
            )


def _tokens(prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, found: Sequence[Generated], *, pad_id: int) -> Tokens:
    device = prompt_ids.device
    lengths = torch.tensor([len(row.token_ids) for row in found], dtype=torch.long, device=device)
    width = max([len(row.token_ids) for row in found], default=1)
    ids = torch.full((len(found), width), pad_id, dtype=torch.long, device=device)
    mask = torch.arange(width, device=device) < lengths.unsqueeze(1)
    finished = torch.tensor([row.finished for row in found], dtype=torch.bool, device=device)
    for place, row in enumerate(found):
        ids[place, : len(row.token_ids)] = torch.tensor(row.token_ids, device=device)
    return Tokens(prompt_ids, prompt_mask, ids, mask, finished)


def _rows(values: Sequence[Sequence[float]], tokens: Tokens, *, fill: float) -> torch.Tensor:
    rows = torch.full(tokens.response_mask.shape, fill, device=tokens.response_ids.device)
    for place, row in enumerate(values):
        rows[place, : len(row)] = torch.tensor(row, device=rows.device)
    return rows
