"""From Zarr to Zarr on a cluster: the files of one machine, written by workers."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import distributed
import numpy as np
import pytest
import zarr
from large_files import write_ome

import fastseg
from fastseg.cli import main

SHAPE = (200, 300)


def colours(rng, shape=SHAPE, n=3):
    return (rng.random((*shape, n)) ** 2 * 40).astype(np.uint8)


@pytest.fixture
def image(tmp_path):
    pixels = colours(np.random.default_rng(3))
    zarr.create_array(store=str(tmp_path / "in.zarr"), data=pixels, chunks=(64, 64, 3))
    return pixels


@pytest.fixture
def address(dask_cluster):
    return dask_cluster.scheduler_address


@pytest.fixture
def small_tasks(monkeypatch):
    """Tasks of few chunks, so that there are many of a small image."""
    monkeypatch.setattr("fastseg.dask.files._TASK_BYTES", 1)


def files_of(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def options(address, **given):
    return fastseg.FileOptions(dask=address, **given)


@pytest.mark.parametrize(
    ("output", "given"),
    [
        ("out.zarr", {}),
        ("out.ome.zarr", {"pyramid": True}),
        ("out.zarr", {"channels": (2, 0), "compression": "none"}),
    ],
    ids=["array", "ome", "channels"],
)
def test_the_files_are_those_of_one_machine(tmp_path, image, address, small_tasks, output, given):
    how = {"n_clusters": 4, "random_state": 0, "nodata": 7}
    one, many = tmp_path / "one" / output, tmp_path / "many" / output
    one.parent.mkdir()
    many.parent.mkdir()
    expected = fastseg.segment_file(
        tmp_path / "in.zarr", one, options=fastseg.FileOptions(**given), **how
    )
    result = fastseg.segment_file(
        tmp_path / "in.zarr", many, options=options(address, **given), **how
    )
    np.testing.assert_array_equal(result.centers, expected.centers)
    np.testing.assert_array_equal(result.counts, expected.counts)
    assert result.n_left_out == expected.n_left_out
    assert files_of(many) == files_of(one)
    assert os.listdir(many.parent) == [output]


def test_shards_are_written_whole(tmp_path, address, small_tasks):
    """A shard is one file: two tasks that wrote into it would lose each other's labels."""
    pixels = colours(np.random.default_rng(5))
    zarr.create_array(
        store=str(tmp_path / "in.zarr"), data=pixels, chunks=(32, 32, 3), shards=(96, 64, 3)
    )
    fastseg.segment_file(
        tmp_path / "in.zarr", tmp_path / "out.zarr", 4, random_state=0, options=options(address)
    )
    written = zarr.open_array(tmp_path / "out.zarr", mode="r")
    assert written.shards is not None
    expected = fastseg.segment(pixels, 4, random_state=0)
    np.testing.assert_array_equal(written[:], expected.labels)


def test_colours_that_hardly_repeat_start_as_in_memory(tmp_path, address, small_tasks):
    pixels = np.random.default_rng(6).integers(0, 2**16, (310, 251, 3)).astype(np.uint16)
    zarr.create_array(store=str(tmp_path / "in.zarr"), data=pixels, chunks=(128, 128, 3))
    result = fastseg.segment_file(
        tmp_path / "in.zarr", tmp_path / "out.zarr", 3, random_state=0, options=options(address)
    )
    expected = fastseg.segment(pixels, 3, random_state=0)
    np.testing.assert_array_equal(result.centers, expected.centers)
    labels = zarr.open_array(tmp_path / "out.zarr", mode="r")[:]
    np.testing.assert_array_equal(labels, expected.labels)


def test_a_mask_and_a_model_for_other_images(tmp_path, image, address, small_tasks):
    mask = np.random.default_rng(4).random(SHAPE) < 0.6
    zarr.create_array(
        store=str(tmp_path / "mask.zarr"), data=mask.astype(np.uint8), chunks=(50, 70)
    )
    model = tmp_path / "model.json"
    fastseg.segment_file(
        tmp_path / "in.zarr", tmp_path / "out.zarr", 3, mask=tmp_path / "mask.zarr",
        random_state=0, model=model, options=options(address),
    )  # fmt: skip
    expected = fastseg.segment(image, 3, mask=mask, random_state=0)
    labels = zarr.open_array(tmp_path / "out.zarr", mode="r")[:]
    np.testing.assert_array_equal(labels, expected.labels)
    found = fastseg.predict_file(
        fastseg.load_model(model), tmp_path / "in.zarr", tmp_path / "again.zarr",
        mask=tmp_path / "mask.zarr", options=options(address),
    )  # fmt: skip
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert files_of(tmp_path / "again.zarr").keys() == files_of(tmp_path / "out.zarr").keys()
    again = zarr.open_array(tmp_path / "again.zarr", mode="r")[:]
    np.testing.assert_array_equal(again, labels)


def test_a_worker_that_is_killed_while_labels_are_written(
    tmp_path, image, address, dask_cluster, small_tasks, monkeypatch
):
    monkeypatch.setattr("fastseg.dask.files._label_region", _slow_label)
    with distributed.Client(address) as client:
        process = next(iter(client.run(os.getpid).values()))
    killed = []

    def kill(stage, done, total, info):
        if stage == "labels" and not killed:
            killed.append(stage)
        elif stage == "labels" and len(killed) == 1 and done < total:
            killed.append(os.kill(process, signal.SIGKILL))

    result = fastseg.segment_file(
        tmp_path / "in.zarr", tmp_path / "out.zarr", 4, random_state=0,
        options=options(address), callback=kill,
    )  # fmt: skip
    assert len(killed) == 2
    expected = fastseg.segment(image, 4, random_state=0)
    labels = zarr.open_array(tmp_path / "out.zarr", mode="r")[:]
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_array_equal(result.counts, expected.counts)
    assert sorted(os.listdir(tmp_path)) == ["in.zarr", "out.zarr"]


def _slow_label(region, stored, rule, writer):
    from fastseg.dask.files import _label_region

    time.sleep(0.05)
    return _label_region(region, stored, rule, writer)


def test_what_fails_leaves_nothing(tmp_path, image, address, small_tasks):
    def stop(stage, done, total, info):
        return stage == "labels"

    with pytest.raises(fastseg.Stopped):
        fastseg.segment_file(
            tmp_path / "in.zarr", tmp_path / "out.zarr", 4, options=options(address), callback=stop
        )
    assert os.listdir(tmp_path) == ["in.zarr"]
    chunk = next((tmp_path / "in.zarr" / "c" / "1").rglob("0"))
    damaged = chunk if chunk.is_file() else next(p for p in chunk.rglob("*") if p.is_file())
    damaged.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"in\.zarr: the chunk .* cannot be read"):
        fastseg.segment_file(
            tmp_path / "in.zarr", tmp_path / "out.zarr", 4, options=options(address)
        )
    assert os.listdir(tmp_path) == ["in.zarr"]


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr"])
def test_what_is_written_after_a_stop_is_removed(tmp_path, image, address, monkeypatch, name):
    """A task that runs cannot be stopped, and Zarr makes the folders that it writes into."""
    monkeypatch.setattr("fastseg.dask.files._label_region", _late_label)

    def stop(stage, done, total, info):
        return stage == "labels" and (tmp_path / "writing").exists()

    with pytest.raises(fastseg.Stopped):
        fastseg.segment_file(
            tmp_path / "in.zarr", tmp_path / name, 4, options=options(address), callback=stop
        )
    written = tmp_path / "written"
    while not written.exists():
        time.sleep(0.05)
    time.sleep(0.2)
    assert sorted(os.listdir(tmp_path)) == ["in.zarr", "writing", "written"]


class _LateWriter:
    def __init__(self, writer, folder):
        self.writer, self.folder, self.marks = writer, writer.folder, folder

    def encode(self, region, labels):
        (self.marks / "writing").touch()
        time.sleep(1)
        assert not os.path.exists(self.folder)
        self.writer.encode(region, labels)
        assert os.path.exists(self.folder)
        (self.marks / "written").touch()


def _late_label(region, stored, rule, writer):
    from fastseg.dask.files import _label_region

    folder = pathlib.Path(stored.folders[0]).parent
    return _label_region(region, stored, rule, _LateWriter(writer, folder))


def test_a_worker_that_does_not_see_the_image_says_so(tmp_path, image, address):
    """Zarr reads chunks that are not there as zeros."""

    def hide(stage, done, total, info):
        if stage == "labels" and (tmp_path / "in.zarr").exists():
            (tmp_path / "in.zarr").rename(tmp_path / "gone.zarr")

    with pytest.raises(OSError, match=r"in\.zarr: the worker on .* sees no such folder; --dask"):
        fastseg.segment_file(
            tmp_path / "in.zarr", tmp_path / "out.zarr", 4, options=options(address), callback=hide
        )
    assert os.listdir(tmp_path) == ["gone.zarr"]


def test_channels_of_several_images(tmp_path, image, address, small_tasks):
    more = colours(np.random.default_rng(9), n=1)[..., 0]
    zarr.create_array(store=str(tmp_path / "more.zarr"), data=more, chunks=(50, 64))
    paths = [tmp_path / "in.zarr", tmp_path / "more.zarr"]
    result = fastseg.segment_file(
        paths, tmp_path / "out.zarr", 3, random_state=0, options=options(address)
    )
    expected = fastseg.segment(np.dstack([image, more]), 3, random_state=0)
    np.testing.assert_array_equal(result.centers, expected.centers)
    labels = zarr.open_array(tmp_path / "out.zarr", mode="r")[:]
    np.testing.assert_array_equal(labels, expected.labels)


def test_labels_in_the_image_itself(tmp_path, address, small_tasks):
    pixels = colours(np.random.default_rng(8), n=1)[..., 0]
    for name in ("one.ome.zarr", "many.ome.zarr"):
        write_ome(tmp_path / name, 3, pixels[None, None, None])
    one, many = tmp_path / "one.ome.zarr", tmp_path / "many.ome.zarr"
    fastseg.segment_file(one, one / "labels" / "k3", 3)
    fastseg.segment_file(many, many / "labels" / "k3", 3, options=options(address))
    assert files_of(many) == files_of(one)


@pytest.mark.parametrize(
    ("names", "given", "message"),
    [
        (("in.zarr", "out.tif"), {}, "out.tif: Dask workers write Zarr alone"),
        (("in.npy", "out.zarr"), {}, "in.npy: is not Zarr"),
        (("in.zarr", "out.zarr"), {"preview": "p.png"}, "preview='p.png' .--preview. has no"),
        (("in.zarr", "out.zarr"), {"on_error": "skip"}, "on_error='skip' .--on-error. has no"),
        (("in.zarr", "in.zarr"), {"overwrite": True}, "is also an input"),
    ],
)
def test_what_is_refused(tmp_path, image, names, given, message):
    np.save(tmp_path / "in.npy", image)
    with pytest.raises(ValueError, match=message):
        fastseg.segment_file(
            tmp_path / names[0], tmp_path / names[1], 3, options=options("tcp://x:1", **given)
        )


def test_other_jobs_are_refused(tmp_path, image):
    path, given = tmp_path / "in.zarr", options("tcp://x:1")
    with pytest.raises(ValueError, match=r"sample=100 \(--sample\) has no meaning with dask"):
        fastseg.segment_file(path, tmp_path / "out.zarr", 3, sample=100, options=given)
    with pytest.raises(ValueError, match=r"\(--dask\) is not for fitting to many files"):
        fastseg.fit_files([path], 3, options=given)


@pytest.mark.parametrize("where", ["nonsense", "tcp://127.0.0.1:1"])
def test_no_scheduler(tmp_path, image, where):
    with pytest.raises(OSError, match=r"no scheduler answers there .*start one with 'dask sch"):
        fastseg.segment_file(tmp_path / "in.zarr", tmp_path / "out.zarr", 3, options=options(where))


def test_an_address_of_another_scheme_ends_at_once(tmp_path, image, address):
    wrong = address.replace("tcp://", "http://")
    program = "import sys; from fastseg.cli import main; sys.exit(main())"
    paths = [str(tmp_path / "in.zarr"), str(tmp_path / "out.zarr")]
    command = [sys.executable, "-c", program, "segment", *paths, "--dask", wrong]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "unknown address scheme 'http'" in ended.stderr


def test_the_command_line(tmp_path, image, address, capsys):
    output = tmp_path / "out.zarr"
    command = ["segment", str(tmp_path / "in.zarr"), str(output), "-k", "4", "--seed", "0"]
    assert main([*command, "--dask", address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = fastseg.segment(image, 4, random_state=0)
    assert told["counts"] == expected.counts.tolist()
    assert told["reason"] == f"asked for: the workers of {address}"
    np.testing.assert_array_equal(zarr.open_array(output, mode="r")[:], expected.labels)
    assert (
        main(["segment", str(tmp_path / "x.zarr"), str(tmp_path / "y.zarr"), "--dask", address])
        == 1
    )
    assert "no such file" in capsys.readouterr().err
