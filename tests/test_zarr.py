"""Zarr arrays and OME-Zarr images: what is read of them, and what labels say of themselves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import zarr
from large_files import HEIGHT, WIDTH, picture, write_ome
from ome_zarr_models import open_ome_zarr

import fastseg
from fastseg.io import read_image, read_mask, zarr_store
from fastseg.io.chunked import LabelPlan, Part, regions
from fastseg.io.image import Legend
from fastseg.io.opening import check_label_output, create_labels, open_image
from fastseg.io.undisturbed import to_its_end
from fastseg.streaming.segment import segment_file

LEGEND = Legend(np.arange(12, dtype=np.uint8).reshape(4, 3), True, {1: "nuclei"})
VERSIONS = pytest.mark.parametrize(("zarr_format", "version"), [(2, "0.4"), (3, "0.5")])


def an_image(folder, zarr_format=3, shape=(1, 2, 3, HEIGHT, WIDTH), **options):
    path = folder / "in.ome.zarr"
    write_ome(path, zarr_format, picture(*shape), **options)
    return path


def write(path, like, labels, **options):
    plan = LabelPlan(like.grid, np.dtype(np.uint8), LEGEND, like, **options)
    with create_labels(path, plan) as writer:
        for region in regions(like.grid, writer.block):
            writer.write(region, writer.encode(region, labels[region]))
        writer.finish()


def label(path, source, part=Part(), **options):  # noqa: B008
    with open_image(source, part) as like:
        labels = picture(*like.grid) % 4
        write(path, like, labels, **options)
    return labels


def metadata(path, zarr_format):
    if zarr_format == 2:
        return json.loads((path / ".zattrs").read_text())
    return json.loads((path / "zarr.json").read_text())["attributes"]["ome"]


def nothing(folder, *names):
    zarr.create_group(store=str(folder / "g.zarr"))
    for name in names:
        zarr.create_array(store=str(folder / "g.zarr" / name), shape=(4, 4), dtype="u1")
    return folder / "g.zarr"


# Reading


@pytest.mark.parametrize(
    ("shape", "names", "n_channels"),
    [
        ((20, 30, 3), None, 3),
        ((20, 30, 40), None, 1),
        ((5, 20, 30), ("band", "y", "x"), 5),
        ((20, 30, 5), ("z", "y", "x"), 1),
        ((20, 5), ("y", "c"), 1),
    ],
)
def test_channels_are_the_axis_that_says_so_or_a_short_last_one(tmp_path, shape, names, n_channels):
    zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=shape, dtype="u1", dimension_names=names
    )
    with open_image(tmp_path / "a.zarr") as image:
        assert image.n_channels == n_channels


def test_the_names_that_xarray_writes_are_known(tmp_path):
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=(4, 20, 30), dtype="u1", zarr_format=2
    )
    array.attrs["_ARRAY_DIMENSIONS"] = ["channel", "y", "x"]
    with open_image(tmp_path / "a.zarr") as image:
        assert (image.grid, image.n_channels) == ((20, 30), 4)


def test_an_array_of_an_image_has_the_axes_of_the_image(tmp_path):
    path = an_image(tmp_path, 2)
    with open_image(path / "1") as image, open_image(path, Part(level=1)) as same:
        assert (image.grid, image.n_channels) == (same.grid, 2)


def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path):
    zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=(40, 40), chunks=(16, 16), dtype="u2", fill_value=9
    )
    assert (read_image(tmp_path / "a.zarr").pixels == 9).all()


def test_shards_are_read_as_a_whole_while_they_are_small(tmp_path):
    for name, size, block in (("a.zarr", 256, 256), ("b.zarr", 8192, 128)):
        zarr.create_array(
            store=str(tmp_path / name), shape=(9000, 9000), chunks=(128, 128),
            shards=(size, size), dtype="u1",
        )  # fmt: skip
        with open_image(tmp_path / name) as image:
            assert image.block == (block, block)


def test_a_level_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match="has no level 3; its 3 are 0 to 2"):
        open_image(an_image(tmp_path), Part(level=3))


def test_images_in_a_group_that_bioformats2raw_made(tmp_path):
    root = zarr.create_group(store=str(tmp_path / "a.zarr"), zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    first = write_ome(tmp_path / "a.zarr" / "0", 2, picture(1, 2, 1, 20, 30))
    write_ome(tmp_path / "a.zarr" / "1", 2, picture(1, 1, 1, 40, 50))
    with open_image(tmp_path / "a.zarr") as image:
        assert image.notes == ("Only the first of 2 series was read.",)
        np.testing.assert_array_equal(
            image.read((slice(0, 20), slice(0, 30)))[0], np.moveaxis(first[0][0, :, 0], 0, -1)
        )
    with open_image(tmp_path / "a.zarr", Part(series=1)) as image:
        assert (image.grid, image.notes) == ((40, 50), ())
    with pytest.raises(ValueError, match="has no series 2; its 2 are 0 to 1"):
        open_image(tmp_path / "a.zarr", Part(series=2))


def test_old_images_have_five_axes_without_a_word(tmp_path):
    path = an_image(tmp_path, 2)
    content = metadata(path, 2)
    del content["multiscales"][0]["axes"]
    for dataset in content["multiscales"][0]["datasets"]:
        del dataset["coordinateTransformations"]
    content["multiscales"][0]["version"] = "0.2"
    (path / ".zattrs").write_text(json.dumps(content))
    with open_image(path) as image:
        assert (image.grid, image.n_channels) == ((3, HEIGHT, WIDTH), 2)
    label(tmp_path / "out.ome.zarr", path)
    written = metadata(tmp_path / "out.ome.zarr" / "labels" / "clusters", 2)["multiscales"][0]
    scale = written["datasets"][1]["coordinateTransformations"][0]["scale"]
    assert scale == [1.0, 1.0, HEIGHT / 74, WIDTH / 106]


def test_labels_are_a_mask(tmp_path):
    path = an_image(tmp_path)
    labels = label(path / "labels" / "cells", path)
    np.testing.assert_array_equal(read_mask(path / "labels" / "cells"), labels > 0)


# What cannot be read


def test_a_group_names_its_arrays(tmp_path):
    with pytest.raises(ValueError, match=r"give one of its arrays: .*g\.zarr.a, .*g\.zarr.b"):
        open_image(nothing(tmp_path, "a", "b"))


def test_an_empty_group(tmp_path):
    with pytest.raises(ValueError, match="it holds no arrays either"):
        open_image(nothing(tmp_path))


def test_a_plate_is_many_images(tmp_path):
    path = nothing(tmp_path)
    zarr.open_group(str(path)).attrs["ome"] = {"version": "0.5", "plate": {}}
    with pytest.raises(ValueError, match="is a plate of many images; give one"):
        open_image(path)


def test_a_folder_of_that_name_that_is_no_zarr(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ValueError, match=r"is no Zarr array or group \(it holds neither zarr"):
        open_image(tmp_path / "a.zarr")


@pytest.mark.parametrize("content", ["{", "[]", '{"zarr_format": 3}', '{"node_type": "array"}'])
def test_damaged_metadata(tmp_path, content):
    path = nothing(tmp_path, "a") / "a"
    (path / "zarr.json").write_text(content)
    with pytest.raises(ValueError, match=r"damaged|no image") as caught:
        open_image(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"datasets": []}, {"datasets": [{"path": "9"}]}, {"axes": 5}, {"axes": [{"name": "y"}]},
        {"datasets": [{"path": "0", "coordinateTransformations": [{"scale": [1]}]}]},
    ],
)  # fmt: skip
def test_damaged_metadata_of_an_image(tmp_path, change):
    path = an_image(tmp_path, 2)
    content = metadata(path, 2)
    content["multiscales"][0] |= change
    (path / ".zattrs").write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        open_image(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [("c8", (4, 4), "integers or floats"), ("u1", (4,), "at least 2"), ("u1", (0, 4), "at least")],
)
def test_arrays_that_are_no_images(tmp_path, dtype, shape, words):
    zarr.create_array(store=str(tmp_path / "a.zarr"), shape=shape, chunks=(4,) * len(shape),
                      dtype=dtype)  # fmt: skip
    with pytest.raises(ValueError, match=words):
        open_image(tmp_path / "a.zarr")


def test_a_codec_of_imagecodecs_is_found(tmp_path):
    from imagecodecs.numcodecs import Jpeg2k

    values = picture(64, 64, 3)
    path = str(tmp_path / "a.zarr")
    code = (
        "import numpy, zarr; from imagecodecs import numcodecs; numcodecs.register_codecs();"
        f"zarr.create_array(store={path!r}, shape=(64, 64, 3), chunks=(32, 32, 3), dtype='u1',"
        "zarr_format=2, compressors=numcodecs.Jpeg2k(reversible=True))[:] ="
        "numpy.random.default_rng(5).integers(0, 200, (64, 64, 3)).astype('u1')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Jpeg2k.codec_id in (tmp_path / "a.zarr" / ".zarray").read_text()
    np.testing.assert_array_equal(read_image(path).pixels, values)


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("imagecodecs_nonesuch", r"'imagecodecs_nonesuch', .*fastseg\[deep\]"),
        ("zfpy_new", r"'zfpy_new', which is not installed; .* pip install zfpy"),
        ("nonesuch", r"'nonesuch', which is not installed; install the package that brings it"),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_codec_that_is_not_there_is_named(tmp_path, codec, words, zarr_format):
    path = tmp_path / "a.zarr"
    zarr.create_array(store=str(path), shape=(4, 4), dtype="u1", zarr_format=zarr_format)
    file = path / (".zarray" if zarr_format == 2 else "zarr.json")
    content = json.loads(file.read_text())
    if zarr_format == 2:
        content["compressor"] = {"id": codec}
    else:
        content["codecs"][-1] = {"name": codec, "configuration": {}}
    file.write_text(json.dumps(content))
    with pytest.raises(ImportError, match=words):
        open_image(path)


def changed(path, zarr_format, change):
    """An array whose metadata say something else."""
    zarr.create_array(store=str(path), shape=(40, 40), dtype="u1", zarr_format=zarr_format)
    file = path / (".zarray" if zarr_format == 2 else "zarr.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return path


@pytest.mark.parametrize(
    ("zarr_format", "change", "words"),
    [
        (2, {"dtype": "bad"}, "metadata is damaged .*'bad'"),
        (2, {"chunks": [-3, 4]}, "metadata is damaged .*-3, 4"),
        (3, {"codecs": []}, "metadata is damaged"),
        (3, {"attributes": 5}, "metadata is damaged"),
        (2, {"shape": [2**40, 2**40]}, "more than the limit of 274,877,906,944"),
        (3, {"shape": [2**40, 2**40]}, "more than the limit of 274,877,906,944"),
    ],
)
def test_metadata_that_cannot_be(tmp_path, zarr_format, change, words):
    path = changed(tmp_path / "a.zarr", zarr_format, change)
    with pytest.raises(ValueError, match=words) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_codecs_beyond_the_specification_are_read_without_a_warning(tmp_path):
    codecs = [{"name": "bytes"}, {"name": "numcodecs.zlib", "configuration": {"level": 1}}]
    path = changed(tmp_path / "a.zarr", 3, {"codecs": codecs})
    assert (read_image(path).pixels == 0).all()


def test_an_array_larger_than_pictures_may_be_is_not_read_as_a_whole(tmp_path):
    path = changed(tmp_path / "a.zarr", 2, {"shape": [2**19, 2**19]})
    with pytest.raises(ValueError, match=r"274,877,906,944 pixels are more than the limit"):
        read_image(path)


def test_a_chunk_of_blosc_that_is_cut_off_is_not_filled_from_elsewhere(tmp_path):
    """Blosc itself reads on behind what it is given."""
    array = zarr.create_array(
        store=str(tmp_path / "a.zarr"), shape=(64, 64), chunks=(32, 32), dtype="u1",
        compressors=zarr.codecs.BloscCodec(),
    )  # fmt: skip
    array[:] = np.random.default_rng(0).integers(0, 256, (64, 64))
    chunk = tmp_path / "a.zarr" / "c" / "1" / "0"
    content = chunk.read_bytes()
    for size in (0, 5, 16, 500):
        chunk.write_bytes(content[:size])
        with open_image(tmp_path / "a.zarr") as image:
            with pytest.raises(ValueError, match=f"c/1/0, at .* ends after {size} bytes"):
                image.read((slice(0, 64), slice(0, 64)))
            image.read((slice(0, 64), slice(32, 64)))


# Labels


@VERSIONS
def test_labels_of_an_image_stand_in_it_as_the_format_asks(tmp_path, zarr_format, version):
    path = an_image(tmp_path, zarr_format)
    labels = label(path / "labels" / "cells", path)
    label(path / "labels" / "more", path, Part(level=1))
    group = metadata(path / "labels" / "cells", zarr_format)
    assert metadata(path / "labels", zarr_format)["labels"] == ["cells", "more"]
    said = group["image-label"]
    assert said["source"] == {"image": "../../"}
    assert said["version"] == version
    assert said["colors"][0] == {"label-value": 0, "rgba": [0, 1, 2, 0]}  # left out
    assert said["colors"][1] == {"label-value": 1, "rgba": [3, 4, 5, 255]}
    assert said["properties"][1] == {"label-value": 1, "class": "nuclei"}
    (image,) = metadata(path, zarr_format)["multiscales"]
    (multiscale,) = group["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == list("tzyx")
    assert multiscale["axes"][1]["unit"] == "micrometer"
    levels = zip(multiscale["datasets"], image["datasets"], strict=True)
    for number, (own, theirs) in enumerate(levels):
        scale = theirs["coordinateTransformations"][0]["scale"]
        assert own["coordinateTransformations"][0]["scale"] == [scale[0], *scale[2:]]
        array = zarr.open_array(str(path / "labels" / "cells" / own["path"]), mode="r")
        step = 2**number
        np.testing.assert_array_equal(array[0], labels[:, ::step, ::step])
        assert array.metadata.zarr_format == zarr_format


@VERSIONS
def test_labels_of_a_level_have_as_many_levels_as_the_image(tmp_path, zarr_format, version):
    path = an_image(tmp_path, zarr_format)
    labels = label(path / "labels" / "cells", path, Part(level=1))
    datasets = metadata(path / "labels" / "cells", zarr_format)["multiscales"][0]["datasets"]
    scales = [each["coordinateTransformations"][0]["scale"][-1] for each in datasets]
    assert scales[:2] == [1.0, 2.0]
    assert scales[2] == 2.0 * 53 / 27  # half of 53, rounded up
    array = zarr.open_array(str(path / "labels" / "cells" / "2"), mode="r")
    np.testing.assert_array_equal(array[0], labels[:, ::4, ::4])


@VERSIONS
def test_what_is_written_is_valid_to_another_library(tmp_path, zarr_format, version):
    path = an_image(tmp_path, zarr_format)
    label(path / "labels" / "cells", path)
    label(tmp_path / "out.ome.zarr", path, pyramid=True)
    for image in (path, tmp_path / "out.ome.zarr"):
        found = open_ome_zarr(zarr.open_group(str(image), mode="r"))
        assert found.ome_zarr_version == version
        assert "cells" in str(found.labels.attributes) or "clusters" in str(found.labels.attributes)
    inner = open_ome_zarr(zarr.open_group(str(path / "labels" / "cells"), mode="r"))
    assert type(inner).__name__ in ("ImageLabel", "Image")


def test_labels_in_a_file_of_their_own_are_stored_once_and_show_as_an_image(tmp_path):
    path = an_image(tmp_path)
    labels = label(tmp_path / "out.ome.zarr", path)
    with open_image(tmp_path / "out.ome.zarr", Part(level=1)) as image:
        whole = tuple(slice(0, n) for n in image.grid)
        np.testing.assert_array_equal(image.read(whole)[0][..., 0], labels[:, ::2, ::2])
    arrays = [file.parent for file in (tmp_path / "out.ome.zarr").rglob("zarr.json")]
    assert len(arrays) == 3 + 3  # the levels, and the groups above them


@VERSIONS
def test_a_copy_of_all_metadata_at_the_root_is_brought_up_to_date(tmp_path, zarr_format, version):
    path = an_image(tmp_path, zarr_format)
    with warnings.catch_warnings(action="ignore"):  # version 3 does not specify it yet
        zarr.consolidate_metadata(str(path))
    labels = label(path / "labels" / "cells", path)
    root = zarr.open_consolidated(store=str(path), mode="r")
    np.testing.assert_array_equal(root["labels/cells/0"][0], labels)
    assert "cells" in str(dict(root["labels"].attrs))


def test_every_file_is_written_once(tmp_path, monkeypatch):
    """Two writers in a chunk or shard would each undo the other's half."""
    written = []
    store = zarr.storage.LocalStore
    put = store.set

    async def counted(self, key, *args, **kwargs):
        written.append((str(self.root), key))
        return await put(self, key, *args, **kwargs)

    monkeypatch.setattr(store, "set", counted)
    path = an_image(tmp_path, shards=True)
    written.clear()
    label(path / "labels" / "cells", path)
    chunks = [key for key in written if "/c/" in f"/{key[1]}"]
    assert len(chunks) == len(set(chunks)) > 10


def test_shards_are_kept(tmp_path):
    path = an_image(tmp_path, shards=True)
    label(path / "labels" / "cells", path)
    array = zarr.open_array(str(path / "labels" / "cells" / "0"), mode="r")
    assert array.shards is not None


@pytest.mark.parametrize("compression", ["zstd", "deflate", "none"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_compressions(tmp_path, compression, zarr_format):
    path = an_image(tmp_path, zarr_format)
    labels = label(tmp_path / "out.zarr", path, compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "out.zarr").pixels, labels)


def test_a_plain_array_says_what_the_labels_are(tmp_path):
    label(tmp_path / "out.zarr", an_image(tmp_path))
    said = zarr.open_array(str(tmp_path / "out.zarr"), mode="r").attrs["fastseg"]
    assert said["classes"] == {"1": "nuclei"}
    assert said["colors"][2] == [6, 7, 8]
    assert said["left_out"] == 0


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.zarr", {"pyramid": True}, r"leave out pyramid \(--pyramid\), or write \.ome\.zarr"),
        ("out.zarr", {"compression": "lzw"}, "one of zstd, deflate, none for Zarr, got 'lzw'"),
        ("other.ome.zarr/labels/cells", {}, "the labels are those of"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, options, words):
    write_ome(tmp_path / "other.ome.zarr", 3, picture(1, 1, 1, 20, 30))
    source = an_image(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=words):
        label(tmp_path / name, source, **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_image_is_never_replaced_by_labels(tmp_path):
    path = an_image(tmp_path)
    other = tmp_path / "b.ome.zarr"
    path.rename(other)
    source = an_image(tmp_path)
    with pytest.raises(ValueError, match=r"is more than an array of labels, .*labels.NAME"):
        check_label_output(other, True, [source])
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "c.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not replaced"):
        check_label_output(tmp_path / "c.zarr", True)


@pytest.mark.parametrize("name", ["in.ome.zarr", "in.ome.zarr/0", "in.ome.zarr/x.zarr"])
def test_an_output_lies_neither_in_an_input_nor_around_it(tmp_path, name):
    path = an_image(tmp_path)
    with pytest.raises(ValueError, match=r"also an input|what can be written"):
        check_label_output(tmp_path / name, True, [path])


def test_from_file_to_file_the_labels_are_those_of_the_array(tmp_path):
    path = an_image(tmp_path, shape=(1, 3, 1, 300, 400))
    expected = fastseg.segment(read_image(path), 4, random_state=0)
    found = segment_file(path, path / "labels" / "k4", 4, random_state=0)
    np.testing.assert_array_equal(found.centers, expected.centers)
    array = zarr.open_array(str(path / "labels" / "k4" / "0"), mode="r")
    np.testing.assert_array_equal(array[0, 0], expected.labels)


@pytest.mark.parametrize("name", ["out.zarr", "out.ome.zarr", "in.ome.zarr/labels/cells"])
def test_a_run_that_is_killed_leaves_what_the_next_one_clears_away(tmp_path, name):
    path = an_image(tmp_path)
    code = (
        "import os, numpy; from fastseg.io.opening import *; from fastseg.io.chunked import *\n"
        f"with open_image({str(path)!r}) as like:\n"
        "    plan = LabelPlan(like.grid, numpy.dtype('u1'), like=like)\n"
        f"    with create_labels({str(tmp_path / name)!r}, plan) as writer:\n"
        "        for region in regions(like.grid, writer.block)[:1]:\n"
        "            writer.encode(region, numpy.ones(shape_of(region), 'u1'))\n"
        "        os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode != 0
    assert not (tmp_path / name).exists()
    left = list((tmp_path / name).parent.glob(".*.part"))
    assert len(left) == 1
    with open_image(path) as image:  # it is as it was
        assert image.n_channels == 2
    labels = label(tmp_path / name, path)
    assert list((tmp_path / name).parent.glob(".*.part")) == []
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels, labels)


def test_threads_that_open_arrays_leave_the_filters_of_warnings_alone(tmp_path, monkeypatch):
    """The second would put back what the first one had set, if both went in before either left."""
    path = str(tmp_path / "a.zarr")
    zarr.create_array(path, shape=(4, 5), chunks=(4, 5), dtype="u1")
    meeting, first_is_through = threading.Barrier(2), threading.Event()
    real, filters = zarr.open_array, list(warnings.filters)

    def slow(*args, **options):
        with contextlib.suppress(threading.BrokenBarrierError):
            if meeting.wait(0.3) == 1:  # where they go one by one, nobody meets
                first_is_through.wait(0.3)
        return real(*args, **options)

    def open_one():
        zarr_store.open_array(path)
        first_is_through.set()

    monkeypatch.setattr(zarr, "open_array", slow)
    threads = [threading.Thread(target=open_one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == filters


@pytest.mark.skipif(os.name != "posix", reason="needs a timer's signal")
@pytest.mark.parametrize("moment", [1e-6, 3e-5, 1e-4, 0.05])
def test_ctrl_c_comes_when_what_zarr_does_has_ended_or_has_not_begun(moment):
    """What it still wrote afterwards would lie in a folder that was removed."""

    def interrupt(*_):
        raise KeyboardInterrupt

    begun, ended = [], []

    def work():
        begun.append(True)
        time.sleep(0.2)
        ended.append(True)

    def interrupted_after(moment):
        signal.setitimer(signal.ITIMER_REAL, moment)
        to_its_end(work)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_after(moment)
        assert begun == ended
        time.sleep(0.01)
        assert begun == ended
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_zarr_raises_and_returns_comes_through():
    assert to_its_end(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        to_its_end(lambda: 1 // 0)
