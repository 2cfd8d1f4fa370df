"""Outputs are whole or absent whenever a job is killed, and the next run clears up."""

import json
import os

import pytest
from writing_jobs import JOBS, program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")


def test_kill_at_any_moment_of_any_job(tmp_path, times, figure):
    n_jobs, n_kills = times((3, 18), (len(JOBS), 1000))
    counts = json.loads(program("killed.py", tmp_path, n_jobs, n_kills))
    assert counts["kills"] == n_kills
    assert counts["corrupt"] == 0
    assert counts["leftovers"] > 0  # killed while they wrote
    assert counts["cleaned"] >= n_jobs
    found = (
        "{kills:,} kills: the old outputs {old} times, the new ones {new}, some of each {mixed},"
        " all of them whole; {leftovers} hidden leftovers, none after the next run"
    )
    figure(
        f"kill -9 at random moments of {n_jobs} jobs of segment, predict and fit, to every format",
        found.format(**counts),
    )
