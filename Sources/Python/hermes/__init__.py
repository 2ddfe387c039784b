"""Hermes for Python: simulation modules and scripts.

A module is a class with a `step(self, dt)` method; its signals are class attributes::

    import hermes

    class Thruster:
        command = hermes.input(0.0, unit="N")
        thrust = hermes.output(0.0, unit="N", description="after the lag")

        def step(self, dt):
            self.thrust += (self.command - self.thrust) * dt / 0.1

`type: script` with `script: thruster.py` runs it; `hermes.run(Thruster)` says so where a file has several classes.
A script that talks to a running simulation uses `hermes.scripting.SimulationAPI`.
"""

from ._module import Failure, config_path, frame, module_name, run, time
from ._signals import Signal, Signals, declare, input, output, signal, signals

__all__ = [
    "Failure",
    "Signal",
    "Signals",
    "config_path",
    "declare",
    "frame",
    "input",
    "module_name",
    "output",
    "run",
    "signal",
    "signals",
    "time",
]
