"""One image, one result: for all threads, layouts, pieces, and wherever it is read from."""

import hashlib

import dask.array
import numpy as np
import pytest
import tifffile
import zarr

import fastseg
from fastseg.io import chunked, read_image
from fastseg.kernels.cpu import bin_counter, color_counter, points, row_counter


def images():
    rng = np.random.default_rng(5)
    scene = rng.integers(0, 40, (30, 40, 3)).repeat(10, axis=0).repeat(10, axis=1)
    noise = rng.integers(0, 30, (300, 400, 3))
    return {
        "uint8, 3 channels": (scene + noise).astype(np.uint8),
        "uint16, 1 channel": (60 * scene + noise)[..., 0].astype(np.uint16),
        "float32, 3 channels": ((scene // 8 + noise // 8) / 7).astype(np.float32),
        "float64, 1 channel": (scene + noise)[..., 1] / 3,
        "uint8, 16 channels": rng.integers(0, 256, (120, 130, 16)).astype(np.uint8),
        "float32, 3 channels, hardly repeating": rng.random((220, 300, 3), np.float32),
    }


IMAGES = images()
K = 5


def digest(labels, centers):
    found = np.ascontiguousarray(labels), np.ascontiguousarray(centers)
    return hashlib.sha256(found[0].tobytes() + found[1].tobytes()).hexdigest()


def start(image):
    """Centres to start from: where values hardly repeat, draws go by the order of pieces."""
    rows = image.reshape(-1, image.shape[2] if image.ndim == 3 else 1)
    return rows[:: len(rows) // K][:K].astype(np.float64)


def options(image, n_threads, given):
    draws = {"init": start(image)} if given else {"init": "k-means++", "random_state": 3}
    return {"method": "lloyd", "max_iter": 12, "n_threads": n_threads, **draws}


LAYOUTS = {
    "C": lambda image: image,
    "F": np.asfortranarray,
    "reversed": lambda image: np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1],
    "every other": lambda image: image.repeat(2, axis=1)[:, ::2],
    "big-endian": lambda image: image.astype(image.dtype.newbyteorder(">")),
    "read-only": lambda image: _read_only(image),
}


def _read_only(image):
    image = image.copy()
    image.flags.writeable = False
    return image


def in_memory(image, rng, n_threads, given, folder):
    layout = LAYOUTS[list(LAYOUTS)[rng.integers(len(LAYOUTS))]]
    found = fastseg.segment(layout(image), K, **options(image, n_threads, given))
    return digest(found.labels, found.centers)


def from_dask(image, rng, n_threads, given, folder):
    chunks = (*(int(rng.integers(30, n + 1)) for n in image.shape[:2]), *image.shape[2:])
    lazy = dask.array.from_array(image, chunks=chunks)
    found = fastseg.segment(lazy, K, **options(image, n_threads, given))
    return digest(found.labels.compute(), found.centers)


def from_file(image, rng, n_threads, given, folder):
    """Files of other tiles each time."""
    kind = rng.choice(["npy", "tif", "zarr"])
    path, labels = folder / f"image.{kind}", folder / "labels.npy"
    if kind == "npy":
        np.save(path, image)
    elif kind == "tif":
        tile = tuple(16 * int(n) for n in rng.integers(1, 12, 2))
        many = image.ndim == 3
        tifffile.imwrite(
            path, image, tile=tile, photometric="minisblack",
            **({"planarconfig": "contig"} if many else {}),
        )  # fmt: skip
    else:
        chunks = (*(int(n) for n in rng.integers(20, 300, 2)), *image.shape[2:])
        _save_zarr(path, image, chunks)
    how = options(image, n_threads, given)
    memory = fastseg.FileOptions(memory=rng.choice(["512MiB", "700MiB", "2GiB"]), overwrite=True)
    found = fastseg.segment_file(path, labels, K, options=memory, **how)
    return digest(read_image(labels).pixels, found.centers)


def _save_zarr(path, image, chunks):
    stored = zarr.create_array(
        path, shape=image.shape, chunks=tuple(map(min, chunks, image.shape)), dtype=image.dtype,
        overwrite=True,
    )  # fmt: skip
    stored[:] = image


def cut_anew(monkeypatch, rng, image):
    """Other pieces: what is read and counted at once, and of integers what is summed up at once."""
    monkeypatch.setattr(chunked.cut, "__defaults__", (int(2 ** rng.uniform(13, 22)),))
    for module in (bin_counter, color_counter, row_counter):
        monkeypatch.setattr(module, "CHUNK", 128 * int(2 ** rng.uniform(4, 12)))
    if image.dtype.kind == "u":
        monkeypatch.setattr(points, "_CHUNK_WORK", int(2 ** rng.uniform(15, 25)))
        monkeypatch.setattr(points, "_MAX_CHUNK", 1024 * int(rng.integers(1, 100)))


@pytest.mark.filterwarnings("ignore:.*before it converged")
@pytest.mark.parametrize("name", IMAGES)
def test_one_hash_for_each_image(name, times, tmp_path, monkeypatch, figure):
    image, rng = IMAGES[name], np.random.default_rng(9)
    hardly = "hardly" in name or "16" in name
    # Sums of floats that hardly repeat are rounded, piece by piece.
    ways = [in_memory] if "hardly" in name else [in_memory, from_file, from_dask]
    n, found = times(9, 167), {}
    for i in range(n):
        n_threads = i % 16 + 1
        way = ways[i % len(ways)]
        cut_anew(monkeypatch, rng, image)
        found.setdefault(way(image, rng, n_threads, hardly, tmp_path), []).append(
            (way.__name__, n_threads)
        )
    assert len(found) == 1, found
    figure(
        f"fits of {name}: 1 to 16 threads, all layouts"
        + ("" if len(ways) == 1 else ", files and dask arrays in any tiles, pieces and chunks"),
        f"{n} fits, {len(found)} hash of labels and centres",
    )
