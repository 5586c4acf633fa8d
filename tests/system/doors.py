"""What a clinic's host can knock at, with the tools that anybody has: `ss`, `curl`, `openssl`."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

from tests.system.houses import PROXY_PORT, House
from tests.system.network import HOST, PROXY_HOST, Network

MEMBERS, HEARTBEAT = "/fedmed/members", "/v1/fleet/send-node-heartbeat"
CALL = "a member's call"
"""The one that is answered."""
MUST_NOT_BE_THERE = (
    "/v1/control/start-run",
    "/v1/control/list-runs",
    "/v1/runtime/pull-task",
    "/v1/fleet/register-node",
    "/flwr.proto.Control/StartRun",
    "/docs",
)
OWN = ("--cert", "fedmed-clinic/member.crt", "--key", "fedmed-clinic/member.keys")
IN_THE_LOG = {"tls-too-old", "no-certificate", "unknown-authority", "not-tls"}
"""What the center's log calls those that `refused` makes."""
FOREIGN = ("--cert", "foreign.crt", "--key", "foreign.key")


def listeners(network: Network, name: str) -> list[str]:
    """Sockets of this host that wait for somebody, TCP and UDP."""
    return network.sockets(name, "-ltu")


def code(house: House, path: str, *options: str, scheme: str = "https", is_hidden: bool = False) -> int:
    """HTTP status that `curl` got there; 0 where it got none."""
    way = ["--proxy", f"http://{PROXY_HOST}:{PROXY_PORT}"] if is_hidden else ["--noproxy", "*"]
    trust = ["--cacert", "fedmed-clinic/transport-ca.crt", "--max-time", "20", "--path-as-is"]
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *trust, *way, *options, f"{scheme}://{HOST}:443{path}"]
    done = subprocess.run(
        [*house.network.inside(house.name), *command], cwd=house.folder, capture_output=True, text=True, check=False
    )
    return int(done.stdout or 0)


def member_call(house: House, is_hidden: bool = False) -> int:
    """What a clinic gets that asks who is a member."""
    return code(house, MEMBERS, *OWN, is_hidden=is_hidden)


def refused(house: House) -> dict[str, int]:
    """What those get whom TLS must not let in."""
    kind = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=north"
    subprocess.run(
        f"openssl req {kind} -keyout foreign.key -out foreign.crt".split(), cwd=house.folder, capture_output=True, check=True
    )
    return {
        "TLS 1.2, a member's certificate": code(house, MEMBERS, *OWN, "--tls-max", "1.2"),
        "no certificate": code(house, MEMBERS),
        "a certificate of nobody's authority": code(house, MEMBERS, *FOREIGN),
        "no TLS": code(house, MEMBERS, scheme="http"),
    }


def logged(house: House) -> Counter[str]:
    """Refused handshakes in the center's audit log, by reason. Raises RuntimeError where the log does not verify."""
    house.looks("audit", "verify", "study/audit")
    told = json.loads(house.looks("audit", "show", "study/audit", "--last", "1000", "--json"))["events"]
    return Counter(each["details"]["code"] for each in told if each["action"] == "refuse.handshake")


def absent(house: House) -> dict[str, int]:
    """What a member gets at paths that must not be there."""
    return {path: code(house, path, *OWN, "--data-binary", "x") for path in MUST_NOT_BE_THERE}
