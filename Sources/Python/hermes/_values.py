"""Signal types and the rule by which Python numbers become their values."""

from __future__ import annotations

import math
import struct
from typing import Any, Union

Value = Union[float, int, bool]

#: Type words by type code.
WORDS = ("f64", "f32", "i64", "i32", "bool")
CODES = {word: code for code, word in enumerate(WORDS)}
#: `struct` formats by type code.
FORMATS = ("d", "f", "q", "i", "?")

_LIMITS = {2: (-(2**63), 2**63 - 1), 3: (-(2**31), 2**31 - 1)}
_INFER = {float: "f64", int: "i64", bool: "bool"}


def infer(default: Any, what: str) -> int:
    """The type code for a signal with this default: float f64, int i64, bool bool."""
    for python_type in (bool, int, float):
        if isinstance(default, python_type):
            return CODES[_INFER[python_type]]
    if hasattr(default, "item"):  # numpy scalars
        return infer(default.item(), what)
    raise TypeError(f"{what}: the default is {default!r}; it has to be a float, an int or a bool")


def convert(value: Any, code: int, what: str) -> Value:
    """`value` as a value of type `code`: f32 rounds, integers round half to even and saturate, NaN gives 0 (True in
    a bool). Raises TypeError for what is no number."""
    if code == 4:
        if isinstance(value, (str, bytes)) or value is None:
            raise _not_a_number(value, what)
        return bool(value)
    if code >= 2:
        low, high = _LIMITS[code]
        try:
            whole = value.__index__()
        except (AttributeError, TypeError):
            # numpy arrays without dimensions have __index__ and refuse it for anything but integers.
            number = _as_float(value, what)
            if math.isnan(number):
                return 0
            if math.isinf(number):
                return high if number > 0 else low
            whole = round(number)
        return min(max(whole, low), high)
    number = _as_float(value, what)
    if code == 1:
        try:
            return struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:
            return math.copysign(math.inf, number)
    return number


def _as_float(value: Any, what: str) -> float:
    if isinstance(value, (str, bytes)):
        raise _not_a_number(value, what)
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise _not_a_number(value, what) from None


def _not_a_number(value: Any, what: str) -> TypeError:
    return TypeError(f"{what}: {value!r} is a {type(value).__name__}; a signal takes a number or a bool")


def to_bits(value: Any, code: int, what: str) -> int:
    """The 8 bytes of the signal's slot as an integer."""
    converted = convert(value, code, what)
    return int.from_bytes(struct.pack("<" + FORMATS[code], converted).ljust(8, b"\0"), "little")


def from_bits(bits: int, code: int) -> Value:
    """The value in a slot: float, int or bool by the signal's type."""
    return struct.unpack_from("<" + FORMATS[code], bits.to_bytes(8, "little"))[0]
