"""Kill -9 of jobs that write, at random moments; what is there afterwards is counted.

    python tests/reliability/killed.py FOLDER N_JOBS N_KILLS

Of the moments a third lies anywhere in a run, a third in the time in which it writes, and a
third right before or after a call that opens, writes through, renames or removes.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter

from writing_jobs import JOBS, Child, benches

from fastseg.io import leftovers

CALLS = ("open", "mkdir", "fsync", "link", "replace", "rename", "unlink", "rmdir")
KINDS = ("call", "run", "writing")
COUNTED = ("kills", "old", "new", "mixed", "corrupt", "leftovers", "cleaned")
ROUND = 6  # kills after which a run is left to its end, and has to clean up


def told_of_writing(pipe):
    """Tell the parent when the first file is begun."""

    def temporary(folder, name, made=leftovers.temporary_name):
        os.write(pipe, b".")
        return made(folder, name)

    leftovers.temporary_name = temporary


def dying_at(moment):
    """Let the process kill itself before its n-th call, or after the one before."""
    count = [0]

    def dying(call):
        def called(*args, **kwargs):
            if not _concerns_output(args):
                return call(*args, **kwargs)
            _count_down(count, moment)
            result = call(*args, **kwargs)
            _count_down(count, moment)
            return result

        return called

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))


def _concerns_output(args):
    return isinstance(args[0], int) or not os.path.abspath(args[0]).startswith(
        ("/proc", "/sys", "/dev", sys.prefix)
    )


def _count_down(count, moment):
    count[0] += 1
    if count[0] == moment:
        os.kill(os.getpid(), signal.SIGKILL)


def seconds_to_writing(args):
    """Seconds of an undisturbed run until it begins to write, and then to its end."""
    ours, theirs = os.pipe()
    began = time.perf_counter()
    child = Child(args, lambda: told_of_writing(theirs))
    os.close(theirs)
    os.read(ours, 1)
    begun = time.perf_counter()
    child.goes_well()
    os.close(ours)
    return begun - began, time.perf_counter() - begun


def killed(args, kind, draw, before, writing):
    """Run a command, and kill it; whether it was still running."""
    if kind == "call":
        moment = draw.randint(1, 60)
        return Child(args, lambda: dying_at(moment)).ended()[0] == -signal.SIGKILL
    ours, theirs = os.pipe()
    child = Child(args, lambda: told_of_writing(theirs))
    os.close(theirs)
    if kind == "writing":
        os.read(ours, 1)
        time.sleep(draw.uniform(0, writing))
    else:
        time.sleep(draw.uniform(0, before + writing))
    os.kill(child.pid, signal.SIGKILL)
    os.close(ours)
    return child.ended()[0] == -signal.SIGKILL


def main(folder, n_jobs, n_kills):
    draws = {kind: random.Random(kind) for kind in KINDS}  # the calls are the same each time
    counts = Counter(dict.fromkeys(COUNTED, 0))
    jobs = JOBS[:: len(JOBS) // n_jobs]
    for number, bench in enumerate(benches(folder, jobs)):
        left_to_do = (n_kills - counts["kills"]) // (len(jobs) - number)
        before, writing = seconds_to_writing(bench.begin(True))
        done = 0
        while done < left_to_do:
            kind = KINDS[done % len(KINDS)]
            old = draws[kind].random() < 0.5
            args = bench.begin(old)
            if not killed(args, kind, draws[kind], before, writing):
                continue
            done += 1
            counts["kills"] += 1
            states = bench.found(old)
            kinds = set(states.values())
            left, others = bench.unexpected()
            counts["leftovers"] += len(left)
            assert not others, (args, others)
            counts["old" if kinds == {"old"} else "new" if kinds == {"new"} else "mixed"] += 1
            counts["corrupt"] += "corrupt" in kinds
            assert "corrupt" not in kinds, (args, states, left)
            if states[bench.job.outputs[0]] != "new":
                assert "new" not in kinds, (args, states)  # labels are the first to appear
            if "absent" in kinds:
                assert old_is_kept(left), (args, states, left)
                counts["moved aside"] += 1
            if old_is_kept(left) or done % ROUND == 0 or done == left_to_do:
                clean_up(bench, counts, moved=old_is_kept(left))
    print(json.dumps(counts))


def old_is_kept(left):
    return any(name.endswith(".old.part") for name in left)


def clean_up(bench, counts, moved):
    """The next run goes well, and nothing is left of those before."""
    args = bench.job.args(4, "--overwrite") if moved else bench.begin(True)
    Child(args).goes_well()
    assert set(bench.found(True).values()) <= {"new", "old"}, bench.found(True)
    assert bench.unexpected() == ([], []), (args, bench.unexpected())
    counts["cleaned"] += 1


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
