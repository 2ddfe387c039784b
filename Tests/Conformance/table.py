"""What every conformer computes: README.md of this folder, once more in Python."""

import struct

TYPES = {
    "in_f64": "f64",
    "in_f32": "f32",
    "in_i64": "i64",
    "in_i32": "i32",
    "in_bool": "bool",
    "gain": "f64",
    "out.f64": "f64",
    "out.f32": "f32",
    "out.i64": "i64",
    "out.i32": "i32",
    "out.bool": "bool",
    "total": "f64",
    "steps": "i64",
}
INPUTS = [name for name in TYPES if name.startswith("in_")]
UNITS = {"in_f64": "m", "out.f64": "m", "total": "m s"}
DEFAULTS = {name: 0 for name in TYPES} | {"in_f64": 0.5, "in_f32": 0.25, "in_i64": 3, "in_i32": -2, "gain": 2.0}
RATE_HZ = 100.0


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def driven(frame):
    """What driver.c gives the inputs in a frame."""
    if frame == 0:
        return {name: 0 for name in INPUTS}
    return {
        "in_f64": frame * 0.1,
        "in_f32": f32(frame * f32(0.3)),
        "in_i64": 1000000000000 + frame,
        "in_i32": -frame,
        "in_bool": frame % 2,
    }


def stepped(before, inputs):
    """All signals after one step."""
    now = {**before, **inputs}
    dt = 1 / RATE_HZ
    now["out.f64"] = now["in_f64"] * now["gain"] + dt
    now["out.f32"] = f32(now["in_f32"] * 1.5)
    now["out.i64"] = now["in_i64"] + 1
    now["out.i32"] = now["in_i32"] - 1
    now["out.bool"] = int(not now["in_bool"])
    now["total"] = now["total"] + now["in_f64"] * dt
    now["steps"] = now["steps"] + 1
    return now


def rows(frames, **parameters):
    """The recording of a run: frame 0, where the wires were delivered once, to `frames`."""
    row = {**DEFAULTS, **parameters, **driven(0)}
    yield row
    for frame in range(1, frames + 1):
        row = stepped(row, driven(frame))
        yield row
