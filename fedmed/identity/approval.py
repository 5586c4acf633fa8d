"""A clinic's approval of one run: all that it binds, signed by approvers, in one file of canonical JSON.

A signature is over `joined("fedmed/approval/1", body)`. What is not in the body is not approved; what is in it
and has changed since makes the approval void. Taking back needs no key: the signatures are dropped, the body stays to be
compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from fedmed.config.part import Part
from fedmed.config.privacy import Mode
from fedmed.config.scenario import Name
from fedmed.errors import NotApproved, StoreError
from fedmed.identity.authority import day
from fedmed.identity.member import joined, verify
from fedmed.identity.proposal import HEX, Offered, read_offered
from fedmed.wire.canonical import canonical

MOST_BYTES = 512 * 1024
MOST_DAYS = 366
RANGED = ("learning_rate", "momentum", "weight_decay", "l2", "proximal_mu", "batch_size", "epochs", "steps")
"""Keys of a scenario's `training` that may be approved as a range."""
Encryption = Literal["malicious", "hbc", "off"]
STRENGTH: tuple[Encryption, ...] = ("off", "hbc", "malicious")
"""From weak to strong."""
_KIND, _VERSION = "fedmed-approval", 1


class Approval(Part):
    """What the staff agreed to."""

    federation: Name
    clinic: Name
    run: Name
    proposal: dict[str, Any]
    """The center's proposal, word for word."""
    digest: str = Field(pattern=HEX)
    """Of the proposal."""
    app: str = Field(pattern=HEX)
    """Digest of the app that may run: the bundle's, or that of this clinic's own built-in one."""
    wheels: str | None = Field(pattern=HEX)
    """Digest of the packages that it may run with; null for any."""
    packages: dict[str, str]
    """Name and version of each, for whoever reads this."""
    purpose: Name
    dataset: Name
    described: str = Field(pattern=HEX)
    """Digest of the data set: its content, and how it is read."""
    architecture: str = Field(pattern=HEX)
    """Digest of the model: its spec, and names, shapes and types of its tensors."""
    class_weights: Literal["none", "balanced", "sqrt"]
    """How the weights of the classes are made of the federation's counts."""
    order: dict[str, Any]
    """The order of round 1 as it has to be; what else may differ is in `fedmed.clinic.judging`."""
    inquiry: dict[str, Any]
    """The question before round 1 as it has to be."""
    ranges: dict[str, tuple[float, float]]
    """Keys of training that may lie anywhere between two numbers, inclusive."""
    encryption: Encryption
    """The weakest that rounds may have."""
    least_members: int = Field(ge=3, le=4096)
    """Clinics that a sum is over, at least."""
    epsilon: float | None
    """The most that the run may cost in privacy; null where it has no differential privacy."""
    privacy_mode: Mode | None
    approved: int
    """When, in seconds since 1970."""
    expires: int

    @model_validator(mode="after")
    def _ranges_are_some(self) -> Approval:
        for key, (low, high) in self.ranges.items():
            if key not in RANGED or not low <= high:
                raise ValueError(
                    f"range {key} {low:g} to {high:g}; allowed are {', '.join(RANGED)}, the smaller number first"
                )
        if hashlib.sha256(canonical(self.proposal)).hexdigest() != self.digest:
            raise ValueError("the digest is not that of the proposal")
        return self

    @property
    def reference(self) -> str:
        """`RUN@DIGEST`."""
        return f"{self.run}@{self.digest}"

    def offered(self) -> Offered:
        """The proposal. Raises ProtocolRefused, VersionRefused where this version cannot read it (any more)."""
        return read_offered(self.proposal)

    def covers(self, other: Offered) -> bool:
        """Whether another proposal is this one but for numbers within the ranges, and the version of the center's fedmed."""
        mine, theirs = self.offered().proposal.model_dump(mode="json"), other.proposal.model_dump(mode="json")
        for said in (mine, theirs):
            training = said["scenario"]["training"]
            within = {key: _is_within(training[key], *bounds) for key, bounds in self.ranges.items()}
            said["scenario"]["training"] = {key: each for key, each in training.items() if not within.get(key, False)}
            del said["fedmed"]
        return canonical(mine) == canonical(theirs)

    def message(self) -> bytes:
        """What is signed."""
        return joined(b"fedmed/approval/1", canonical(self.body()))

    def body(self) -> dict[str, Any]:
        """As it was written: without keys that a later version has, which mean then what they meant without them."""
        return self.model_dump(mode="json", exclude_unset=True)


def _is_within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True)
class Signed:
    """An approval, who signed it, and whether it was taken back."""

    approval: Approval
    signatures: tuple[tuple[str, bytes], ...] = ()
    """Approvers' names with their signatures."""
    withdrawn: int | None = None
    """When, in seconds since 1970."""

    def taken_back(self, now: float) -> Signed:
        """Without signatures."""
        return Signed(self.approval, (), int(now))

    def signed(self, name: str, signature: bytes) -> Signed:
        """With one signature more, in place of an older one of the same approver."""
        others = tuple(each for each in self.signatures if each[0] != name)
        return replace(self, signatures=(*others, (name, signature)))

    def signers(self, approvers: Mapping[str, bytes]) -> tuple[str, ...]:
        """Names of those on the list who signed just this."""
        message = self.approval.message()
        return tuple(name for name, signature in self.signatures if verify(approvers.get(name, b""), signature, message))

    def require_in_force(self, approvers: Mapping[str, bytes], needed: int, now: float) -> None:
        """Raise NotApproved where it is not signed by enough approvers, was taken back, or has expired."""
        found, reference = self.approval, self.approval.reference
        if self.withdrawn is not None:
            raise NotApproved(f"run {reference} was approved at this site, and the approval was taken back")
        signers = self.signers(approvers)
        ask = f"run {found.run} is not approved at this site; ask its staff: fedmed clinic approve {found.run}"
        if strange := ", ".join(name for name, _ in self.signatures if name not in signers):
            raise NotApproved(
                ask, f"the approval of {reference} is not what {strange} signed, or {strange} may not approve here"
            )
        if len(signers) < needed:
            raise NotApproved(
                ask, f"run {reference} has {len(signers)} of {needed} approvals; another approver has to sign, too"
            )
        if now >= found.expires:
            raise NotApproved(
                f"the approval of run {reference} at this site ended at {day(found.expires)}; ask its staff: fedmed clinic "
                f"approve {found.run}"
            )
        if found.approved > now + 86_400:
            raise NotApproved(
                ask,
                f"the approval of {reference} is dated {day(found.approved)}, and it is {day(now)}: set the clock right",
            )

    def encode(self) -> bytes:
        """For a file."""
        rows = [{"approver": name, "signature": signature.hex()} for name, signature in self.signatures]
        body = {"approval": self.approval.body(), "signatures": rows, "withdrawn": self.withdrawn}
        return canonical({"kind": _KIND, "version": _VERSION, **body}) + b"\n"


def read_signed(content: bytes, what: str) -> Signed:
    """What `encode` wrote; signatures are not checked. Raises StoreError for anything else."""
    try:
        said = json.loads(content) if len(content) <= MOST_BYTES else {}
        rows = tuple((str(row["approver"]), bytes.fromhex(row["signature"])) for row in said["signatures"])
        found = Signed(Approval.model_validate_json(json.dumps(said["approval"])), rows, said["withdrawn"])
        whole = found.encode() == content and type(found.withdrawn) in (int, type(None))
    except ValidationError as error:
        strange = [".".join(map(str, each["loc"]))[:80] for each in error.errors() if each["type"] == "extra_forbidden"]
        wrong = f"has {', '.join(strange[:5])}, which is of a newer fedmed" if strange else "was changed"
        raise StoreError(f"{what} is no approval that this fedmed knows: it {wrong}; approve the run anew") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{what} is no approval ({type(error).__name__}): it was changed; approve the run anew") from error
    if not whole:
        raise StoreError(f"{what} was changed by hand, or written by another version of fedmed; approve the run anew")
    return found
