"""The tables that are compared: as hyperfill-generate prints them."""

CPU = ["user", "system", "idle", "nice", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"]
FIRST = [("time", "timestamptz NOT NULL"), ("tags_id", "integer")]

# Columns with their types, by the name of the generator's shape.
SHAPES = {
    "cpu": [*FIRST, ("hostname", "text"), *((f"usage_{name}", "double precision") for name in CPU)],
    "wide": [*FIRST, ("hostname", "text"), *((f"metric_{number:02}", "double precision") for number in range(100))],
    "tiny": [*FIRST, ("value", "double precision")],
    "text": [*FIRST, ("hostname", "text"), ("level", "text"), ("unit", "text"), ("message", "text"), ("details", "text")],
    "jsonb": [*FIRST, ("payload", "jsonb")],
}

INDEXES = ["(time DESC)", "(tags_id, time DESC)"]


def create_table(shape, suffix=""):
    return f"CREATE TABLE t ({', '.join(f'{name} {kind}' for name, kind in SHAPES[shape])}){suffix}"


def columns(shape):
    return [name for name, _ in SHAPES[shape]]
