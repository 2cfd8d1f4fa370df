"""Compiled kernels that are kept: damaged, of others, in folders that cannot be used.

Whatever there is, the answer is right, and what cannot be used is compiled again.
``--torture`` damages more files, and those of the kernels of whole segmentations.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from fastseg.cli import main
from fastseg.kernels.compilation import watched
from fastseg.kernels.cpu import jit, kernel_cache

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and POSIX limits")
ROOT = Path(kernel_cache.__file__).parents[2]

BEGIN = """
import os, sys
import numpy as np
from fastseg.kernels.compilation import watched
from fastseg.kernels.cpu import jit
from numba.core import config

told = []

def result():
    from numba import types
    from fastseg.kernels.cpu import optimal_1d

    vector, table = jit.array("float64"), jit.array("float64", 2, written=True)
    numbers = (types.float64,) * 3 + (types.intp,) * 2
    prefix_sums = jit.compiled(optimal_1d.prefix_sums, vector, vector, *numbers, table, table)
    sums, gains = np.zeros((4, 4)), np.zeros((2, 4))
    prefix_sums(np.arange(3.0), np.ones(3), 0.5, 1.0, 1.0, 0, 3, sums, gains)
    return sums[0].tolist()
"""


def program(tmp_path, code, *args, path=None, **environment):
    """What a process prints, which is to end well and to complain of nothing."""
    file = tmp_path / "program.py"
    file.write_text(BEGIN + textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, file, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=tmp_path,
        env=os.environ | environment | ({} if path is None else {"PYTHONPATH": str(path)}),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.strip()


def half(x):
    return x / 2


def made(function=half, dtype="uint8"):
    """Whether the kernel had to be compiled; it gives the right answer."""
    told = []
    jit.forget()
    with watched(told.append):
        ready = jit.compiled(function, jit.array(dtype))
    assert ready(np.array([3, 8], dtype)).tolist() == [1.5, 4.0]
    return told[-1].compiled


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder of the cache, where the kernel is, and nothing else."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "cache"))
    assert made()
    assert not made()
    return Path(kernel_cache.cache_folder())


def kept(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


DAMAGES = """
def cut(content, draw): return content[:draw.randrange(len(content))]
def emptied(content, draw): return b""
def longer(content, draw): return content + b"x"
def flipped(content, draw):
    at = draw.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1:]
def zeroed(content, draw):
    at = draw.randrange(len(content))
    return content[:at] + bytes(len(content[at:at + 512])) + content[at + 512:]
def shuffled(content, draw): return bytes(draw.choices(content, k=len(content)))
def of_another(content, draw): return files[draw.choice(sorted(set(files) - {name}))]
KINDS = [cut, emptied, longer, flipped, flipped, flipped, zeroed, shuffled, of_another]
"""


@posix
def test_files_that_are_damaged(tmp_path, times, figure):
    """Machine code with a wrong bit would end the process, or give wrong answers: it is not run."""
    out = program(
        tmp_path,
        DAMAGES
        + """
import random
from pathlib import Path
import fastseg

draw, n, whole = random.Random(0), int(sys.argv[1]), sys.argv[2] == "1"
rows = (np.arange(3000) * 7 % 251).astype(np.uint8)[:, None]

def half(x): return x / 2
def third(x): return x / 3

def forget():
    jit.forget()
    for module in [m for name, m in sys.modules.items() if name.startswith("fastseg.kernels")]:
        for kept in vars(module).values():
            getattr(kept, "cache_clear", int)()

def work():
    forget()
    if whole:
        return fastseg.segment(rows, 4).centers.tolist()
    ready = [jit.compiled(kernel, jit.array("float64")) for kernel in (half, third)]
    return [kernel(np.arange(4.0)).tolist() for kernel in ready]

expected = work()
forget()
places = {path.name: path for path in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbc")}
files = {name: path.read_bytes() for name, path in places.items()}
wrong, tried = [], 0
for i in range(n):
    name = draw.choice(sorted(files))
    kind = KINDS[i % len(KINDS)]
    damaged = kind(files[name], draw)
    if damaged == files[name]:
        continue
    tried += 1
    places[name].write_bytes(damaged)
    child = os.fork()
    if child == 0:
        code = 2
        try:
            with watched(told.append):
                same = work() == expected
            anew = sum(what.compiled and what.seconds is not None for what in told)
            code = 0 if same and anew == 1 else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = places[name].read_bytes()
    if code != 0 or found == damaged:
        wrong.append((kind.__name__, name, code))
    places[name].write_bytes(files[name])
print(tried, "damaged files: wrong", wrong)
""",
        times(18, 400),
        int(times(False, True)),
        NUMBA_CACHE_DIR=str(tmp_path / "cache"),
    )
    assert out.endswith("damaged files: wrong []")
    tried = out.split()[0]
    figure(
        "damaged files of compiled kernels: cut off, emptied, bits flipped, zeroed, exchanged",
        f"{tried} damaged files: all compiled anew, with the right answer; 0 believed, 0 crashes",
    )


def test_a_folder_in_the_place_of_a_file(folder):
    (file,) = folder.rglob("*-half-*.nbc")
    file.unlink()
    file.mkdir()
    assert made()
    assert made()  # it could not be kept
    assert not list(folder.rglob("*.tmp"))


def test_a_cache_of_another_processor(folder, monkeypatch):
    from numba.core.codegen import JITCPUCodegen

    mine = JITCPUCodegen.magic_tuple
    for other in (("nehalem", ""), ("znver5", "+avx512f"), ("znver5", "-avx512f")):
        monkeypatch.setattr(
            JITCPUCodegen, "magic_tuple", lambda self, other=other: (mine(self)[0], *other)
        )
        assert made()
        assert not made()
    monkeypatch.undo()
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(folder))


@pytest.mark.parametrize("name", ["numba", "llvmlite"])
def test_a_cache_of_another_version(folder, monkeypatch, name):
    monkeypatch.setattr(sys.modules[name], "__version__", "0.0.1")
    assert made()
    assert not made()
    assert len(kept(folder)) == 2


def test_a_cache_of_another_python(folder, monkeypatch):
    monkeypatch.setattr(sys, "version", "3.11.0 (main)")
    assert made()


def test_a_cache_that_is_deleted_while_it_is_used(folder):
    shutil.rmtree(folder)
    assert made(dtype="float32")
    assert not made(dtype="float32")
    assert made()


@posix
def test_a_disk_that_is_full_while_it_is_written(folder):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        assert made(dtype="float32")
        assert made(dtype="float32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(kept(folder)) == 1
    assert made(dtype="float32")
    assert not made(dtype="float32")


WITHOUT_PRIVILEGES = """
import ctypes

def without_privileges():
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
    class Sets(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "more")]
    assert ctypes.CDLL(None).capset(ctypes.byref(Header(0x20080522, 0)), (Sets * 2)()) == 0

if hasattr(os, "geteuid") and os.geteuid() == 0:
    without_privileges()  # the permissions of folders hold for root too
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package, without what is compiled."""
    for name in ("fastseg", "kernels"):
        source = ROOT / name if (ROOT / name).is_dir() else Path(jit.__file__).parents[1]
        shutil.copytree(
            source, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("*.nbc", "*.nbi")
        )
    return tmp_path / "copy"


SHOW = """
with watched(told.append):
    print(result(), len([what for what in told if what.compiled and what.seconds]))
"""
SUMS = [0.0, -0.5, 0.0, 1.5]


@pytest.mark.skipif(sys.platform != "linux" and os.name != "posix", reason="needs permissions")
def test_a_package_and_a_home_that_can_only_be_read(tmp_path, package):
    """As in a container: what was compiled when it was made is used, by whoever runs it."""
    home = tmp_path / "home"
    home.mkdir()
    given = {"path": package, "XDG_CACHE_HOME": str(home), "NUMBA_CACHE_DIR": ""}
    begin = WITHOUT_PRIVILEGES
    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root writes anywhere")
    home.chmod(0o555)
    for inner, _, _ in os.walk(package):
        os.chmod(inner, 0o555)
    assert program(tmp_path, begin + SHOW, **given) == f"{SUMS} 1"  # and kept nowhere
    assert not list(tmp_path.rglob("*.nbc"))
    (package / "kernels" / "cpu").chmod(0o755)
    assert program(tmp_path, SHOW, **given) == f"{SUMS} 1"
    for inner, _, _ in os.walk(package):
        os.chmod(inner, 0o555)
    assert program(tmp_path, begin + SHOW, **given) == f"{SUMS} 0"
    for inner, _, _ in os.walk(tmp_path):
        os.chmod(inner, 0o755)


def test_what_other_versions_compiled_long_ago_is_removed(tmp_path):
    """Upgrades leave it behind; what may be in use still, and what is not ours, stays."""
    folder = tmp_path / "fastseg"
    folder.mkdir()
    long_ago = time.time() - 40 * 24 * 3600
    for name, seen in [
        ("0123456789ab-assign-4567.nbc", long_ago), ("assign-4567.nbc", long_ago),
        ("0123456789ab-lately-4567.nbc", time.time()), ("notes.txt", long_ago),
    ]:  # fmt: skip
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (seen, seen))
    assert program(tmp_path, "print(result())", NUMBA_CACHE_DIR=str(tmp_path)) == str(SUMS)
    left = sorted(path.name for path in folder.iterdir())
    ours = [name for name in left if name.startswith(kernel_cache.SOURCES[:12])]
    assert len(ours) == 1
    assert [name for name in left if name not in ours] == [
        "0123456789ab-lately-4567.nbc", "notes.txt",
    ]  # fmt: skip


@pytest.mark.parametrize("cache", [None, "here/cache"])
def test_a_user_without_a_home(cache, monkeypatch):
    """A container's user may have none: nothing is kept in the working folder instead."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if cache is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert all(os.path.isabs(folder) for folder in kernel_cache._folders())


def test_no_folder_that_can_be_made(tmp_path, package):
    """It works, without a word; and `fastseg info` says what that means."""
    (tmp_path / "file").write_bytes(b"")
    shutil.rmtree(package / "kernels" / "cpu" / "__pycache__")
    (package / "kernels" / "cpu" / "__pycache__").write_bytes(b"")
    nowhere = str(tmp_path / "file" / "inside")
    given = {
        "path": package, "XDG_CACHE_HOME": nowhere, "HOME": nowhere, "LOCALAPPDATA": nowhere,
        "NUMBA_CACHE_DIR": nowhere,
    }  # fmt: skip
    for _ in range(2):
        assert program(tmp_path, SHOW, **given) == f"{SUMS} 1"
    code = "from fastseg.cli import main; main(['info'])"
    assert "not kept: no folder can be written" in program(tmp_path, code, **given)


def test_info_tells_where_kernels_are_kept(folder, capsys):
    assert main(["info"]) == 0
    assert str(folder) in capsys.readouterr().out


def test_an_upgrade_of_nothing_but_a_helper_in_another_file(tmp_path, package):
    """Numba itself looks at the file that holds a kernel alone."""
    helper = package / "kernels" / "cpu" / "double_double.py"
    given = {"path": package, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert program(tmp_path, SHOW, **given) == f"{SUMS} 1"
    assert program(tmp_path, SHOW, **given) == f"{SUMS} 0"
    before = helper.read_text()
    changed = before.replace("    return s, (a", "    return s + 1.0, (a")
    assert changed != before
    # A process that has the old one in memory keeps what it compiles as that of the old one.
    late = f"""
        from pathlib import Path
        from fastseg.kernels.cpu import optimal_1d
        Path({str(helper)!r}).write_text({changed!r})
        config.CACHE_DIR += "2"
        """
    late = textwrap.dedent(late) + SHOW
    assert program(tmp_path, late, **given) == f"{SUMS} 1"
    for cache in ("cache", "cache2"):
        given["NUMBA_CACHE_DIR"] = str(tmp_path / cache)
        out = program(tmp_path, SHOW, **given)
        assert out.endswith(" 1")
        assert not out.startswith(str(SUMS))


@posix
def test_processes_that_compile_at_once(tmp_path, times):
    out = program(
        tmp_path,
        """
        import random, time
        import fastseg

        rows = (np.arange(3000) * 7 % 251).astype(np.uint8)[:, None]
        whole = sys.argv[2] == "1"

        def half(x): return x / 2

        def work():
            jit.forget()
            if whole:
                return fastseg.segment(rows, 4).centers.tolist()
            types = ["uint8", "float32", "int16"]
            random.shuffle(types)
            return sum(jit.compiled(half, jit.array(t))(np.ones(2, t)).tolist() for t in types)

        expected = [0.5] * 6
        def sum(lists): return [x for each in lists for x in each]
        if whole:
            expected = work()
        for round in range(int(sys.argv[1])):
            config.CACHE_DIR = f"cache{round}"
            begin = time.time() + 0.05
            children = []
            for number in range(4):
                children.append(os.fork())
                if children[-1] == 0:
                    code = 1
                    try:
                        random.seed(number)
                        time.sleep(max(0, begin - time.time()))
                        code = int(work() != expected)
                    finally:
                        os._exit(code)
            codes = [os.waitpid(child, 0)[1] for child in children]
            assert codes == [0] * 4, codes
            with watched(told.append):
                assert work() == expected
            assert not any(what.compiled for what in told), told
            told.clear()
        print("right")
        """,
        times(1, 10),
        int(times(False, True)),
        NUMBA_CACHE_DIR=str(tmp_path / "cache"),
    )
    assert out == "right"
