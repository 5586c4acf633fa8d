"""Handshakes that are under way when the porter ends: whatever asyncio was about to do, nothing of them is left."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from fedmed.operation.accepting import Porter
from tests.center.pki import Authority, context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("porter") / "ca")


class Made(asyncio.Protocol):
    """What a connection becomes; it is cut at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Ending:
    """A porter that is cancelled after some turns of its loop, with these at its door."""

    def __init__(self, shaking: ssl.SSLContext) -> None:
        self.listening, self.failed = socket.create_server(("127.0.0.1", 0)), list[str]()
        self.porter = Porter(self.listening, Made, lambda: shaking, lambda address, error: self.failed.append(str(error)))

    async def after(self, turns: int, before: int, later: int) -> list[socket.socket]:
        """So many are there before it serves, and so many come while it waits."""
        lines = [socket.create_connection(self.listening.getsockname()) for _ in range(before)]
        serving = asyncio.ensure_future(self.porter.serve())
        for _ in range(2 * before + 2):
            await asyncio.sleep(0)
        lines += [socket.create_connection(self.listening.getsockname()) for _ in range(later)]
        for _ in range(turns):
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return lines


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("before", [0, 3])
def test_nothing_is_left_of_handshakes_that_are_cut_at_any_turn(authority: Authority, turns: int, before: int):
    ending = Ending(authority.server().context())
    lines = asyncio.run(ending.after(turns, before, 2))
    gc.collect()  # a socket or a transport that is left would be told
    for line in lines:
        line.settimeout(30)
        with line, suppress(ConnectionResetError):  # those that nobody took
            assert line.recv(1) == b""
    assert ending.failed == []  # it was no fault of theirs


def test_who_is_in_the_midst_of_a_handshake_is_cut(authority: Authority):
    ending, shaking = Ending(authority.server().context()), context(authority)

    async def one() -> bytes:
        serving = asyncio.ensure_future(ending.porter.serve())
        line = socket.create_connection(ending.listening.getsockname())
        line.setblocking(False)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        half = shaking.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with suppress(ssl.SSLWantReadError):
            half.do_handshake()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(line, outgoing.read())
        said = await loop.sock_recv(line, 1 << 16)  # the server's flight; ours does not come
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        while more := await loop.sock_recv(line, 1 << 16):
            said += more
        line.close()
        return said

    assert asyncio.run(one())
    gc.collect()
    assert ending.failed == []


def test_the_newest_context_is_asked_for_each_handshake(tmp_path: Path):
    one, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    contexts = iter([one.server().context(), other.server().context()])

    async def shown() -> list[bool]:
        listening, found = socket.create_server(("127.0.0.1", 0)), list[bool]()
        serving = asyncio.ensure_future(Porter(listening, Made, lambda: next(contexts), lambda *said: None).serve())
        for authority in (one, other):
            shaking = context(authority, authority.client("north"))
            _, writer = await asyncio.open_connection(*listening.getsockname(), ssl=shaking, server_hostname="127.0.0.1")
            found.append(writer.get_extra_info("ssl_object").version() == "TLSv1.3")
            writer.transport.abort()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return found

    assert asyncio.run(shown()) == [True, True]
