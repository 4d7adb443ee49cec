"""How threads wait for each other."""

import os
import sys

import pytest

from tracker.process import prepare_process

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("unset")
def test_threads_wait_for_a_bounded_while(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform, policy in (("linux", "active"), ("darwin", "passive")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        monkeypatch.setattr(sys, "platform", platform)
        prepare_process()
        assert os.environ["OMP_WAIT_POLICY"] == policy
        if policy == "active":  # which has no bound but these
            assert int(os.environ["GOMP_SPINCOUNT"]) > 0
            assert int(os.environ["KMP_BLOCKTIME"]) > 0


@pytest.mark.usefixtures("unset")
def test_the_environment_has_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    prepare_process()
    assert [os.environ.get(name) for name in NAMES] == ["passive", None, None]
