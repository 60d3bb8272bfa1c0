"""Bad rows of an input whose records are shaped on the way: set aside as they stood, and replayed in the same shape."""

import pytest

from harness.target import Target

REJECTS = 10


@pytest.mark.parametrize("which", ["pg15-plain", "ts17-hypertable"])
def test_bad_rows_with_a_shape(servers, hyperfill, tmp_path, chance, which):
    target = Target(servers[which.split("-")[0]], which.split("-")[1], tmp_path).create(
        "time timestamptz NOT NULL, device text, value double precision, note text"
    )
    bad = ["1709251200,x", "1709251200,x,1,2,3", "1709251200,x,eins,\"a\nb\"", "gestern,x,1,", "1709251200,\"a\n\",zwei,s"]
    good = [f'{1709251200 + i * 400},"d\n{i}",{i},"skip\n"' for i in range(900)]
    lines = list(good)
    for record in bad:
        lines.insert(chance.randrange(len(lines) + 1), record)
    file = target.file("ts,device,value,skip\n" + "\n".join(lines) + "\n")
    rejects = tmp_path / "rejects.csv"
    options = target.options(file, "--map", "ts=time", "--ignore-columns", "skip", "--set", "note=n,\n", "--time-format", "epoch",
                             "--on-bad-row", "reject", "--reject-file", rejects)  # fmt: skip
    result = hyperfill.run("run", *options, check=None)
    assert target.database.value("SELECT count(*) FROM m WHERE note = E'n,\\n'") == 900, result
    assert target.database.rows("SELECT count(DISTINCT value), sum(value) FROM m") == [(900, float(sum(range(900))))]
    content = rejects.read_text()
    for record in bad:
        assert record in content, (record, content)
