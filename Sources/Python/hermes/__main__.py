"""`python3 -m hermes SCRIPT ARGS...`: runs a script as `__main__`, then the module class it defines, if it is one."""

from __future__ import annotations

import io
import os
import sys
import traceback
import types
from typing import List

from . import _module, scripting

_USAGE = "usage: python3 -m hermes SCRIPT [ARGUMENT...]"


def _module_classes(script: types.ModuleType) -> List[type]:
    """The classes with a step that this file defines, without those that only serve as base of another."""
    found = []
    for value in vars(script).values():
        if isinstance(value, type) and value.__module__ == "__main__" and callable(getattr(value, "step", None)):
            if value not in found:
                found.append(value)
    return [each for each in found if not any(other is not each and issubclass(other, each) for other in found)]


def main() -> int:
    if len(sys.argv) < 2:
        print(_USAGE, file=sys.stderr)
        return 64
    path = sys.argv[1]
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return 64
    _module._line_buffered()
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    script = types.ModuleType("__main__")
    script.__file__ = path
    script.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = script
    try:
        exec(compile(source, path, "exec", dont_inherit=True), script.__dict__)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        trace = error.__traceback__
        traceback.print_exception(type(error), error, trace.tb_next if trace is not None else None)
        return 1
    if _module.started or scripting.opened:
        return 0
    classes = _module_classes(script)
    if len(classes) == 1:
        _module.run(classes[0])
        return 0
    if classes:
        names = ", ".join(each.__name__ for each in classes)
        print(f"{path}: several classes have a step(self, dt): {names}. Say which one with hermes.run(...).", file=sys.stderr)
    else:
        print(
            f"{path}: no class has a step(self, dt), and hermes.scripting.SimulationAPI was not used. "
            "A script is one or the other.",
            file=sys.stderr,
        )
    return 1


if __name__ == "__main__":
    sys.exit(main())
