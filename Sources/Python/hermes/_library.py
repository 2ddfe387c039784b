"""libhermes.so, loaded when it is first needed."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import List, Optional

F64, F32, I64, I32, BOOL = range(5)

WRITABLE, HIDDEN, INPUT, OUTPUT = 1, 2, 4, 8


class SignalDeclaration(ctypes.Structure):
    """hermes_signal_t"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("unit", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("storage", ctypes.c_void_p),
    ]


InitFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
PlainFunction = ctypes.CFUNCTYPE(ctypes.c_int)
StepFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_double)
TerminateFunction = ctypes.CFUNCTYPE(None)
SaveFunction = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t)
LoadFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)


class ModuleFunctions(ctypes.Structure):
    """hermes_module_t"""

    _fields_ = [
        ("init", InitFunction),
        ("stage", PlainFunction),
        ("step", StepFunction),
        ("reset", PlainFunction),
        ("terminate", TerminateFunction),
        ("get_signal", ctypes.c_void_p),
        ("set_signal", ctypes.c_void_p),
        ("list_signals", ctypes.c_void_p),
    ]


CreateFunction = ctypes.CFUNCTYPE(ctypes.c_void_p)
DestroyFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class SignalInformation(ctypes.Structure):
    """hermes_signal_info"""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("unit", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("wired", ctypes.c_uint32),
        ("module", ctypes.c_uint32),
    ]


_c_uint32_p = ctypes.POINTER(ctypes.c_uint32)
_c_uint64_p = ctypes.POINTER(ctypes.c_uint64)

# Name, result, arguments; as in include/hermes/module.h and client.h.
_FUNCTIONS = [
    ("hermes_declare", ctypes.c_int, [ctypes.POINTER(SignalDeclaration)]),
    ("hermes_module_name", ctypes.c_char_p, []),
    ("hermes_config_path", ctypes.c_char_p, []),
    ("hermes_frame", ctypes.c_uint64, []),
    ("hermes_time", ctypes.c_double, []),
    ("hermes_last_error", ctypes.c_char_p, []),
    ("hermes_fail", None, None),  # variadic
    ("hermes_provide_state", None, [SaveFunction, LoadFunction]),
    ("hermes_module_run", ctypes.c_int, [CreateFunction, DestroyFunction]),
    ("hermes_free_script_begin", ctypes.c_int, [ctypes.c_double]),
    ("hermes_client_open", ctypes.c_void_p, [ctypes.c_char_p]),
    ("hermes_client_close", None, [ctypes.c_void_p]),
    ("hermes_client_count", ctypes.c_uint32, [ctypes.c_void_p]),
    ("hermes_client_find", ctypes.c_int64, [ctypes.c_void_p, ctypes.c_char_p]),
    ("hermes_client_info", ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(SignalInformation)]),
    ("hermes_client_frame", ctypes.c_uint64, [ctypes.c_void_p]),
    ("hermes_client_time", ctypes.c_double, [ctypes.c_void_p]),
    ("hermes_client_rate", ctypes.c_double, [ctypes.c_void_p]),
    ("hermes_client_epoch", ctypes.c_uint32, [ctypes.c_void_p]),
    ("hermes_client_state", ctypes.c_uint32, [ctypes.c_void_p]),
    ("hermes_client_get_bits", ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32, _c_uint64_p]),
    (
        "hermes_client_sample",
        ctypes.c_int,
        [
            ctypes.c_void_p,
            _c_uint32_p,
            ctypes.c_size_t,
            _c_uint64_p,
            _c_uint64_p,
            ctypes.POINTER(ctypes.c_double),
            ctypes.c_double,
        ],
    ),
    ("hermes_client_set_bits", ctypes.c_int, [ctypes.c_void_p, _c_uint32_p, _c_uint64_p, ctypes.c_size_t]),
    ("hermes_client_wait_frame", ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_double]),
]

_loaded: Optional[ctypes.CDLL] = None


def candidates() -> List[str]:
    """Where libhermes.so is looked for, in order."""
    named = os.environ.get("HERMES_LIBRARY")
    if named:
        return [named]
    package = Path(__file__).resolve().parent
    places = []
    if len(package.parents) > 2:
        # PREFIX/lib/python3/dist-packages/hermes, then a checkout's Sources/Python/hermes.
        places.append(str(package.parents[2] / "libhermes.so"))
        places.append(str(package.parents[2] / ".build" / "lib" / "libhermes.so"))
    places.append("libhermes.so")
    return places


def library() -> ctypes.CDLL:
    """The library. Raises ImportError that says what was tried."""
    global _loaded
    if _loaded is not None:
        return _loaded
    tried = []
    for place in candidates():
        if os.sep in place and not os.path.exists(place):
            tried.append(f"{place}: no such file")
            continue
        try:
            opened = ctypes.CDLL(place, use_errno=True)
        except OSError as error:
            tried.append(f"{place}: {error}")
            continue
        try:
            for name, result, arguments in _FUNCTIONS:
                function = getattr(opened, name)
                function.restype = result
                if arguments is not None:
                    function.argtypes = arguments
        except AttributeError as error:
            tried.append(f"{place}: another version of Hermes than this Python package ({error})")
            continue
        _loaded = opened
        return opened
    raise ImportError(
        "libhermes.so was not found. Set HERMES_LIBRARY to its path, or build it with 'make'. Tried:\n  "
        + "\n  ".join(tried)
    )


def last_error() -> str:
    """The sentence that goes with the last failed call of this thread, or ''."""
    return (library().hermes_last_error() or b"").decode("utf-8", "replace")
