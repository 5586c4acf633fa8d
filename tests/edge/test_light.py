"""What a weak device imports: no PyTorch, no Flower, nothing that Python 3.10 lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "flwr", "numba", "cupy", "monai", "matplotlib", "ray", "opacus", "imagecodecs", "boto3", "onnx")
PROGRAM = f"""
import datetime, enum, sys
class Heavy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name + " is not on a light device", name=name)
sys.meta_path.insert(0, Heavy())
sys.modules["tomllib"] = None
import cryptography.x509, grpc, pydantic, pydicom, tuf.ngclient  # these look at Python's version by themselves
del datetime.UTC, enum.StrEnum
import pkgutil, importlib
for room in sys.argv[1:]:
    package = importlib.import_module(room)
    for each in pkgutil.walk_packages(package.__path__, room + "."):
        importlib.import_module(each.name)
print(len([name for name in sys.modules if name.startswith("fedmed.")]))
"""


def test_a_light_device_needs_neither_heavy_packages_nor_a_newer_python():
    rooms = ("fedmed.edge", "fedmed.dicom.results", "fedmed.store.audit")
    done = subprocess.run([sys.executable, "-c", PROGRAM, *rooms], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_the_check_would_see_a_heavy_import():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "fedmed.simulate"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
