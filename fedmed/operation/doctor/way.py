"""Judges the way to the other end: names and connections."""

from __future__ import annotations

from fedmed.operation.doctor.connecting import Dialled, Lookup
from fedmed.operation.doctor.finding import Finding, fail, ok
from fedmed.operation.doctor.peer import CENTER, Other
from fedmed.wire.visible import visible

_TODO = {
    "refused": "nothing listens there, or a firewall rejects it: compare host and port with the {name}'s, and allow this "
    "outbound connection",
    "silent": "a firewall drops it: allow outbound TCP from this machine to this host and port",
    "unreachable": "look at this machine's route, at the {name}'s name and port, and whether it is up",
    "denied": "have the proxy's rules allow CONNECT to the {name}'s host and port",
    "password": "give the proxy's user and password: --proxy http://USER:PASSWORD@HOST:PORT",
    "proxy": "look at the proxy's own log and route: the {name}'s name, its port, whether it is up",
    "odd": "this is no HTTP proxy that knows CONNECT: mend the proxy's host and port",
}


def name(found: Lookup, other: Other = CENTER) -> Finding:
    """Whether the name is known here. Behind a proxy the other end's name is the proxy's to look up."""
    what = f"the proxy {found.name}" if found.is_proxy else found.name
    if found.addresses:
        more = f"; the proxy looks up the {other.name}'s" if found.is_proxy else ""
        return ok("name", f"{what} is {', '.join(found.addresses[:4])}{more}")
    todo = "mend the name, or have it entered into this network's DNS"
    todo += "; behind a proxy give --proxy" if other is CENTER else ""
    return fail("name", f"{what} is not known here ({found.fault})", "a name that this machine's DNS knows", todo)


_NAME_IT = "where a proxy is the only way out, name it: --proxy http://HOST:PORT, here and on fedmed clinic join"
_NOT_USED = "; the one in https_proxy is not used, for clinic.yaml or --proxy says otherwise"


def connection(found: Dialled, is_in_environment: bool = False, other: Other = CENTER) -> Finding:
    """Whether a connection was made; `is_in_environment`: a variable names a proxy for it; no device dials through one."""
    if found.kind == "connected":
        return ok("connection", f"{found.where} in {1000 * found.seconds:.0f} ms")
    how = {"silent": "no answer", "refused": "refused"}.get(found.kind, "not connected")
    said = f" ({visible(found.said)})" if found.said else ""
    todo = _TODO["proxy" if found.is_proxy and found.kind == "unreachable" else found.kind].format(name=other.name)
    if not found.is_proxy and other is CENTER:
        todo += f"; {_NAME_IT}{_NOT_USED if is_in_environment else ''}"
    allowed = "a TCP connection" + (", by CONNECT behind a proxy" if other is CENTER else "")
    return fail("connection", f"{found.where}: {how}{said}", allowed, todo)
