"""Owners, roles and passwords of a schema: copied as far as the target's role may, and never shown."""

from harness.schema import pg_bin


def test_owners_without_superuser(servers, hyperfill):
    """The target's role is no superuser, and a member of one owner only."""
    server = servers["ts17"]
    names = [f"{name}_{server.create_database().name}" for name in ("me", "owner", "stranger")]
    source, target = servers["pg15"].create_database(), server.create_database()
    me, owner, stranger = names
    try:
        for name in names[1:]:
            source.execute(f"CREATE ROLE {name}; GRANT CREATE ON SCHEMA public TO {name}")
        source.execute(
            f"SET ROLE {owner}; CREATE TABLE a (t timestamptz NOT NULL, v int); CREATE VIEW av AS SELECT v FROM a; GRANT SELECT ON a TO {stranger}, pg_monitor;"
            f" SET ROLE {stranger}; CREATE TABLE b (x int PRIMARY KEY); RESET ROLE; INSERT INTO b VALUES (1)"
        )
        target.execute(
            f"CREATE ROLE {me} LOGIN; CREATE ROLE {owner}; GRANT {owner} TO {me}; GRANT CREATE, USAGE ON SCHEMA public TO {me}, {owner};"
            f" GRANT CREATE ON DATABASE {target.name} TO {me}"
        )
        clone = (
            "schema", "--source", source.conninfo, "--target", target.conninfo.replace("user=postgres", f"user={me}"),
            "--hypertable", "a=t", "--pg-bin", pg_bin("pg15", "ts17"),
        )  # fmt: skip
        result = hyperfill.run(*clone)
        assert f"the owner {stranger}" in result.stderr and f"the owner {owner}" not in result.stderr, result
        assert f"GRANT SELECT ON TABLE public.a TO {stranger};" in result.stderr, result
        assert target.value("SELECT has_table_privilege('pg_monitor', 'a', 'SELECT')")
        owners = dict(target.rows("SELECT relname::text, relowner::regrole::text FROM pg_class WHERE relname IN ('a', 'av', 'b')"))
        assert owners == {"a": owner, "av": owner, "b": me}
        assert target.rows("SELECT x FROM b") == [(1,)]
        assert target.value("SELECT count(*) FROM timescaledb_information.hypertables") == 1
    finally:
        for database in (source, target):
            for name in names:
                if database.value("SELECT count(*) FROM pg_roles WHERE rolname = %s", [name]):
                    database.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_roles(servers, hyperfill):
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    # Roles belong to the whole server.
    app, group = f"App {source.name}", f"group_{source.name}"
    try:
        source.execute(
            f"CREATE ROLE \"{app}\" LOGIN SUPERUSER REPLICATION CREATEDB PASSWORD 'secret word' CONNECTION LIMIT 5; CREATE ROLE {group} NOINHERIT;"
            f' GRANT {group} TO "{app}"; ALTER ROLE "{app}" SET search_path = "$user", public; ALTER ROLE "{app}" SET work_mem = \'10MB\';'
            f' CREATE TABLE a (x int); ALTER TABLE a OWNER TO {group}'
        )
        clone = ("schema", "--source", source.conninfo, "--target", target.conninfo, "--roles", "--pg-bin", pg_bin("pg15", "ts17"))
        dry = hyperfill.run(*clone, "--dry-run")
        result = hyperfill.run(*clone)
        for text in (dry.stdout, dry.stderr, result.stdout, result.stderr):
            assert "secret" not in text and "SCRAM" not in text
        assert f"the passwords of {app}" in result.stderr and "SUPERUSER, REPLICATION of role" in result.stderr, result
        query = "SELECT rolsuper, rolreplication, rolcreatedb, rolcanlogin, rolinherit, rolconnlimit FROM pg_roles WHERE rolname = %s"
        assert target.rows(query, [app]) == [(False, False, True, True, True, 5)]
        assert target.rows(query, [group]) == [(False, False, False, False, False, -1)]
        assert target.value("SELECT pg_has_role(%s, %s, 'member')", [app, group])
        assert target.value("SELECT setconfig FROM pg_db_role_setting WHERE setrole = %s::regrole", [f'"{app}"']) == ['search_path="$user", public', "work_mem=10MB"]
        assert target.value("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'a'") == group
        assert hyperfill.run(*clone).stdout.startswith("nothing to do")
    finally:
        for database in (source, target):
            database.execute("DROP TABLE IF EXISTS a")
            for name in (app, group):
                database.execute(f'DROP ROLE IF EXISTS "{name}"')


def test_no_password_is_shown(servers, hyperfill, tmp_path):
    """pg_dump is given it in its environment: here a pg_dump that writes down what it sees."""
    source, target = servers["pg15"].create_database(), servers["ts17"].create_database()
    real = pg_bin("pg15", "ts17")
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "pg_dump").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/arguments\necho "$PGPASSWORD" >>{tmp_path}/environment\nexec {real}/pg_dump "$@"\n')
    (fake / "pg_dump").chmod(0o755)
    source.execute("CREATE TABLE a (x int)")
    result = hyperfill.run(
        "schema", "--source", source.conninfo + " password='se cr''et'".replace("''", "\\'"), "--target", target.conninfo,
        "--pg-bin", fake, "--verbose",
    )  # fmt: skip
    assert "se cr" not in (tmp_path / "arguments").read_text() + result.stdout + result.stderr
    assert "se cr'et" in (tmp_path / "environment").read_text().split("\n")
