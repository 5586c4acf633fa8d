from __future__ import annotations

import asyncio

import pytest

from fedmed.wire.asgi import PIECE, answer


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_an_answer_goes_in_pieces_and_ends_with_the_last(size):
    sent = []

    async def send(event):
        sent.append(event)

    body = bytes(size)
    asyncio.run(answer(send, 200, body, b"text/plain", (b"x", b"y")))
    start, *pieces = sent
    assert (start["status"], dict(start["headers"])[b"content-length"]) == (200, b"%d" % size)
    assert b"".join(each["body"] for each in pieces) == body
    assert max(len(each["body"]) for each in pieces) <= PIECE
    assert [each["more_body"] for each in pieces] == [True] * (len(pieces) - 1) + [False]
