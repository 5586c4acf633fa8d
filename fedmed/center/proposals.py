"""What the center offers to run, for its members: `/fedmed/proposals`, and `/fedmed/app?digest=` for the file of an app."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmed import __version__
from fedmed.center.admission import Admissions
from fedmed.config.scenario import Scenario
from fedmed.errors import ConfigError, JoinRefused, StoreError
from fedmed.identity.proposal import Offered, Proposal, built_in, bundled, offered
from fedmed.wire import bundle
from fedmed.wire.asgi import Receive, Scope, Send, answer, certificate_in, length_in, refuse
from fedmed.wire.canonical import canonical

PROPOSALS, APP = "/fedmed/proposals", "/fedmed/app"
PATHS = (PROPOSALS, APP)
ROOTED = ("fltrust",)
"""Strategies that need cases at the center."""
MOST_OFFERED = 32
"""Proposals at a time: all of them fit into one answer that a clinic reads."""
OK, BAD, FORBIDDEN, NOWHERE, METHOD, LARGE, BROKEN = 200, 400, 403, 404, 405, 413, 503
_DIGEST = re.compile(rb"digest=([0-9a-f]{64})")
_JSON = b"application/json"


@dataclass(frozen=True)
class Offer:
    """A proposal, and its app where that is a file of its own."""

    offered: Offered
    app: bytes | None = None


def propose(run: str, scenario: Scenario, own: Path | None = None) -> Offer:
    """An offer of a scenario under the name of a run; `own` is a researcher's app, a folder or a `.fab` file.

    The built-in app is offered where there is none. Raises ConfigError for a name, a scenario or an app that cannot be
    offered.
    """
    if scenario.topology is not None or scenario.data.partition.by == "topology":
        raise ConfigError(
            f"the scenario {scenario.name} has a topology, lines and machines of a simulation, and clinics have their own; "
            "leave it out with --set topology=null --set data.partition.by=natural, or run it with fedmed simulate"
        )
    if scenario.attackers:
        raise ConfigError(
            f"the scenario {scenario.name} has attackers, which a simulation alone may have, for clinics are honest; "
            "leave them out with --set attackers=[], or run it with fedmed simulate"
        )
    if scenario.strategy.name in ROOTED:
        raise ConfigError(
            f"the scenario {scenario.name} has strategy.name {scenario.strategy.name}, which needs a root set at the "
            "center, and a simulation alone has one; take fedmedian, fedtrimmedavg or krum, or run it with fedmed simulate"
        )
    content = None if own is None else _content(own)
    app = built_in() if content is None else bundled(content)
    return Offer(offered(Proposal(run=run, scenario=scenario, app=app, fedmed=__version__)), content)


class ProposalsApp:
    """An ASGI application for both paths; members alone are answered, before anything else is looked at."""

    def __init__(self, admissions: Admissions, offers: Callable[[], Sequence[Offer]]) -> None:
        """`offers` says what is offered now; the first `MOST_OFFERED` are told."""
        self._admissions, self._offers = admissions, offers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope["path"]
        if path not in PATHS:
            return await refuse(send, NOWHERE, f"nothing is here; these paths are: {', '.join(PATHS)}")
        if scope["method"] != "GET":
            return await refuse(send, METHOD, f"{path} takes GET alone")
        if length_in(scope) != 0:
            return await refuse(send, LARGE, f"{path} takes no body")
        status, found = await asyncio.to_thread(self._judged, path, certificate_in(scope), scope.get("query_string", b""))
        if status == OK:
            return await answer(send, status, found, _JSON)
        await refuse(send, status, found.decode())

    def _judged(self, path: str, certificate: bytes | None, query: bytes) -> tuple[int, bytes]:
        try:
            self._admissions.member(certificate)
        except JoinRefused as error:
            return FORBIDDEN, str(error).encode()
        except StoreError:
            return BROKEN, b"the center cannot read who its members are; tell its operator"
        if path == PROPOSALS:
            told = [json.loads(offer.offered.content) for offer in list(self._offers())[:MOST_OFFERED]]
            return OK, canonical({"proposals": told})
        wanted = _DIGEST.fullmatch(query)
        if wanted is None:
            return BAD, f"{APP} takes ?digest= and 64 digits of a SHA-256".encode()
        return self._app(wanted[1].decode())

    def _app(self, digest: str) -> tuple[int, bytes]:
        for offer in self._offers():
            if offer.app is not None and offer.offered.proposal.app.digest == digest:
                return OK, canonical({"app": base64.b64encode(offer.app).decode()})
        return NOWHERE, f"no app {digest} is offered now; see {PROPOSALS}".encode()


def _content(own: Path) -> bytes:
    try:
        return bundle.pack(bundle.files_in(own)) if own.is_dir() else own.read_bytes()
    except OSError as error:
        raise ConfigError(f"{own} cannot be read ({error.strerror}); name the app's folder, or its .fab file") from error
