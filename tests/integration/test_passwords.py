"""Passwords in connection strings are never shown, kept, or left in the list of processes."""

import socket

import pytest

import harness
from harness.target import GOOD, HEADER

SECRET = "s3cret"
WITH_SECRET = (
    "postgresql://u:s3cret@127.0.0.1:1/x",
    "postgres://u:s3cret@127.0.0.1:1/x?connect_timeout=1",
    "postgresql://127.0.0.1:1/x?user=u&password=s3cret",
    "postgresql://127.0.0.1:1/x?user=u&sslpassword=s3cret",
    "host=127.0.0.1 port=1 user=u password=s3cret dbname=x",
    "host=127.0.0.1 port=1 user=u password='s3cret' dbname=x",
    "host=127.0.0.1 port=1 user=u password = 's3cret with \\' blank' dbname=x",
)
MALFORMED_WITH_SECRET = (
    "postgresql://u:s3cret@127.0.0.1:99999/x",
    "postgresql://u:s3cret@[::1/x",
    "postgresql://u:s3cret@127.0.0.1:1/x?nonsense=1",
    "postgresql://u:s3cret%zz@127.0.0.1:1/x",
    "postgresql://u:s3cret@127.0.0.1:port/x",
    "postgresql://u:p@s3cret@127.0.0.1:1/x",
    "postgresql://u:s3cret/x@127.0.0.1:1/y",
    "postgresql://127.0.0.1:1/x?password=s3cret&password",
    "host=127.0.0.1 port=1 password='s3cret",
    "host=127.0.0.1 port=1 password=s3cret nonsense",
    "host=127.0.0.1 port=1 password=s3cret nonsense=1",
    "host=127.0.0.1 port=1 password=a s3cret",
    "password=s3cret hots=127.0.0.1",
    "postgresql:/u:s3cret@127.0.0.1:1/x",
    "postgre://u:s3cret@127.0.0.1:1/x",
    "mysql://u:s3cret@127.0.0.1:1/x",
)


def assert_no_secret(result, folder):
    assert SECRET not in result.stdout and SECRET not in result.stderr, result
    for path in folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), f"{path}: {path.read_bytes()!r}"


@pytest.mark.parametrize("side", ["--source", "--target"])
@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("conninfo", WITH_SECRET + MALFORMED_WITH_SECRET)
def test_password_is_never_shown(make_target, hyperfill, tmp_path, command, side, conninfo):
    other = "--target" if side == "--source" else "--source"
    # The other side is never reached, or is a server of the same kind that nobody has: errors of both are looked at.
    result = hyperfill.run(
        command, side, conninfo, other, "host=127.0.0.1 port=1 connect_timeout=1", "--table", "m", "--until",
        "2024-03-05 00:00:00Z", "--retry-seconds", "1", "--verbose", check=None,
    )
    assert result.status != 0, result
    assert_no_secret(result, tmp_path)


@pytest.mark.parametrize("conninfo", WITH_SECRET[:1] + WITH_SECRET[4:5] + MALFORMED_WITH_SECRET)
def test_password_is_never_shown_by_clean(hyperfill, tmp_path, conninfo):
    result = hyperfill.run("clean", "--target", conninfo, "--table", "m", "--yes", check=None)
    assert result.status != 0
    assert_no_secret(result, tmp_path)


def test_password_is_not_kept_by_a_run(target, hyperfill, tmp_path):
    target.create()
    file = target.file(HEADER + "".join(GOOD))
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text); INSERT INTO m VALUES ('2024-03-01+00', 1, 'a')")
    secret = f"{target.database.conninfo} password={SECRET}"
    options = [secret if option == target.database.conninfo else option for option in target.options(file, "--verbose")]
    result = hyperfill.run("run", *options)
    assert_no_secret(result, tmp_path)
    result = hyperfill.run("status", "--table", "m", "--json")
    assert_no_secret(result, tmp_path)
    options = target.options(f"{source.conninfo} password={SECRET}", "--until", "2024-03-05 00:00:00Z", "--checkpoint", "second", "--overlap", "keep")
    assert_no_secret(hyperfill.run("run", *options), tmp_path)
    for table in ("job", "piece"):
        for (row,) in target.database.rows(f"SELECT t::text FROM hyperfill.{table} AS t"):
            assert SECRET not in row


@pytest.mark.parametrize("side", ["--source", "--target"])
@pytest.mark.parametrize("form", ["postgresql://u:s3cret@127.0.0.1:{port}/x", "host=127.0.0.1 port={port} user=u password=s3cret dbname=x"])
@pytest.mark.parametrize("joined", [False, True], ids=["two-words", "one-word"])
def test_password_is_not_in_the_command_line_of_the_process(hyperfill, tmp_path, side, form, joined):
    # A server that takes connections and says nothing keeps the program waiting.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        conninfo = form.format(port=listener.getsockname()[1])
        silent = f"host=127.0.0.1 port={listener.getsockname()[1]}"
        other = "--target" if side == "--source" else "--source"
        given = [f"{side}={conninfo}"] if joined else [side, conninfo]
        process = hyperfill.start("run", *given, other, silent, "--table", "m", "--until", "2024-03-05 00:00:00Z")
        listener.settimeout(harness.PATIENCE)
        # Held, because a connection that is closed would end the program.
        connection, _ = listener.accept()
        assert process.running
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            line = file.read()
        assert b"hyperfill" in line and SECRET.encode() not in line, line
        process.kill()
        connection.close()
    assert_no_secret(process.result(), tmp_path)
