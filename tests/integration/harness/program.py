"""The program under test."""

import contextlib
import itertools
import os
import pathlib
import signal
import subprocess
import threading
import time

from .common import PATIENCE, ROOT


class Result:
    def __init__(self, arguments, status, stdout, stderr):
        self.arguments = arguments
        self.status = status
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self):
        return f"{' '.join(self.arguments)}\nended with {self.status}\n-- stdout\n{self.stdout}\n-- stderr\n{self.stderr}"


class Process:
    """A run under way. What it writes goes to files, so that it never waits for us to read."""

    _numbers = itertools.count(1)

    def __init__(self, arguments, folder, environment, stdin):
        number = next(self._numbers)
        # Known to all that it starts: its number alone may be another's once it has ended, and is soon where forks are many.
        self._mark = f"HYPERFILL_TEST_PROCESS={os.getpid()}.{number}.{time.monotonic_ns()}"
        self.arguments = [str(argument) for argument in arguments]
        self._files = [folder / f".run-{number}.{stream}" for stream in ("stdout", "stderr")]
        fed = isinstance(stdin, (str, bytes))
        with open(self._files[0], "wb") as stdout, open(self._files[1], "wb") as stderr:
            # A session of its own: what it starts can be ended with it, and the terminal's Ctrl-C is not sent to it.
            self.popen = subprocess.Popen(
                self.arguments,
                cwd=folder,
                env=environment | dict([self._mark.split("=")]),
                stdin=subprocess.PIPE if fed else stdin if stdin is not None else subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._feeder = None
        if fed:
            self._feeder = threading.Thread(target=self._feed, args=[stdin], daemon=True)
            self._feeder.start()

    def _feed(self, stdin):
        # A program that ends without reading its input is the test's business, not ours.
        try:
            self.popen.stdin.write(stdin.encode() if isinstance(stdin, str) else stdin)
            self.popen.stdin.close()
        except OSError:
            pass

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    @property
    def stdout(self):
        return self._files[0].read_text(errors="surrogateescape")

    @property
    def stderr(self):
        return self._files[1].read_text(errors="surrogateescape")

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        """kill -9, and waits for the end."""
        self.popen.kill()
        self.popen.wait()

    def peak_kilobytes(self):
        """The most memory that it had at a time; waits for its end."""
        peak = 0
        while self.running:
            try:
                status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
            except OSError:
                break
            peak = max([peak] + [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")])
            time.sleep(0.002)
        return peak

    def wait(self, timeout=PATIENCE, check=None):
        try:
            status = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout} s: {self.result()!r}") from None
        result = self.result()
        assert check is None or status == check, f"expected status {check}: {result!r}"
        return result

    def _left_behind(self):
        mark = self._mark.encode()
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(folder.name)) == self.pid and mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except (OSError, ValueError):
                continue

    def result(self):
        return Result(self.arguments, self.popen.poll(), self.stdout, self.stderr)

    def end(self):
        """Kills it with all that it started."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait()
        for pid in self._left_behind():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.popen.stdin is not None:
            self._feeder.join()


class Hyperfill:
    """Runs the program in a folder of its own. HYPERFILL_BINARY names another build than build/hyperfill."""

    def __init__(self, folder):
        self.binary = pathlib.Path(os.environ.get("HYPERFILL_BINARY") or ROOT / "build" / "hyperfill").resolve()
        self.folder = pathlib.Path(folder)
        self.processes = []

    def start(self, *arguments, env=None, stdin=None):
        """env adds to the environment; stdin is text, bytes, or an open file."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment["LC_ALL"] = "C.UTF-8"
        environment.update(env or {})
        process = Process([self.binary, *arguments], self.folder, environment, stdin)
        self.processes.append(process)
        return process

    def run(self, *arguments, check=0, timeout=PATIENCE, env=None, stdin=None):
        """Runs to the end and expects the status `check`; None expects nothing."""
        return self.start(*arguments, env=env, stdin=stdin).wait(timeout, check)

    def end(self):
        while self.processes:
            self.processes.pop().end()
