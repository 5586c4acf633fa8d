# Faults of documents that others plan by, none of which may come back; those of formulas are tested beside the formulas.
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("fedmed", "server", "clients", "edge_agents", "packaging", "scripts", "simulations", "kernels")
TEXTS = (".py", ".yaml", ".yml", ".json", ".sh", ".toml", ".md", ".service", "")


def texts(*rooms: str) -> Iterator[tuple[str, str]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts:
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("metrics that no exporter has", r"\bdcgm_gpu_utilization\b|\bnvidia_smi_utilization_gpu\b"),
        ("rules below `alerting:`, which Prometheus refuses", r"(?m)^alerting:\s*\n(\s+.*\n)*?\s+rules:"),
        ("weights that are read by running code", r"\btorch\.load\(|\bpickle\.loads?\("),
        ("an option that TensorRT 10 has no more", r"trtexec[^\n]*--workspace"),
        ("a verb that Kubernetes has not", r"verbs:\s*\[[^\]]*[\"']?\buse\b"),
    ],
)
def test_no_file_has(what, pattern):
    pattern = re.compile(pattern)
    assert [name for name, text in texts(*ROOMS) if pattern.search(text)] == [], what


def test_nobody_is_named_by_pythons_hash_which_differs_in_each_process():
    found = []
    for name, text in texts("fedmed"):
        if not name.endswith(".py"):
            continue
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.name != "__hash__":
                calls = [each for each in ast.walk(function) if isinstance(each, ast.Call)]
                found += [name for each in calls if isinstance(each.func, ast.Name) and each.func.id == "hash"]
    assert found == []
