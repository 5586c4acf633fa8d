from __future__ import annotations

import pytest

from fedmed.config.roles import Hub, read_role, written
from fedmed.errors import ConfigError


def hub(archive: str) -> Hub:
    return read_role(f"clinic: north\narchive: {archive}\n", "hub.yaml", Hub)


def test_what_is_written_is_read():
    found = hub(
        '{to: "s3://pool/north", endpoint: "https://store:9000", credentials: "file:/k", after_days: 90, keep_gb: 500}'
    )
    assert read_role(written(found).decode(), "hub.yaml", Hub) == found
    assert hub("{to: /mnt/pool, keep_gb: 0}").archive.after_days is None
    assert hub("null").archive is None


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000"])
def test_without_tls_on_this_machine_alone(host):
    said = '{{to: "s3://pool", endpoint: "http://{}", credentials: "file:/k", keep_gb: 1}}'
    assert hub(said.format(host)).archive.endpoint == f"http://{host}"
    for other in ("store:9000", "127.0.0.1.example", "10.0.0.1:80", "localhost.example"):
        with pytest.raises(ConfigError, match="without TLS, which is allowed on this machine alone"):
            hub(said.format(other))


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ("{to: /mnt/pool}", "nothing says when a study goes"),
        ('{to: "s3://pool", after_days: 1}', "nothing says who may write it"),
        ("{to: pool, after_days: 1}", "pattern"),
        ('{to: "s3://Pool!", after_days: 1}', "pattern"),
        ("{to: /mnt/pool, after_days: 0}", "greater than 0"),
        ("{to: /mnt/pool, keep_gb: -1}", "greater than or equal to 0"),
        ("{to: /mnt/pool, keep_gb: 1, key: secret}", "pattern"),
        ("{to: /mnt/pool, keep_gb: 1, days: 4}", "unknown key"),
        ("{after_days: 4}", "missing: s3://BUCKET/PREFIX, or a folder"),
    ],
)
def test_what_is_refused(archive, said):
    with pytest.raises(ConfigError, match=said):
        hub(archive)
