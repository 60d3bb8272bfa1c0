"""A proxy between the program and a server, which loses things."""

import random
import shutil
import socket
import threading

import psycopg2.extensions

from .common import SEED, temporary_folder
from .servers import Database

SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104


class ServerStream:
    """Follows the messages from server to client and tells when a COMMIT is answered.

    A message is a type byte and a length that counts itself. What answers a request for encryption is a single byte instead.
    Bytes are passed on as they come, but an answer to a command is held until it is whole.
    """

    def __init__(self, is_lost):
        self.is_lost = is_lost
        self.single_bytes = 0
        self.opaque = False
        self._held = b""
        self._skip = 0

    def feed(self, data):
        """Returns the bytes to pass on, and whether the answer that follows them is to be lost."""
        if self.opaque:
            return data, False
        data = self._held + data
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
            elif self.single_bytes:
                self.single_bytes -= 1
                # Yes: what follows is encrypted.
                self.opaque = data[at : at + 1] in (b"S", b"G")
                at += 1
            else:
                size = 1 + int.from_bytes(data[at + 1 : at + 5], "big")
                whole = len(data) - at >= 5 and (data[at : at + 1] != b"C" or len(data) - at >= size)
                if not whole:
                    break
                if data[at : at + size] == b"C\x00\x00\x00\x0bCOMMIT\x00" and self.is_lost():
                    return data[:at], True
                self._skip = size
            if self.opaque:
                at = len(data)
        self._held = data[at:]
        return data[:at], False


class ClientStart:
    """Follows what a client says first, to know when the server answers by a single byte."""

    def __init__(self, server_stream):
        self._server_stream = server_stream
        self._buffer = b""
        self._done = False

    def feed(self, data):
        if self._done:
            return
        self._buffer += data
        while len(self._buffer) >= 8 and not self._done:
            size = int.from_bytes(self._buffer[:4], "big")
            code = int.from_bytes(self._buffer[4:8], "big")
            if code in (SSL_REQUEST, GSSENC_REQUEST):
                self._server_stream.single_bytes += 1
                self._buffer = self._buffer[size:]
            else:
                self._done = True
                self._buffer = b""


class ProxiedConnection:
    """Two sockets and a thread for each direction. It is open until it is cut or both directions have ended."""

    def __init__(self, proxy, client, server, bytes_left):
        self._proxy = proxy
        self._client = client
        self._server = server
        self._bytes_left = bytes_left
        self._lock = threading.Lock()
        self._is_open = True
        self._pumps_left = 2
        self._server_stream = ServerStream(proxy._is_answer_lost)
        self._client_start = ClientStart(self._server_stream)
        directions = ((client, server, self._from_client), (server, client, self._from_server))
        self._threads = [threading.Thread(target=self._run, args=direction, daemon=True) for direction in directions]

    def start(self):
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _from_client(self, data):
        self._client_start.feed(data)
        return data, False

    def _from_server(self, data):
        return self._server_stream.feed(data)

    def _run(self, source, sink, look):
        try:
            self._pump(source, sink, look)
        except OSError:
            # One side has gone, which is for the other to learn.
            self.close()
        with self._lock:
            self._pumps_left -= 1
            is_last = self._pumps_left == 0
        if is_last:
            self.close()
            self._client.close()
            self._server.close()
            self._proxy._forget(self)

    def _pump(self, source, sink, look):
        while data := source.recv(65536):
            self._proxy._wait_to_flow()
            data, is_lost = look(data)
            data, is_used_up = self._take(data)
            sink.sendall(data)
            if is_lost or is_used_up:
                self.cut()
                return
        sink.shutdown(socket.SHUT_WR)

    def _take(self, data):
        with self._lock:
            if self._bytes_left is None:
                return data, False
            data = data[: self._bytes_left]
            self._bytes_left -= len(data)
            return data, self._bytes_left == 0

    def cut(self):
        # Counted first: whoever notices the cut finds it in the count.
        if self._was_open():
            self._proxy._count_cut()
            self._shut_down()

    def close(self):
        if self._was_open():
            self._shut_down()

    def _was_open(self):
        with self._lock:
            was_open, self._is_open = self._is_open, False
        return was_open

    def _shut_down(self):
        for end in (self._client, self._server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Proxy:
    """Stands between a client and a server, both on unix sockets, and fails as networks do, when told to.

        with Proxy(server) as proxy:
            proxy.cut_after(100_000, times=5)
            hyperfill.run("run", "--target", proxy.conninfo(database), …)

    Clients that send much belong into another process: psycopg2 holds the interpreter while its COPY waits for room in the
    socket, and the threads here, which would make that room, wait for the interpreter.
    """

    PORT = 5432

    def __init__(self, server, seed=None):
        self.server = server
        self.seed = SEED if seed is None else seed
        print(f"proxy with seed {self.seed}")
        self.connection_count = 0
        self.cut_count = 0
        self.lost_answer_count = 0
        self.commit_count = 0
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._connections = []
        self._held = 0
        self._cut_bytes = None
        self._cuts_left = 0
        self._commits_until_loss = 0
        self._folder = temporary_folder("hf-proxy-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / f".s.PGSQL.{self.PORT}"))
        self._listener.listen(64)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        # A thread in accept() is woken by the shutdown, not by the close.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.resume()
        for connection in self._open_connections():
            connection.close()
            connection.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def conninfo(self, database):
        """How to reach a database, or one by name, through the proxy."""
        name = database.name if isinstance(database, Database) else database
        parameters = psycopg2.extensions.parse_dsn(self.server.conninfo(name))
        return psycopg2.extensions.make_dsn(**{**parameters, "host": str(self._folder), "port": self.PORT})

    def cut_all(self):
        """Cuts what is connected now; returns how many that were."""
        before = self.cut_count
        for connection in self._open_connections():
            connection.cut()
        return self.cut_count - before

    def cut_after(self, bytes_max, times=None, bytes_min=1):
        """Cuts each later connection after a random number of bytes, of both directions together, up to `times` in all.

        Without `times` no connection ever gets through more than bytes_max. None for bytes_max ends it.
        """
        with self._lock:
            self._cut_bytes = None if bytes_max is None else (bytes_min, bytes_max)
            self._cuts_left = times

    def lose_commit_answer(self, n=1):
        """Loses the answer to the n-th COMMIT from now on, and that connection with it: the server has committed."""
        with self._lock:
            self._commits_until_loss = n

    def pause(self):
        """Nothing passes either way until resume(), as if the line were dead but nobody knew."""
        self._flowing.clear()

    def resume(self):
        self._flowing.set()

    def is_holding(self):
        """Whether somebody has said something that does not pass: it is in flight until resume()."""
        with self._lock:
            return self._held > 0

    def _wait_to_flow(self):
        if self._flowing.is_set():
            return
        with self._lock:
            self._held += 1
        self._flowing.wait()
        with self._lock:
            self._held -= 1

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            if server is None:
                client.close()
                continue
            with self._lock:
                self.connection_count += 1
                connection = ProxiedConnection(self, client, server, self._draw_bytes())
                self._connections.append(connection)
            connection.start()

    def _connect(self):
        parameters = psycopg2.extensions.parse_dsn(self.server.conninfo())
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(f"{parameters['host']}/.s.PGSQL.{parameters.get('port', 5432)}")
        except OSError:
            server.close()
            return None
        return server

    def _draw_bytes(self):
        if self._cut_bytes is None or self._cuts_left == 0:
            return None
        if self._cuts_left is not None:
            self._cuts_left -= 1
        return self._random.randint(*self._cut_bytes)

    def _is_answer_lost(self):
        with self._lock:
            self.commit_count += 1
            self._commits_until_loss -= 1
            if self._commits_until_loss != 0:
                return False
            self.lost_answer_count += 1
            return True

    def _open_connections(self):
        with self._lock:
            return list(self._connections)

    def _forget(self, connection):
        with self._lock:
            self._connections.remove(connection)

    def _count_cut(self):
        with self._lock:
            self.cut_count += 1
