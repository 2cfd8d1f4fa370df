"""Outputs when Ctrl-C comes in any step of Python's while they are begun, left or given up."""

import contextlib
import gc
import os
import sys

import pytest

from fastseg.io import atomic, leftovers, undisturbed

STEPS_OF = {contextlib.__file__, atomic.__file__, leftovers.__file__, undisturbed.__file__}


class GivenUpError(Exception):
    pass


class Interrupt:
    """Raises KeyboardInterrupt where Python looks for signals in the code above.

    That is where a function begins, and after one in C has returned.
    """

    def __init__(self, at):
        self.at, self.n_steps = at, 0

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename in STEPS_OF and event in ("call", "c_return"):
            self.n_steps += 1
            if self.n_steps == self.at:
                sys.setprofile(None)
                raise KeyboardInterrupt


def write_file(path):
    with atomic.atomic_write(path, overwrite=True) as file:
        file.write(b"new")


def give_up_a_file(path):
    with atomic.atomic_write(path, overwrite=True) as file:
        file.write(b"new")
        raise GivenUpError


def write_folder(path):
    with atomic.atomic_folder(path, overwrite=True) as folder, open(f"{folder}/a", "wb") as file:
        file.write(b"new")


def give_up_a_folder(path):
    with atomic.atomic_folder(path, overwrite=True) as folder:
        open(f"{folder}/a", "wb").close()
        raise GivenUpError


def interrupted(work, path, at):
    """Do it with Ctrl-C at a step; number of steps that it took or would have taken."""
    interrupt = Interrupt(at)
    before = sys.getprofile()
    try:
        sys.setprofile(interrupt)
        try:
            work(path)
        finally:
            sys.setprofile(before)
    except (KeyboardInterrupt, GivenUpError):
        pass
    return interrupt.n_steps


# An object that is let go in the middle of a step closes its file then.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("work", [write_file, give_up_a_file, write_folder, give_up_a_folder])
@pytest.mark.parametrize("old", [False, True])
def test_ctrl_c_at_any_step_leaves_nothing_hidden(work, old, tmp_path):
    """And without the collector of garbage, which may not come for long."""
    gc.disable()
    try:
        n_steps = interrupted(work, tmp_path / "out", 0)
        assert n_steps > 20
        for step in range(1, n_steps + 1):
            folder = tmp_path / str(step)
            folder.mkdir()
            output = folder / "out"
            if old and "file" in work.__name__:
                output.write_bytes(b"old")
            elif old:
                output.mkdir()
                (output / "a").write_bytes(b"old")
            interrupted(work, output, step)
            assert not [name for name in os.listdir(folder) if name != "out"], step
            content = output / "a" if output.is_dir() else output
            assert content.exists() or not (old or output.exists()), step
            if content.exists():
                assert content.read_bytes() in ((b"old", b"new") if old else (b"new",)), step
    finally:
        gc.enable()
