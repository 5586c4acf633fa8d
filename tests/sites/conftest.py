from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteSite = Callable[..., Path]


@pytest.fixture
def write_site(tmp_path: Path) -> WriteSite:
    """Writes a site's folder: PNG images named by the manifest's rows, then the manifest as given."""

    def write(name: str, manifest: str, shape: tuple[int, int] = (12, 12)) -> Path:
        folder = tmp_path / "sites" / name
        folder.mkdir(parents=True)
        for number, line in enumerate(manifest.splitlines()[1:]):
            target = folder / line.split(",")[0]
            if target.suffix == ".png" and target.parent == folder:
                values = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
                Image.fromarray(values).save(target)
        (folder / "manifest.csv").write_text(manifest)
        return folder

    return write
