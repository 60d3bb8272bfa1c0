"""verify compares values by what they mean, on two versions of the server, for every type that either has."""

import json

import pytest

from harness import DATA
from harness.verify import UNTIL, WAYS

# Every built-in type with a text form, and what its values can be that others might take for equal.
TYPES = {
    "boolean": ["true", "false"],
    "smallint": ["0", "-32768"],
    "integer": ["0", "2147483647"],
    "bigint": ["-9223372036854775808", "1"],
    "real": ["0", "-0", "NaN", "Infinity", "-Infinity", "1.1754944e-38", "0.1"],
    "double precision": ["0", "-0", "NaN", "Infinity", "0.1", "0.30000000000000004", "5e-324"],
    "numeric": ["1.0", "1.00", "NaN", "Infinity", "-Infinity", "0", "1e100", "-0.00001"],
    "numeric(12,3)": ["1.5", "NaN"],
    "money": ["12.34", "-5.00"],
    "text": ["''", "a", "\\t\\n", "é", "ﬀ", "(,)", '"'],
    "varchar(20)": ["", "x "],
    "char(5)": ["", "ab"],
    '"char"': ["a", ""],
    "name": ["n", ""],
    "bytea": ["\\x00ff", ""],
    "json": ['{"a": 1}', '{"a":1}', "[1.0]"],
    "jsonb": ['{"a": 1}', '{"a": 1.0}', '{"b": null, "a": [1, 2]}'],
    "xml": ["<a/>", "<a></a>"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "date": ["2024-02-29", "infinity", "0044-03-15 BC"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timetz": ["12:00:00+01", "11:00:00+00"],
    "timestamp": ["2024-01-01 00:00:00", "-infinity"],
    "timestamptz": ["2024-07-01 12:00:00+02", "infinity"],
    "interval": ["1 day", "24:00:00", "-1 mon +2 days", "1.5 s"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(4)": ["0101"],
    "bit varying": ["", "1"],
    "tsvector": ["a:1 b:2A", "fat cat"],
    "tsquery": ["a & b", "!a"],
    "point": ["(0,-0)", "(1,2)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(0,0),(1,1)]"],
    "box": ["(2,2),(1,1)"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "polygon": ["((0,0),(1,1),(2,0))"],
    "circle": ["<(0,0),5>"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "int8range": ["[1,)"],
    "numrange": ["[1.0,1.10]"],
    "tsrange": ["[2024-01-01 00:00,2024-01-02 00:00)"],
    "tstzrange": ["[2024-01-01 00:00+00,)"],
    "daterange": ["[2024-01-01,2024-01-05)"],
    "int4multirange": ["{[1,3),[5,7)}"],
    "tstzmultirange": ["{[2024-01-01 00:00+00,2024-01-02 00:00+00)}"],
    "pg_lsn": ["16/B374D848"],
    "oid": ["4294967295"],
    "xid": ["7"],
    "xid8": ["18446744073709551615"],
    "tid": ["(1,2)"],
    "txid_snapshot": ["10:20:10,14"],
    "pg_snapshot": ["10:20:10,14", "10:20:"],
    "cid": ["7"],
    "refcursor": ["c", ""],
    "aclitem": ["postgres=r/postgres", "=r*/postgres"],
    "int2vector": ["1 2"],
    "oidvector": ["1 2", "1"],
    # Names of what has other numbers in another database.
    "regclass": ["own", "pg_class"],
    "regcollation": ['"sloppy"', '"C"'],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regnamespace": ["somewhere", "pg_catalog"],
    "regoper": ["||/"],
    "regoperator": ["+(integer,integer)"],
    "regproc": ["own_function", "now"],
    "regprocedure": ["own_function()", "abs(integer)"],
    "regrole": ["postgres"],
    "regtype": ["mood", "integer"],
    "int8multirange": ["{[1,3)}"],
    "nummultirange": ["{[1.0,1.10]}"],
    "datemultirange": ["{[2024-01-01,2024-01-05)}"],
    "tsmultirange": ["{[2024-01-01 00:00,2024-01-02 00:00)}"],
    "jsonpath": ["$.a[*] ? (@ > 1)"],
    "int[]": ["{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={1,2}", "{}"],
    "text[]": ['{"",NULL,"NULL"}'],
    "double precision[]": ["{-0,NaN,0.1}"],
    "timestamptz[]": ["{2024-01-01 00:00:00+00}"],
    "interval[]": ["{1 day,24:00:00}"],
    "bytea[]": ['{"\\\\x00"}'],
    "mood": ["sad", "very happy"],
    "mood[]": ['{sad,"very happy"}'],
    "positive": ["1.10", "1.1"],
    "pair": ["(1,)", '(,"a,b")', '(2,"")'],
    "pair[]": ['{"(1,a)"}'],
    "floatrange": ["[0.1,0.2)"],
    'text COLLATE "sloppy"': ["a", "A"],
}
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE DOMAIN positive AS numeric CHECK (VALUE > 0);"
    " CREATE TYPE pair AS (number int, word text); CREATE TYPE floatrange AS RANGE (subtype = float8);"
    " CREATE COLLATION sloppy (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
    " CREATE TABLE own (x int); CREATE FUNCTION own_function() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SCHEMA somewhere"
)
# Types that no value can be written of.
WITHOUT_INPUT = {"gtsvector", "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"}


@pytest.mark.parametrize("kind", ["pg15", "ts17", "ts18"])
def test_the_types_are_all(servers, kind):
    """A type of a later server that nobody has thought of shows here."""
    database = servers[kind].create_database()
    database.execute(OWN_TYPES)
    named = {database.value("SELECT format_type(%s::regtype, NULL)", [name]) for name in TYPES if "COLLATE" not in name}
    built_in = database.rows(
        "SELECT format_type(oid, NULL) FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')"
        " AND typcategory <> 'A' AND oid < 10000"
    )
    assert {name for (name,) in built_in} - named <= WITHOUT_INPUT


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_types(servers, hyperfill, way):
    """Every value comes out equal, and is told from every other one of its type."""
    source, target = (servers[kind].create_database() for kind in way)
    names = [f"c{number}" for number in range(len(TYPES))]
    # So that its own objects have other numbers there.
    target.execute("CREATE TABLE before (x serial PRIMARY KEY, t text)")
    for database, order in ((source, names), (target, names[::-1])):
        database.execute(OWN_TYPES)
        columns = ", ".join(f"{name} {list(TYPES)[int(name[1:])]}" for name in order)
        database.execute(f"CREATE TABLE t ({columns}, at timestamptz NOT NULL)")
    target.rows("SELECT create_hypertable('t', 'at')")
    number = 0
    for name, values in zip(names, TYPES.values()):
        for value in values:
            source.execute(f"INSERT INTO t (at, {name}) VALUES ('2024-03-01+00'::timestamptz + %s * interval '1 min', %s)", [number, "" if value == "''" else value])
            number += 1
    source.execute("INSERT INTO t (at) VALUES ('2024-03-03+00')")
    options = ["--source", source.conninfo, "--target", target.conninfo, "--table", "t", "--time-column", "at", "--until", UNTIL, "--progress", "none"]
    hyperfill.run("run", *options)
    hyperfill.run("verify", *options, check=0)
    # Each value becomes the next one of its type, the last one NULL: all are seen.
    number = 0
    for name, values in zip(names, TYPES.values()):
        for value in [*values[1:], None]:
            target.execute(
                f"UPDATE t SET {name} = %s WHERE at = '2024-03-01+00'::timestamptz + %s * interval '1 min'",
                ["" if value == "''" else value, number],
            )
            number += 1
    found = json.loads(hyperfill.run("verify", *options, "--json", "--examples", "10000", check=DATA).stdout)
    seen = {row["source"]["at"] for difference in found["differences"] for row in difference["rows"] if "source" in row}
    assert len(seen) == number, f"{number - len(seen)} were taken for equal"
    hyperfill.run("verify", *options, "--repair", check=0)
    hyperfill.run("verify", *options, check=0)
