"""The requests to a vLLM server, and what is made of its answers, without a server."""

import json

import httpx2
import pytest

from marl_bench.errors import ConfigError, SamplerError
from marl_bench.models.sampling import SamplingSettings
from marl_bench.models.vllm_engine import Generated, sampling_fields
from marl_bench.models.vllm_server import ServerEngine

FIELDS = sampling_fields(SamplingSettings(4), seed=2**62 + 1, eos_id=1)


class Server:
    """Answers as vLLM 0.30 does."""

    def __init__(self, **changes):
        self.answers = {
            "/version": {"version": "0.30.0"},
            "/v1/models": {"data": [{"id": "the-model"}]},
            "/collective_rpc": {"results": [None]},
            "/reset_prefix_cache": b"",
            **changes,
        }
        self.requests = []

    def __call__(self, request):
        body = json.loads(request.content) if request.content else None
        self.requests.append((request.method, request.url.path, body))
        answer = self.answers.get(request.url.path)
        if request.url.path == "/v1/completions" and answer is None:
            answer = {"choices": [self.choice(body)]}
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int) or answer is None:
            return httpx2.Response(answer or 404, text="what went wrong")
        return httpx2.Response(200, content=answer) if isinstance(answer, bytes) else httpx2.Response(200, json=answer)

    def choice(self, body):
        ids = [*body["prompt"], 1]
        return {
            "token_ids": ids,
            "logprobs": {"token_logprobs": [-float(token) for token in ids]},
            "finish_reason": "stop",
            "prompt_logprobs": [None, *({str(token): {"logprob": -token / 10}} for token in body["prompt"][1:])],
        }


def _engine(server):
    return ServerEngine("http://server:8000/v1/", timeout_seconds=5, transport=httpx2.MockTransport(server))


def test_token_ids_go_out_and_come_back_in_order():
    server = Server()
    found = _engine(server).generate([[5, 6], [7]], [FIELDS, {**FIELDS, "seed": 3}])
    assert found == [Generated([5, 6, 1], [-5, -6, -1], finished=True), Generated([7, 1], [-7, -1], finished=True)]
    bodies = sorted(
        (body for _, path, body in server.requests if path == "/v1/completions"), key=lambda it: it["prompt"]
    )
    expected = {"model": "the-model", "return_token_ids": True, **FIELDS}
    assert bodies == [{**expected, "prompt": [5, 6]}, {**expected, "prompt": [7], "seed": 3}]


def test_weights_are_reloaded_from_the_shared_folder_and_the_cache_forgotten(tmp_path):
    server = Server()
    _engine(server).load(tmp_path)
    assert server.requests[2:] == [
        ("POST", "/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path)}}),
        ("POST", "/reset_prefix_cache", None),
    ]


def test_log_probs_of_a_prompt_leave_its_first_token_out():
    assert _engine(Server()).prompt_log_probs([3, 4, 5]) == [-0.4, -0.5]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"/version": {"version": "0.33.0"}},
            ConfigError,
            "vLLM 0.33.0 does not fit, the extra needs vllm>=0.22,<0.32",
        ),
        ({"/version": None}, SamplerError, "knows no /version"),
        ({"/version": httpx2.ConnectError("refused")}, SamplerError, "no answer to GET /version .* is it running"),
        ({"/collective_rpc": None}, SamplerError, "knows no /collective_rpc; start it as VLLM_SERVER_DEV_MODE=1"),
        ({"/collective_rpc": 500}, SamplerError, "failed with status 500: 'what went wrong'"),
        ({"/v1/completions": {"choices": []}}, SamplerError, "no completion of token ids"),
        ({"/v1/completions": {"choices": [{"text": "a"}]}}, SamplerError, "no completion of token ids"),
        ({"/v1/completions": httpx2.ReadError("reset")}, SamplerError, "no answer to POST /v1/completions"),
        ({"/version": b"<html>"}, SamplerError, "GET /version is no JSON"),
    ],
)
def test_what_a_server_cannot_do_is_one_clear_error(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        engine = _engine(Server(**changes))
        engine.load(tmp_path)
        engine.generate([[5]], [FIELDS])
