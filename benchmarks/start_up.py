"""Seconds from launching Python to the labels of a 1-megapixel colour picture, imports included.

    python benchmarks/start_up.py [number of later processes]

The first process compiles its kernels into an empty cache; later ones read them from there.
Both read the picture from a .npy file and segment it into eight clusters. Beside them: a
process that only imports NumPy and Numba.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEGMENT = "import numpy, fastseg, sys; fastseg.segment(numpy.load(sys.argv[1]), 8, random_state=0)"
IMPORTS = "import numpy, numba"


def seconds(code: str, picture: Path, cache: Path) -> float:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, picture], env=environment, check=True)
    return time.perf_counter() - began


def picture(side: int = 1000) -> np.ndarray:
    """Patches of colour under noise in brightness: of its pixels 2 % are distinct, as of photos."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] // 25 * 25
    patches = np.stack([255 * x / side, 255 * y / side, 128 * (x + y) / side], axis=-1)
    return (patches + rng.normal(0, 4, (side, side, 1))).clip(0, 255).astype(np.uint8)


def main(n_later: int = 9) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, cache = Path(folder) / "picture.npy", Path(folder) / "cache"
        image = picture()
        np.save(file, image)
        colors = len(np.unique(image.reshape(-1, 3), axis=0))
        print(f"{image.shape[1]} x {image.shape[0]} pixels, {colors:,} colours, k=8")
        first = seconds(SEGMENT, file, cache)
        kernels = len(list(cache.rglob("*.nbc")))
        print(f"first call ever:  {first:.2f} s, of {kernels} kernels compiled")
        later = [
            (seconds(SEGMENT, file, cache), seconds(IMPORTS, file, cache)) for _ in range(n_later)
        ]
        for words, took in zip(
            ("later processes: ", "imports alone:   "), zip(*later, strict=True), strict=True
        ):
            spread = f"{min(took):.2f} to {max(took):.2f}"
            print(f"{words} {statistics.median(took):.2f} s, median of {n_later} ({spread})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
