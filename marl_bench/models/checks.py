"""What can be checked of the models of a run before anything is trained."""

from typing import Any

from marl_bench.config import RunConfig
from marl_bench.models.adapters import check_adapters
from marl_bench.models.loading import check_tokenizer, check_window, load_tokenizer, shares_vocabulary


def checked_tokenizer(config: RunConfig, *, base_model: str) -> Any:
    """Returns the tokenizer of the model that SFT starts from, or that stands for it, after a look at the models of a run.

    Raises:
        ModelError: Tokenizer and model do not fit each other, prompt and response do not fit the window, adapters have nowhere to stand, or the
            given reward model has no tokenizer.
        ConfigError: The rank of the adapters is too high.
        UnknownNameError: They are for layers that the model does not have.
    """
    path, sampling = config.sft.path or base_model, config.sampling
    tokenizer = load_tokenizer(path, may_add_pad=config.sft.path is None)
    check_tokenizer(path, tokenizer)
    check_window(path, max_prompt_tokens=sampling.max_prompt_tokens, max_response_tokens=sampling.max_response_tokens)
    check_adapters(path, config.lora)
    if config.reward_model.path is not None:
        shares_vocabulary(tokenizer, config.reward_model.path)  # whether it does or not; it must be known
    return tokenizer
