from __future__ import annotations

import pytest

from fedmed.clinic.dialing import proxy_for

PROXY = "http://proxy:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_proxy_that_is_given_counts_before_the_environment(environment):
    environment.setenv("https_proxy", "http://other:1")
    assert proxy_for("center.example.org", PROXY) == PROXY
    assert proxy_for("center.example.org", "none") is None


def test_the_environment_counts_where_none_is_given(environment):
    assert proxy_for("center.example.org", None) is None
    environment.setenv("https_proxy", PROXY)
    assert proxy_for("center.example.org", None) == PROXY
    environment.setenv("no_proxy", "example.org")
    assert proxy_for("center.example.org", None) is None
    assert proxy_for("center.example.net", None) == PROXY
