"""What is freed goes back to the system, where a program asks for it."""

import subprocess
import sys

import pytest

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
