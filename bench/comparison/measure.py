"""One load: what it takes in time, processors, memory, WAL and disk."""

import os
import pathlib
import signal
import subprocess
import threading
import time

PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_S = 0.05
TIME_PROGRAM = "/usr/bin/time"

FIELDS = ["wall_s", "client_processor_s", "server_processor_s", "client_peak_mb", "wal_mb", "disk_mb"]


class LoadFailed(Exception):
    """The text is what the loader said last."""


class Peak(threading.Thread):
    """The most memory that the processes of a session have at one time, together; looked at now and then."""

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session = session
        self.bytes = 0
        self.end = threading.Event()

    def run(self):
        while not self.end.wait(SAMPLE_S):
            self.bytes = max(self.bytes, self._now())

    def _now(self):
        total = 0
        for entry in [folder / "stat" for folder in pathlib.Path("/proc").iterdir() if folder.name.isdigit()]:
            try:
                fields = entry.read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.session:
                total += int(fields[21]) * PAGE
        return total


def run(command, environment, log):
    """Runs it in a session of its own: wall seconds, processor seconds with all its children, peak bytes."""
    # Of one process the kernel knows the peak exactly; but one that we start ourselves begins with the size of this script.
    peak_file = log.with_name("peak")
    with open(log, "wb") as output:
        begin = time.monotonic()
        process = subprocess.Popen([TIME_PROGRAM, "-q", "-f", "%M", "-o", peak_file, *command], env=environment,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        peak = Peak(process.pid)
        peak.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    peak.end.set()
    peak.join()
    if process.returncode != 0:
        raise LoadFailed(f"status {process.returncode}: {log.read_text(errors='replace').strip()[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, max(peak.bytes, int(peak_file.read_text()) * 1024)


def load(command, environment, log, target, source):
    """All FIELDS of it, beginning on servers at rest."""
    servers = [target, *([source] if source else [])]
    for server in servers:
        server.sql("CHECKPOINT")
    before = [server.processor_seconds() for server in servers]
    wal = target.wal_position()
    wall, client, peak = run(command, environment, log)
    wal = target.wal_position() - wal
    target.idle()
    server_seconds = sum(server.processor_seconds() for server in servers) - sum(before)
    return dict(zip(FIELDS, [wall, client, server_seconds, peak / 2**20, wal / 2**20, target.size() / 2**20]))
