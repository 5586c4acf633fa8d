"""moto's S3 behind a real HTTP port: its own dispatch, without Flask, which `moto[server]` would need for nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from moto.core.request import Request
from moto.s3.models import s3_backends
from moto.s3.responses import S3Response
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from fedmed.store.s3 import Place

BUCKET = "models"


class Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


@dataclass
class Bucket:
    """The server, and what it was asked."""

    port: int = 0
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path with query, bytes of the body."""
    fails_after: int | None = None
    """So many bodies are taken; then each is answered with 503."""
    refuses: str | None = None
    """The code that everything is answered with, and 403."""

    def app(self, environ, start_response):
        request = Request(environ)
        body = request.get_data()
        self.asked.append((request.method, request.raw_url.split("/", 3)[3], len(body)))
        if request.method == "PUT" and self.fails_after is not None:
            self.fails_after -= 1
            if self.fails_after < 0:
                return Response("<Error><Code>SlowDown</Code></Error>", 503)(environ, start_response)
        if self.refuses is not None:
            said = f"<Error><Code>{self.refuses}</Code></Error>"
            return Response(said, 403, {"content-type": "application/xml"})(environ, start_response)
        parts = request.path.strip("/").split("/", 1)
        dispatch = S3Response.ambiguous_dispatch if len(parts) == 1 else S3Response.key_dispatch
        found = dispatch(request, request.raw_url, dict(request.headers))
        status, headers, content = found if len(found) == 3 else (200, {}, found)
        return Response(content, status, dict(headers))(environ, start_response)

    def sent(self) -> int:
        """Bytes of all bodies that came with blobs."""
        return sum(size for method, _, size in self.asked if method == "PUT")

    def place(self, folder: Path, prefix: str = "study/") -> Place:
        secret = folder / "s3.credentials"
        if not secret.exists():
            secret.touch(0o600)
            secret.write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
        return Place(BUCKET, prefix, f"http://127.0.0.1:{self.port}", "us-east-1", f"file:{secret}")


@contextmanager
def serving() -> Iterator[Bucket]:
    for backend in s3_backends.values():
        for each in backend.values():
            each.reset()
    bucket = Bucket()
    server = make_server("127.0.0.1", 0, bucket.app, threaded=True, request_handler=Quiet)
    bucket.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        session = boto3.Session("key", "secret", region_name="us-east-1")
        session.client("s3", endpoint_url=f"http://127.0.0.1:{bucket.port}").create_bucket(Bucket=BUCKET)
        bucket.asked.clear()
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
