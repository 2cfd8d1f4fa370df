"""What memory there is, and what is freed goes back to the system where a program asks for it."""

import subprocess
import sys

import pytest

from fastseg import memory

# Blocks of a tile's size, in turn with small ones that stay: what is freed between them.
GROWTH = """
import sys
from pathlib import Path
from fastseg.memory import map_large_blocks

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "mapped":
    map_large_blocks()
del (first := [bytearray(8 << 20)])[:]  # glibc takes a freed block's size for a common one
before = held()
large, small = [], []
for _ in range(40):
    large.append(bytearray(3 << 20))
    small.append(bytearray(100_000))
del large
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc's allocator on Linux")
def test_freed_tiles_do_not_add_up():
    kept, mapped = (
        int(subprocess.check_output([sys.executable, "-c", GROWTH, how], text=True))
        for how in ("as it is", "mapped")
    )
    assert mapped < 10e6 < 60e6 < kept


@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_goes_by_the_control_groups_around_the_process(tmp_path, version):
    limit, used, cache = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ("memory.max", "memory.current", "inactive_file"),
    )[version - 1]
    root = tmp_path / ("memory" if version == 1 else "")
    own = tmp_path / "own"
    own.write_text("3:cpu,cpuacct:/else\n4:memory:/a/b\n" if version == 1 else "0::/a/b\n")
    inner = root / "a" / "b"
    inner.mkdir(parents=True)
    (inner / limit).write_text("max\n" if version == 2 else str(2**63))
    (inner / used).write_text("500\n")
    (inner / "memory.stat").write_text("anon 7\n")
    (root / "a" / limit).write_text("10000\n")
    (root / "a" / used).write_text("4000\n")
    (root / "a" / "memory.stat").write_text(f"anon 7\n{cache} 1500\n")
    assert memory._cgroup_room(tmp_path, own) == 10000 - 4000 + 1500
    # In a container the group of the process is what is mounted, under a path of the machine.
    own.write_text(own.read_text().replace("/a/b", "/system/of/the/machine"))
    for name, text in ((limit, "9000"), (used, "9500"), ("memory.stat", "")):
        (root / name).write_text(text)
    assert memory._cgroup_room(tmp_path, own) == 0
    assert memory._cgroup_room(tmp_path, tmp_path / "none") is None
