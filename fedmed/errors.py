"""Every error fedmed raises on purpose, drawn as a tree.

    FedmedError                exit code
    ├── ConfigError                 2     the scenario, an option or a command line is wrong
    ├── DataError                   3     a site's data is missing, empty or unreadable
    ├── FederationError             4     the federation could not go on
    │   ├── QuorumError             4     too few sites, or too little data weight, answered a round
    │   ├── GateRefused             4     a site's images do not go with those of the others
    │   ├── UpdateRefused           4     one site's update cannot be used (the round goes on without it)
    │   ├── ProtocolRefused         4     a message of secure aggregation that no honest peer sends
    │   ├── BudgetRefused           4     a round would cost a site more privacy than its own limit
    │   ├── JoinRefused             4     a join file, an enrolment or a renewal that cannot be used
    │   ├── NotApproved             4     work that the clinic's staff has not approved, or has taken back
    │   ├── ReleaseRefused          4     a release, or what is signed of one, that nothing may be changed by
    │   ├── VersionRefused          4     the other side's fedmed is too old or too new for this one
    │   ├── DeviceRefused           4     a device that its clinic's hub does not let in, or not any more
    │   ├── QuotaRefused            4     more than a device's share; later, or less of it, goes through
    │   └── Unreachable             4     the other side does not answer
    ├── StoreError                  5     a commit could not be written or none could be read
    │   ├── ResumeRefused           5     what is resumed is not what was started
    │   ├── PackageRefused          5     a model package whose files are not those its card tells, or must not be run
    │   ├── ArchiveAltered          5     what the archive has of a study is not what was put there
    │   ├── EngineFailed            5     a model cannot be opened or run by an engine here
    │   └── CourseLost              5     what was under way cannot be gone on with; the last commit can
    └── MissingPart                 6     a program or package that this command needs is not installed

A message says what was got, what is allowed and what to do. Ctrl-C ends with 130, as in any shell.

Both services end with the same codes: 0 after they were asked to stop and had drained, 143 (a signal, as shells count) where
a second SIGTERM ended them at once. After 3, 4 and 5 starting again may help, and systemd does so; after 2 and 6 a person is
needed, and it does not (packaging/systemd, RestartPreventExitStatus).
"""

from __future__ import annotations


class FedmedError(Exception):
    """Base of every error fedmed raises on purpose; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(FedmedError):
    """The scenario, an option or a command line is wrong; lists every fault found."""

    exit_code = 2


class DataError(FedmedError):
    """A site's data is missing, empty or unreadable."""

    exit_code = 3


class FederationError(FedmedError):
    """The federation could not go on."""

    exit_code = 4


class QuorumError(FederationError):
    """Too few sites, or too little data weight, answered a round."""


class GateRefused(FederationError):
    """A site prepares its images otherwise, or they look otherwise, than those of the others."""


class UpdateRefused(FederationError):
    """One site's update cannot be used; the round goes on without it."""


class ProtocolRefused(FederationError):
    """A message of secure aggregation that no honest peer sends; the text names the attack that it would be."""


class BudgetRefused(FederationError):
    """A round would cost a site more privacy than the limit it set itself; nothing was sent."""


class JoinRefused(FederationError):
    """A join file, an enrolment or a renewal that cannot be used: altered, expired, used, or of somebody else."""


class NotApproved(FederationError):
    """Work that the clinic's staff has not approved, or has taken back.

    The text may be told to the center, and says nothing of data; `kept` is for the clinic's own staff.
    """

    def __init__(self, told: str, kept: str = "") -> None:
        super().__init__(told)
        self.kept = kept or told


class ReleaseRefused(FederationError):
    """A release, or what is signed of one, that nothing may be changed by: altered, older, expired, of another key."""


class VersionRefused(FederationError):
    """The other side's fedmed is too old or too new for this one, or uses what this one does not know."""


class DeviceRefused(FederationError):
    """A device that its clinic's hub does not let in: unknown, revoked, or with another's certificate."""


class QuotaRefused(FederationError):
    """More than a device's share; later, or less of it, goes through."""


class Unreachable(FederationError):
    """The other side does not answer; tried again later, it may."""


class StoreError(FedmedError):
    """A commit could not be written, or none could be read."""

    exit_code = 5


class ResumeRefused(StoreError):
    """What is resumed is not what was started."""


class PackageRefused(StoreError):
    """A model package that is altered, incomplete, too large, or holds what a device must not run."""


class ArchiveAltered(StoreError):
    """What the archive has of a study is missing, altered, or was sealed with another key."""


class EngineFailed(StoreError):
    """An engine cannot open a model, or ended without an answer."""


class CourseLost(StoreError):
    """What an earlier process had under way cannot be gone on with; its last commit can."""


class MissingPart(FedmedError):
    """A program or package that this command needs is not installed."""

    exit_code = 6


def first_line(error: BaseException) -> str:
    """What somebody else's error says, in one line; its kind where it says nothing."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
