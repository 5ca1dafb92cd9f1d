"""The child process that holds a vLLM engine: `python -m marl_bench.models.vllm_host FD`, started by `ColocatedEngine`."""

import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

_NEWER_FIELDS = {"watermarking": False}
"""Sampling fields that the oldest supported vLLM does not know."""


class Host:
    """Answers the calls of the parent."""

    def __init__(self) -> None:
        self._llm: Any = None
        self._asleep = False

    def start(self, arguments: dict[str, Any]) -> None:
        """Makes the engine."""
        from vllm import LLM

        self._llm = LLM(**arguments)

    def load(self, folder: str) -> None:
        """Takes the weights of a folder; a sleeping engine gets memory for weights first and for its cache after."""
        if self._asleep:
            self._llm.wake_up(tags=["weights"])
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if self._asleep:
            self._llm.wake_up(tags=["kv_cache"])
        self._asleep = False
        self._llm.reset_prefix_cache()

    def generate(
        self, prompts: list[list[int]], fields: list[dict[str, Any]]
    ) -> list[tuple[list[int], list[float], bool]]:
        """Returns ids, log-probs and whether it ended by itself, of each response."""
        from vllm import SamplingParams

        newer = {name: value for name, value in _NEWER_FIELDS.items() if name in SamplingParams.__struct_fields__}
        found = self._llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            [SamplingParams(**each, **newer, detokenize=False) for each in fields],
            use_tqdm=False,
        )
        rows = []
        for output in (result.outputs[0] for result in found):
            ids = list(output.token_ids)
            log_probs = [step[token].logprob for step, token in zip(output.logprobs, ids, strict=True)]
            rows.append((ids, log_probs, output.finish_reason == "stop"))
        return rows

    def prompt_log_probs(self, prompt: list[int]) -> list[float]:
        """Returns the log-probs of a text's tokens but the first."""
        from vllm import SamplingParams

        params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        found = self._llm.generate([{"prompt_token_ids": prompt}], params, use_tqdm=False)[0].prompt_logprobs
        return [step[token].logprob for step, token in zip(found[1:], prompt[1:], strict=True)]

    def sleep(self) -> None:
        """Throws weights and cache away: the next weights come with `load`."""
        self._llm.sleep(level=2)
        self._asleep = True


def serve(connection: Connection) -> None:
    """Answers calls until the parent closes its end."""
    host = Host()
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str, Any] = ("ok", getattr(host, name)(*arguments))
        except Exception as error:  # noqa: BLE001 (whatever it is, the parent has to hear of it)
            lines = str(error).strip().splitlines()
            answer = ("error", f"{type(error).__name__}: {lines[0] if lines else ''}")
            traceback.print_exc()  # into the log
        try:
            connection.send(answer)
        except OSError:
            return


def _die_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)  # after kill -9 of the parent nobody else would end an engine that is at work


if __name__ == "__main__":
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    serve(Connection(int(sys.argv[1])))
    os._exit(0)  # vLLM's own threads would keep the process
