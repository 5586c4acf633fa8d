"""Who a caller is, by what this machine knows itself: the center's folder, and the roll of clinics."""

from __future__ import annotations

import getpass
import os

from fedmed.center.admission import Admissions
from fedmed.center.folder import CenterFolder
from fedmed.errors import JoinRefused
from fedmed.identity.roles import Caller, NotAllowed, Role
from fedmed.identity.transport import TransportAuthority


class LocalCallers:
    """Operator is whoever can read the authority's key in the center's folder; a site shows a member's certificate."""

    def __init__(self, folder: CenterFolder) -> None:
        self._folder = folder
        self._admissions: Admissions | None = None

    def identify(self, evidence: bytes) -> Caller:
        """The user of this machine for no evidence, else the clinic whose certificate (DER) it is. Raises NotAllowed."""
        if evidence:
            return self._site(evidence)
        key = self._folder.path / TransportAuthority.key_file
        if not os.access(key, os.R_OK):
            raise NotAllowed(f"{getpass.getuser()!r} cannot read {key}; run this as the user that owns the center's folder")
        return Caller(getpass.getuser(), frozenset({Role.OPERATOR}))

    def _site(self, certificate: bytes) -> Caller:
        if self._admissions is None:
            self._admissions = self._folder.admissions()
        try:
            return Caller(self._admissions.member(certificate).name, frozenset({Role.SITE}))
        except JoinRefused as error:
            raise NotAllowed(str(error)) from error
