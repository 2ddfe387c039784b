"""Declaring a module's signals."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, MutableMapping, Optional, TypeVar

from . import _library, _values

T = TypeVar("T", float, int, bool)

#: Where an instance keeps what it declared itself; not a signal.
_DECLARED = "__hermes_signals__"


class Signal:
    """One declared signal. Made by `input`, `output`, `signal` and `declare`; an instance attribute then holds the plain
    value."""

    __slots__ = ("attribute", "code", "default", "description", "flags", "name", "unit")

    def __init__(
        self,
        default: Any,
        *,
        name: Optional[str],
        type: Optional[str],
        unit: Optional[str],
        description: Optional[str],
        flags: int,
    ) -> None:
        what = f"signal {name!r}" if name else "signal"
        if type is None:
            code = _values.infer(default, what)
        elif type in _values.CODES:
            code = _values.CODES[type]
        else:
            raise ValueError(f"{what}: no type {type!r}; a signal is f64, f32, i64, i32 or bool")
        self.name = name or ""
        self.attribute = ""
        self.code = code
        self.default = _values.convert(default, code, what)
        self.unit = unit
        self.description = description
        self.flags = flags

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute
        self.name = self.name or attribute

    # No __set__: a value assigned to the instance then hides this descriptor, at the speed of any attribute.
    def __get__(self, instance: Any, owner: Optional[type] = None) -> Any:
        return self if instance is None else self.default

    def __repr__(self) -> str:
        return f"<signal {self.name} {_values.WORDS[self.code]}>"


def _flags(base: int, writable: bool, published: bool) -> int:
    return base | (_library.WRITABLE if writable else 0) | (0 if published else _library.HIDDEN)


def input(
    default: T = 0.0,
    *,
    name: Optional[str] = None,
    type: Optional[str] = None,
    unit: Optional[str] = None,
    description: Optional[str] = None,
    published: bool = True,
) -> T:
    """A signal the module reads. A wire may drive it; without one users may set it and it keeps `default`.

    name: the signal's local name, by default the attribute's; it may hold dots ("Vehicle.thrust").
    type: "f64", "f32", "i64", "i32" or "bool"; by default that of `default` (float f64, int i64, bool bool).
    unit: "m", "N", "rad/s"; wires between different units get a warning.
    published: False leaves it out of recordings and digests.
    """
    flags = _flags(_library.INPUT, False, published)
    return Signal(default, name=name, type=type, unit=unit, description=description, flags=flags)  # type: ignore


def output(
    default: T = 0.0,
    *,
    name: Optional[str] = None,
    type: Optional[str] = None,
    unit: Optional[str] = None,
    description: Optional[str] = None,
    writable: bool = False,
    published: bool = True,
) -> T:
    """A signal the module computes; a wire into it is refused. With `writable` users may set it too: the next step
    then starts from their value. Other arguments as for `input`."""
    flags = _flags(_library.OUTPUT, writable, published)
    return Signal(default, name=name, type=type, unit=unit, description=description, flags=flags)  # type: ignore


def signal(
    default: T = 0.0,
    *,
    name: Optional[str] = None,
    type: Optional[str] = None,
    unit: Optional[str] = None,
    description: Optional[str] = None,
    writable: bool = False,
    published: bool = True,
) -> T:
    """A signal that is neither input nor output alone: the module computes it, a wire or (with `writable`) a user may
    also set it. Other arguments as for `input`."""
    flags = _flags(0, writable, published)
    return Signal(default, name=name, type=type, unit=unit, description=description, flags=flags)  # type: ignore


def declare(
    module: Any,
    name: str,
    default: Any = 0.0,
    *,
    type: Optional[str] = None,
    direction: Optional[str] = None,
    unit: Optional[str] = None,
    description: Optional[str] = None,
    writable: bool = False,
    published: bool = True,
    attribute: Optional[str] = None,
) -> None:
    """Declares a signal from `__init__`, for modules whose signals depend on their configuration.

    direction: "input", "output" or None for either. attribute: the instance attribute that holds the value, by default
    `name`; a name with dots is reached as `hermes.signals(self)["Vehicle.position.x"]`.
    """
    try:
        base = {None: 0, "input": _library.INPUT, "output": _library.OUTPUT}[direction]
    except KeyError:
        raise ValueError(f"signal {name!r}: direction is {direction!r}; it is 'input', 'output' or None") from None
    made = Signal(
        default, name=name, type=type, unit=unit, description=description, flags=_flags(base, writable, published)
    )
    made.attribute = attribute or name
    module.__dict__.setdefault(_DECLARED, []).append(made)
    module.__dict__[made.attribute] = made.default


def declared(module: Any) -> List[Signal]:
    """Every signal of an instance: those of its class, base classes first, then those it declared itself."""
    by_attribute: Dict[str, Signal] = {}
    for cls in reversed(type(module).__mro__):
        for attribute, value in vars(cls).items():
            if isinstance(value, Signal):
                by_attribute[attribute] = value
            else:
                by_attribute.pop(attribute, None)
    # A signal of `declare` whose attribute is taken would share its value: report it as the duplicate it is.
    found = list(by_attribute.values()) + list(module.__dict__.get(_DECLARED, ()))
    taken: Dict[str, Signal] = {}
    for each in found:
        other = taken.setdefault(each.attribute, each)
        if other is not each and other.name != each.name:
            raise ValueError(f"signals {other.name!r} and {each.name!r} use the same attribute {each.attribute!r}")
    return found


class Signals(MutableMapping[str, Any]):
    """The signals of a module instance by name: `hermes.signals(self)["Vehicle.position.x"] += 1.0`."""

    __slots__ = ("_attributes", "_values")

    def __init__(self, module: Any) -> None:
        self._values = module.__dict__
        self._attributes = {}
        for each in declared(module):
            self._attributes[each.name] = each.attribute
            self._values.setdefault(each.attribute, each.default)

    def __getitem__(self, name: str) -> Any:
        return self._values[self._attributes[name]]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[self._attributes[name]] = value

    def __delitem__(self, name: str) -> None:
        raise TypeError("a declared signal can't be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)


def signals(module: Any) -> Signals:
    """A mapping from signal name to value over a module instance. Make it once, after the last `declare`, not in
    every step."""
    return Signals(module)
