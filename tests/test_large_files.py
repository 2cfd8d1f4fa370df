"""What every format of large files has to do, whatever the format."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from large_files import IN_ONE_FILE, MAKERS, READ_WHOLE, WITH_DAMAGE, cuts

from fastseg.io import read_image
from fastseg.io.chunked import DamagedBlock, Part
from fastseg.io.opening import open_image


def name_of(maker):
    return maker.__name__


def those(makers):
    return pytest.mark.parametrize("made", makers, ids=name_of, indirect=True)


@pytest.fixture(params=MAKERS, ids=name_of)
def made(request, tmp_path):
    return request.param(tmp_path)


def whole(image):
    return tuple(slice(0, n) for n in image.grid)


def check(got, made, region):
    values, valid = got
    np.testing.assert_array_equal(values, made.values[region])
    expected = True if made.valid is None else made.valid[region]
    assert (valid is None and made.valid is None) or np.array_equal(
        valid, np.broadcast_to(expected, values.shape[:-1])
    )


def test_the_header_says_what_will_be_read(made):
    with open_image(made.path, made.part) as image:
        assert image.name == str(made.path)
        assert image.grid == made.values.shape[:-1]
        assert image.n_channels == made.values.shape[-1]
        assert image.dtype == made.values.dtype.newbyteorder("=")
        assert image.dtype.isnative
        assert (image.channel_axis is None) == (image.n_channels == 1)
        assert all(1 <= b <= n for b, n in zip(image.block, image.grid, strict=True))
        assert image.may_hide or made.valid is None


def test_any_region_holds_what_the_image_holds_there(made):
    with open_image(made.path, made.part) as image:
        for region in cuts(image.grid):
            values, valid = image.read(region)
            assert values.dtype == image.dtype
            check((values, valid), made, region)


def test_threads_read_at_once(made):
    with open_image(made.path, made.part) as image, ThreadPoolExecutor(8) as pool:
        regions = cuts(image.grid) * 2
        for region, got in zip(regions, pool.map(image.read, regions), strict=True):
            check(got, made, region)


def test_what_is_read_may_be_changed(made):
    with open_image(made.path, made.part) as image:
        values, _ = image.read(whole(image))
        np.add(values, 1, out=values.copy())
        check(image.read(whole(image)), made, whole(image))


@those(READ_WHOLE)
def test_read_as_a_whole_it_is_the_same_image(made):
    image = read_image(made.path)
    pixels = image.pixels if image.resolved_axis is not None else image.pixels[..., None]
    np.testing.assert_array_equal(pixels, made.values)
    if made.valid is not None:
        np.testing.assert_array_equal(image.valid, made.valid)
    elif image.valid is not None:
        assert image.valid.all()


def test_channels_are_chosen_in_an_order_of_ones_own(made):
    n = made.values.shape[-1]
    chosen = (n - 1, 0)
    part = Part(level=made.part.level, channels=chosen)
    with open_image(made.path, part) as image:
        assert image.n_channels == 2
        for region in cuts(image.grid)[::5]:
            np.testing.assert_array_equal(image.read(region)[0], made.values[region][..., chosen])


def test_a_channel_that_does_not_exist(made):
    n = made.values.shape[-1]
    said = rf"has no channel {n}; its {n} channels are 0 to {n - 1}$"
    with pytest.raises(ValueError, match=said):
        open_image(made.path, Part(level=made.part.level, channels=(0, n)))


@pytest.mark.parametrize("part", [Part(level=9), Part(pages=(90, 91)), Part(series=9)])
def test_a_part_that_does_not_exist(made, part):
    with pytest.raises(ValueError, match=r"has no \w+ 9|leave out") as caught:
        open_image(made.path, part)
    assert str(caught.value).startswith(f"{made.path}: ")
    assert "\n" not in str(caught.value)


@those(WITH_DAMAGE)
def test_damage_is_named_and_keeps_to_its_place(made):
    words, place = made.damage(made.path)
    with open_image(made.path, made.part) as image:
        region = tuple(
            slice(p.start, min(p.stop, n)) for p, n in zip(place, image.grid, strict=True)
        )
        for asked in (region, whole(image)):
            with pytest.raises(DamagedBlock) as caught:
                image.read(asked)
            message = str(caught.value)
            assert message.startswith(f"{made.path}: ")
            assert words in message
            assert "\n" not in message
        for other in cuts(image.grid):
            apart = any(
                o.stop <= -(-p.start // b) * b - b or o.start >= p.stop + b
                for o, p, b in zip(other, region, image.block, strict=True)
            )
            if apart:
                check(image.read(other), made, other)


@those(IN_ONE_FILE)
def test_a_file_cut_off_anywhere_is_never_another_image(made, capfd):
    content = made.path.read_bytes()
    for part in range(0, 100, 4):
        made.path.write_bytes(content[: len(content) * part // 100])
        message = ""
        try:
            with open_image(made.path, made.part) as image:
                check(image.read(whole(image)), made, whole(image))
        except (ValueError, OSError) as error:
            message = str(error)
        assert message == "" or message.startswith(f"{made.path}: ")
        assert "\n" not in message
    assert capfd.readouterr() == ("", "")  # of libraries in C either


def test_no_such_file(made):
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_image(made.path.with_name("b" + made.path.suffix))


def test_another_file_of_that_name(made):
    path = made.path.with_name("b" + made.path.suffix)
    path.write_bytes(os.urandom(5000))
    with pytest.raises((ValueError, OSError)) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
