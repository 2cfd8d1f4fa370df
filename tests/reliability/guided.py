"""The parsers that are written here, fuzzed by atheris, which goes where it covers more of them.

    python guided.py TARGET FOLDER -atheris_runs=100000

An error that is not the project's own ends it, with the bytes in a file ``crash-...``.
"""

import itertools
import random
import sys
import tempfile
from pathlib import Path

import atheris
import mutation

with atheris.instrument_imports(include=["fastseg.io", "fastseg.model_file"]):
    import fastseg.io
    from fastseg.io import (
        inner_sizes,
        matrix,
        npy,
        ome_zarr,
        png,
        tiff,
        tiff_place,
        zarr_sizes,
        zarr_store,
    )
    from fastseg.model_file import read_model

from fuzzed import KINDS, check_refusal

STREAMS = ("gzip", "zlib", "bz2", "lzma")


def read_tiff(path):
    tiff.check_directories(path)
    tiff.check_segments_told(path)
    tiff_place.place_of(path)
    tiff_place.nodata_of(path, fastseg.io.image.np.dtype("u1"))


def read_png(path):
    header = png.read_header(path)
    assert header.transparent_color is None or len(header.transparent_color) in (1, 3)
    if header.n_bytes < 2**20:
        png.check_rows(path, header)


def read_zarr(path):
    folder = Path(path).parent
    ome_zarr.multiscales(path, zarr_store.attributes_of(str(folder)))


def read_chunk(path):
    data = Path(path).read_bytes()
    for codec, is_exact in itertools.product(("blosc", "zstd", "lz4", *STREAMS), (True, False)):
        try:
            unpack = zarr_sizes.unpacked(None, {"id": codec}, memoryview(data), 10, is_exact)
            assert unpack is None or len(unpack()) <= 2**21
        except (ValueError, RuntimeError) as error:  # whoever asks names the file
            check_refusal("it", ValueError(f"it: {error}"))
    assert inner_sizes.values_in(data) >= 0


# Target -> name of the file, what reads it, files to begin with, and how they are mutated.
TARGETS = {
    "tiff": ("a.tif", read_tiff, ("tiff", "ome-tiff", "geotiff"), mutation.tiff),
    "png": ("a.png", read_png, ("png",), mutation.png),
    "npy": ("a.npy", lambda path: npy.read(path, None), ("npy",), mutation.npy),
    "csv": ("a.csv", matrix.read_matrix, ("csv",), mutation.text),
    "zarr": ("zarr.json", read_zarr, ("ome-zarr-3",), mutation.json_text),
    "chunk": ("0", read_chunk, ("zarr-2", "jpeg", "webp"), mutation.damaged),
    "model": ("a.json", read_model, ("model",), mutation.json_text),
}


def main(target, folder, *options):
    name, read, kinds, rule = TARGETS[target]
    path = Path(folder) / name
    corpus = Path(tempfile.mkdtemp(dir=folder))
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            for number, tree in enumerate(KINDS[kind].make(Path(made))):
                for file, content in tree.items():
                    (corpus / f"{kind}-{number}-{file.replace('/', '-')}").write_bytes(content)

    def one(data):
        path.write_bytes(data)
        try:
            read(str(path))
        except Exception as error:
            check_refusal(str(path if target != "zarr" else path.parent), error)

    def mutated(data, most, seed):
        rng = random.Random(seed)
        return atheris.Mutate(data, most) if rng.random() < 0.5 else rule(rng, data)[:most]

    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
