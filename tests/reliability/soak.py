"""Mixed work in one process for as long as is asked, and what the process holds meanwhile.

    python tests/reliability/soak.py SECONDS FOLDER

In rounds: each piece of work once, in an order of its own, while two threads work in memory and
some of it is interrupted, and at last a child that is forked. Each answer must be the first one's.
When the threads rest, after each round, a line of FOLDER/samples.jsonl tells what is held.
There is no network, and none is asked for.
"""

import contextlib
import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import no_network

# isort: split
import mixed_work

from fastseg.cli import main as command_line
from fastseg.memory import release_freed, resident_memory

N_THREADS = 2
LEAST = 2  # rounds
# What interrupted libraries have still under way ends within this time.
PATIENCE = 10


class Works:
    """Pieces of work by number, what they found first, and seconds they took at most."""

    def __init__(self, inputs, folder, slow):
        self.inputs, self.folder = inputs, folder
        self.all = mixed_work.IN_MEMORY + mixed_work.WITH_FILES + (mixed_work.SLOW if slow else [])
        self.found, self.seconds = {}, {}
        self.n_done = 0
        self._count = 0
        for number in range(len(self.all)):
            self.do(number)
        for number in range(len(self.all)):  # the first time compiles
            self.seconds[number] = 0.0
            self.do(number)

    def do(self, number):
        """Do it, and compare what is found."""
        with self.new_folder() as folder:
            began = time.perf_counter()
            found = self.all[number](self.inputs, folder)
        self.seconds[number] = max(self.seconds.get(number, 0), time.perf_counter() - began)
        expected = self.found.setdefault(number, found)
        assert found == expected, f"{self.all[number].__qualname__} found something else"
        self.n_done += 1

    @contextlib.contextmanager
    def new_folder(self):
        self._count += 1
        folder = self.folder / f"{threading.get_ident()}-{self._count}"
        folder.mkdir()
        try:
            yield folder
            parts = [path for path in folder.rglob("*") if path.name.endswith(".part")]
            assert not parts, parts
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def interrupt(self, number, delay):
        """Do it, and have Ctrl-C come after a delay; whether it came before the end."""

        def come(*_):
            raise KeyboardInterrupt

        came = False
        with self.new_folder() as folder:
            before = signal.signal(signal.SIGALRM, come)
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    self.all[number](self.inputs, folder)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                came = True
            finally:
                signal.signal(signal.SIGALRM, before)
            # The exception is gone now, and with it what it holds of the stack.
            wait_until(lambda: not list(folder.rglob("*.part")))
        return came


class Background:
    """Threads that work in memory, and rest when they are told."""

    def __init__(self, works):
        self.works, self.errors = works, []
        self.changed = threading.Condition()
        self.resting, self.n_at_rest, self.over = False, 0, False
        self.threads = [
            threading.Thread(target=self.work, args=(k,), daemon=True) for k in range(N_THREADS)
        ]
        for thread in self.threads:
            thread.start()

    def work(self, seed):
        draws = random.Random(seed)
        try:
            while not self.over:
                self.works.do(draws.randrange(len(mixed_work.IN_MEMORY)))
                time.sleep(draws.uniform(0, 0.1))
                with self.changed:
                    self.n_at_rest += 1
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: not self.resting)
                    self.n_at_rest -= 1
        except BaseException as error:
            self.errors.append(error)

    @contextlib.contextmanager
    def rest(self):
        with self.changed:
            self.resting = True
            done = self.changed.wait_for(
                lambda: self.n_at_rest == N_THREADS or bool(self.errors), timeout=120
            )
            assert done, "a thread hangs"
        if self.errors:
            raise self.errors[0]
        yield
        with self.changed:
            self.resting = False
            self.changed.notify_all()

    def end(self):
        with self.changed:
            self.over, self.resting = True, False
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()


def pass_over(what, otherwise=sys.unraisablehook):
    """Ctrl-C is lost where it comes into a `__del__` of any library; all else is told."""
    if what.exc_type is not KeyboardInterrupt:
        otherwise(what)


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def in_a_child(works, number):
    """The same work in a process that is forked, and a call of the command line."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(120)  # for what hangs
            works.do(number)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            with works.new_folder() as folder:
                words = ["segment", works.inputs.path("photo.png"), str(folder / "o.png")]
                code = command_line([*words, "-k", "3", "--seed", "0"])
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == 0, f"the child ended with {code}"


def held(folder):
    """What this process holds, and does not give back when it is asked to."""
    gc.collect()
    release_freed()
    tasks = Path("/proc/self/task")
    return {
        "mebibytes": resident_memory() / 2**20,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir(tasks)),
        "children": sum(len((task / "children").read_text().split()) for task in tasks.iterdir()),
        "files": sum(len(files) + len(folders) for _, folders, files in os.walk(folder)),
        "blocks": sys.getallocatedblocks(),
        "objects": sum(
            str(type(each).__module__).startswith("fastseg.") for each in gc.get_objects()
        ),
    }


def soak(seconds, folder):
    (folder / "inputs").mkdir()
    (folder / "work").mkdir()
    works = Works(mixed_work.Inputs(folder / "inputs"), folder / "work", slow=seconds > 1)
    draws = random.Random(0)
    background = Background(works)
    n_rounds = n_interrupts = 0
    began = time.monotonic()
    with open(folder / "samples.jsonl", "w") as samples:
        while n_rounds < LEAST or time.monotonic() < began + seconds:
            numbers = list(range(len(works.all)))
            draws.shuffle(numbers)
            for number in numbers:
                works.do(number)
                if draws.random() < 0.3:
                    delay = draws.uniform(1e-4, works.seconds[number] / 2)
                    n_interrupts += works.interrupt(number, delay)
            in_a_child(works, draws.randrange(len(works.all) - len(mixed_work.SLOW)))
            n_rounds += 1
            with background.rest():
                took = time.monotonic() - began
                print(json.dumps({"seconds": took, **held(folder)}), file=samples, flush=True)
    background.end()
    done = {"done": works.n_done, "interrupts": n_interrupts, "rounds": n_rounds}
    print(json.dumps(done | {"touched": no_network.touched}))


if __name__ == "__main__":
    sys.unraisablehook = pass_over
    soak(float(sys.argv[1]), Path(sys.argv[2]))
