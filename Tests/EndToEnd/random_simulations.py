"""Random simulations of formula modules: what test_property.py runs, a function of the seed alone."""
import random
from dataclasses import dataclass, field

KINDS = ["f64", "f32", "i64", "i32", "bool"]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -0.5, 0.1, 1 / 3, 3.0, 1e-9, 65536.5, 2147483647.0, 3e9, -3e9, 1e10,
           9.007199254740993e15, 9.3e18, -9.3e18, 3.4028235677973366e38, 1e39, 1e300, -1e300, 5e-324]
RARE = ["nan", "inf", "-inf"]
WORDS = ["alpha", "zeta", "m", "Beta", "mid_2", "x-ray", "n0", "Omega"]


def number(rng):
    """The text of a number: mostly tame, at times at a limit."""
    draw = rng.random()
    if draw < 0.04:
        return rng.choice(RARE)
    if draw < 0.30:
        return repr(rng.choice(NUMBERS))
    if draw < 0.65:
        return str(rng.randint(-20, 20))
    return repr(round(rng.uniform(-100, 100), rng.randint(0, 15)))


def value_text(rng, kind):
    """The text of a value of that type, as on a command line."""
    if kind == "bool":
        return rng.choice(["true", "false", "1", "0"])
    if kind == "i32":
        return str(rng.choice([rng.randint(-50, 50), 2**31 - 1, -(2**31), rng.randint(-(2**31), 2**31 - 1)]))
    if kind == "i64":
        return str(rng.choice([rng.randint(-50, 50), rng.randint(-(2**52), 2**52), -(2**63), 2**53 + 1, 2**63 - 1]))
    return number(rng)


@dataclass
class RandomSignal:
    name: str
    kind: str
    """In the segment."""
    flags: frozenset
    writable: bool
    group: str = ""


@dataclass
class RandomFormula:
    access: str
    lines: list = field(default_factory=list)
    signals: dict = field(default_factory=dict)
    overrides: list = field(default_factory=list)

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"

    def add_signal(self, rng, name, flags, group=""):
        kind = rng.choice(KINDS)
        flags = set(flags)
        override = {}
        writable = bool(flags & {"writable", "input"})
        if self.access == "names":
            # Such a module announces names only; the configuration says the rest.
            if rng.random() < 0.7:
                override["type"] = kind
            else:
                kind = "f64"
            if writable:
                override["writable"] = True
            if rng.random() < 0.1:
                override["published"] = False
            flags = set()
            local = "f64"
        else:
            if rng.random() < 0.1:
                flags.add("hidden")
            elif rng.random() < 0.1:
                override["published"] = False
            if "output" in flags and not writable and rng.random() < 0.15:
                override["writable"] = writable = True
            local = kind
        if override:
            self.overrides.append({"name": name, **override})
        start = value_text(rng, local) if rng.random() < 0.8 else "0"
        start = {"true": "1", "false": "0"}.get(start, start)
        self.lines.append(f"signal {name} {local} {','.join(sorted(flags)) or '-'} = {start}")
        self.signals[name] = RandomSignal(name, kind, frozenset(flags), writable, group)


ROLES = [["input"], ["input"], ["output"], ["output"], ["writable"], ["output", "writable"], ["input", "output"], []]


def random_formula(rng, access, name, groups=()):
    """`groups`: (prefix, keys, role) of families of signals for bulk wires."""
    formula = RandomFormula(access)
    formula.lines.append(f"# {name}")
    formula.lines.append(f"access {access}")
    if rng.random() < 0.2:
        formula.lines.append("reset keep")
    for i in range(rng.randint(1, 7)):
        prefix = rng.choice(["", "pos.", "a.b."])
        formula.add_signal(rng, f"{prefix}s{i}", rng.choice(ROLES))
    for prefix, keys, role in groups:
        for key in keys:
            formula.add_signal(rng, prefix + key, role, group=prefix)
    states = [f"k{i}" for i in range(rng.randint(0, 2))]
    formula.lines += [f"state {state} = {number(rng)}" for state in states]
    readable = [*formula.signals, *states, *states, "dt", "n", "frame", "time"]

    def term():
        return rng.choice(readable) if rng.random() < 0.75 else number(rng)

    for target in [*formula.signals, *states]:
        if target in formula.signals and formula.signals[target].flags == {"input"} and rng.random() < 0.9:
            continue
        if rng.random() < 0.2:
            continue
        if rng.random() < 0.25:
            formula.lines.append(f"{target} = mix {term()} {term()}")
            continue
        words = [term()]
        for _ in range(rng.randint(0, 4)):
            words += [rng.choice(["+", "+", "-", "*", "*", "/", "min", "max"]), term()]
        formula.lines.append(f"{target} = {' '.join(words)}")
    return formula


@dataclass
class RandomSimulation:
    config: dict
    formulas: dict
    sets: dict
    frames: int
    """For a run in one go; 0 for a live one."""
    actions: list
    """Of a live run: ("step", k), ("set", {name: text}), ("reset",)."""


def random_simulation(seed, name):
    rng = random.Random(seed)
    live = rng.random() < 0.4
    module_names = rng.sample(WORDS, rng.randint(1, 6))
    rate = rng.choice([1.0, 3.0, 10.0, 50.0, 100.0, 120.0, 1000.0])

    groups = {module: [] for module in module_names}
    bulk = []
    if rng.random() < 0.5:
        source, destination = rng.choice(module_names), rng.choice(module_names)
        keys = rng.sample(["x", "y", "z", "w.1", "w.2", "deep.er"], rng.randint(1, 5))
        groups[source].append(("bus.", keys, rng.choice([["output"], ["writable"], ["output", "writable"]])))
        groups[destination].append(("seen.", keys, ["input"]))
        bulk.append((f"{source}.bus.*", f"{destination}.seen.*"))

    formulas = {module: random_formula(rng, rng.choice(["storage", "names", "handles"]), module, groups[module])
                for module in module_names}

    wired = {(module, s.name) for module, f in formulas.items() for s in f.signals.values() if bulk and s.group == "seen."}
    wiring = [_with_gain(rng, {"src": src, "dst": dst}) for src, dst in bulk]
    everything = [(module, s) for module, formula in formulas.items() for s in formula.signals.values()]
    density = rng.choice([0.2, 0.6, 0.9])
    for module, signal in everything:
        if "output" in signal.flags or (module, signal.name) in wired or rng.random() > density:
            continue
        source_module, source = rng.choice(everything)
        if (source_module, source.name) == (module, signal.name):
            continue
        wired.add((module, signal.name))
        wiring.append(_with_gain(rng, {"src": f"{source_module}.{source.name}", "dst": f"{module}.{signal.name}"}))
    rng.shuffle(wiring)

    modules = {}
    for module in module_names:
        settings = {"type": "inproc" if rng.random() < 0.15 else "process"}
        settings["executable"] = f"./{module}.so" if settings["type"] == "inproc" else "./formula"
        settings["config"] = f"./{module}.formula"
        divisor = rng.choice([1, 1, 1, 2, 3, 5])
        if divisor > 1 or rng.random() < 0.1:
            settings["rate_hz"] = rate / divisor
        if formulas[module].overrides:
            settings["signals"] = formulas[module].overrides
        modules[module] = settings

    execution = {"mode": "single_frame" if live else "afap", "rate_hz": rate}
    shape = rng.choice(["default", "flat", "nested", "nested"])
    order = rng.sample(module_names, len(module_names))
    if shape == "flat":
        execution["schedule"] = order
    elif shape == "nested":
        execution["schedule"] = []
        while order:
            phase = [order.pop() for _ in range(rng.randint(1, len(order)))]
            execution["schedule"].append(phase[0] if len(phase) == 1 and rng.random() < 0.5 else phase)
    frames = 0 if live else rng.randint(0, 60)
    if not live:
        execution["end_time"] = frames / rate

    settable = [(f"{module}.{s.name}", s.kind) for module, s in everything if s.writable and (module, s.name) not in wired]
    sets = {q: value_text(rng, kind) for q, kind in settable if rng.random() < 0.3}
    actions = _actions(rng, settable) if live else []
    config = {"version": "0.2", "name": name, "modules": modules}
    if wiring:
        config["wiring"] = wiring
    config["execution"] = execution
    return RandomSimulation(config, {m: f.text for m, f in formulas.items()}, sets, frames, actions)


def _with_gain(rng, wire):
    if rng.random() < 0.3:
        wire["gain"] = rng.choice([2, -1, 0.1, 1e10, 0, 1 / 3, 1.0])
    if rng.random() < 0.3:
        wire["offset"] = rng.choice([0.5, -1, 0, 100.25, 1e-3, -3e9])
    return wire


def _actions(rng, settable):
    """A reset never follows a write directly: which edge takes which is nobody's promise."""
    actions = []
    for _ in range(rng.randint(2, 6)):
        actions.append(("step", rng.randint(1, 7)))
        draw = rng.random()
        if draw < 0.6 and settable:
            chosen = rng.sample(settable, rng.randint(1, min(4, len(settable))))
            actions.append(("set", {name: value_text(rng, kind) for name, kind in chosen}))
        elif draw < 0.8:
            actions.append(("reset",))
    actions.append(("step", rng.randint(1, 4)))
    return actions
