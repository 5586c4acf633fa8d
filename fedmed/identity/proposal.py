"""What a center offers to run, as canonical bytes with a digest: what a clinic's staff reads, and its approval binds.

The digest is over the bytes as they came, so that a field that one side's version does not know cannot hide behind it: a
proposal with a key that this version does not know is refused, not read without it. What has its default is left out, so
that an older clinic refuses what is new only where it is used. A default never changes (tests/config/test_defaults.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import tomllib
from pydantic import Field, ValidationError

from fedmed import __version__
from fedmed.config.catalogue import shipped
from fedmed.config.part import Part
from fedmed.config.scenario import Name, Scenario
from fedmed.errors import ConfigError, ProtocolRefused, VersionRefused
from fedmed.wire import bundle
from fedmed.wire.canonical import canonical
from fedmed.wire.visible import visible

MOST_BYTES = 64 * 1024
"""Of a proposal."""
HEX = r"^[0-9a-f]{64}$"
BUILT_IN_ENTRY = "clients.app:app"
_KIND, _VERSION = "fedmed-proposal", 1
_REFERENCE = re.compile(r"([a-z0-9][a-z0-9_.-]{0,63})@([0-9a-f]{64})")


class App(Part):
    """The program that a clinic is to run on its cases."""

    kind: Literal["built-in", "bundle"]
    """`built-in`: the one that comes with fedmed, which every clinic has; `bundle`: a researcher's own, sent as a file."""
    digest: str = Field(pattern=HEX)
    """Of a bundle SHA-256 of its bytes, of the built-in one `fedmed.wire.bundle.digest_of` its files."""
    bytes: int = Field(0, ge=0, le=bundle.MOST_BYTES)
    """Of a bundle."""
    entry: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,199}:[A-Za-z_][A-Za-z0-9_]{0,99}$")
    """Where its ClientApp is, as `module:attribute`."""


class Proposal(Part):
    """One run that a center offers."""

    run: Name
    scenario: Scenario
    """All of it: data, task, training, encryption and its floors, differential privacy, rounds, purpose."""
    app: App
    fedmed: str = Field(max_length=40)
    """The center's version."""


@dataclass(frozen=True)
class Offered:
    """A proposal and its bytes."""

    proposal: Proposal
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def reference(self) -> str:
        """`RUN@DIGEST`: what the run is called between center and clinics."""
        return f"{self.proposal.run}@{self.digest}"


def offered(proposal: Proposal) -> Offered:
    """The proposal with its bytes. Raises ConfigError where it is too large."""
    content = canonical(
        {"kind": _KIND, "version": _VERSION, "proposal": proposal.model_dump(mode="json", exclude_defaults=True)}
    )
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"the proposal has {len(content)} bytes; allowed are {MOST_BYTES}: shorten the scenario's texts and options"
        )
    return Offered(proposal, content)


def read_offered(said: Any) -> Offered:
    """The proposal of its JSON. Raises ProtocolRefused for what is none, VersionRefused for what is new and used."""
    try:
        content = canonical(said)
    except (ValueError, TypeError) as error:  # NaN, which Python's parser takes for JSON
        raise ProtocolRefused("this is no proposal of a run, for it is no JSON") from error
    if len(content) > MOST_BYTES:
        raise ProtocolRefused(f"a proposal of {len(content)} bytes; allowed are {MOST_BYTES}")
    if not isinstance(said, Mapping) or set(said) != {"kind", "version", "proposal"}:
        raise ProtocolRefused("this is no proposal of a run; is the other side a center of fedmed?")
    if said["kind"] != _KIND or said["version"] != _VERSION:
        raise ProtocolRefused(
            f"a proposal of version {repr(said['version'])[:20]}; this fedmed ({__version__}) reads {_VERSION}: update it"
        )
    try:
        proposal = Proposal.model_validate_json(json.dumps(said["proposal"]))
    except ValidationError as error:
        raise _unread(said["proposal"], error) from error
    if proposal.scenario.attackers:
        raise ProtocolRefused(
            f"run {proposal.run}: its scenario has attackers, for a simulation alone; ask the center for one without"
        )
    return Offered(proposal, content)


def read_reference(text: str) -> tuple[str, str]:
    """Run and digest of a `RUN@DIGEST`. Raises ProtocolRefused."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise ProtocolRefused(f"a run called {text[:80]!r}; a run that can be approved is called NAME@DIGEST")
    return found[1], found[2]


def built_in() -> App:
    """The app that comes with this fedmed. Raises MissingPart where its files are gone."""
    return App(kind="built-in", digest=bundle.digest_of(bundle.files_in(shipped("clients"))), entry=BUILT_IN_ENTRY)


def bundled(content: bytes) -> App:
    """The app in a bundle. Raises ProtocolRefused for what is no bundle, ConfigError where it names no ClientApp."""
    files = bundle.unpack(content)
    try:
        entry = tomllib.loads(files["pyproject.toml"].decode())["tool"]["flwr"]["app"]["components"]["clientapp"]
        return App(kind="bundle", digest=bundle.sha256(content), bytes=len(content), entry=entry)
    except (LookupError, TypeError, ValueError) as error:  # what tomllib, a codec and pydantic raise are ValueErrors
        raise ConfigError(
            'the app\'s pyproject.toml must name its ClientApp: [tool.flwr.app.components] clientapp = "module:attribute"'
        ) from error


def _unread(said: Any, error: ValidationError) -> ProtocolRefused | VersionRefused:
    faults = error.errors(include_url=False)
    strange = [visible(_place(each["loc"])) for each in faults if each["type"] == "extra_forbidden"]
    theirs = said.get("fedmed") if isinstance(said, Mapping) else None
    if strange and isinstance(theirs, str):
        return VersionRefused(
            f"a proposal with {', '.join(strange[:5])}, which the center's fedmed ({visible(theirs[:40])}) knows and this "
            f"one ({__version__}) does not; update this one, or ask the center's operator to leave that out"
        )
    return ProtocolRefused(
        f"a proposal that this fedmed ({__version__}) cannot read: {visible(_place(faults[0]['loc']))}: "
        f"{visible(faults[0]['msg'][:200])}; ask the center's operator"
    )


def _place(path: Iterable[int | str]) -> str:
    return ".".join(map(str, path))[:100]
