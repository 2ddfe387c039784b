"""Running a Python class as a simulation module."""

from __future__ import annotations

import copy
import ctypes
import operator
import struct
import sys
import traceback
from typing import Any, Callable, Dict, List, Optional

from . import _library, _signals, _values

#: True once this process has run, or begun to run, as a lock-step module.
started = False


class Failure(Exception):
    """Raise this to end the run with a status of your own and a reason, without a traceback."""

    def __init__(self, reason: str, status: int = 1) -> None:
        super().__init__(reason)
        self.status = status or 1


def frame() -> int:
    """The frame being stepped: n while `step` computes frame n, 0 before the first."""
    return int(_library.library().hermes_frame())


def time() -> float:
    """Simulation time in seconds at the end of the frame being stepped, n / rate."""
    return float(_library.library().hermes_time())


def module_name() -> str:
    """The name of this module in the configuration; '' outside a simulation."""
    return (_library.library().hermes_module_name() or b"").decode()


def config_path() -> Optional[str]:
    """Absolute path of the module's `config:` file; None without one. May be asked in `__init__`."""
    path = _library.library().hermes_config_path()
    return None if path is None else _decode_path(path)


def run(module_class: type) -> None:
    """Runs a class with a `step(self, dt)` method as this process's module, until the simulation ends.

    The class is made without arguments. `step` gets the simulated seconds it covers and returns None (or a status; not 0
    ends the run). Where it defines them, `init(config_path)`, `stage()`, `reset()`, `terminate()`, `save() -> bytes` and
    `load(state)` are called too. Without `reset` the instance goes back to what it was when `stage` was over.
    An exception ends the run, also one in `terminate`: a module that did not reach its safe state fails it. The traceback goes to standard error, its last line into the report.
    Raises SystemExit with the exit code when the run did not end well.
    """
    global started
    if not isinstance(module_class, type):
        raise TypeError(f"hermes.run takes a class, not {module_class!r}")
    if not callable(getattr(module_class, "step", None)):
        raise TypeError(f"class {module_class.__name__} has no step(self, dt) method")
    if started:
        raise RuntimeError("hermes.run was called twice; a process is one module")
    started = True
    _line_buffered()
    adapter = _Adapter(module_class)
    status = _library.library().hermes_module_run(adapter.create_function, adapter.destroy_function)
    sys.stdout.flush()
    if status != 0:
        raise SystemExit(status)


def _decode_path(path: bytes) -> str:
    return path.decode(sys.getfilesystemencoding(), "surrogateescape")


def _line_buffered() -> None:
    # Standard output is a pipe to the node, which shows it line by line.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


class _Adapter:
    """Between the C functions of a module and one Python instance.

    Signals live in one block of memory, which libhermes copies to and from the segment around each step; one unpack
    takes the whole block into the instance's attributes, one pack takes it back.
    """

    def __init__(self, module_class: type) -> None:
        self.module_class = module_class
        self.library = _library.library()
        self.create_function = _library.CreateFunction(self.create)
        self.destroy_function = _library.DestroyFunction(self.destroy)
        self.instance: Any = None
        self.signals: List[_signals.Signal] = []
        self.values: Dict[str, Any] = {}
        self.store: Callable[[], None] = lambda: None
        self.after_stage: Optional[Dict[str, Any]] = None
        self.saved: Optional[bytes] = None

    # Made and unmade.

    def create(self) -> Optional[int]:
        try:
            instance = self.module_class.__new__(self.module_class)
            values = instance.__dict__
            for each in _signals.declared(instance):
                values[each.attribute] = each.default
            instance.__init__()
            self.instance, self.values = instance, values
            self.signals = _signals.declared(instance)
            step = self.bind()
            self.functions = _library.ModuleFunctions(
                init=_library.InitFunction(self.init),
                stage=_library.PlainFunction(self.stage),
                step=_library.StepFunction(step),
                reset=_library.PlainFunction(self.reset),
                terminate=_library.TerminateFunction(self.terminate),
            )
            self.provide_state()
            return ctypes.addressof(self.functions)
        except BaseException:
            self.failed()
            return None

    def destroy(self, _: Optional[int]) -> None:
        self.instance = None

    def bind(self) -> Callable[[float], int]:
        """Announces the signals with a block of memory as their storage. Returns the step function."""
        layout = struct.Struct("@" + "".join(_values.FORMATS[each.code] for each in self.signals))
        block = ctypes.create_string_buffer(max(layout.size, 1))
        self.block = block
        keys = [each.attribute for each in self.signals]
        values = self.values
        offset = 0
        for each in self.signals:
            size = struct.calcsize(_values.FORMATS[each.code])
            offset = (offset + size - 1) // size * size  # as "@" aligns
            declaration = _library.SignalDeclaration(
                name=each.name.encode(),
                type=each.code,
                flags=each.flags,
                unit=None if each.unit is None else each.unit.encode(),
                description=None if each.description is None else each.description.encode(),
                storage=ctypes.addressof(block) + offset,
            )
            if self.library.hermes_declare(ctypes.byref(declaration)) != 0:
                raise ValueError(_library.last_error() or f"signal {each.name!r} was refused")
            offset += size

        update, unpack, pack_into = values.update, layout.unpack_from, layout.pack_into
        step, check = self.instance.step, self.check
        pick = operator.itemgetter(*keys) if len(keys) > 1 else lambda held: tuple(held[key] for key in keys)

        def store() -> None:
            try:
                pack_into(block, 0, *pick(values))
            except (struct.error, OverflowError, TypeError, ValueError, KeyError):
                self.store_converted(layout)

        def run_step(dt: float) -> int:
            try:
                update(zip(keys, unpack(block)))
                status = step(dt)
                store()
                return 0 if status is None else check("step", status)
            except BaseException:
                return self.failed()

        self.store = store
        store()
        return run_step

    def store_converted(self, layout: struct.Struct) -> None:
        """The slow way to store: by the conversion rule, or with a sentence that names the signal."""
        converted = []
        for each in self.signals:
            if each.attribute not in self.values:
                raise AttributeError(f"signal {each.name!r}: the attribute {each.attribute!r} was deleted")
            value = _values.convert(self.values[each.attribute], each.code, f"signal {each.name!r}")
            converted.append(value)
        try:
            layout.pack_into(self.block, 0, *converted)
        except OverflowError:  # an f32 infinity never raises; kept for interpreters that differ
            raise ValueError("a value is out of range for its signal's type") from None

    # Called by libhermes.

    def init(self, config: Optional[bytes], _shm: Optional[bytes]) -> int:
        path = None if config is None else _decode_path(config)
        return self.call("init", path)

    def stage(self) -> int:
        status = self.call("stage")
        if status == 0 and not hasattr(self.instance, "reset"):
            self.after_stage = _copied(self.values)
        return status

    def reset(self) -> int:
        if hasattr(self.instance, "reset"):
            return self.call("reset")
        try:
            if self.after_stage is not None:
                for each in self.signals:
                    self.values[each.attribute] = self.after_stage[each.attribute]
                self.values.update(_copied(self.after_stage))
            self.store()
            return 0
        except BaseException:
            return self.failed()

    def terminate(self) -> None:
        method = getattr(self.instance, "terminate", None)
        if method is not None:
            try:
                status = method()
                if status is not None and self.check("terminate", status) != 0:
                    raise Failure(f"terminate returned {status}", status)
            except BaseException:
                self.failed()
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            pass

    def call(self, name: str, *arguments: Any) -> int:
        try:
            method = getattr(self.instance, name, None)
            status = None if method is None else method(*arguments)
            self.store()
            return 0 if status is None else self.check(name, status)
        except BaseException:
            return self.failed()

    def check(self, name: str, status: Any) -> int:
        """The status a method returned, as the C function's result."""
        if isinstance(status, int) and not isinstance(status, bool):
            if status != 0 and -(2**31) <= status < 2**31:
                reason = f"{name}() returned {status}; if it did not mean to fail, let it return None or 0"
                self.library.hermes_fail(b"%s", ctypes.c_char_p(reason.encode()))
                return status
            if status == 0:
                return 0
        raise TypeError(f"{name}() returned {status!r}; return None, or an int: 0 for success")

    def failed(self) -> int:
        """Reports the exception being handled. Returns the status that ends the run."""
        kind, error, trace = sys.exc_info()
        assert kind is not None
        if isinstance(error, Failure):
            reason, status = str(error), error.status
            print(reason, file=sys.stderr)
        elif isinstance(error, SystemExit):
            reason = f"the module called sys.exit({error.code!r})"
            print(reason, file=sys.stderr)
            status = error.code if isinstance(error.code, int) and error.code != 0 else 1
        else:
            # The adapter's own frame tells the author nothing.
            below = trace.tb_next if trace is not None and trace.tb_next is not None else trace
            traceback.print_exception(kind, error, below)
            reason = traceback.format_exception_only(kind, error)[-1].strip()
            status = 1
        sys.stderr.flush()
        self.library.hermes_fail(b"%s", ctypes.c_char_p(reason.encode("utf-8", "replace")))
        return status

    # State.

    def provide_state(self) -> None:
        has = [callable(getattr(self.instance, name, None)) for name in ("save", "load")]
        if has[0] != has[1]:
            raise TypeError(f"class {self.module_class.__name__} has save() or load(state), but not both")
        if has[0]:
            self.save_function = _library.SaveFunction(self.save)
            self.load_function = _library.LoadFunction(self.load)
            self.library.hermes_provide_state(self.save_function, self.load_function)

    def save(self, buffer: Optional[int], capacity: int) -> int:
        try:
            # libhermes asks for the size first: what answers that question is what it then gets.
            state = self.saved if capacity and self.saved is not None else bytes(self.instance.save())
            if buffer and len(state) <= capacity:
                ctypes.memmove(buffer, state, len(state))
                self.saved = None
            else:
                self.saved = state
            return len(state)
        except BaseException:
            self.failed()
            return ctypes.c_size_t(-1).value

    def load(self, data: Optional[int], size: int) -> int:
        return self.call("load", ctypes.string_at(data, size) if data and size else b"")


def _copied(values: Dict[str, Any]) -> Dict[str, Any]:
    """A deep copy; what can't be copied (files, sockets) is left out and so stays as it is."""
    try:
        return copy.deepcopy(values)
    except Exception:
        copied = {}
        for key, value in values.items():
            try:
                copied[key] = copy.deepcopy(value)
            except Exception:
                continue
        return copied
