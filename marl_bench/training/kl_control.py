"""Coefficient of the KL penalty, fixed or adaptive."""

from marl_bench.config import PpoConfig


def next_kl_coef(kl_coef: float, *, kl: float, responses: int, ppo: PpoConfig) -> float:
    """Returns the coefficient of the next update.

    Adaptive: kl_coef * (1 + clip(kl / target - 1, -0.2, 0.2) * responses / horizon). Source: Ziegler et al. (2019), section 2.2.

    Args:
        kl_coef: Coefficient as it stands.
        kl: Mean KL to the reference in nats a response.
        responses: Responses of the update.
        ppo: Settings of the controller.
    """
    if ppo.kl_controller == "fixed":
        return kl_coef
    error = min(max(kl / ppo.kl_target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * responses / ppo.kl_horizon)
