"""What only the community edition of TimescaleDB does; skipped, and said so, where no such server is named."""

import pytest

from harness import create_cpu, fill_cpu

UNTIL = "2024-04-01T00:00:00Z"


@pytest.fixture
def source(servers):
    database = servers["pg15"].create_database()
    create_cpu(database, hypertable=False)
    fill_cpu(database, 60000, hosts=20)
    database.execute("create index on cpu (time)")
    return database


def run(hyperfill, source, target, *more):
    return hyperfill.run("run", "--source", source.conninfo, "--target", target.conninfo, "--table", "cpu", "--until", UNTIL,
                         *more)


def test_chunks_are_made_ahead_and_the_load_is_exact(hyperfill, source, community):
    create_cpu(community)
    run(hyperfill, source, community, "--jobs", "3")
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
    assert community.value("select count(*) from show_chunks('cpu')") == 2


def test_compressed_source(hyperfill, source, community, servers):
    create_cpu(community)
    run(hyperfill, source, community)
    community.execute("alter table cpu set (timescaledb.compress, timescaledb.compress_segmentby = 'tags_id')")
    community.rows("select compress_chunk(c) from show_chunks('cpu') c")
    back = servers["ts17"].create_database()
    create_cpu(back)
    run(hyperfill, community, back, "--checkpoint", "back")
    assert back.fingerprint("cpu") == source.fingerprint("cpu")


def test_replace_on_compressed_chunks(hyperfill, source, community):
    create_cpu(community)
    run(hyperfill, source, community)
    community.execute("update cpu set usage_user = -1 where tags_id = 3")
    community.execute("alter table cpu set (timescaledb.compress, timescaledb.compress_segmentby = 'tags_id')")
    community.rows("select compress_chunk(c) from show_chunks('cpu') c")
    hyperfill.run("clean", "--target", community.conninfo, "--table", "cpu")
    run(hyperfill, source, community, "--overlap", "replace", "--checkpoint", "again")
    assert community.fingerprint("cpu") == source.fingerprint("cpu")
