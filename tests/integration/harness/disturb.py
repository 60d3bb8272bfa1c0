"""A command that is killed, or loses its servers, at random moments, until it completes."""

import signal
import subprocess
import time

from .common import wait_until

# Nothing was wrong but the connection: to be run again.
TRANSIENT = 5


class Disturbed:
    """One step of the method, which is disturbed on its way. Subclasses say what the step is.

    prepare()        makes the state that it begins from, anew each time
    command(target)  its command line, with this conninfo of the target
    check()          fails unless all is as one undisturbed run leaves it
    state()          what a second run must leave alone

    Disturbed means: killed with -9; its connections ended by the server, which it may survive; both; or the answer to one of its
    COMMITs lost, so that the server has done what the program does not know of.
    """

    done = 0  # its exit status when it has come to its end
    files = ("*.checkpoint",)

    def __init__(self, hyperfill, chance, line):
        """`line` is a proxy before the target's server."""
        self.hyperfill, self.chance, self.line = hyperfill, chance, line

    def prepare(self):
        raise NotImplementedError

    def command(self, target):
        raise NotImplementedError

    def check(self):
        raise NotImplementedError

    def state(self):
        return None

    def idle(self, result):
        """A second run of the completed step said this."""

    def begin(self):
        for pattern in self.files:
            for file in self.hyperfill.folder.glob(pattern):
                file.unlink()
        self.prepare()

    def complete(self):
        """Runs it again: it completes. And again: nothing is done."""
        self.hyperfill.run(*self.command(self.target.conninfo), check=self.done)
        self.check()
        before = self.state()
        self.idle(self.hyperfill.run(*self.command(self.target.conninfo), check=self.done))
        assert self.state() == before

    def disturb(self, times=6):
        self.begin()
        self._measure()
        self.complete()
        print(f"undisturbed: {self.whole:.2f} s, {self.commits} commits")
        under_way = False
        for blow in self._blows(times):
            struck = False
            while not struck:
                if not under_way:
                    self.begin()
                under_way, struck = self._strike(blow)
                if not under_way:
                    self.complete()
                    # It was done before, or has survived; the next blow comes earlier.
                    self.whole *= 0.7
        if under_way:
            self.complete()

    def _blows(self, times):
        """Half of them are kills, in some order."""
        others = [self._end_backends, self._kill_all, *[self._lose_answer] * (self.commits > 0)]
        blows = [self._kill] * (times // 2) + [self.chance.choice(others) for _ in range(times - times // 2)]
        return self.chance.sample(blows, len(blows))

    def _measure(self):
        before, began = self.line.commit_count, time.monotonic()
        self.hyperfill.run(*self.command(self.line.conninfo(self.target)), check=self.done)
        self.whole, self.commits = time.monotonic() - began, self.line.commit_count - before

    def _strike(self, blow):
        """Returns whether there is something left to be done, and whether the blow came in time."""
        process = blow()
        status = process.popen.returncode
        print(f"{blow.__name__.strip('_')}: {status}")
        assert status in (self.done, TRANSIENT, -signal.SIGKILL), process.result()
        return status != self.done, status == -signal.SIGKILL or blow not in (self._kill, self._kill_all)

    def _wait(self, process):
        try:
            process.popen.wait(self.chance.uniform(0, self.whole))
        except subprocess.TimeoutExpired:
            pass

    def _start(self, target=None):
        return self.hyperfill.start(*self.command(target or self.target.conninfo))

    def _kill(self):
        process = self._start()
        self._wait(process)
        process.kill()
        return process

    def _backends(self):
        """Ends some or all connections that the program has to one side."""
        database = self.chance.choice([side for side in (self.target, self.target, self.source) if side is not None])
        share = self.chance.choice([0.5, 1])
        database.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND random() < %s"
            " AND application_name = 'hyperfill'", [share]
        )

    def _end_backends(self):
        process = self._start()
        self._wait(process)
        self._backends()
        process.wait()
        return process

    def _kill_all(self):
        process = self._start()
        self._wait(process)
        # Either may come first.
        for blow in self.chance.sample([process.kill, self._backends], 2):
            blow()
        return process

    def _lose_answer(self):
        before = self.line.lost_answer_count
        self.line.lose_commit_answer(self.chance.randint(1, self.commits))
        process = self._start(self.line.conninfo(self.target))
        wait_until(lambda: not process.running or self.line.lost_answer_count > before, what="a COMMIT whose answer is lost")
        self.line.lose_commit_answer(0)
        if self.chance.random() < 0.5:
            process.kill()
        process.wait()
        return process
