"""The controls of macro arms: what else a macro arm changes, each taken apart by an arm of its own. No torch.

| effect | control |
| --- | --- |
| longer credit horizon | token PPO with lambda^(1/n), and with lambda = 1 |
| weaker KL penalty, where macro rewards are averaged | token PPO with kl_coef/n, and macro PPO with summed rewards |
"""

import dataclasses
from collections.abc import Iterator, Sequence

from marl_bench.arm_grids import expand_grids
from marl_bench.config import RunConfig
from marl_bench.config_layers import ResolvedConfig
from marl_bench.planning import ArmPlan, build_rule, plan_arm
from marl_bench.plugins import Registry


def with_controls(arms: Sequence[str], config: RunConfig, registry: Registry) -> list[str]:
    """Returns the arms, and behind them the controls of every macro arm that are not among them yet.

    A control that could not differ from another arm is left out: the matched lambda of `whole`, of lambda = 1 and of `lambda_per=token`
    (which are lambda = 1 twice, and token PPO), the KL controls of summed rewards, and all of them for macro actions of one token.

    Raises:
        UnknownNameError: A baseline, rule or option does not exist.
        ConfigError: An arm is wrong.
    """
    arms = expand_grids(arms)
    result = list(arms)
    names = {plan_arm(text, config, registry).name for text in arms}
    for text in arms:
        for control in _controls(text, config, registry):
            name = plan_arm(control, config, registry).name
            if name not in names:
                names.add(name)
                result.append(control)
    return result


def add_controls(resolved: ResolvedConfig, registry: Registry) -> ResolvedConfig:
    """Returns the configuration with the controls of its arms added; raises as `with_controls`."""
    arms = with_controls(resolved.config.arms, resolved.config, registry)
    return dataclasses.replace(resolved, config=resolved.config.model_copy(update={"arms": arms}))


def _controls(text: str, config: RunConfig, registry: Registry) -> Iterator[str]:
    """Yields the arm texts of every control that says it takes something off this arm."""
    arm = plan_arm(text, config, registry)
    length = _nominal_length(arm, registry)
    if registry.baseline(arm.baseline).role != "macro" or arm.rule is None or length == 1:
        return
    options = [part for part in text.partition("@")[2].split(",") if part.strip()]
    rule = arm.rule.text.replace(", ", ",")
    for plugin in registry.list("marl_bench.baselines"):
        spec = registry.baseline(plugin.id)
        if spec.role == "control" and spec.controls(arm.ppo(config), length):
            head = f"{spec.id}:{rule}" if spec.default_rule is not None else spec.id
            kept = [part for part in options if part.partition("=")[0].strip() not in spec.without_effect]
            yield f"{head}@{','.join(kept)}" if kept else head


def _nominal_length(arm: ArmPlan, registry: Registry) -> float | None:
    return build_rule(arm.rule, registry).nominal_length if arm.rule is not None else None
