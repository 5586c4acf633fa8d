from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.wire.ports import listening


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_named(host):
    with listening(host, 0, 1) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"nothing can listen on {host} port {port} .*in use\\); name one"):
            listening(host, port, 1)
    listening(host, port, 1).close()


def test_an_address_of_another_machine_is_named():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 port 0 "):  # RFC 5737: nobody's
        listening("192.0.2.1", 0, 1)
