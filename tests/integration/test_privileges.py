"""Rights that a role lacks: the error says what to grant, and with it the same command loads."""

import os
import re

import psycopg2.extensions
import pytest

from harness import SERVER
from harness.target import GOOD, HEADER, ROWS_OF_GOOD, stored


@pytest.fixture
def role(target):
    """A role without any rights, which goes with what it was granted."""
    name = f"poor_{os.getpid()}"
    target.database.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    target.database.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def as_role(target, options, role):
    return [psycopg2.extensions.make_dsn(option, user=role) if option == target.database.conninfo else option for option in options]


def grants(result):
    return re.findall(r"GRANT [^;\n]*", result.stderr)


def test_role_without_insert(target, hyperfill, role):
    target.create()
    target.database.execute(f"GRANT SELECT ON m TO {role}; GRANT CREATE ON DATABASE {target.database.name} TO {role}")
    options = as_role(target, target.options(target.file(HEADER + "".join(GOOD))), role)
    result = hyperfill.run("run", *options, check=SERVER)
    assert any(re.search(r"INSERT.* ON .*m", statement) for statement in grants(result)), result
    assert stored(target) == []
    target.database.execute(f"GRANT INSERT ON m TO {role}")
    hyperfill.run("run", *options)
    assert stored(target) == ROWS_OF_GOOD


def test_role_without_create_on_database(target, hyperfill, role):
    target.create()
    target.database.execute(f"GRANT SELECT, INSERT ON m TO {role}")
    options = as_role(target, target.options(target.file(HEADER + "".join(GOOD))), role)
    result = hyperfill.run("run", *options, check=SERVER)
    assert any("CREATE ON DATABASE" in statement and role in statement for statement in grants(result)), result
    assert stored(target) == []
    target.database.execute(f"GRANT CREATE ON DATABASE {target.database.name} TO {role}")
    hyperfill.run("run", *options)
    assert stored(target) == ROWS_OF_GOOD


def test_role_without_select_on_the_source(target, hyperfill, role):
    target.create()
    source = target.server.create_database()
    source.execute("CREATE TABLE m (time timestamptz, value float8, note text); INSERT INTO m VALUES ('2024-03-01+00', 1, 'a')")
    conninfo = psycopg2.extensions.make_dsn(source.conninfo, user=role)
    options = target.options(conninfo, "--until", "2024-03-05 00:00:00Z")
    result = hyperfill.run("run", *options, check=SERVER)
    assert "source" in result.stderr and "permission denied for table m" in result.stderr, result
    assert stored(target) == []
    source.execute(f"GRANT SELECT ON m TO {role}")
    hyperfill.run("run", *options)
    assert stored(target) == [(1.0, "a")]
    source.execute(f"DROP OWNED BY {role}")
