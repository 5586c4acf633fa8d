"""What disks must hold."""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.twin.planning.memory import FLOAT

RAW_VOXEL, PREPARED_VOXEL = 2, 4
"""Bytes of a voxel: 16 bits in DICOM without compression (PS3.5 8.1.1), float32 once it is prepared."""
COMMITS, BEST = 10, 3
"""Checkpoints kept: the last ten, and the best three by validation."""
VERSIONS = 10
"""Models in a registry (assumed)."""
LOG_DAYS = 183
"""For which logs are kept at least: half a year."""
LOG_BYTES = 2000
"""Of an entry of an audit log (assumed); one a member and round, and one a round."""
FREE = 0.2
"""Share of a disk that is left free."""


@dataclass(frozen=True)
class Room:
    """Bytes, by what they are for."""

    raw: float
    prepared: float
    commits: float
    registry: float

    @property
    def total(self) -> float:
        """A disk with a fifth of it free."""
        return (self.raw + self.prepared + self.commits + self.registry) / (1 - FREE)


def commits(parameters: int, states: int = 0, last: int = COMMITS, best: int = BEST) -> float:
    """Bytes of the checkpoints kept, each of the weights and so many numbers of state for each, in float32: no
    compression is counted on (fedmed.twin.planning.lines.sent)."""
    return (last + best) * FLOAT * parameters * (1 + states)


def site(cases: float, case_voxels: float, parameters: int) -> Room:
    """Of a clinic or device: its images as they came and as they are prepared, the last global model and its own update."""
    return Room(RAW_VOXEL * cases * case_voxels, PREPARED_VOXEL * cases * case_voxels, 2 * FLOAT * parameters, 0.0)


def center(parameters: int, a_day: float, versions: int = VERSIONS) -> Room:
    """Of the center: checkpoints, versions of the model in its registry, and half a year of `a_day` entries of its log."""
    return Room(0.0, 0.0, commits(parameters) + LOG_DAYS * a_day * LOG_BYTES, versions * FLOAT * parameters)


def region(parameters: int) -> Room:
    """Of a region: the model on its way down, and the sum on its way up."""
    return Room(0.0, 0.0, 2 * FLOAT * parameters, 0.0)
