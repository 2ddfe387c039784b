"""What a frame is, in plain Python: section 2 of the contract, values in and rows out.

Nothing here looks at how Hermes does it. A `Simulation` takes a configuration (a dict, as the YAML file reads) and the
text of each module's formula file (see modules/formula.c), and gives the rows that a recording must hold, bit for bit.
Values are Python numbers: float for f64 and f32 (f32 already rounded), int for i64 and i32, 0 or 1 for bool.
"""
import math
import re
import struct
from dataclasses import dataclass, field
from fractions import Fraction

LIMITS = {"i64": (-(2**63), 2**63 - 1), "i32": (-(2**31), 2**31 - 1)}


# ---- Conversion -------------------------------------------------------------------------------------------------

def round_to_f32(x):
    try:
        return struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def to_integer(x, kind):
    """Half to even, then saturated; NaN gives 0."""
    if math.isnan(x):
        return 0
    low, high = LIMITS[kind]
    if math.isinf(x):
        return high if x > 0 else low
    return min(max(round(x), low), high)


def from_f64(x, kind):
    if kind == "f64":
        return x
    if kind == "f32":
        return round_to_f32(x)
    if kind == "bool":
        return int(x != 0)
    return to_integer(x, kind)


def convert(value, source_kind, destination_kind, gain=1.0, offset=0.0):
    if source_kind == destination_kind and gain == 1 and offset == 0:
        return value
    scaled = float(value) * gain
    return from_f64(scaled + offset, destination_kind)


def f32_from_text(text):
    """The f32 next to what is written, rounded once: by way of a double, a text close to a tie could go the other way."""
    near = round_to_f32(float(text))
    if not math.isfinite(float(text)):
        return near
    pattern, = struct.unpack("<i", struct.pack("<f", near))
    around = [struct.unpack("<f", struct.pack("<i", pattern + step))[0] for step in (-1, 1) if pattern & 0x7FFFFFFF]
    written = Fraction(text)

    def distance(x):
        return abs((Fraction(x) if math.isfinite(x) else Fraction(math.copysign(2.0**128, x))) - written)

    return min([near, *(x for x in around if not math.isnan(x))], key=distance)


def parse_value(text, kind):
    """A value as people write it: after --set, in a recording."""
    text = str(text)
    if kind == "f32":
        return f32_from_text(text)
    if kind == "bool" and text.lower() in ("true", "false"):
        return int(text.lower() == "true")
    if kind == "i64" and re.fullmatch(r"[+-]?\d+", text):
        low, high = LIMITS[kind]
        return min(max(int(text), low), high)
    return from_f64(float(text), kind)


def bits(value, kind):
    """The eight bytes of the value's slot; every NaN counts as the same one, as a recording can't tell them apart."""
    if kind in ("f64", "f32"):
        if math.isnan(value):
            return "nan"
        return struct.pack("<d" if kind == "f64" else "<f", value).ljust(8, b"\0").hex()
    size = {"i64": 8, "i32": 4, "bool": 1}[kind]
    return int(value).to_bytes(size, "little", signed=kind != "bool").ljust(8, b"\0").hex()


# ---- A formula module -------------------------------------------------------------------------------------------

@dataclass
class FormulaSignal:
    name: str
    kind: str
    flags: frozenset
    start: object


@dataclass
class Formula:
    """A formula file, read."""
    access: str = "storage"
    keeps_on_reset: bool = False
    fails: int = 0
    """The frame whose step returns other than 0; 0 for none."""
    signals: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    statements: list = field(default_factory=list)

    @staticmethod
    def parse(text):
        formula = Formula()
        for line in text.splitlines():
            words = split_words(line)
            if not words:
                continue
            if len(words) > 1 and words[1] == "=":
                formula._parse_statement(words)
            elif words[0] == "signal":
                _, name, kind, flags, _, start = words
                flags = frozenset(flags.split(",")) - {"-"}
                # The module reads a double, but for an i64.
                value = parse_value(start, kind) if kind == "i64" else from_f64(float(start), kind)
                formula.signals[name] = FormulaSignal(name, kind, flags, value)
            elif words[0] == "state":
                formula.states[words[1]] = float(words[3])
            elif words[0] == "access":
                formula.access = words[1]
            elif words[0] == "fail":
                formula.fails = int(words[1])
            elif words[0] == "reset":
                formula.keeps_on_reset = words[1] == "keep"
            else:
                raise ValueError(f"can't be read: {line}")
        return formula

    def _parse_statement(self, words):
        target = words[0]
        if target not in self.signals and target not in self.states:
            raise ValueError(f"no such signal or state: {target}")
        if words[2] == "mix":
            self.statements.append((target, "mix", [self._term(words[3]), self._term(words[4])]))
            return
        terms = [("", self._term(words[2]))]
        for operator, word in zip(words[3::2], words[4::2], strict=True):
            terms.append((operator, self._term(word)))
        self.statements.append((target, "=", terms))

    def _term(self, word):
        if word in ("dt", "n", "frame", "time"):
            return (word, None)
        if word in self.signals:
            return ("signal", word)
        if word in self.states:
            return ("state", word)
        return ("number", float(word))


def split_words(line):
    words = []
    for quoted, plain, comment in re.findall(r'"((?:\\.|[^"\\])*)"|([^\s"#]\S*)|(#.*)', line):
        if comment:
            break
        words.append(plain if plain else re.sub(r"\\(.)", r"\1", quoted))
    return words


def divide(a, b):
    if b != 0 or math.isnan(b):
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": divide,
    "min": lambda a, b: a if a < b else b,
    "max": lambda a, b: a if a > b else b,
}


class FormulaModule:
    """A formula at work, as its process would be: with values of its own (`storage`, `names`) or in the segment only
    (`handles`). `slots` is the module's share of the segment, by local name."""

    def __init__(self, formula, slots, wired):
        self.formula = formula
        self.slots = slots
        self.wired = wired
        self.direct = formula.access == "handles"
        self.local = slots if self.direct else {name: from_f64(0.0, s.kind) for name, s in formula.signals.items()}
        self.states = dict(formula.states)
        self.steps = 0

    def stage(self):
        self._to_start()

    def reset(self):
        if not self.formula.keeps_on_reset:
            self._to_start()

    def _to_start(self):
        self.steps = 0
        self.states = dict(self.formula.states)
        for name, signal in self.formula.signals.items():
            self._store(name, signal.start)

    def step(self, dt, frame, time):
        self.steps += 1
        surroundings = {"dt": dt, "n": float(self.steps), "frame": float(frame), "time": time}
        for target, operation, terms in self.formula.statements:
            if operation == "mix":
                a, b = (self._integer(term, surroundings) & (2**64 - 1) for term in terms)
                mixed = ((a ^ (a >> 29)) * 6364136223846793005 + b) & (2**64 - 1)
                self._assign_integer(target, mixed - 2**64 if mixed >> 63 else mixed)
                continue
            result = 0.0
            for operator, term in terms:
                right = self._number(term, surroundings)
                result = OPERATORS[operator](result, right) if operator else right
            if target in self.states:
                self.states[target] = result
            else:
                self._store(target, from_f64(result, self.formula.signals[target].kind))

    def _store(self, name, value):
        if not (self.direct and name in self.wired):
            self.local[name] = value

    def _assign_integer(self, target, mixed):
        if target in self.states:
            self.states[target] = float(mixed)
            return
        kind = self.formula.signals[target].kind
        if kind == "i32":
            mixed = (mixed & (2**32 - 1)) - (2**32 if mixed & 2**31 else 0)
        elif kind == "bool":
            mixed &= 1
        elif kind != "i64":
            mixed = from_f64(float(mixed), kind)
        self._store(target, mixed)

    def _number(self, term, surroundings):
        kind, what = term
        if kind == "number":
            return what
        if kind == "signal":
            return float(self.local[what])
        if kind == "state":
            return self.states[what]
        return surroundings[kind]

    def _integer(self, term, surroundings):
        kind, what = term
        if kind == "signal" and self.formula.signals[what].kind not in ("f64", "f32"):
            return self.local[what]
        return to_integer(self._number(term, surroundings), "i64")

    def hand_over(self, name, value, kind):
        """The node's set_signal or copy into storage; by name it goes through a double, but no wire adds its offset."""
        if not self.direct:
            own = self.formula.signals[name].kind
            self.local[name] = value if kind == own else from_f64(float(value), own)

    def read(self, name, kind):
        """The node's get_signal or copy out of storage."""
        if self.direct:
            return self.slots[name]
        own = self.formula.signals[name].kind
        return self.local[name] if kind == own else from_f64(float(self.local[name]), kind)


# ---- The simulation ---------------------------------------------------------------------------------------------

@dataclass
class Signal:
    kind: str
    writable: bool
    published: bool
    wired: bool = False


@dataclass
class Wire:
    source: tuple
    destination: tuple
    gain: float
    offset: float


class Simulation:
    def __init__(self, config, formulas, sets=None, rate_hz=None, frames=None):
        """`formulas`: the text of each module's formula file; `sets`: what --set gives, {"m.s": "text"}."""
        execution = config.get("execution", {})
        self.rate = float(rate_hz or execution.get("rate_hz", 100.0))
        end = execution.get("end_time")
        self.frames = frames if frames is not None else None if end is None else round(float(end) * self.rate)
        self.sets = sets or {}
        self.signals = {}
        self.slots = {}
        self.modules = {}
        self.divisor = {}
        self.holds = {module: settings.get("on_module_error", execution.get("on_module_error")) == "hold"
                      for module, settings in config["modules"].items()}
        self.held = set()
        parsed = {}
        for module, settings in config["modules"].items():
            formula = parsed[module] = Formula.parse(formulas[module])
            overrides = {entry["name"]: entry for entry in settings.get("signals", [])}
            self.slots[module] = {}
            for name, signal in formula.signals.items():
                override = overrides.get(name, {})
                kind = override.get("type", signal.kind)
                writable = override.get("writable", bool(signal.flags & {"writable", "input"}))
                published = override.get("published", "hidden" not in signal.flags)
                self.signals[module, name] = Signal(kind, writable, published)
                self.slots[module][name] = from_f64(0.0, kind)
            self.divisor[module] = round(self.rate / float(settings.get("rate_hz", self.rate)))
        self.wires = [wire for entry in config.get("wiring", []) for wire in self._expand(entry)]
        for wire in self.wires:
            self.signals[wire.destination].wired = True
        for module, formula in parsed.items():
            wired = {name for (owner, name), signal in self.signals.items() if owner == module and signal.wired}
            self.modules[module] = FormulaModule(formula, self.slots[module], wired)
        schedule = execution.get("schedule") or [list(self.modules)]
        self.phases = [[entry] if isinstance(entry, str) else list(entry) for entry in schedule]
        self.frame = 0
        self.queue = []
        for module in self.modules.values():
            module.stage()
        self._begin_epoch()

    def _expand(self, entry):
        source, destination = (tuple(entry[end].split(".", 1)) for end in ("src", "dst"))
        gain, offset = float(entry.get("gain", 1)), float(entry.get("offset", 0))
        if "*" not in source[1]:
            return [Wire(source, destination, gain, offset)]
        before, after = source[1].split("*")
        wires = []
        for module, name in self.signals:
            long_enough = len(name) > len(before) + len(after)
            if module == source[0] and long_enough and name.startswith(before) and name.endswith(after):
                text = name[len(before):len(name) - len(after)]
                wires.append(Wire((module, name), (destination[0], destination[1].replace("*", text)), gain, offset))
        return wires

    def _begin_epoch(self):
        self.frame = 0
        for module in self.modules:
            if module in self.held:
                continue
            for name in self.slots[module]:
                self._read(module, name)
        for name, text in self.sets.items():
            self._put(name, text)
        self._deliver(self.wires)

    def _read(self, module, name):
        self.slots[module][name] = self.modules[module].read(name, self.signals[module, name].kind)

    def _put(self, qualified, text):
        module, name = qualified.split(".", 1)
        self.slots[module][name] = parse_value(text, self.signals[module, name].kind)

    def _deliver(self, wires):
        values = [self.slots[wire.source[0]][wire.source[1]] for wire in wires]
        for wire, value in zip(wires, values):
            source, destination = self.signals[wire.source], self.signals[wire.destination]
            self.slots[wire.destination[0]][wire.destination[1]] = convert(
                value, source.kind, destination.kind, wire.gain, wire.offset)

    @property
    def time(self):
        return self.frame / self.rate

    def step(self):
        """One frame: what was written from outside, then phase by phase steps and deliveries."""
        self.frame += 1
        for name, text in self.queue:
            self._put(name, text)
        self.queue = []
        for phase in self.phases:
            for module in phase:
                if (self.frame - 1) % self.divisor[module] == 0 and module not in self.held:
                    self._step_module(module)
            self._deliver([wire for wire in self.wires if wire.source[0] in phase])
        return self.row()

    def _step_module(self, module):
        behaviour, slots = self.modules[module], self.slots[module]
        if behaviour.formula.fails == self.frame:
            assert self.holds[module], f"{module} fails, which ends a run"
            self.held.add(module)
            return
        for name in slots:
            signal = self.signals[module, name]
            if signal.wired or signal.writable:
                behaviour.hand_over(name, slots[name], signal.kind)
        behaviour.step(self.divisor[module] / self.rate, self.frame, self.time)
        for name in slots:
            if not self.signals[module, name].wired:
                self._read(module, name)

    def write(self, values):
        """A call from outside, at this frame edge: {"m.s": "text"}."""
        self.queue.extend(values.items())

    def reset(self):
        for name, module in self.modules.items():
            if name not in self.held:
                module.reset()
        self._begin_epoch()
        return self.row()

    @property
    def published(self):
        """Qualified names in the order of a recording's columns."""
        names = (f"{module}.{name}" for (module, name), signal in self.signals.items() if signal.published)
        return sorted(names, key=lambda name: name.encode())

    def kind(self, qualified):
        return self.signals[tuple(qualified.split(".", 1))].kind

    def value(self, qualified):
        module, name = qualified.split(".", 1)
        return self.slots[module][name]

    def row(self):
        return {"frame": self.frame, "time": self.time, **{name: self.value(name) for name in self.published}}

    def run(self, frames=None):
        """The rows of this epoch from frame 0 on; call it on a fresh simulation."""
        return [self.row()] + [self.step() for _ in range(self.frames if frames is None else frames)]
