"""A sampler that samples fewer rows at once when memory runs out."""

import dataclasses
from collections.abc import Sequence

import torch

from marl_bench.models.out_of_memory import SAMPLING, Halvings
from marl_bench.models.responses import joined_samples
from marl_bench.models.sampling import Sampler, Samples, SamplingSettings


@dataclasses.dataclass(frozen=True)
class HalvingSampler:
    """Samples with another sampler, in as many parts as memory asks for; rows do not depend on what they are sampled with."""

    sampler: Sampler
    halvings: Halvings

    @property
    def device(self) -> torch.device:
        """Where the prompts have to be."""
        return self.sampler.device

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
        """Samples one response a row."""

        def in_parts(size: int) -> Samples:
            chunks = [slice(start, start + size) for start in range(0, max(len(row_seeds), 1), size)]
            parts = [
                self.sampler.sample(
                    prompt_ids[rows],
                    prompt_mask[rows],
                    row_seeds[rows],
                    settings=settings,
                    eos_id=eos_id,
                    pad_id=pad_id,
                )
                for rows in chunks
            ]
            return joined_samples(parts, pad_id=pad_id)

        return self.halvings.retried(SAMPLING, max(len(row_seeds), 1), in_parts)

    def rest(self) -> None:
        """Tells the other sampler."""
        self.sampler.rest()
