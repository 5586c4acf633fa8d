"""The learning rate over the rounds: what the center orders, and what a clinic checks without loading PyTorch."""

from __future__ import annotations

import math

from fedmed.config.scenario import Training


def learning_rate(training: Training, rounds: int, number: int) -> float:
    """Rate of round `number` (from 1): constant, or down to 0 after the last round, linearly or as a half cosine."""
    done = (number - 1) / rounds
    match training.schedule:
        case "linear":
            return training.learning_rate * (1 - done)
        case "cosine":
            return training.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return training.learning_rate
