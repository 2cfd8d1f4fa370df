"""Run the examples and keep their pictures, small, for the documentation: `make gallery`.

The lessons on a flower, a healthy brain and a tumour were made for data that is not ours to
ship. Their pictures are of a flower that scikit-learn ships, and of the template MNI152 that
nilearn ships, with a bright disc painted in.
"""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

ROOT = Path(__file__).parents[1]
PICTURES = Path(__file__).parent / "examples"
BYTES = 100_000


def write_inputs(folder):
    """Write the matrices that some of the examples read."""
    grey = Image.fromarray(load_sample_image("flower.jpg")).convert("L")
    flower = grey.crop((160, 60, 460, 360)).resize((50, 50), Image.Resampling.BOX)
    data = Path(find_spec("nilearn").origin).parent / "datasets" / "data"
    head = nibabel.load(data / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    healthy, other = (np.asarray(head.dataobj)[:, ::-1, k].T.astype(float) for k in (85, 80))
    rows, columns = np.indices(other.shape)
    disc = np.hypot(rows - 100, columns - 60) < 16
    # Fluid is what is bright in the course's scans, so the template is shown inverted.
    healthy, other = (np.where(scan > 0, 270 - scan, 0) / 255 for scan in (healthy, other))
    other[disc] = 0.95
    matrices = {"flower": np.asarray(flower) / 255, "healthy": healthy, "tumor": other}
    for name, matrix in matrices.items():
        np.savetxt(folder / f"{name}.csv", matrix, fmt="%.9g", delimiter=",")


def keep(picture):
    """Write a picture as a JPEG file small enough to be kept in the repository."""
    target = PICTURES / f"{picture.stem}.jpg"
    with Image.open(picture) as image:
        for width, quality in ((1100, 88), (1100, 75), (900, 75), (900, 65)):
            small = image.convert("RGB")
            small.thumbnail((width, width), Image.Resampling.LANCZOS)
            small.save(target, quality=quality, optimize=True)
            if target.stat().st_size < BYTES:
                return
    raise SystemExit(f"{target} is larger than {BYTES} bytes")


def main():
    """Run every example in a folder of its own, and keep what it leaves."""
    inputs = {
        "flower": ["flower.csv"],
        "healthy_brain": ["healthy.csv"],
        "tumor": ["healthy.csv", "tumor.csv"],
        "compare_methods": ["healthy.csv"],
        "huge_image": [".", "2048"],
    }
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        for script in sorted((ROOT / "examples").glob("*.py")):
            words = inputs.get(script.stem, [])
            print(f"== {script.stem}", flush=True)
            subprocess.run([sys.executable, script, *words], cwd=folder, check=True)
            keep(folder / f"{script.stem}.png")


if __name__ == "__main__":
    main()
