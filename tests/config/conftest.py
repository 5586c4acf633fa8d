"""One valid scenario file, and what is said of one that is not."""

from __future__ import annotations

import pytest

from fedmed.config.loading import parse
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError

VALID = """\
name: heart
title: Four hospitals
rounds: 15
data:
  reader: csv
  folder: heart
  partition: {by: dirichlet, sites: 4, alpha: 1}
  options:
    columns: [age, "no", 1e-3]
task:
  name: logistic
training:
  optimiser: sgd
  learning_rate: 1e-3
  epochs: 1
federation:
  quorum:
    required:
      - cleveland
      - va
"""


@pytest.fixture(scope="session")
def valid() -> str:
    return VALID


@pytest.fixture(scope="session")
def faults():
    """The faults that `parse` lists, one a line."""

    def listed(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            parse(text, "f.yaml", overrides)
        return [line.strip() for line in str(caught.value).splitlines()[1:]]

    return listed


@pytest.fixture(scope="session")
def taken_or_refused():
    """None where the text is a scenario, else the text of the ConfigError; any other exception fails the test."""

    def refusal(text: str, *overrides: str) -> str | None:
        try:
            assert isinstance(parse(text, "f.yaml", overrides), Scenario)
        except ConfigError as error:
            return str(error)
        return None

    return refusal
