"""A federation trained from packed shards is, to the last bit, the one trained from what was packed."""

from __future__ import annotations

from pathlib import Path

from fedmed.cli.pack import Options
from fedmed.cli.pack import run as pack
from fedmed.config.loading import load
from fedmed.dicom.synthetic.ct_phantom import Protocol, synthesise, write
from fedmed.dicom.synthetic.phantom import write_hospitals
from fedmed.simulate.run import Request, simulate

TRAINED = """
training: {optimiser: adam, learning_rate: 0.01, batch_size: 4, epochs: 1}
evaluation: {baselines: false}
engine: {workers: 0, device: cpu}
"""
NODULES = f"""
name: nodules
title: Small nodules
rounds: 2
data:
  reader: nodules
  options: {{share: 0.2, size: [8, 16, 16], spacing_mm: [12.0, 20.0, 20.0], workers: 1}}
  split: {{test: 0.25, validation: 0.25}}
task: {{name: segmentation, model_options: {{channels: [4, 8]}}, patches: {{size: [8, 16, 16], per_case: 1}}}}
{TRAINED}"""
STUDIES = f"""
name: studies
title: Small studies
rounds: 2
data:
  reader: studies
  folder: hospitals
  options: {{size: [12, 16, 16], spacing_mm: [8.0, 20.0, 20.0], workers: 1}}
  split: {{test: 0.25, validation: 0.25}}
task: {{name: volume, model_options: {{blocks: [2, 2], growth: 8, first: 16}}}}
{TRAINED}"""
FOLDER = f"""
name: folder
title: Small films
rounds: 2
data:
  reader: folder
  folder: hospitals
  options: {{size: 32}}
task: {{name: image}}
{TRAINED}"""
AGAIN = "data={reader: shards, folder: out, split: %s}"


def both(text: str, data: Path | None, folder: Path) -> list[dict]:
    """Reports of the run on what is packed, and on the shards."""
    (folder / "own.yaml").write_text(text)
    pack(Options(str(folder / "own.yaml"), folder / "out", data, (), 1_000_000, None, True))
    scenario = load(folder / "own.yaml")
    again = load(folder / "own.yaml", (AGAIN % scenario.data.split.model_dump_json(),))
    return [simulate(Request(own, root, folder / n)) for n, own, root in (("1", scenario, data), ("2", again, folder))]


def assert_alike(first: dict, second: dict) -> None:
    assert second["model_sha256"] == first["model_sha256"]
    assert second["overall"]["metrics"] == first["overall"]["metrics"]
    assert list(second["sites"]) == list(first["sites"])
    for name, told in first["fingerprints"].items():
        assert {**second["fingerprints"][name], "parity": None} == {**told, "parity": None}


def test_dicom_studies_with_masks(tmp_path):
    first, second = both(NODULES, None, tmp_path)
    assert_alike(first, second)
    assert (sorted(first["set_aside"]), second["set_aside"]) == (sorted(first["sites"]), {})


def test_a_folder_of_dicom_studies_with_labels(tmp_path):
    protocol = Protocol(slices=8, rows=32, columns=32, gap_mm=12.0, spacing_mm=(10.0, 10.0))
    for site in ("graz", "lyon", "oslo"):
        folder = tmp_path / "data" / "hospitals" / site
        rows = ["series,label"]
        for number in range(8):
            series = synthesise(7, f"{site}{number}", protocol, 4 * (number % 2))
            write(series.slices, folder / f"{number}")
            rows.append(f"{series.slices[0].SeriesInstanceUID},{'lesion' if number % 2 else 'clear'}")
        (folder / "labels.csv").write_text("\n".join(rows))
    (tmp_path / "data" / "hospitals" / "lyon" / "7" / "0002.dcm").write_bytes(b"")
    first, second = both(STUDIES, tmp_path / "data", tmp_path)
    assert_alike(first, second)
    assert (list(first["set_aside"]), second["set_aside"]) == (["lyon"], {})


def test_dicom_images_with_labels_and_the_model_would_tell_a_difference(tmp_path):
    write_hospitals(tmp_path / "data" / "hospitals", 1, share=0.05)
    first, second = both(FOLDER, tmp_path / "data", tmp_path)
    assert_alike(first, second)
    other = simulate(Request(load(tmp_path / "own.yaml", ("seed=43",)), tmp_path / "data", tmp_path / "3"))
    assert other["model_sha256"] != first["model_sha256"]
