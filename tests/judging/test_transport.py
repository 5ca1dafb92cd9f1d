"""Addresses, keys, and how long a server asks to wait."""

import pytest

from marl_bench.errors import ConfigError
from marl_bench.judging.transport import OpenAITransport, retry_after_seconds, server_address, server_and_key


@pytest.mark.parametrize("key", ["sk-ключ-secret", "secret\nsecond", "secret and more", "secret\tx"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is no key") as caught:
        server_and_key("http://127.0.0.1:9/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "http://",
        "http:///v1",
        "http://[::1",
        "http://h:99999/v1",
        "http://h:x/v1",
        "http://a b/v1",
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(url, monkeypatch):
    with pytest.raises(ConfigError, match=r"--base-url .*: give an address such as"):
        server_address(url)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ConfigError, match=r"OPENAI_BASE_URL .*: give an address such as"):
        server_address(None)


def test_the_address_of_the_openai_api_is_no_server_of_one_s_own(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert server_address(None) == "http://127.0.0.1:8000/v1"
    assert server_address("https://api.openai.com/v1") is None
    assert str(OpenAITransport(base_url="https://api.openai.com/v1", timeout_seconds=1.0)._opened().base_url) == (
        "https://api.openai.com/v1/"
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:10 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Thu, 01 Jan 99999 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after_seconds(headers, now=100.0) == seconds
