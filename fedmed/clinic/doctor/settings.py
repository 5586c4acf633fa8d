"""Where the center is and how to reach it: from options, else from the clinic's folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fedmed.config.document import MAX_BYTES, read_document
from fedmed.operation.doctor.finding import Finding, fail, ok
from fedmed.operation.doctor.peer import Proxy, Settings
from fedmed.wire.visible import visible

NO_PROXY = "none"
CONFIGURATION, AUTHORITY, CERTIFICATE, KEYS = "clinic.yaml", "transport-ca.crt", "member.crt", "member.keys"
"""Files of a clinic's folder that are read where an option is absent."""


@dataclass(frozen=True)
class Given:
    """Options as they were given."""

    folder: Path
    host: str | None = None
    port: int | None = None
    proxy: str | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class _Wrong(Exception):
    """One fault: what was got, what is allowed, what to do."""


def read_settings(given: Given, environment_proxy: Callable[[str], str | None]) -> tuple[Finding, Settings | None]:
    """The finding `configuration`, and what was read where it is ok.

    `environment_proxy` says which proxy the environment names for a host. Raises nothing.
    """
    try:
        settings = _settings(given, _document(given.folder / CONFIGURATION), environment_proxy)
    except _Wrong as error:
        return fail("configuration", *error.args), None
    through = f" through {settings.proxy.host}:{settings.proxy.port} ({settings.proxy_from})" if settings.proxy else ""
    member = f"certificate {settings.certificate}" if settings.certificate else "no certificate yet"
    return ok("configuration", f"{settings.host}:{settings.port}{through}, authority {settings.ca}, {member}"), settings


def _settings(given: Given, document: dict[str, Any], environment: Callable[[str], str | None]) -> Settings:
    host = given.host or document.get("host")
    if not isinstance(host, str) or not host or any(letter in host for letter in " /@") or not host.isascii():
        raise _Wrong(
            f"the center's host: {visible(repr(host))}",
            "a DNS name or an address",
            f"give --host, or name the folder that holds {CONFIGURATION}",
        )
    port = given.port if given.port is not None else document.get("port", 443)
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise _Wrong(f"the center's port: {visible(repr(port))}", "1 to 65535", "mend --port or clinic.yaml")
    proxy, by = _proxy(given, document, host, environment)
    ca = given.ca or given.folder / AUTHORITY
    pair = _pair(given)
    for path in (ca, *(pair or ())):
        _readable(path)
    return Settings(host, port, proxy, ca, pair and pair[0], pair and pair[1], by)


def _pair(given: Given) -> tuple[Path, Path] | None:
    if (given.certificate is None) != (given.key is None):
        raise _Wrong("one of --certificate and --key", "both or neither", "give both")
    if given.certificate is not None and given.key is not None:
        return given.certificate, given.key
    found = given.folder / CERTIFICATE, given.folder / KEYS
    return found if found[0].exists() else None


def _readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _Wrong(
            f"{path}: {error.strerror}",
            "files that this user can read: the authority's certificate, the clinic's own and its key",
            "give --ca (and --certificate with --key), or run it as the user that owns the clinic's folder",
        ) from error


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 4).decode("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _Wrong(
            f"{path}: {error}", "UTF-8 text that this user can read", "mend its owner, or put a copy back"
        ) from error
    document = read_document(text, str(path))
    if document.faults or not isinstance(document.value, dict):
        said = "; ".join(map(str, document.faults)) or f"{path}: {type(document.value).__name__}"
        raise _Wrong(visible(said), "a mapping with host, port and proxy", f"mend {path.name}")
    return document.value


def _proxy(
    given: Given, document: dict[str, Any], host: str, environment: Callable[[str], str | None]
) -> tuple[Proxy | None, str]:
    named = [(given.proxy, "--proxy"), (document.get("proxy"), CONFIGURATION), (environment(host), "https_proxy")]
    text, by = next(((value, by) for value, by in named if value is not None), (NO_PROXY, ""))
    return (None, "") if text == NO_PROXY else (_read_proxy(text, by), by)


def _read_proxy(text: object, by: str) -> Proxy:
    """The proxy's password is not repeated in what people read."""
    try:
        parts = urlsplit(str(text))
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or not str(text).isascii():
        shown = visible(str(text).rpartition("@")[2])
        raise _Wrong(f"the proxy {shown!r} of {by}", "http://[USER:PASSWORD@]HOST:PORT or none", f"mend {by}")
    user = None if parts.username is None else unquote(parts.username)
    return Proxy(parts.hostname, port, user, unquote(parts.password or ""))
