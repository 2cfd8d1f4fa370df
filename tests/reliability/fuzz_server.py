"""A process that reads mutants, many a second, and outlives those that end or hang it.

    python fuzz_server.py FOLDER

takes lines of JSON, ``{"kind": ..., "first": ..., "n": ...}``, and answers each by one. Mutants
are read in a child, under a limit of memory and of time. A child that ends or hangs is told of
as a fault of the mutant that it was at, and another goes on behind that.
"""

import contextlib
import io
import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import sys
import time
import warnings
from pathlib import Path

from fuzzed import KINDS, MAX_PIXELS, Wrong, check_refusal, mutant

import fastseg.kernels
from fastseg.cli import main

# Address space beside what the process has when it begins, and seconds for one file.
MEMORY, PATIENCE = 2**30, 120
# One in so many is given to the command line too.
_CLI_EVERY = 10
# Where compiled kernels are kept.
CACHES = list(fastseg.kernels.__path__)
# Faults after which nobody needs more.
_ENOUGH = 40
_WRITES = re.compile("os.(remove|rename|mkdir|rmdir|link|symlink|truncate|chmod|system|exec)")
_BARRED = re.compile(r"(socket\.(connect|bind|getaddrinfo)|subprocess\.Popen|pickle\.find_class)$")


class Tally:
    """Numbers that a process and its children share, and that outlive a child."""

    NAMES = ("number", "answers", "refusals", "printed", "seconds", "slowest", "memory", "largest")

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8 * len(self.NAMES))
        for name in self.NAMES:
            self[name] = 0

    def __getitem__(self, name: str) -> float:
        return struct.unpack_from("<d", self._shared, 8 * self.NAMES.index(name))[0]

    def __setitem__(self, name: str, value: float) -> None:
        struct.pack_into("<d", self._shared, 8 * self.NAMES.index(name), value)

    def count(self, name: str) -> None:
        self[name] += 1

    def raise_to(self, name: str, value: float, which: str) -> None:
        """Keep the largest value, and the number of the mutant that it is of."""
        if value > self[name]:
            self[name], self[which] = value, self["number"]

    def shown(self) -> dict:
        return {name: self[name] for name in self.NAMES[1:]}


class Watch:
    """What a reader opens beside the file it was given, and what it does that no reader does."""

    def __init__(self, folder: Path) -> None:
        fixed = (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev/null", "/usr", "/etc")
        source = Path(__file__).parents[2]
        self._allowed = tuple(
            str(Path(p).resolve()) for p in (folder, folder.parent / "image.npy", source, *fixed)
        )
        self._writable = (str(folder.resolve()), *(str(Path(p).resolve()) for p in CACHES))
        self.seen: list[str] = []
        self.reading = self.computing = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple) -> None:
        if not self.reading:
            return
        if event == "open" and isinstance(args[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(args[0]).split("\0")[0])
            if not path.startswith(self._allowed):
                self.seen.append(f"opened {path}")
        elif _BARRED.match(event) and not self.computing:  # compiled kernels are pickled
            self.seen.append(f"{event} {args[:2]!r}")
        elif _WRITES.match(event):
            path = os.path.realpath(os.fsdecode(args[0]))
            if not path.startswith(self._writable):
                self.seen.append(f"{event} {args[:2]!r}")


class Reader:
    """Reads mutants, one after the other, and counts what comes of them."""

    def __init__(self, kind: str, trees: list, folder: Path, tally: Tally, out: int) -> None:
        self._kind, self._trees, self._folder = kind, trees, folder
        self._tally, self._out = tally, out
        self._watch = Watch(folder)
        self._said = os.memfd_create("said") if hasattr(os, "memfd_create") else None
        if self._said is not None:
            os.dup2(self._said, 1)
            os.dup2(self._said, 2)
        self._start = _memory("VmRSS")

    def read(self, number: int) -> None:
        """Read a mutant, and count it."""
        _write(self._folder, mutant(self._kind, self._trees, number))
        path = str(self._folder / KINDS[self._kind].name)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        began, answered, fault = time.process_time(), False, None
        self._watch.reading = True
        self._watch.computing = self._kind == "model"
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                answered = self._judged(path, number)
            if warned:
                fault = f"warned: {warned[0].category.__name__}: {warned[0].message}"
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"[:600]
        self._watch.reading = False
        seconds = time.process_time() - began
        signal.setitimer(signal.ITIMER_REAL, 0)
        fault = fault or self._noticed()
        if fault:
            os.write(self._out, json.dumps([number, fault]).encode() + b"\n")
        else:
            self._tally.count("answers" if answered else "refusals")
        self._tally.raise_to("seconds", seconds, "slowest")
        self._tally.raise_to("memory", _memory("VmHWM") - self._start, "largest")

    def _judged(self, path: str, number: int) -> bool:
        """Whether a file gives an answer; an error that is not the project's own is raised."""
        answer: object = None
        try:
            answer = KINDS[self._kind].check(path)
            answered = True
        except Wrong:
            raise
        except Exception as error:
            check_refusal(path, error)
            answered = False
        if number % _CLI_EVERY == 0 and is_usual(answer):
            self._watch.computing = True
            judge_program(self._kind, path)
        return answered

    def _noticed(self) -> str | None:
        """What was printed, or opened, that should not have been."""
        if self._watch.seen:
            fault = "; ".join(self._watch.seen[:3])
            self._watch.seen.clear()
            return fault
        if self._said is None or not os.fstat(self._said).st_size:
            return None
        said = os.pread(self._said, 300, 0)
        os.ftruncate(self._said, 0)
        os.lseek(self._said, 0, os.SEEK_SET)
        if KINDS[self._kind].prints:
            self._tally.count("printed")
            return None
        return f"printed: {said!r}"


def is_usual(answer: object) -> bool:
    """Whether kernels for the pixels are there; those for others would be compiled first."""
    dtype = getattr(getattr(answer, "pixels", None), "dtype", "uint8")
    return getattr(answer, "n_channels", 1) in (1, 3) and dtype == "uint8"


def judge_program(kind: str, path: str) -> None:
    """Refuse a command that ends otherwise than by an output and 0, or by one line and 1."""
    folder = Path(path).parent
    out = str(folder / "out.npy")
    command = ["segment", path, out, "-k", "2", "--max-pixels", str(MAX_PIXELS)]
    if kind in ("model", "calibration"):
        image = str(folder.parent / "image.npy")
        command = ["predict", path, image, out]
    elif kind == "centers":
        command = ["segment", str(folder.parent / "image.npy"), out, "--init", path]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(command)
    said = errors.getvalue()
    lines = [line for line in said.splitlines() if not line.startswith("fastseg: warning: ")]
    if code == 0 and not lines and os.path.exists(out):
        os.unlink(out)
        return
    whole = code == 1 and len(lines) == 1 and lines[0].startswith("fastseg: error: ")
    if not whole or "error: unexpected " in lines[0] or os.path.exists(out):
        raise Wrong(f"the program ended with {code}, and said {said!r}")


def _memory(what: str) -> int:
    """Bytes that the process holds, or held at most."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what))


def _write(folder: Path, tree: dict) -> None:
    """Have a folder hold a tree and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    made = set()
    for name, content in tree.items():
        path = folder / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(content)


def read_all(kind: str, trees: list, first: int, n: int, folder: Path) -> dict:
    """Have children read mutants, until all are read."""
    tally, faults = Tally(), []
    at = first
    while at < first + n and len(faults) < _ENOUGH:
        found, at = _by_child(kind, trees, (at, first + n), folder, tally)
        faults += found
    return {**tally.shown(), "faults": faults}


def _by_child(
    kind: str, trees: list, span: tuple[int, int], folder: Path, tally: Tally
) -> tuple[list, int]:
    """Faults that a child found, and where the next child is to begin."""
    came, went = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(came)
        _be_child(kind, trees, span, folder, tally, went)
    os.close(went)
    with os.fdopen(came) as pipe:
        faults = [json.loads(line) for line in pipe]
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    at = int(tally["number"])
    if code == 0 and at == span[1]:
        return faults, at
    why = "hangs" if code == -signal.SIGALRM else f"ends the process with {code}"
    return [*faults, [at, why]], at + 1


def _be_child(
    kind: str, trees: list, span: tuple[int, int], folder: Path, tally: Tally, out: int
) -> None:
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _memory("VmSize") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        reader = Reader(kind, trees, folder, tally, out)
        for number in range(*span):
            tally["number"] = number
            reader.read(number)
        tally["number"] = span[1]
        code = 0
    except BaseException as error:
        os.write(out, json.dumps([int(tally["number"]), f"lost: {error!r}"]).encode() + b"\n")
    finally:
        os._exit(code)


def warm_up(kind: str, trees: list, folder: Path) -> None:
    """Load and compile here what children would each load and compile."""
    path = str(folder / KINDS[kind].name)
    os.environ["FASTSEG_CALIBRATION"] = path if kind == "calibration" else str(folder / "none")
    for tree in trees:
        _write(folder, tree)
        try:
            answer = KINDS[kind].check(path)
        except ValueError as error:
            check_refusal(path, error)
            continue
        if is_usual(answer):
            judge_program(kind, path)


def serve(folder: Path) -> None:
    import numpy as np

    (folder / "seeds").mkdir()
    np.save(folder / "image.npy", np.arange(270, dtype=np.uint8).reshape(9, 10, 3) // 2)
    known = {}
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        kind = asked["kind"]
        if kind not in known:
            (folder / "seeds" / kind).mkdir()
            known[kind] = KINDS[kind].make(folder / "seeds" / kind)
            warm_up(kind, known[kind], folder / "mutant")
        found = read_all(kind, known[kind], asked["first"], asked["n"], folder / "mutant")
        for number, _ in found["faults"]:
            _write(folder / "faults" / f"{kind}-{number}", mutant(kind, known[kind], number))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
