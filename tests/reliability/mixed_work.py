"""A bit of everything that fastseg does, for the tests that do it for long, or many at once.

Each piece of work takes some ten milliseconds and returns what it found, which is the same
whenever and wherever it is done. It writes into a folder of its own, which is empty before.
"""

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import rasterio
import tifffile
import zarr
from PIL import Image

import fastseg
from fastseg.semi_supervised import ClusterLabeler

HEIGHT, WIDTH = 120, 160
OPTIONS = fastseg.FileOptions(memory="512MiB")


def fingerprint(*found):
    """Digest of arrays, their types and shapes, and of numbers and words."""
    seen = hashlib.sha256()
    for each in found:
        array = np.asarray(each)
        seen.update(f"{array.dtype} {array.shape}".encode())
        seen.update(np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()


class Inputs:
    """Images as arrays, and as files in a folder."""

    def __init__(self, folder):
        rng = np.random.default_rng(11)
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        waves = [40 * np.sin(x / 17 + c) + 40 * np.cos(y / (9 + c)) + 128 for c in range(3)]
        self.photo = (np.stack(waves, -1) + rng.normal(0, 6, (HEIGHT, WIDTH, 3))).astype(np.uint8)
        self.grey = self.photo[..., 0].copy()
        self.deep = (
            self.photo[..., 1].astype(np.uint16) * 211 + rng.integers(0, 50, self.grey.shape)
        ).astype(np.uint16)
        self.floats = (self.photo / 255 + rng.random(self.photo.shape) / 99).astype(np.float32)
        self.holes = self.floats.copy()
        self.holes[rng.random(self.grey.shape) < 0.05, 1] = np.nan
        self.mask = (x - 80) ** 2 + (y - 60) ** 2 < 3000
        self.scan = np.repeat(self.grey[:40, :50, None], 6, 2) + np.arange(6, dtype=np.uint8)
        self.points = rng.normal(rng.integers(0, 4, (2000, 1)), 0.3, (2000, 2))
        self.folder = Path(folder)
        self._write_files()

    def _write_files(self):
        Image.fromarray(self.photo).save(self.folder / "photo.png")
        tifffile.imwrite(
            self.folder / "photo.tif", self.photo, tile=(64, 64), compression="deflate"
        )
        np.save(self.folder / "photo.npy", self.photo)
        stored = zarr.create_array(
            str(self.folder / "photo.zarr"), shape=self.photo.shape, chunks=(50, 50, 3), dtype="u1"
        )
        stored[:] = self.photo
        nibabel.save(nibabel.Nifti1Image(self.scan, np.eye(4)), self.folder / "scan.nii.gz")
        tifffile.imwrite(self.folder / "floats.tif", self.floats, tile=(64, 64))
        form = {"width": WIDTH, "height": HEIGHT, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
        place = rasterio.Affine(10, 0, 5e5, 0, -10, 5e6)
        with rasterio.open(self.folder / "map.tif", "w", transform=place, **form) as file:
            file.write(np.moveaxis(self.photo, -1, 0))
        for name in ("photo.png", "photo.tif", "photo.npy", "scan.nii.gz"):
            content = (self.folder / name).read_bytes()
            (self.folder / f"cut_{name}").write_bytes(content[: len(content) // 2])
        (self.folder / "cut.json").write_text('{"format": "fastseg')

    def path(self, name):
        return str(self.folder / name)


def rows_of(image):
    return image.reshape(-1, image.shape[-1] if image.ndim == 3 else 1)


# In memory: any number of threads may be at these at once.


def k_means_of(name):
    def work(inputs, folder):
        rows = rows_of(getattr(inputs, name))
        return fingerprint(*fastseg.k_means(rows, 5, random_state=3, tol=1e-2, n_threads=2))

    return work


def estimator(inputs, folder):
    rows = rows_of(inputs.floats)[::7].copy()
    weights = np.linspace(1, 2, len(rows))
    model = fastseg.KMeans(4, init="random", n_init=2, random_state=0, tol=1e-2).fit(
        rows, sample_weight=weights
    )
    found = model.predict(rows), model.transform(rows[:50]), model.score(rows)
    return fingerprint(model.cluster_centers_, model.labels_, model.inertia_, *found)


def mini_batches(inputs, folder):
    rows = rows_of(inputs.floats)
    model = fastseg.MiniBatchKMeans(4, random_state=1, max_iter=3).fit(rows)
    for batch in np.array_split(rows, 4):
        model.partial_fit(batch)
    return fingerprint(model.cluster_centers_, model.predict(rows))


def labeler(inputs, folder):
    known = np.full(len(inputs.points), -1)
    known[::40] = inputs.points[::40, 0].round().clip(0, 3)
    return fingerprint(ClusterLabeler(12, random_state=0).fit(inputs.points, known).transduction_)


def colours(inputs, folder):
    result = fastseg.segment(inputs.photo, 6, random_state=0)
    again = result.predict(inputs.photo[::-1].copy())
    return fingerprint(result.labels, result.centers, result.recolor(), again)


def lab(inputs, folder):
    result = fastseg.segment(inputs.photo // 8 * 8, 4, random_state=0, color_space="lab")
    return fingerprint(result.labels, result.centers)


def optimum(inputs, folder):
    result = fastseg.segment(inputs.grey, 4, foreground="auto")
    return fingerprint(result.labels, result.centers, result.method)


def deep_optimum(inputs, folder):
    return fingerprint(fastseg.segment(inputs.deep, 5, mask=inputs.mask).labels)


def ward(inputs, folder):
    result = fastseg.segment(inputs.grey, 4, method="ward")
    return fingerprint(result.labels, result.linkage, result.tree.cut(7))


def ward_of_prototypes(inputs, folder):
    result = fastseg.segment(inputs.photo, 3, method="ward", prototypes=50, random_state=0)
    return fingerprint(result.labels)


def holes(inputs, folder):
    result = fastseg.segment(inputs.holes, 4, random_state=0, standardize=True, tol=1e-2)
    return fingerprint(result.labels, result.centers)


def unknown_k(inputs, folder):
    return fingerprint(fastseg.segment(inputs.grey, "auto").labels)


def scanned(inputs, folder):
    found = fastseg.scan(inputs.photo, range(2, 6), random_state=0)
    return fingerprint(found.inertia, found.silhouette, found.best)


def after_labels(inputs, folder):
    result = fastseg.segment(inputs.grey, 3)
    found = fastseg.objects(result, min_size=3)
    clean = fastseg.remove_specks(result, 9)
    return fingerprint(
        found.instances, found.boxes, clean, fastseg.distance_map(inputs.grey, result)
    )


def stopped(inputs, folder):
    """By a callback at each moment in turn that it is called."""
    for moment in range(3):
        calls = []

        def see(*_, calls=calls, moment=moment):
            calls.append(1)
            return len(calls) > moment

        try:
            fastseg.segment(inputs.photo, 30, random_state=0, n_init=9, callback=see)
        except fastseg.Stopped:
            continue
        raise AssertionError("it was not stopped")
    return ""


def refused(inputs, folder):
    """What cannot be: each is an error, and the next call works."""
    wrong = [
        lambda: fastseg.segment(inputs.photo, 10**6),
        lambda: fastseg.segment(inputs.photo, 3, method="nonsense"),
        lambda: fastseg.segment(inputs.photo, 3, mask=inputs.mask[:5]),
        lambda: fastseg.segment(inputs.photo.astype(str), 3),
        lambda: fastseg.k_means(rows_of(inputs.holes), 3),
        lambda: fastseg.KMeans(3).predict(inputs.points),
        lambda: fastseg.KMeans(-1).fit(inputs.points),
        lambda: fastseg.MiniBatchKMeans(3).fit(rows_of(inputs.holes)),
        lambda: fastseg.segment(inputs.photo, 3, callback=lambda *_: 1 / 0),
    ]
    kinds = []
    for call in wrong:
        try:
            call()
        except (ValueError, TypeError, ZeroDivisionError, AttributeError) as error:
            kinds.append(type(error).__name__)
    assert len(kinds) == len(wrong), kinds
    return fingerprint(*kinds)


IN_MEMORY = [
    *map(k_means_of, ("photo", "grey", "deep", "floats", "points")),
    estimator, mini_batches, labeler, colours, lab, optimum, deep_optimum, ward, ward_of_prototypes,
    holes, unknown_k, scanned, after_labels, stopped, refused,
]  # fmt: skip


# From file to file, with pictures, and through other libraries.


def from_file_to_file(source, suffix):
    def work(inputs, folder):
        path, output, model = inputs.path(source), folder / f"labels{suffix}", folder / "model.json"
        options = OPTIONS
        if suffix == ".tif":
            options = replace(OPTIONS, preview=folder / "preview.png", pyramid=True)
        result = fastseg.segment_file(
            path, output, 4, random_state=0, tol=1e-2, model=model, options=options
        )
        loaded = fastseg.load_model(model)
        again = fastseg.predict_file(loaded, path, folder / f"again{suffix}", options=OPTIONS)
        return fingerprint(result.centers, result.counts, again.counts, loaded.predict(path))

    return work


def many_files(inputs, folder):
    files = [inputs.path(name) for name in ("photo.png", "photo.tif", "photo.npy", "photo.zarr")]
    return fingerprint(fastseg.fit_files(files, 5, random_state=0, options=OPTIONS).centers)


def saved(inputs, folder):
    result = fastseg.segment(
        inputs.path("photo.tif"), 4, random_state=0, names=["a", "b", "c", "d"]
    )
    result.save(folder / "model.json")
    model = fastseg.load_model(folder / "model.json")
    return fingerprint(model.predict(inputs.path("photo.png")), model.palette())


def damaged(inputs, folder):
    """Files cut off, not there or there already: an error, and nothing is left behind."""
    (folder / "there.png").write_bytes(b"")
    wrong = [
        *(
            (inputs.path(f"cut_{name}"), folder / "out.png")
            for name in ("photo.png", "photo.tif", "photo.npy", "scan.nii.gz")
        ),
        (inputs.path("none.tif"), folder / "out.tif"),
        (inputs.path("photo.tif"), folder / "there.png"),
        (inputs.path("photo.tif"), folder / "out.jpg"),
    ]
    kinds = []
    for source, output in wrong:
        try:
            fastseg.segment_file(source, output, 3, random_state=0, options=OPTIONS)
        except (ValueError, OSError) as error:
            kinds.append(type(error).__name__)
    assert len(kinds) == len(wrong), kinds
    try:
        fastseg.load_model(inputs.path("cut.json"))
    except ValueError:
        pass
    else:
        raise AssertionError("a damaged model was loaded")
    assert [path.name for path in folder.iterdir()] == ["there.png"]
    return fingerprint(*kinds)


def stopped_between_files(inputs, folder):
    for suffix in (".tif", ".zarr", ".npy", ".nii.gz"):
        seen = []

        def see(stage, *_, seen=seen):
            seen.append(stage)
            return stage == "labels"

        source = "scan.nii.gz" if suffix == ".nii.gz" else "photo.tif"
        try:
            fastseg.segment_file(
                inputs.path(source),
                folder / f"o{suffix}",
                3,
                random_state=0,
                options=OPTIONS,
                callback=see,
            )
        except fastseg.Stopped:
            continue
        raise AssertionError(f"it was not stopped: {seen}")
    assert not list(folder.iterdir())
    return ""


def pictures(inputs, folder):
    result = fastseg.segment(inputs.photo[::4, ::4], 3, random_state=0)
    fastseg.report(inputs.photo[::4, ::4], result, folder / "report.png")
    fastseg.scan(inputs.grey, range(2, 5)).plot(folder / "scree.png")
    tree = fastseg.segment(inputs.grey, 3, method="ward")
    fastseg.dendrogram(tree, folder / "tree.png")
    compared = fastseg.compare(inputs.grey, 3, methods=["lloyd", "optimal"], random_state=0)
    return fingerprint(compared.agreement, compared.best)


def other_libraries(inputs, folder):
    """In the place of scikit-learn's k-means, beside its own, and arrays of Dask and xarray."""
    import dask.array as da
    import xarray as xr
    from sklearn.cluster import BisectingKMeans, SpectralClustering, SpectralCoclustering

    few = inputs.points[::10]
    fastseg.patch_sklearn()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of graphs that are not connected
            found = [
                SpectralClustering(3, random_state=0, affinity="nearest_neighbors")
                .fit(few)
                .labels_,
                SpectralCoclustering(2, random_state=0).fit(np.abs(few)).row_labels_,
                BisectingKMeans(4, random_state=0).fit(few).labels_,
            ]
    finally:
        fastseg.unpatch_sklearn()
    named = xr.DataArray(inputs.photo, dims=("y", "x", "band"))
    found.append(fastseg.segment(named, 3, random_state=0).labels.values)
    lazy = da.from_array(inputs.photo, chunks=(50, 80, 3))
    found.append(fastseg.segment(lazy, 3, random_state=0).labels.compute(scheduler="threads"))
    return fingerprint(*found)


WITH_FILES = [
    from_file_to_file("photo.png", ".png"),
    from_file_to_file("photo.tif", ".tif"),
    from_file_to_file("photo.npy", ".npy"),
    from_file_to_file("photo.zarr", ".zarr"),
    from_file_to_file("photo.tif", ".ome.zarr"),
    from_file_to_file("scan.nii.gz", ".nii.gz"),
    from_file_to_file("floats.tif", ".npy"),
    from_file_to_file("map.tif", ".tif"),
    many_files, saved, damaged, stopped_between_files,
]  # fmt: skip

SLOW = [pictures, other_libraries]
