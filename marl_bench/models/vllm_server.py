"""A vLLM server of the user's as the engine: token ids through its OpenAI API, weights through the calls of its development mode."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from marl_bench.errors import SamplerError, shown
from marl_bench.models.vllm_engine import GO_ON, Generated
from marl_bench.models.vllm_install import check_version

CONCURRENCY = 64
"""Requests under way at once; the server batches them."""

_HOW_TO_START = (
    "start it as VLLM_SERVER_DEV_MODE=1 vllm serve SFT_FOLDER --dtype DTYPE --generation-config vllm --max-model-len N "
    "--no-enable-chunked-prefill, on a machine that sees sampler.weights_folder"
)


class ServerEngine:
    """A server that somebody else started with a model of the policy's shape."""

    def __init__(self, base_url: str, *, timeout_seconds: float, transport: Any = None) -> None:
        """Connects.

        Args:
            base_url: Of its OpenAI API, with or without /v1.
            timeout_seconds: Longest wait for an answer.
            transport: Of httpx2, for tests.

        Raises:
            SamplerError: Nothing answers there, or no vLLM.
            ConfigError: Its vLLM does not fit.
        """
        import httpx2

        self._url = base_url.rstrip("/").removesuffix("/v1")
        limits = httpx2.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        self._client = httpx2.Client(
            base_url=self._url, timeout=timeout_seconds, limits=limits, transport=transport, trust_env=False
        )
        version = self._send("GET", "/version").get("version")
        check_version(str(version), where=f"sampler.base_url {self._url}")
        models = self._send("GET", "/v1/models").get("data") or [{}]
        self._model = models[0].get("id")

    def load(self, folder: Path) -> None:
        """Has the server reload its weights from a folder that it sees."""
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        self._send("POST", "/collective_rpc", body)
        self._send("POST", "/reset_prefix_cache")

    def generate(self, prompts: Sequence[Sequence[int]], fields: Sequence[Mapping[str, Any]]) -> list[Generated]:
        """Returns one response a prompt; each is a request, because a seed belongs to a request."""
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            return list(pool.map(self._one, prompts, fields))

    def prompt_log_probs(self, prompt: Sequence[int]) -> list[float]:
        """Returns the log-probs of a text's tokens but the first."""
        body = {"temperature": 0, "max_tokens": 1, "prompt_logprobs": 0}
        choice = self._complete(prompt, body)
        try:
            steps = choice["prompt_logprobs"][1:]
            return [float(step[str(token)]["logprob"]) for step, token in zip(steps, prompt[1:], strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise self._odd(choice) from error

    def sleep(self) -> None:
        """Does nothing: the server is not ours to put to sleep."""

    def close(self) -> None:
        """Hangs up; the server goes on."""
        self._client.close()

    def _one(self, prompt: Sequence[int], fields: Mapping[str, Any]) -> Generated:
        choice = self._complete(prompt, {**fields, "return_token_ids": True})
        try:
            ids = [int(token) for token in choice["token_ids"]]
            return Generated(ids, choice["logprobs"]["token_logprobs"], choice["finish_reason"] == "stop")
        except (KeyError, TypeError, ValueError) as error:
            raise self._odd(choice) from error

    def _complete(self, prompt: Sequence[int], fields: Mapping[str, Any]) -> Any:
        found = self._send("POST", "/v1/completions", {"model": self._model, "prompt": list(prompt), **fields})
        try:
            return found["choices"][0]
        except (KeyError, IndexError, TypeError) as error:
            raise self._odd(found) from error

    def _odd(self, found: object) -> SamplerError:
        return SamplerError(f"vLLM server {self._url}: its answer is no completion of token ids: {shown(found)}.")

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        import httpx2

        try:
            answer = self._client.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise SamplerError(
                f"vLLM server {self._url}: no answer to {method} {path} ({type(error).__name__}: {error}); is it running? {GO_ON}"
            ) from error
        if answer.status_code == 404:
            raise SamplerError(f"vLLM server {self._url}: knows no {path}; {_HOW_TO_START}.")
        if answer.is_error:
            raise SamplerError(
                f"vLLM server {self._url}: {method} {path} failed with status {answer.status_code}: {shown(answer.text)}; {GO_ON}"
            )
        try:
            return answer.json() if answer.content else {}
        except ValueError as error:
            raise SamplerError(
                f"vLLM server {self._url}: its answer to {method} {path} is no JSON: {shown(answer.text)}."
            ) from error
