from __future__ import annotations

import subprocess
import sys

from fedmed.errors import MissingPart
from fedmed.health.host import Host
from fedmed.health.nvml import Nvml
from fedmed.health.readers import lines, read_all, readers
from tests.health.cards import Recorded
from tests.health.trees import ORIN_JP6, THOR_JP7, X86, laid_out, values


def test_nvml_is_not_asked_on_a_jetson_where_it_says_0(tmp_path):
    names = {
        name: [reader.name for reader in readers(laid_out(tmp_path / name, tree))]
        for name, tree in (("orin", ORIN_JP6), ("thor", THOR_JP7), ("x86", X86))
    }
    assert names["orin"] == ["jetson", "host"]
    assert names["thor"] == names["x86"] == ["jetson", "nvml", "host"]


def test_a_thor_has_its_load_from_nvml_and_its_heat_from_sysfs(tmp_path):
    jetson, _, host = readers(laid_out(tmp_path, THOR_JP7), tmp_path)
    found = values(read_all([jetson, Nvml(Recorded), host]))
    assert found["gpu0", "gpu_busy"] == 0.37
    assert found["gpu0", "gpu_temperature"] == 38.25


def test_a_reader_that_fails_after_all_leaves_the_others(tmp_path):
    class Gone(Nvml):
        def is_available(self):
            return True

        def read(self):
            raise MissingPart("gone")

    host = Host(laid_out(tmp_path, X86), tmp_path)
    assert values(read_all([Gone(), host])) == values(host.read())


def test_each_reader_says_why_it_is_not_used(tmp_path):
    told = lines([*readers(laid_out(tmp_path, X86), tmp_path)])
    assert told[0] == "jetson: this is no Jetson"
    assert told[-1] == "host: read"


def test_the_light_install_can_import_both_rooms():
    code = (
        "import sys\n"
        "for name in ('torch', 'flwr', 'numba', 'matplotlib', 'pynvml', 'pydantic'): sys.modules[name] = None\n"
        "import fedmed.health.readers, fedmed.health.policy, fedmed.health.exposed, fedmed.health.faults\n"
        "import fedmed.placement.machine, fedmed.placement.told\n"
        "print(fedmed.health.readers.lines(fedmed.health.readers.readers()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install" in done.stdout
