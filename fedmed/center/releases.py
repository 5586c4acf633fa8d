"""The center's channel of releases: its folder, and the one path by which members fetch what is in it.

`GET /fedmed/releases?name=NAME&offset=N` answers with a piece of a file, and how many bytes all of it has (JSON). Names are
those of `fedmed.releases.fetching` and nothing else, so no key can be asked for.
"""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path

from fedmed.center.admission import Admissions
from fedmed.errors import JoinRefused, StoreError
from fedmed.releases.fetching import NAMES
from fedmed.wire.asgi import Receive, Scope, Send, answer, certificate_in, length_in, refuse
from fedmed.wire.canonical import canonical

FOLDER, PATH = "releases", "/fedmed/releases"
PIECE = 1 << 21
"""Bytes of one answer before base64."""
_QUERY = re.compile(rb"name=([a-z0-9./]{1,128})&offset=([0-9]{1,12})")
_JSON = b"application/json"


class ReleasesApp:
    """An ASGI application for one exact path; members alone are answered, before anything else is looked at."""

    def __init__(self, folder: Path, admissions: Admissions) -> None:
        self._folder, self._admissions = folder / FOLDER, admissions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["method"] != "GET" or length_in(scope) != 0:
            return await refuse(send, 405, f"{PATH} takes GET alone, without a body")
        status, found = await asyncio.to_thread(self._judged, certificate_in(scope), scope.get("query_string", b""))
        if status == 200:
            return await answer(send, status, found, _JSON)
        await refuse(send, status, found.decode())

    def _judged(self, certificate: bytes | None, query: bytes) -> tuple[int, bytes]:
        try:
            self._admissions.member(certificate)
        except JoinRefused as error:
            return 403, str(error).encode()
        except StoreError:
            return 503, b"the center cannot read who its members are; tell its operator"
        asked = _QUERY.fullmatch(query)
        if asked is None or not NAMES.fullmatch(name := asked[1].decode()):
            return 400, f"{PATH} takes ?name= and the name of a file of releases, &offset= and a number".encode()
        try:
            with (self._folder / name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(min(int(asked[2]), size))
                piece = file.read(PIECE)
        except FileNotFoundError:
            return 200, canonical({"size": None})
        except OSError:
            return 503, b"the center cannot read its releases; tell its operator"
        return 200, canonical({"piece": base64.b64encode(piece).decode(), "size": size})
