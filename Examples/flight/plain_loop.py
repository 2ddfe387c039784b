"""The flight in one plain Python process, without Hermes: what `flight.yaml` must give, bit for bit.

    python plain_loop.py [--frames N] [--record FILE.csv] [--compare FILE.csv]

It prints how well the flight went, and with --compare whether a recording of Hermes has the same bits; exit code 1 when
it does not. The two C modules are loaded as shared objects (`make` builds them) and
called through the seed ABI.
"""

import argparse
import csv
import ctypes
import pathlib
import struct
import sys

from c172p import C172P

HERE = pathlib.Path(__file__).resolve().parent
RATE_HZ = 120
FRAMES = 24000
COMMANDS = ("throttle", "elevator", "aileron", "rudder")
WINDS = ("north", "east", "down")


class SeedModule:
    """A shared object that defines hermes_module_create, from include/hermes/module.h."""

    class Table(ctypes.Structure):
        _fields_ = [
            ("init", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)),
            ("stage", ctypes.CFUNCTYPE(ctypes.c_int)),
            ("step", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_double)),
            ("reset", ctypes.CFUNCTYPE(ctypes.c_int)),
            ("terminate", ctypes.CFUNCTYPE(None)),
            ("get_signal", ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_char_p)),
            ("set_signal", ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_double)),
            ("list_signals", ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_char_p))),
        ]

    def __init__(self, name):
        library = ctypes.CDLL(str(HERE / "build" / f"{name}.so"))
        library.hermes_module_create.restype = ctypes.POINTER(self.Table)
        self._table = library.hermes_module_create().contents
        self.names = []
        for text in self._table.list_signals():
            if text is None:
                break
            self.names.append(text.decode())
        self._table.stage()

    def step(self, dt):
        if self._table.step(dt) != 0:
            raise RuntimeError("a step failed")

    def __getitem__(self, name):
        return self._table.get_signal(name.encode())

    def __setitem__(self, name, value):
        self._table.set_signal(name.encode(), value)


def fly(frames):
    """Yields every signal of every frame, frame 0 included, as a dictionary by qualified name."""
    wind, autopilot = SeedModule("wind"), SeedModule("autopilot")
    aircraft = C172P(altitude=1500.0, heading=90.0, airspeed=55.0)

    def instruments_to_autopilot():
        for name, value in aircraft.measure().items():
            if name in autopilot.names:
                autopilot[name] = value

    def signals():
        values = {f"wind.{name}": wind[name] for name in wind.names}
        values |= {f"autopilot.{name}": autopilot[name] for name in autopilot.names}
        values |= {f"aircraft.{name}": value for name, value in aircraft.measure().items()}
        # What the wires carry into the aircraft by the end of a frame: this frame's wind, and the commands it
        # will fly by in the next.
        values |= {f"aircraft.wind.{name}": wind[name] for name in WINDS}
        values |= {f"aircraft.{name}": autopilot[name] for name in COMMANDS}
        return values

    instruments_to_autopilot()
    yield signals()
    for _ in range(frames):
        wind.step(1.0 / RATE_HZ)
        aircraft.blow(*(wind[name] for name in WINDS))
        aircraft.command(*(autopilot[name] for name in COMMANDS))  # of the frame before
        aircraft.step(1.0 / RATE_HZ)
        instruments_to_autopilot()
        autopilot.step(1.0 / RATE_HZ)
        yield signals()


class Comparison:
    """A recording of Hermes beside the flight, frame by frame."""

    def __init__(self, file):
        self._rows = csv.reader(file)
        _, _, *self._names = next(self._rows)  # after frame and time
        self._frames = 0
        self.difference = None

    def take(self, frame, values):
        """Looks at the next frame, unless one before it differed."""
        if self.difference:
            return
        row = next(self._rows, None)
        if row is None:
            self.difference = f"the recording ends before frame {frame}"
            return
        if set(self._names) != set(values):
            self.difference = f"other signals: {', '.join(sorted(set(self._names) ^ set(values)))}"
            return
        number, _, *texts = row
        differing = [name for name, text in zip(self._names, texts) if bits(float(text)) != bits(values[name])]
        if number != str(frame):
            self.difference = f"frame {number} where frame {frame} belongs"
        elif len(texts) != len(self._names):
            self.difference = f"frame {frame} has {len(texts)} values for {len(self._names)} signals"
        elif differing:
            self.difference = f"frame {frame}: {', '.join(differing)} differ"
        self._frames += 1

    def result(self):
        """One line about all of it."""
        if not self.difference and next(self._rows, None) is not None:
            self.difference = f"the recording goes on after {self._frames} frames"
        return self.difference or f"the same bits in {self._frames} frames of {len(self._names)} signals"


def bits(value):
    """By them -0.0 is not 0.0, and a NaN is itself."""
    return struct.pack("<d", value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--record", metavar="FILE.csv")
    parser.add_argument("--compare", metavar="FILE.csv")
    options = parser.parse_args()

    comparison = Comparison(open(options.compare, newline="")) if options.compare else None
    record = open(options.record, "w") if options.record else None
    worst = {"altitude": 0.0, "heading": 0.0, "airspeed": 0.0}
    gust = 0.0
    names = None
    for frame, values in enumerate(fly(options.frames)):
        if record:
            if names is None:
                names = sorted(values)
                print("frame,time", *names, sep=",", file=record)
            print(frame, repr(frame / RATE_HZ), *(repr(values[name]) for name in names), sep=",", file=record)
        if comparison:
            comparison.take(frame, values)
        for name in worst:
            worst[name] = max(worst[name], abs(values[f"aircraft.{name}"] - values[f"autopilot.target.{name}"]))
        gust = max(gust, *(abs(values[f"wind.{name}"]) for name in WINDS))
    if record:
        record.close()

    print(f"{options.frames} frames, {options.frames / RATE_HZ:g} s, wind up to {gust:.1f} m/s on an axis")
    print(f"altitude within {worst['altitude']:.1f} m of {values['autopilot.target.altitude']:g}")
    print(f"heading within {worst['heading']:.1f} deg of {values['autopilot.target.heading']:g}")
    print(f"airspeed within {worst['airspeed']:.1f} m/s of {values['autopilot.target.airspeed']:g}")
    if comparison:
        print(comparison.result())
    return 1 if comparison and comparison.difference else 0


if __name__ == "__main__":
    sys.exit(main())
