"""What is done when memory runs out: the micro-batch is halved, the global batch stays, and it is said once."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from marl_bench.errors import MarlBenchError, OutOfMemoryError

T = TypeVar("T")

TRAINING, SCORING, SAMPLING = "ppo.micro_batch_size", "ppo.score_batch_size", "ppo.sample_batch_size"
SFT, REWARD_MODEL = "sft.micro_batch_size", "reward_model.micro_batch_size"
"""What is done in micro-batches, by the settings of their sizes."""


class Halvings:
    """The sizes of micro-batches that fit into memory, which are remembered once one did not fit.

    Gradients, scores and responses do not depend on the size but for the rounding of sums in another order, so what has been computed in
    halves may stand beside what has been computed whole.
    """

    def __init__(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Knows of no limit; `tell` hears of every halving."""
        self.notices: list[str] = []
        self._tell = tell
        self._limits: dict[str, int] = {}
        self._forbidden = False

    def forbid(self) -> None:
        """Makes want of memory an error at once."""
        self._forbidden = True

    def size(self, setting: str, size: int) -> int:
        """Returns the size to use where `size` is configured."""
        return min(size, self._limits.get(setting, size))

    def state_dict(self) -> dict[str, Any]:
        """Returns the sizes that are known to fit, and what was told of them, for a checkpoint."""
        return {"limits": dict(self._limits), "notices": list(self.notices)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts them back: what goes on from a checkpoint computes in the same micro-batches as what was never interrupted."""
        self._limits = dict(state["limits"])
        self.notices = list(dict.fromkeys([*state["notices"], *self.notices]))

    def retried(
        self, setting: str, size: int, compute: Callable[[int], T], *, clear: Callable[[], None] = lambda: None
    ) -> T:
        """Returns what `compute` gives for the largest size that fits: the one asked for, or it halved until it fits.

        Args:
            setting: What is computed, by the setting of its size.
            size: Rows of a micro-batch at most.
            compute: Computes all micro-batches of that size, from the beginning.
            clear: Undoes what an attempt has left half done.

        Raises:
            OutOfMemoryError: One row does not fit, or halving is forbidden.
        """
        size = self.size(setting, size)
        while True:
            try:
                return compute(size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1 or self._forbidden:
                    raise OutOfMemoryError(_advice(setting, size, forbidden=self._forbidden)) from error
            # Only here, outside of the handler, is nothing left that holds the tensors of the attempt.
            clear()
            _release()
            size = self._halve(setting, size)

    def _halve(self, setting: str, size: int) -> int:
        half = (size + 1) // 2
        self._limits[setting] = half
        self.notices.append(
            f"out of memory: {setting} goes from {size} to {half} from here on; the global batch stays, and results change by rounding only."
        )
        self._tell(self.notices[-1])
        return half


def is_out_of_memory(error: BaseException) -> bool:
    """Returns True if an error says that memory, of a device or of the machine, has run out."""
    from accelerate.utils.memory import should_reduce_batch_size

    if isinstance(error, MarlBenchError):
        return isinstance(error, OutOfMemoryError)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, Exception) and should_reduce_batch_size(error)
    )


@contextmanager
def want_of_memory_named(where: str) -> Iterator[None]:
    """Turns errors of want of memory outside of micro-batches into one that says what to do.

    Raises:
        OutOfMemoryError: In their place.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, MarlBenchError) or not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{where}: out of memory where no micro-batch can be made smaller ({type(error).__name__}), as with models and optimizers. "
            "Take a smaller model, lora.rank, the settings of the section memory, or --jobs 1."
        ) from error


def _release() -> None:
    from accelerate.utils.memory import clear_device_cache

    gc.collect()  # the graph of a backward pass that failed half-way has cycles
    clear_device_cache()


def _advice(setting: str, size: int, *, forbidden: bool) -> str:
    if forbidden:
        return f"out of memory with {setting}={size}, and guards.out_of_memory=stop forbids to halve it; set a smaller one."
    return (
        f"out of memory with {setting} at 1: not even one row fits. Shorten sampling.max_prompt_tokens or "
        "sampling.max_response_tokens, take a smaller model, or run fewer cells side by side with --jobs 1."
    )
