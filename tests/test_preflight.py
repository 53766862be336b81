"""Missing packages end a run before its first stage."""

from importlib.util import find_spec

import pytest

from farm.config import compose, plain
from farm.errors import ConfigError
from farm.preflight import check_keys, check_packages


@pytest.mark.parametrize(
    ("override", "package", "remedy"),
    [
        ("sampler=vllm", "vllm", r'^sampler: VllmSampler needs .* vllm.*"farm\[vllm\]"'),
        ("tracking=tensorboard", "tensorboard", r"^tracking: .* tensorboard.*'\.\[tracking\]'"),
    ],
)
def test_a_missing_package_is_named_with_key_and_remedy(
    override: str, package: str, remedy: str
) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(ConfigError, match=remedy):
        check_packages(plain(compose([override])))


def test_the_default_choices_need_no_extra_package() -> None:
    check_packages(plain(compose([])))


def test_a_missing_key_ends_a_run_before_its_first_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = plain(compose(["annotators=judge"]))
    with pytest.raises(ConfigError, match=r"^annotators.clean.annotator.model.model: .*OPENAI_API"):
        check_keys(config)
    monkeypatch.setenv("OPENAI_API_KEY", "some-key")
    check_keys(config)
    monkeypatch.delenv("OPENAI_API_KEY")
    check_keys(plain(compose([])))  # the endpoints that nobody asks need no key
