"""A clinic's folder on one side of a real port, a center that offers runs on the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmed.center.enrolment import PATHS as ENROLMENT
from fedmed.center.enrolment import EnrolmentApp
from fedmed.center.listening import Listener
from fedmed.center.proposals import PATHS, Offer, ProposalsApp, propose
from fedmed.clinic.warrants import Warrants
from fedmed.clinic.wheels import lock
from fedmed.config.loading import parse
from fedmed.config.roles import CLINIC_FILE, load_role, written
from fedmed.config.roles import Clinic as Config
from fedmed.wire.asgi import Receive, Scope, Send
from tests.center.federation import Brisk, Federation, federation, tls
from tests.clinic.staff import SCENARIO, cases

PASSPHRASE = "four quite different words"


class Place:
    """A center that offers runs, and one clinic's folder."""

    def __init__(self, up: Federation, folder: Path, offers: list[Offer], said) -> None:
        self.up, self.place, self.folder, self.offers, self._said = up, up.place, folder, offers, said
        (self.place / "secret").write_text(PASSPHRASE + "\n")

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        return self._said("clinic", *arguments, "--at", self.folder)

    def json(self, *arguments: object):
        code, out, err = self(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    def approver(self, name: str, *more: object) -> tuple[int, str, str]:
        secret = ("--key", self.place / f"{name}.key", "--passphrase-file", self.place / "secret")
        return self("approver", name, *secret, *more)

    def approve(self, *more: object, name: str = "frey") -> tuple[int, str, str]:
        secret = ("--key", self.place / f"{name}.key", "--passphrase-file", self.place / "secret")
        return self("approve", "wards-1", "--approver", name, *secret, "--yes", *more)

    def warrant(self, reference: str):
        from fedmed.clinic.folder import open_clinic

        return Warrants(open_clinic(self.folder, Brisk()), lock().digest, lambda _: None).find(reference)

    def rules(self, **changed: object) -> None:
        path = self.folder / CLINIC_FILE
        path.write_bytes(written(load_role(path, Config).model_copy(update=changed)))


@contextmanager
def placed(path: Path, said) -> Iterator[Place]:
    """The clinic `north`, and the offer of one run, `wards-1`."""
    offers: list[Offer] = [propose("wards-1", parse(SCENARIO, "s"))]
    with federation(path) as up:
        clinic = up.joined("north")
        enrol, runs = EnrolmentApp(up.folder), ProposalsApp(up.folder.admissions(), lambda: offers)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await (runs if scope["path"] in PATHS else enrol)(scope, receive, send)

        assert not set(PATHS) & set(ENROLMENT)
        with Listener(app, tls(up.folder), "127.0.0.1", 0) as port:
            found = Place(up, clinic.path, offers, said)
            found.rules(port=port.port)
            cases(path / "wards")
            yield found
