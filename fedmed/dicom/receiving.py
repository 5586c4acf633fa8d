"""Takes images that scanners and archives send: C-STORE and C-ECHO, as an SCP of our own over plain sockets.

pynetdicom, which sends for us, was measured as the receiver too (benchmarks/edge_receive.py). It gives each connection two
threads that wake every millisecond, reads in pieces of 4 KiB, believes a length of four gigabytes and never gives up on
a peer that has gone silent within a PDU. Here one thread a connection waits in the kernel, and all has a cap and an end.

Where each object takes 45 ms, however small, two parts of TCP wait for each other: Nagle's algorithm holds a short write
back until the one before is acknowledged, and the other side delays that by 40 ms. So our answers are one write without
Nagle, and what senders write in pieces with Nagle is acknowledged at once.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import ssl
import threading
from collections.abc import Callable

from fedmed.clock import Clock
from fedmed.dicom.arrivals import MOST_META, Door, KeepInstance, as_file
from fedmed.dicom.network import pdus
from fedmed.dicom.network.acceptor import Acceptor, End, Keep, Policy, Step, stores
from fedmed.dicom.network.config import ReceiverConfig as ReceiverConfig
from fedmed.dicom.network.pdus import Broken, Inbox
from fedmed.dicom.network.tls import ReceiverTls as ReceiverTls
from fedmed.dicom.network.tls import refusal
from fedmed.errors import ConfigError
from fedmed.wire import ports

Told = Callable[[str, str, str], None]
"""Told of what was refused: the peer's address, its AE title where it is known, and why. Called from many threads."""
BACKLOG = 1024
AGAIN_S = 0.5
"""Until the next connection is taken, where this machine had no room for one."""
LINGER_S = 2.0
"""For the other side to read our last word before the connection is cut."""
SLOWEST = 16 * 2**10
"""Bytes a second that a message must come with, once it is `stall_s` old: what trickles holds a place from others."""


def readable_syntaxes() -> frozenset[str]:
    """Transfer syntaxes whose pixels can be decoded on this machine."""
    from fedmed.dicom.decoders.compressed import BACKENDS
    from fedmed.dicom.instance import NATIVE

    compressed = {syntax for back in BACKENDS for syntax in back.SYNTAXES if back.is_available(syntax)}
    return frozenset(compressed) | frozenset(NATIVE)


class Receiver:
    """Listens from `start` to `stop`. `keep` is called from one thread per association, never twice at once from one."""

    def __init__(
        self, config: ReceiverConfig, keep: KeepInstance, clock: Clock, told: Told = lambda address, title, why: None
    ) -> None:
        """Raises ConfigError, naming all that is wrong with `config`, and for files of TLS that cannot be used."""
        if faults := config.faults():
            raise ConfigError("the DICOM receiver: " + "; ".join(faults))
        self.config, self.clock, self.told = config, clock, told
        allowed, transfers = stores(frozenset(config.sop_classes)), readable_syntaxes()
        self.door = Door(keep, allowed, transfers, config.most_bytes + MOST_META)
        self.policy = Policy(
            ae_title=config.ae_title,
            callers=frozenset(config.callers),
            stores=allowed,
            transfers=transfers,
            pdu_bytes=config.pdu_bytes,
            most_bytes=config.most_bytes,
        )
        self._tls = None if config.tls is None else config.tls.context()
        self._networks = [ipaddress.ip_network(name) for name in config.addresses]
        self._port = config.port
        self._lock = threading.Lock()
        self._lines: dict[_Line, None] = {}
        self._held = 0
        self._since, self._numbers = int(1e6 * clock.unix()), itertools.count(1)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def port(self) -> int:
        """The port that is listened on; the wanted one before `start`."""
        return self._port

    def start(self) -> None:
        """Listen. Raises ConfigError where the address is not to be had."""
        self._socket = ports.listening(self.config.host, self.config.port, BACKLOG)
        self._port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, args=(self._socket,), name="dicom-receiver", daemon=True)
        self._thread.start()

    def stop(self, drain_s: float = 10.0) -> None:
        """Take no more; messages that are half here have `drain_s` to come whole and be answered, then all is cut."""
        self._stopping = True
        if self._socket is not None:
            _cut(self._socket)  # wakes the thread that waits in accept
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.stop()
        end = self.clock.now() + drain_s
        for line in lines:
            line.thread.join(max(0.0, end - self.clock.now()))
        for line in lines:
            _cut(line.connection)
        for line in lines:
            line.thread.join()

    def __enter__(self) -> Receiver:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def room(self, count: int) -> bool:
        """See `acceptor.Room`."""
        with self._lock:
            if count > 0 and self._held + count > self.config.memory_bytes:
                return False
            self._held += count
            return True

    def is_full_for(self, line: _Line) -> bool:
        """Whether `line` cannot have an association; if it can, it holds a place until it ends."""
        with self._lock:
            holding = [other for other in self._lines if other.holds_place]
            alike = sum(other.address == line.address for other in holding)
            line.holds_place = len(holding) < self.config.associations and alike < self.config.per_address
            return not line.holds_place

    def associations(self) -> frozenset[str]:
        """Names of the associations that have not ended; the facts of each instance name its own."""
        with self._lock:
            return frozenset(line.name for line in self._lines if line.acceptor.is_open)

    def name(self) -> str:
        """One for a new association, which no other has, of this process or an earlier one."""
        return f"{self._since}-{next(self._numbers)}"

    def ended(self, line: _Line) -> None:
        """`line` is over."""
        with self._lock:
            self._lines.pop(line, None)

    @property
    def is_stopping(self) -> bool:
        """Whether idle associations must end."""
        return self._stopping

    def _accept(self, listening: socket.socket) -> None:
        pause = threading.Event()
        with listening:
            while not self._stopping:
                try:
                    connection, address = listening.accept()
                except ConnectionError:  # the peer went before it was taken
                    continue
                except OSError:  # too many files are open, or we are stopping
                    pause.wait(0.0 if self._stopping else AGAIN_S)
                    continue
                self._take(connection, str(address[0]))

    def _take(self, connection: socket.socket, address: str) -> None:
        if self._networks and not any(ipaddress.ip_address(address) in network for network in self._networks):
            connection.close()
            self.told(address, "", "its address is not among those that may connect")
            return
        try:
            if self._tls is not None:  # the handshake is the line's own, so that a slow one holds nobody up
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):  # the peer went before it was taken
            connection.close()
            return
        line = _Line(self, connection, address)
        with self._lock:
            waiting = [other for other in self._lines if not other.holds_place]
            self._lines[line] = None
        for oldest in waiting[: max(0, len(waiting) + 1 - self.config.waiting)]:
            _cut(oldest.connection)
        try:
            line.thread.start()
        except RuntimeError:  # the system has no thread left
            self.ended(line)
            connection.close()


class _Line:
    """One connection, in a thread of its own."""

    def __init__(self, receiver: Receiver, connection: socket.socket, address: str) -> None:
        self.receiver, self.connection, self.address = receiver, connection, address
        self.name = receiver.name()
        self.acceptor = Acceptor(receiver.policy, receiver.room)
        self.thread = threading.Thread(target=self._serve, name=f"dicom-from-{address}", daemon=True)
        self.holds_place = False
        self._is_busy = False
        self._since, self._got = receiver.clock.now(), 0

    def stop(self) -> None:
        """End at once where nothing is half received, else after the message."""
        if not self._is_busy:
            _cut(self.connection)

    def _serve(self) -> None:
        try:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._is_proved():
                self._talk()
        except Broken as broken:
            self._end(pdus.abort(broken.reason), str(broken))
        except TimeoutError:
            self._end(pdus.abort(pdus.UNSPECIFIED), "nothing came for too long, or too slowly")
        except OSError as error:
            self._tell(f"the connection was lost ({error.strerror or error})")
        finally:
            self.acceptor.close()
            self.connection.close()
            self.receiver.ended(self)

    def _tell(self, why: str) -> None:
        if why:
            self.receiver.told(self.address, self.acceptor.calling, why)

    def _is_proved(self) -> bool:
        """Whether TLS, where it is wanted, stands; within the time that a new connection has for its request."""
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.settimeout(self.receiver.config.request_s)
            try:
                self.connection.do_handshake()
            except OSError as error:  # ssl.SSLError and TimeoutError are
                self._tell(refusal(error))
                return False
        return True

    def _talk(self) -> None:
        """Until the association is over."""
        inbox = Inbox(self.receiver.config.pdu_bytes)
        while True:
            count = self._more(inbox)
            if count == 0:
                if self.acceptor.is_open and not self.receiver.is_stopping:
                    self._tell("the other side left in the midst of an association")
                return
            for kind, body in inbox.took(count):
                full = kind == pdus.REQUEST and self.receiver.is_full_for(self)
                for step in self.acceptor.take(kind, body, full):
                    if isinstance(step, End):
                        self._end(step.data, step.why)
                        return
                    words = self._words(step)
                    self.connection.settimeout(self.receiver.config.stall_s)
                    self.connection.sendall(words)
            if not (self.acceptor.is_receiving or inbox.holds):
                self._since, self._is_busy = self.receiver.clock.now(), False
                if self.receiver.is_stopping:
                    return

    def _more(self, inbox: Inbox) -> int:
        """Bytes that have come, 0 where the other side has closed. Raises TimeoutError."""
        config, age = self.receiver.config, self.receiver.clock.now() - self._since
        if not self.acceptor.is_open:
            wait = config.request_s - age
        elif not self._is_busy:
            wait = config.idle_s - age
        else:
            wait = min(config.stall_s, config.stall_s + self._got / SLOWEST - age)
        if wait <= 0:
            raise TimeoutError
        self.connection.settimeout(wait)
        count = self.connection.recv_into(inbox.room())
        if self.acceptor.is_open and not self._is_busy:
            self._since, self._got, self._is_busy = self.receiver.clock.now(), 0, True
        self._got += count
        if count and hasattr(socket, "TCP_QUICKACK"):  # the kernel forgets it, so it is said each time
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count

    def _words(self, step: Step) -> bytes:
        if not isinstance(step, Keep):
            self._tell(step.why)
            return step.data
        named = step.command.sop_class, step.command.instance
        origin = {"by": "c-store", "from": self.acceptor.calling, "address": self.address, "association": self.name}
        try:
            arrival = self.receiver.door.take(as_file(*named, step.transfer_syntax, step.data), origin, named)
        finally:
            self.receiver.room(-len(step.data))
        if arrival.why:
            self._tell(f"an instance was refused with {arrival.outcome:04X}: {arrival.why}")
        return self.acceptor.answer(step, arrival.outcome, arrival.why)

    def _end(self, data: bytes, why: str) -> None:
        """Send the last word, with a moment to read it: to close while bytes are unread would take it back (RST)."""
        self.acceptor.close()
        self.holds_place = False
        self._tell(why)
        clock = self.receiver.clock
        end = clock.now() + LINGER_S
        try:
            self.connection.settimeout(LINGER_S)
            self.connection.sendall(data)
            _cut(self.connection, socket.SHUT_WR)
            while (left := end - clock.now()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(64 * 2**10):
                    return
        except OSError:  # a TimeoutError is one
            return


def _cut(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    try:
        socket.socket.shutdown(connection, how)  # that of an SSLSocket would go on without TLS
    except OSError:  # it is cut already
        return
