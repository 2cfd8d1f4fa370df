"""Nothing is fetched and nothing is sent while the package is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

# Python tells such a hook of every connection and every name that is looked up, whoever asks.
# To make a socket, and to ask for a port of this machine, touches no network: libraries find out
# so what the machine can do.
REFUSING = """
import socket, sys
touched = []
allowed = ("socket.__new__", "socket.bind", "socket.gethostname")

def refuse(event, arguments):
    family = event.split(".")[0]
    if family in ("socket", "urllib", "http", "ftplib", "smtplib") and event not in allowed:
        touched.append((event, repr(arguments)[:80]))
        raise OSError("there is no network")

sys.addaudithook(refuse)
"""

EVERYTHING = """
import contextlib, io, os, pathlib
import mixed_work
import test_bench
from pytest import MonkeyPatch
from fastseg.cli import main

folder = pathlib.Path(sys.argv[1])
(folder / "inputs").mkdir()
inputs = mixed_work.Inputs(folder / "inputs")
for number, work in enumerate(mixed_work.IN_MEMORY + mixed_work.WITH_FILES + mixed_work.SLOW):
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
print(touched)
"""


def run(code, *args):
    return subprocess.run(
        [sys.executable, "-c", REFUSING + code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS / "reliability")))},
    )


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))",
        "socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "socket.getaddrinfo('example.org', 80)",
    ],
)
def test_what_would_touch_the_network_is_found(code):
    done = run(code)
    assert done.returncode != 0
    assert "there is no network" in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="event loops wake up by the network elsewhere")
def test_no_use_of_the_package_touches_the_network(tmp_path, times, figure):
    """Files, fits, pictures, models, other libraries, the command line, for long the benchmark."""
    done = run(EVERYTHING, tmp_path, times(0, 1))
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    figure(
        "a bit of everything (fits, files of each format, reports, command line, bench --quick)"
        " with all sockets and look-ups of names refused",
        "everything works, none was asked for",
    )
