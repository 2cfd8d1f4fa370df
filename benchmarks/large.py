"""Images larger than memory, from file to file, against the parts of the work alone.

    python benchmarks/large.py tiff [GIGAPIXELS ...]
    python benchmarks/large.py npy

``tiff`` makes tiled RGB BigTIFFs of 0.1 and 10 gigapixels whose tile offsets point at the
same 64 tiles again and again, so that they are small on disk and take all their
time to decode. Each is segmented into 8 clusters by a process of its own, whose peak of
resident memory is told. The parts are measured with the same threads and the same regions:
decoding alone, counting, looking up and encoding of what was decoded before.

``npy`` makes a 2-gigapixel uint16 array of 4 GB, and compares with a threaded copy of it.
The first pixels of every output are compared with ``fastseg.segment`` of an image in
memory before any time is told. Files are made in FASTSEG_BENCH (by default a temporary
folder) and removed. Linux only.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import fastseg
from fastseg.backends import backend_named
from fastseg.io.chunked import LabelPlan, cut, regions, shape_of
from fastseg.io.opening import create_labels, open_image
from fastseg.io.tiff_tags import LONG, LONG8, SHORT, Directories, Tag
from fastseg.kernels.cpu.threads import resolve_n_threads

TILE, N_TILES, K = 1024, 64, 8
SAMPLE = 100  # regions that the parts are measured on


def photograph_tiles():
    """Tiles of a photograph blown up, in 64 pieces, with a camera's noise."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")]
    for number in range(N_TILES):
        picture = pictures[number % 2]
        left, top = rng.integers(0, picture.width - 256), rng.integers(0, picture.height - 256)
        piece = picture.crop((left, top, left + 256, top + 256))
        pixels = np.asarray(piece.resize((TILE, TILE), Image.Resampling.BICUBIC), np.int16)
        noise = np.rint(rng.normal(0, 1.5, pixels.shape)).astype(np.int16)
        yield np.clip(pixels + noise, 0, 255).astype(np.uint8)


def make_tiff(path, side):
    """A BigTIFF of side x side tiles that repeat those there are."""
    import imagecodecs

    rng = np.random.default_rng(1)
    with open(path, "wb") as file:
        directories = Directories(file, big=True)
        places = []
        for pixels in photograph_tiles():
            data = imagecodecs.deflate_encode(pixels.tobytes(), 6)
            places.append((file.tell(), len(data)))
            file.write(data)
        which = rng.integers(0, len(places), side * side)
        offsets, sizes = np.array(places, np.uint64)[which].T
        length = side * TILE
        directories.append([
            Tag.of(256, LONG, length), Tag.of(257, LONG, length), Tag.of(258, SHORT, [8, 8, 8]),
            Tag.of(259, SHORT, 8), Tag.of(262, SHORT, 2), Tag.of(277, SHORT, 3),
            Tag.of(284, SHORT, 1), Tag.of(322, LONG, TILE), Tag.of(323, LONG, TILE),
            Tag.of(324, LONG8, offsets), Tag.of(325, LONG8, sizes),
        ])  # fmt: skip


def segment(path, output):
    """Segment in a process of its own; what its --json says, and its time on processors."""
    command = [sys.executable, "-m", "fastseg", "segment", path, output, "-k", str(K)]
    command += ["--seed", "0", "--json", "--overwrite", "--memory", "1GiB"]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout) | {"wall": wall, "processors": processors}


def timed(work):
    """Seconds by the clock and on processors of some work."""
    started, before = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - started, time.process_time() - before])


def by_threads(work, items):
    """Call work for each item, by all threads."""
    with ThreadPoolExecutor(resolve_n_threads()) as pool:
        list(pool.map(work, items))


def parts(path, folder):
    """Nanoseconds a pixel, by the clock and on processors, of each part with all threads."""
    with open_image(path) as image:
        step = cut(image.grid, image.block, image.block, image.pixel_bytes)
        chosen = regions(image.grid, step)[:SAMPLE]
        n = sum(np.prod(shape_of(region)) for region in chosen)
        image.read(chosen[0])
        decode = timed(lambda: by_threads(image.read, chosen))
        held = [image.read(region)[0].reshape(-1, 3) for region in chosen[:20]]
        shapes = [shape_of(region) for region in chosen[:20]]
        plan = LabelPlan(image.grid, np.dtype(np.uint8), like=image)
        m = sum(map(len, held))
        counter = backend_named("cpu").counter(np.dtype(np.uint8), 3)
        counter.add(np.concatenate(held))
        count = timed(lambda: [counter.add(pixels) for pixels in held])
        values, _ = counter.distinct()
        table = (np.arange(len(values)) % K).astype(np.uint8)
        labels = [np.empty(len(pixels), np.uint8) for pixels in held]
        counter.look_up(held[0], table, labels[0])
        look_up = timed(
            lambda: [
                counter.look_up(*each) for each in zip(held, [table] * 20, labels, strict=True)
            ]
        )
        model = fastseg.segment(held[0][None], K, random_state=0)
        labels = [
            model.predict(pixels[None]).reshape(shape)
            for pixels, shape in zip(held, shapes, strict=True)
        ]
        with create_labels(f"{folder}/encoded.tif", plan, overwrite=True) as writer:
            encode = timed(
                lambda: by_threads(
                    lambda i: writer.encode(chosen[i], labels[i]), range(len(labels))
                )
            )
            writer.finish()
    times = {"decode": decode / n, "count": count / m, "look-up": look_up / m, "encode": encode / m}
    return {name: 1e9 * value.astype(float) for name, value in times.items()}


def run_tiff(sizes):
    with tempfile.TemporaryDirectory(dir=os.environ.get("FASTSEG_BENCH")) as folder:
        peaks = {}
        for size in sizes:
            side = round((size * 1e9) ** 0.5 / TILE)
            path, output = f"{folder}/image.tif", f"{folder}/labels.tif"
            make_tiff(path, side)
            n = (side * TILE) ** 2
            # Other work on the machine comes and goes: before and after.
            before = parts(path, folder)
            found = segment(path, output)
            after = parts(path, folder)
            check(path, output, found)
            each = {name: (before[name] + after[name]) / 2 for name in before}
            whole = 2 * each["decode"] + each["count"] + each["look-up"] + each["encode"]
            words = ", ".join(f"{name} {value[0]:.2f}" for name, value in each.items())
            clock, processors = 1e9 * found["wall"] / n, 1e9 * found["processors"] / n
            peaks[size] = found["peak_memory"]
            print(
                f"{n / 1e9:.2f} gigapixels, {os.path.getsize(path) / 1e6:.0f} MB, labels"
                f" {os.path.getsize(output) / 1e6:.0f} MB: {found['wall']:.1f} s, {clock:.2f} ns a"
                f" pixel; alone, with the same threads: {words}; {clock / whole[0]:.2f} of their"
                f" sum ({processors / whole[1]:.2f} in processor time),"
                f" {clock / each['decode'][0]:.2f} of one decode; peak {peaks[size] / 2**20:.0f}"
                " MiB",
                flush=True,
            )
            os.unlink(path)
            os.unlink(output)
        first, last = sizes[0], sizes[-1]
        print(f"peak at {last} gigapixels over that at {first}: {peaks[last] / peaks[first]:.3f}")


def check(path, output, found):
    """The labels of a corner are those of the nearest centre, all pixels are counted."""
    with open_image(path) as image, open_image(output) as written:
        corner = tuple(slice(0, 2 * TILE) for _ in image.grid)
        pixels, _ = image.read(corner)
        centers = np.array(found["centers"])
        far = ((pixels[..., None, :].astype(np.float64) - centers) ** 2).sum(axis=-1)
        colors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in found["colors"]])
        assert (colors[far.argmin(axis=-1)] == written.read(corner)[0]).all()
        assert sum(found["counts"]) == image.n_pixels


def run_npy():
    with tempfile.TemporaryDirectory(dir=os.environ.get("FASTSEG_BENCH")) as folder:
        path, output = f"{folder}/image.npy", f"{folder}/labels.npy"
        shape = (40_000, 50_000)
        assert shutil.disk_usage(folder).free > 12e9
        mapped = np.lib.format.open_memmap(path, "w+", np.uint16, shape)
        rng = np.random.default_rng(0)
        row = rng.normal(20_000, 6_000, (400, shape[1])).clip(0, 65535).astype(np.uint16)
        for start in range(0, shape[0], len(row)):
            mapped[start : start + len(row)] = np.roll(row, start, axis=1)
        mapped.flush()
        del mapped
        n = shape[0] * shape[1]
        copies, runs = [], []
        for _ in range(3):
            copies.append(copy_seconds(path, f"{folder}/copy.npy"))
            runs.append(segment(path, output))
        copied, found = min(copies), min(runs, key=lambda found: found["wall"])
        labels = np.load(output, mmap_mode="r")
        centers = np.array(found["centers"])[:, 0]
        nearest = np.abs(row[:, :, None] - centers).argmin(axis=-1)
        assert (labels[: len(row)] == nearest).all()
        assert sum(found["counts"]) == n
        work = found["seconds"]["count"] + found["seconds"]["labels"]
        print(
            f"{n / 1e9:.1f} gigapixels of uint16: counted and labelled in {work:.2f} s,"
            f" {n / work / 1e6:.0f} Mpx/s; whole process {found['wall']:.2f} s; a threaded copy of"
            f" the file {copied:.2f} s, {n / copied / 1e6:.0f} Mpx/s, of which it is"
            f" {copied / work:.2f}; peak {found['peak_memory'] / 2**20:.0f} MiB"
        )


def copy_seconds(path, copy):
    """Time of a copy by all threads, in pieces as large as regions."""
    size, piece = os.path.getsize(path), 2**23

    def work(start):
        with open(path, "rb") as file:
            data = os.pread(file.fileno(), piece, start)
        os.pwrite(descriptor, data, start)

    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        return timed(lambda: by_threads(work, range(0, size, piece)))[0]
    finally:
        os.close(descriptor)
        os.unlink(copy)


if __name__ == "__main__":
    what, *sizes = sys.argv[1:] or [""]
    if what == "tiff":
        run_tiff([float(size) for size in sizes] or [0.1, 10.0])
    elif what == "npy":
        run_npy()
    else:
        sys.exit(__doc__)
    print(f"commit {subprocess.getoutput('git rev-parse --short HEAD')}, {Path.cwd().name}")
