"""An hour of mixed work in one process: it holds no more at the end, and leaves nothing behind."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

# The first sixth of the rounds warms up; the second one is compared with the last.
PARTS = 6


def medians(samples, name):
    """Of what was held in the sixth after warming up, and in the last one."""
    values = [sample[name] for sample in samples]
    part = max(1, len(values) // PARTS)
    return statistics.median(values[part : 2 * part]), statistics.median(values[-part:])


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is told by /proc")
def test_mixed_work_leaks_nothing(tmp_path, times, figure):
    """Neither memory, files, threads nor processes, nor temporary files, nor objects."""
    seconds = times(1, 3600)
    folder, temporary = tmp_path / "soak", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    program = Path(__file__).with_name("soak.py")
    done = subprocess.run(
        [sys.executable, str(program), str(seconds), str(folder)],
        capture_output=True,
        text=True,
        timeout=2 * seconds + 400,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["touched"] == []
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert list(temporary.iterdir()) == []
    for name in ("descriptors", "threads", "files", "objects"):
        before, after = medians(samples, name)
        assert after <= before, (name, before, after)
    assert not any(sample["children"] for sample in samples)
    before, after = medians(samples, "mebibytes")
    assert after <= before * times(1.1, 1.02), (before, after)
    figure(
        "mixed work in one process: fits, files, models, errors, interrupts, forks, threads",
        f"{samples[-1]['seconds'] / 60:.0f} minutes, {found['done']:,} pieces of work in"
        f" {found['rounds']:,} rounds, {found['interrupts']:,} interrupts: every answer the first"
        f" one's; median memory {before:.0f} MiB after the first sixth, {after:.0f} MiB in the last"
        f" ({100 * (after / before - 1):+.1f} %); files, threads, processes, objects: none more",
    )
