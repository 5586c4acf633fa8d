from __future__ import annotations

import pytest

from fedmed.twin.planning.cost import Cost


@pytest.fixture(scope="session")
def unet() -> Cost:
    """Forty layers, the first of them the largest; 30 M parameters on patches of 128 x 128 x 128."""
    kept = tuple(int(400e6 / (1 + layer)) for layer in range(40))
    halves = tuple(each // 2 for each in kept)
    return Cost("unet", (1, 128, 128, 128), 30_000_000, 30_000_000, 1e12, kept, halves)
