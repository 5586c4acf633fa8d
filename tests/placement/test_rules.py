from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.placement.nodes import Tier
from fedmed.placement.rules import DEADLINE_S, Rules
from fedmed.placement.tasks import Kind


def test_times_that_cannot_move_work_in_time_are_refused():
    with pytest.raises(ConfigError, match="180 s"):
        Rules(lost_after_s=DEADLINE_S)
    with pytest.raises(ConfigError, match="lost_after_s is -1"):
        Rules(lost_after_s=-1)
    with pytest.raises(ConfigError, match="ageing_s is nan"):
        Rules(ageing_s=float("nan"))


def test_a_quota_is_a_share():
    with pytest.raises(ConfigError, match=r"quota of batch on clinic is 1\.5"):
        Rules(quotas={(Tier.CLINIC, Kind.BATCH): 1.5})
    with pytest.raises(ConfigError, match="at least 1"):
        Rules(most_failures=0)
