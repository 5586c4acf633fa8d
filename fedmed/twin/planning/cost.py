"""What one model costs to train, apart from any machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Of a model for inputs of one shape."""

    name: str
    inputs: tuple[int, ...]
    """Shape of what the network sees, without the batch, channels first."""
    parameters: int
    trained: int
    """Parameters that are not frozen."""
    operations: float
    """Of a forward pass of one case; a multiply-add is two."""
    kept: tuple[int, ...]
    """Bytes that forward keeps for backward, one case in float32, in the order in which they are made."""
    kept_mixed: tuple[int, ...]
    """The same in mixed precision."""
    logits: int = 0
    """Bytes of what comes out, one case in float32."""

    def kept_bytes(self, is_mixed: bool) -> tuple[int, ...]:
        """What forward keeps in the precision that is trained in."""
        return self.kept_mixed if is_mixed else self.kept


def checkpointed(kept: Sequence[int]) -> int:
    """Least bytes that forward keeps where only the beginnings of segments are kept and the rest is computed again.

    Chen et al. 2016, section 4.1, for a chain: the beginnings of all segments and the whole of the largest one. What a skip
    connection holds beyond its segment comes on top.
    """
    total = sum(kept)
    best = total
    for parts in range(2, len(kept) + 1):
        bound = max(total / parts, max(kept))
        begun, largest, current = kept[0], 0, 0
        for each in kept:
            if current and current + each > bound:
                begun, largest, current = begun + each, max(largest, current), 0
            current += each
        best = min(best, begun + max(largest, current))
    return best


def operations_by_tokens(parameters: float, tokens: float) -> float:
    """Of training a transformer: 6 x parameters x tokens (Kaplan et al. 2020, section 2.1)."""
    return 6 * parameters * tokens


def tokens_a_second(rate: float, parameters: float, devices: int = 1) -> float:
    """At `rate` operations a second and device. 445 TFLOPS and 32 G parameters are 2,318 tokens a second, not millions."""
    return devices * rate / operations_by_tokens(parameters, 1)
