"""A key-value cache that is written in place: growing one by concatenation costs more than half of a small model's sampling time."""

import inspect
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """A layer whose buffers hold `capacity` positions from the start; keys and values are views of the part in use."""

    def __init__(self, capacity: int) -> None:
        """Makes an empty layer; buffers are allocated by the first update."""
        super().__init__()
        self.capacity = capacity
        self.keys: torch.Tensor
        self.values: torch.Tensor
        self.key_buffer: torch.Tensor
        self.value_buffer: torch.Tensor

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocates the buffers."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._allocate(key_states, value_states)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes new positions and returns all in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        self.key_buffer[:, :, start:end] = key_states
        self.value_buffer[:, :, start:end] = value_states
        self._use(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps the chosen rows."""
        length = self.keys.shape[-2]
        self.key_buffer, self.value_buffer = self.key_buffer[indices], self.value_buffer[indices]
        self._use(length)

    def _allocate(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        batch, heads, _, width = key_states.shape
        self.key_buffer = key_states.new_empty(batch, heads, self.capacity, width)
        self.value_buffer = value_states.new_empty(batch, heads, self.capacity, value_states.shape[-1])
        self._use(0)

    def _use(self, length: int) -> None:
        self.keys, self.values = self.key_buffer[:, :, :length], self.value_buffer[:, :, :length]


def make_cache(config: Any, *, capacity: int) -> Cache:
    """Returns a cache for `capacity` positions; models with other than full attention get transformers' own."""
    dynamic = DynamicCache(config=config)
    if dynamic.layers and all(type(layer) is DynamicLayer for layer in dynamic.layers):
        return Cache(layers=[PreallocatedLayer(capacity) for _ in dynamic.layers])
    return dynamic


def cache_argument(model: Any) -> str:
    """Returns what a model's forward calls its cache: `cache` from transformers 5.24 on, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
