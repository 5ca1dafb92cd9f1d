"""The section `guards` of the run configuration. No torch."""

from typing import Literal

from pydantic import Field

from marl_bench.config_section import Section

Reaction = Literal["off", "warn", "stop"]


class GuardConfig(Section):
    """What happens when a training goes wrong. A warning stands in the display, the curve and the report."""

    not_finite: Literal["stop", "skip"] = Field(
        "stop",
        description="a loss or gradient that is not finite: stop, or leave the optimizer step (not the schedule's) out and count it",
    )
    max_skipped_steps: int = Field(3, ge=1, description="more optimizer steps left out in a row stop the training")
    exploding_kl: Reaction = Field("warn", description="the KL to the reference is, or grows, above a limit")
    max_kl: float = Field(200.0, gt=0, description="nats a response, mean over an update")
    max_kl_growth: float = Field(10.0, gt=1, description="times the KL of the update before, counted from 5 nats")
    collapsed_entropy: Reaction = Field("warn", description="the policy has become sure of every token")
    min_entropy_share: float = Field(0.1, ge=0, lt=1, description="of the first update's mean entropy")
    min_entropy: float = Field(0.0, ge=0, description="nats a token, mean over an update; 0 switches it off")
    empty_responses: Reaction = Field("warn", description="too many responses without any text")
    max_empty_share: float = Field(0.5, ge=0, lt=1, description="of the responses of an update")
    all_truncated: Reaction = Field("warn", description="no response ends before the length limit")
    constant_scores: Reaction = Field("warn", description="all responses have one score")
    updates_in_a_row: int = Field(3, ge=1, description="with truncated responses only, or one score for all")
    exploding_critic: Reaction = Field("warn", description="the critic's loss grows above a limit")
    max_critic_loss_growth: float = Field(100.0, gt=1, description="times the critic's loss in the first update")
    out_of_memory: Literal["halve", "stop"] = Field(
        "halve", description="halve the micro-batch and go on (the global batch stays), or stop"
    )
