"""A center's real port, and machines on the way that are not as they should be, for the tests of the doctor."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedmed.center.listening import Tls
from fedmed.clinic.doctor.examination import Asked, checks
from fedmed.clinic.doctor.settings import Given
from fedmed.clock import Clock, SystemClock
from fedmed.identity.authority import KEY_FILE
from fedmed.operation.doctor.finding import Finding
from fedmed.operation.doctor.running import Seen, examine
from tests.center.pki import Authority

NETWORK = ("configuration", "name", "connection", "tls", "authority", "certificate", "answer", "clock", "packets", "speed")


class Off(SystemClock):
    """A clock that is wrong by so many seconds."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s

    def unix(self) -> float:
        return super().unix() + self._ahead_s


def examined(given: Given, clock: Clock | None = None, only: tuple[str, ...] = NETWORK) -> dict[str, Finding]:
    """Findings by check, of some checks alone."""
    clock = clock or SystemClock()
    chosen = [each for each in checks(Asked(given, 1_000_000, 32), clock) if each.name in only]
    return {each.check: each for each in examine(chosen, clock, lambda *_: None, Seen())}


def expired(authority: Authority) -> Tls:
    """A server's certificate that ended an hour ago."""
    files = authority.server("expired")
    old = x509.load_pem_x509_certificate(files.chain_pem.read_bytes())
    secret = serialization.load_pem_private_key((authority.folder / KEY_FILE).read_bytes(), None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(old.serial_number)
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now - datetime.timedelta(hours=1))
        .add_extension(old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
        .sign(secret, hashes.SHA384())
    )
    files.chain_pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return files


@contextmanager
def serving(each: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where every connection is handed to `each`, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    made, _ = listening.accept()
                    threading.Thread(target=each, args=(made,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def speaking_tls(files: Tls, most: ssl.TLSVersion) -> Callable[[socket.socket], None]:
    """Shakes hands, asks nobody for a certificate, and closes when the client does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.chain_pem, files.key_pem)
    context.maximum_version = most

    def each(plain: socket.socket) -> None:
        with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as made:
            made.recv(1)

    return each


def silent(plain: socket.socket) -> None:
    """Takes the connection and says nothing until the client gives up."""
    with suppress(OSError), plain:
        while plain.recv(4096):
            pass


class Proxy:
    """CONNECT alone; `answer` instead of connecting, where given."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer, self.heads = answer, list[bytes]()

    def __call__(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1) or b"\r\n\r\n"
            self.heads.append(head)
            if self.answer:
                client.sendall(self.answer)
                return
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def tinyproxy(folder: Path, allowed_port: int) -> Iterator[int]:
    """Debian's tinyproxy, which lets CONNECT through to one port."""
    program = shutil.which("tinyproxy")
    assert program is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "tinyproxy.conf"
    config.write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nConnectPort {allowed_port}\n"
    )
    process = subprocess.Popen([program, "-d", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()
