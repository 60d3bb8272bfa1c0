"""The application that goes on writing while rows are backfilled."""

import threading
import time

from .common import wait_until
from .data import START
from .servers import Database


class LiveWriter:
    """Writes rows named 'live' into the table cpu, a transaction each, from its first row on until the block ends.

        with LiveWriter(database, span=400_000) as writer:
            …
        writer.check(expected)

    `span` is how many seconds from START on its rows are strewn over: every other from the oldest on, as what is late, and
    the others from the newest back, `stride` seconds apart. A row that it cannot write is an error of the block.
    """

    FIRST_TAG = 1_000_000

    def __init__(self, database, span, stride=977, pause=0.02):
        self.database = database
        self.span, self.stride, self.pause = span, stride, pause
        self.count, self.slowest, self._error = 0, 0.0, None
        # A connection of its own: that of the test is used meanwhile.
        self._writer = Database(database.server, database.name)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self.count > 0 or self._error, what="the live writer's first row")
        return self

    def __exit__(self, *exception):
        self._ended.set()
        self._thread.join()
        self._writer.close()
        if self._error is not None and exception[0] is None:
            raise self._error

    def check(self, expected):
        """All its rows are there, some written behind the first; and all others, of which `expected` is the fingerprint."""
        print(f"{self.count} rows written meanwhile, the slowest took {self.slowest:.2f} s")
        assert self.count > 1
        assert self.database.value(f"SELECT count(*) FROM cpu WHERE hostname = 'live' AND tags_id >= {self.FIRST_TAG}") == self.count
        assert self.database.fingerprint("cpu", where="hostname IS DISTINCT FROM 'live'") == expected

    def _run(self):
        try:
            while not self._ended.is_set():
                step = self.count // 2 % (self.span // self.stride) * self.stride
                moment = START.timestamp() + (step if self.count % 2 == 0 else self.span - 1 - step)
                begun = time.monotonic()
                self._writer.execute(
                    "INSERT INTO cpu (time, tags_id, hostname) VALUES (to_timestamp(%s), %s, 'live')", [moment, self.FIRST_TAG + self.count]
                )
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.count += 1
                self._ended.wait(self.pause)
        except Exception as error:
            self._error = error
