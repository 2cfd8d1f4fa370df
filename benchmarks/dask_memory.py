"""Memory of the client and the scheduler where a Dask cluster segments images.

    python benchmarks/dask_memory.py [MEGAPIXELS ...]

Starts a scheduler and two workers of one thread, and segments images of several sizes into
8 clusters: 8-bit colours that repeat, from Zarr to Zarr by ``fastseg segment --dask``, and
float32 colours that do not, which workers make themselves, in ten rounds of Lloyd's
iterations. Told are the peaks of resident memory of the client's whole process, Python and
libraries included, of the scheduler, and of the larger worker, beside what the pixels take.
The labels of the first 1,000 rows are compared with those of the clusters' model in memory
before. Files are made in FASTSEG_BENCH (by default a temporary folder) and removed. Linux only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

import fastseg

CHUNK, WIDTH = 1024, 16_384
ROUNDS = """
import sys, dask.array as da, numpy as np, fastseg
from distributed import Client
from fastseg.memory import peak_memory
with Client(sys.argv[1]) as client:
    rng = da.random.default_rng(0)
    shape = (int(sys.argv[2]), {width}, 3)
    image = rng.random(shape, dtype=np.float32, chunks=({chunk}, {chunk}, 3))
    result = fastseg.segment(
        image, 8, init=np.linspace(0, 1, 24).reshape(8, 3), max_iter=10, tol=0,
        callback=lambda *_: None,
    )
    assert result.counts.sum() == shape[0] * shape[1]
    first = image[:64].compute()
    assert (result.predict(first) == result.labels[:64].compute()).all()
    print(peak_memory())
"""


def environment():
    return {**os.environ, "PYTHONWARNINGS": "ignore"}


def start(folder):
    """Scheduler and workers as processes of their own, and the scheduler's address."""
    program = [sys.executable, "-m", "distributed.cli."]
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    run = lambda name, *more: subprocess.Popen(  # noqa: E731
        [*program[:2], program[2] + name, *common, *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=environment(),
    )  # fmt: skip
    processes = [run("dask_scheduler", "--port", "0")]
    while not file.exists():
        time.sleep(0.1)
    for _ in range(2):
        processes.append(run("dask_worker", "--nthreads", "1", "--no-nanny"))
    return processes, json.loads(file.read_text())["address"]


def peak(process):
    """Megabytes of resident memory at most, since it was last asked."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def make(path, height):
    """8-bit colours: some 200,000 distinct ones, the same in every image."""
    y, x = np.mgrid[0:CHUNK, 0:WIDTH]
    band = np.stack([x // 64 % 256, y // 4 % 256, (x + y) // 97 % 64], axis=-1).astype(np.uint8)
    stored = zarr.create_array(
        store=str(path), shape=(height, WIDTH, 3), chunks=(CHUNK, CHUNK, 3), dtype="u1"
    )
    for row in range(0, height, CHUNK):
        stored[row : row + CHUNK] = band[: height - row]


def counted(folder, height, address):
    """Segment a Zarr image; the client's peak in MB."""
    make(folder / "in.zarr", height)
    command = [sys.executable, "-m", "fastseg", "segment", "in.zarr", "out.zarr", "-k", "8"]
    command += ["--seed", "0", "--model", "m.json", "--json", "--overwrite", "--dask", address]
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, env=environment()
    )
    rows = slice(0, 1000)
    image, labels = (zarr.open_array(folder / name, mode="r") for name in ("in.zarr", "out.zarr"))
    model = fastseg.load_model(folder / "m.json")
    assert (model.predict(image[rows]) == labels[rows]).all()
    shutil.rmtree(folder / "in.zarr")
    shutil.rmtree(folder / "out.zarr")
    (folder / "m.json").unlink()
    return json.loads(done.stdout)["peak_memory"] / 2**20


def iterated(folder, height, address):
    """Segment floats in rounds; the client's peak in MB."""
    code = ROUNDS.format(width=WIDTH, chunk=CHUNK)
    command = [sys.executable, "-c", code, address, str(height)]
    done = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, env=environment()
    )
    return int(done.stdout) / 2**20


def main():
    sizes = [int(each) for each in sys.argv[1:]] or [32, 128, 512]
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("FASTSEG_BENCH")))
    print(f"{'case':<22}{'pixels':>9}{'image':>9}{'client':>9}{'scheduler':>11}{'worker':>9}")
    try:
        for name, work, pixel_bytes in (
            ("counted, uint8", counted, 3),
            ("rounds, float32", iterated, 12),
        ):
            for megapixels in sizes:
                height = megapixels * 2**20 // WIDTH
                processes, address = start(folder)
                try:
                    client = work(folder, height, address)
                    scheduler, *workers = [peak(process) for process in processes]
                finally:
                    for process in reversed(processes):
                        process.terminate()
                        process.wait()
                    (folder / "scheduler.json").unlink(missing_ok=True)
                print(
                    f"{name:<22}{megapixels:>6} Mi{megapixels * pixel_bytes:>6} MB"
                    f"{client:>6.0f} MB{scheduler:>8.0f} MB{max(workers):>6.0f} MB",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
