"""Checks of where images come from and results go: the PACS, the ports that scanners dial, the watched folder."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

from fedmed.config.edge import Dicom
from fedmed.dicom.destination import Destination
from fedmed.dicom.network.config import ReceiverConfig
from fedmed.dicom.results.report import COMPREHENSIVE_SR
from fedmed.dicom.segmentation import SEG_STORAGE
from fedmed.dicom.sending import echo, not_taken
from fedmed.edge.doctor.configuration import Subject
from fedmed.edge.doors import receiver_config
from fedmed.errors import FedmedError
from fedmed.operation.doctor.finding import Finding, fail, ok, skipped, warn
from fedmed.operation.doctor.running import Seen
from fedmed.store.standing import is_serving
from fedmed.wire.visible import visible

CONNECT_S, ANSWER_S = 4.0, 5.0
RESULTS = {COMPREHENSIVE_SR: "SR", SEG_STORAGE: "SEG"}
CALLING = "FEDMED-DOCTOR"
LOOKED_AT = 20
"""Files of a watched folder that are opened."""
_BIND = {
    errno.EACCES: "let the agent bind it (AmbientCapabilities=CAP_NET_BIND_SERVICE), or take a port above 1023",
    errno.EADDRNOTAVAIL: "let `listen` name an address of this machine, or 0.0.0.0 for all",
}


def pacs(seen: Seen) -> Finding:
    """C-ECHO by the configured titles, and whether it would store what results are made of."""
    subject: Subject = seen["subject"]
    wanted = None if subject.joined is None else subject.joined.destination()
    if wanted is None:
        return skipped("pacs", "none is configured: results stay here, as JSON")
    titles = f"calling {wanted.calling}" if wanted.tls is None else f"calling {wanted.calling}, under TLS"
    allowed, place = "C-ECHO answered, SR and SEG taken", replace(wanted, connect_s=CONNECT_S, answer_s=ANSWER_S)
    try:
        missing = not_taken(place, RESULTS)
    except FedmedError as error:
        todo = "have the PACS know this device's title and address, and `pacs` in edge.yaml the PACS' host, port and title"
        return fail("pacs", f"{visible(str(error))} ({titles})", allowed, todo)
    if missing:
        names = " and ".join(RESULTS[each] for each in missing)
        return warn("pacs", f"{place} answers C-ECHO, and takes no {names}", allowed, f"allow {', '.join(missing)} there")
    return ok("pacs", f"{place} answers C-ECHO ({titles}) and takes SR and SEG")


def scanner_port(seen: Seen) -> Finding:
    """Whether scanners reach this device: the port is free for the agent, or the running agent answers C-ECHO at it."""
    subject: Subject = seen["subject"]
    wanted = subject.config.dicom
    if wanted is None:
        return skipped("scanner port", "none: dicom is null in edge.yaml")
    faults = _faults(receiver_config(subject.folder, wanted))
    return _port(subject, "scanner port", wanted.listen, wanted.port, lambda: _echoed(wanted), faults)


def _echoed(wanted: Dicom) -> Finding:
    """Whether the running agent, which has the port, answers at it."""
    check, where = "scanner port", f"{wanted.listen}:{wanted.port}"
    if wanted.tls is not None:
        return ok(check, f"{where}: the agent has it, under TLS; C-ECHO takes a sender's certificate, and was not tried")
    calling = wanted.callers[0] if wanted.callers else CALLING
    try:
        echo(Destination(_reached(wanted.listen), wanted.port, wanted.ae_title, calling, CONNECT_S, ANSWER_S))
    except FedmedError as error:
        todo = "where `addresses` leaves this machine out that is right; else see whose port it is (ss -ltnp)"
        return warn(check, f"{where} does not answer C-ECHO: {visible(str(error))}", "the running agent", todo)
    return ok(check, f"{where}: the running agent answers C-ECHO as {wanted.ae_title}")


def _faults(config: ReceiverConfig) -> str:
    """What the agent would refuse to open its door for, files of TLS included."""
    try:
        if config.tls is not None:
            config.tls.context()
    except FedmedError as error:
        return "; ".join([*config.faults(), str(error)])
    return "; ".join(config.faults())


def stow_port(seen: Seen) -> Finding:
    """The same for STOW-RS, without a question to who listens there."""
    subject: Subject = seen["subject"]
    wanted = subject.config.stow
    if wanted is None:
        return skipped("stow port", "none: stow is null in edge.yaml")
    found = ok("stow port", f"{wanted.listen}:{wanted.port} is taken, the agent is up")
    return _port(subject, "stow port", wanted.listen, wanted.port, lambda: found)


def _port(subject: Subject, check: str, host: str, port: int, taken: Callable[[], Finding], faults: str = "") -> Finding:
    """A port that the agent listens at, or is to; `taken` says more where it is up and does. `faults`: of its settings."""
    where, is_up, error = f"{host}:{port}", is_serving(subject.folder), _bound(host, port)
    is_taken = error is not None and error.errno == errno.EADDRINUSE
    if error is not None and not (is_taken and is_up):
        return _not_to_be_had(check, where, port, error)
    if faults:
        return fail(check, visible(faults), "a door that the agent can open", "mend `dicom` in edge.yaml, or its files")
    if is_taken:
        return taken()
    if not is_up:
        return ok(check, f"{where} is free for the agent")
    todo = "start the agent anew: it listens where edge.yaml said when it was started"
    return warn(check, f"{where} is free, though the agent is up", "the agent listens there", todo)


def _not_to_be_had(check: str, where: str, port: int, error: OSError) -> Finding:
    allowed = "a port that is free, or the running agent's"
    if error.errno == errno.EADDRINUSE:
        todo = f"end the program that has it (ss -ltnp sport = :{port}), or name another port"
        return fail(check, f"{where} is another program's", allowed, todo)
    todo = _BIND.get(error.errno or 0, "mend `listen` in edge.yaml")
    return fail(check, f"{where}: {error.strerror or error}", allowed, todo)


def _bound(host: str, port: int) -> OSError | None:
    """Why nothing can listen there, or None."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        return error
    return None


def _reached(listen: str) -> str:
    """An address of this machine that reaches what listens at `listen`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)


def folder(seen: Seen) -> Finding:
    """Whether files of the watched folder can be read and taken away: one of its own is written there and removed."""
    subject: Subject = seen["subject"]
    if subject.config.folder is None:
        return skipped("folder", "none is watched")
    place, allowed = subject.folder / subject.config.folder, "a folder whose files the agent can read and delete"
    todo = f"give {place} to the user that runs the agent, and mount it for writing; or mend `folder` in edge.yaml"
    try:
        unread = [path.name for path in _some(place) if not _is_readable(path)]
        _try_out(place)
    except OSError as error:
        return fail("folder", f"{place}: {error.strerror or error}", allowed, todo)
    if unread:
        return fail(
            "folder", f"{place}: {len(unread)} of its files cannot be read, {visible(unread[0])} first", allowed, todo
        )
    said = place.stat()
    if said.st_mode & stat.S_ISVTX and os.geteuid() not in (0, said.st_uid):
        return warn("folder", f"{place} is sticky: others' files cannot be deleted", allowed, f"chmod -t {place}")
    return ok("folder", f"{place}: files can be read and deleted")


def _some(place: Path) -> list[Path]:
    """Files that lie there, but for those that begin with a dot. Raises OSError."""
    with os.scandir(place) as found:
        names = [each.name for each in islice(found, 100 * LOOKED_AT) if each.is_file(follow_symlinks=False)]
    return [place / name for name in names if not name.startswith(".")][:LOOKED_AT]


def _is_readable(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return not path.exists()  # the agent has just taken it
    return True


def _try_out(place: Path) -> None:
    """Under a name that the agent passes over. Raises OSError."""
    path = place / f".fedmed-doctor-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    path.unlink()
