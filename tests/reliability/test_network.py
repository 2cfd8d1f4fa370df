"""Nothing is fetched and nothing is sent while the package is used.

Neither by the mixed work of test_soak.py, nor by what is slower than that.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SLOW = """
import contextlib, io, pathlib, sys
import no_network
import mixed_work
import test_bench
from pytest import MonkeyPatch
from fastseg.cli import main

folder = pathlib.Path(sys.argv[1])
(folder / "inputs").mkdir()
inputs = mixed_work.Inputs(folder / "inputs")
for number, work in enumerate(mixed_work.SLOW):
    (folder / str(number)).mkdir()
    work(inputs, folder / str(number))
with MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
    test_bench.shrink(folder, patch)
    for words in (
        *int(sys.argv[2]) * [["bench", "--quick", "--image", "in.png", "--out", "report"]],
        ["info"],
        ["segment", "in.png", "out.png", "-k", "3", "--model", "model.json", "--report", "r.png"],
        ["predict", "model.json", "in.png", "again.png"],
        ["scan", "in.png", "-k", "2:4"],
    ):
        assert main(words) == 0
print(no_network.touched)
"""


def run(code, *args):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS / "reliability")))},
    )


def test_what_would_touch_the_network_is_found():
    code = """
        import socket, urllib.request
        import no_network
        for touch in (
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9)),
            lambda: socket.create_connection(('127.0.0.1', 9)),
            lambda: urllib.request.urlopen('http://example.org'),
            lambda: socket.getaddrinfo('example.org', 80),
        ):
            no_network.touched.clear()
            try:
                touch()
            except OSError as error:
                assert 'there is no network' in str(error)
            assert no_network.touched
        print('found')
    """
    done = run("if True:" + code)
    assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="event loops wake up by the network elsewhere")
def test_no_use_of_the_package_touches_the_network(tmp_path, times, figure):
    """Pictures, other libraries, the command line, for long the benchmark."""
    done = run(SLOW, tmp_path, times(0, 1))
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    figure(
        "pictures, reports, other libraries, command line, bench --quick, with all sockets and"
        " look-ups of names refused",
        "everything works, none was asked for",
    )
