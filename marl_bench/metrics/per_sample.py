"""Any function of one prompt and its response as a metric."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from marl_bench.records import Prompt, Response


@dataclasses.dataclass(frozen=True)
class PerSample:
    """A metric of single samples.

    Attributes:
        name: Its name in tables.
        function: Returns the value of a response, or None where it has none.
        higher_is_better: Which end is better, or None.
    """

    name: str
    function: Callable[[Prompt, Response], float | None]
    higher_is_better: bool | None = None

    @property
    def names(self) -> Sequence[str]:
        """The one name."""
        return (self.name,)

    def compute(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> Mapping[str, Sequence[float | None]]:
        """Returns one value a response."""
        rows = zip(prompts, responses, strict=True)
        return {self.name: [self.function(prompt, response) for prompt, response in rows]}
