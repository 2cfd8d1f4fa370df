"""Jobs whose n-th call to the disk fails, for every n until the job goes well.

    python tests/reliability/failing.py FOLDER N_JOBS STEP

What is there afterwards is looked at: old files are whole, the message is one line that names
an output, and nothing is left behind. STEP is how many n to go on by.
"""

import builtins
import errno
import io
import json
import mmap
import os
import re
import resource
import sys
from collections import Counter
from pathlib import Path

from writing_jobs import JOBS, Child, benches

from fastseg.io import atomic

ERRORS = ("ENOSPC", "EIO", "EDQUOT", "EROFS")
CALLS = ("mkdir", "link", "replace", "rename")
SAID = re.compile(r"fastseg: error: (?P<name>\S+): cannot be written \((?P<why>[^\n]*)\n")


class Disk:
    """Counts the calls that change what is on it, and refuses one, or it and all that follow."""

    def __init__(self, moment, error, lasting):
        self._left, self._number, self._lasting = moment, getattr(errno, error), lasting
        self._reached = mmap.mmap(-1, 1)  # of the child too

    @property
    def reached(self):
        """Whether there were so many calls."""
        return self._reached[0] == 1

    def asked(self, *names):
        self._left -= 1
        self._reached[0] = self._left <= 0
        if self._left == 0 or (self._left < 0 and self._lasting):
            raise OSError(self._number, os.strerror(self._number), *names)

    def install(self):
        for name in CALLS:
            setattr(os, name, self._refusing(getattr(os, name)))
        os.fsync = self._refusing(lambda descriptor: None)  # nobody pulls the plug here
        disk = self

        def open_descriptor(path, flags, *rest, as_ever=os.open, **more):
            if flags & os.O_CREAT:
                disk.asked(path)
            return as_ever(path, flags, *rest, **more)

        def open_file(file, mode="r", *rest, as_ever=io.open, **more):
            if set(mode) & set("wxa+") and not isinstance(file, int):
                disk.asked(file)
                as_ever(file, mode, *rest, **more).close()
                return io.BufferedWriter(Refused(file, "r+"))
            return as_ever(file, mode, *rest, **more)

        class Refused(io.FileIO):
            def write(self, data):
                disk.asked()
                return super().write(data)

            def truncate(self, size=None):
                disk.asked()
                return super().truncate(size)

        os.open = open_descriptor
        builtins.open = io.open = open_file
        atomic._Raw.__bases__ = (Refused,)

    def _refusing(self, call):
        def called(path, *rest, **more):
            self.asked(*([] if isinstance(path, int) else [path]))
            return call(path, *rest, **more)

        return called


def failed(bench, old, prepare, counts):
    """Run a job on a disk that refuses something; whether it failed."""
    args = bench.begin(old)
    code, out, err = Child(args, prepare).ended()
    states = bench.found(old)
    left, others = bench.unexpected()
    told = f"{args}: {code}, {err!r}, {states}, {left}, {others}"
    assert not others, told
    assert not left, told
    assert set(states.values()) <= {"old", "new"}, told
    if code == 0:
        assert set(states.values()) <= {"new", *missing(bench)}, told
        return False
    if "--out-dir" not in args and states[bench.job.outputs[0]] == "old":
        assert set(states.values()) == {"old"}, told  # nothing beside labels that are not there
    counts["failures"] += 1
    assert code == 1, told
    found = SAID.fullmatch(err)
    assert found is not None, told
    assert os.path.relpath(found["name"]) in bench.job.outputs, told
    assert out == "" or "--out-dir" in args, told
    if "new" in states.values() and "--out-dir" not in args:
        counts["some new"] += 1
    return True


def missing(bench):
    """States of what may be the same before and after."""
    return {"old"} if "in.ome.zarr/labels/cells" in bench.job.outputs else set()


def each_call(bench, counts, step, draw):
    """Let each call fail, once or from then on, with and without old outputs."""
    moment = 1
    while True:
        error, lasting, old = draw(ERRORS), draw((True, False)), draw((True, False))
        disk = Disk(moment, error, lasting)
        failed(bench, old, disk.install, counts)
        if not disk.reached:
            break
        counts["calls"] += 1
        moment += step


def each_size(bench, counts, step):
    """Let files grow up to so many bytes only."""
    largest = 1
    for path in bench.job.outputs:
        each = Path(path)
        files = [each] if each.is_file() else [f for f in each.rglob("*") if f.is_file()]
        largest = max([largest, *(f.stat().st_size for f in files)])
    for size in sorted({0, 1, *range(2, largest, max(1, largest // 24) * step)}):

        def limit(size=size):
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

        failed(bench, size % 2 == 0, limit, counts)
        counts["limits"] += 1


def main(folder, n_jobs, step):
    import random

    draw = random.Random(0).choice
    counts = Counter()
    for bench in benches(folder, JOBS[:: len(JOBS) // n_jobs]):
        each_call(bench, counts, step, draw)
        each_size(bench, counts, step)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
