"""A Cessna 172P in the air: JSBSim behind five commands, a wind and a handful of measurements.

Nothing here knows Hermes. `aircraft.py` makes a module of it; `plain_loop.py` flies it without.
"""

import math
import os

# JSBSim reads its debug level once, when it is loaded; 0 keeps its banner off standard output.
os.environ["JSBSIM_DEBUG"] = "0"
import jsbsim  # noqa: E402

FOOT = 0.3048  # metres
KNOT = 1852.0 / 3600.0  # metres per second
DEGREE = math.degrees(1.0)  # per radian


class C172P:
    """Trimmed for straight and level flight at `altitude` (m), `heading` (deg) and `airspeed` (m/s, true).

    Commands run from -1 to 1 (throttle from 0) and act around the trim. No clock
    but the time step is read, so equal commands and winds give equal flights.
    """

    def __init__(self, altitude, heading, airspeed):
        model = jsbsim.FGFDMExec(None)
        model.set_debug_level(0)
        if not model.load_model("c172p"):
            raise RuntimeError("JSBSim cannot load its c172p")
        model.disable_output()  # the aircraft's own CSV file
        model["ic/lat-geod-deg"] = 47.0
        model["ic/long-gc-deg"] = 8.0
        model["ic/h-sl-ft"] = altitude / FOOT
        model["ic/psi-true-deg"] = heading
        model["ic/vt-kts"] = airspeed / KNOT
        if not model.run_ic():
            raise RuntimeError("JSBSim refuses the initial conditions")
        model["propulsion/set-running"] = -1  # every engine
        model["fcs/mixture-cmd-norm"] = 0.87
        model["fcs/throttle-cmd-norm"] = 0.7
        model.do_trim(1)  # full: forces and moments on all axes; raises when it finds no trim

        # The trim leaves the elevator on its tab; the others move to theirs, so that every command is 0 in trim.
        model["fcs/roll-trim-cmd-norm"] = model["fcs/aileron-cmd-norm"]
        model["fcs/yaw-trim-cmd-norm"] = model["fcs/rudder-cmd-norm"]
        model["fcs/aileron-cmd-norm"] = 0.0
        model["fcs/rudder-cmd-norm"] = 0.0
        self._model = model

    def command(self, throttle, elevator, aileron, rudder):
        """Sets the controls. Elevator 1 is nose up, aileron 1 rolls right, rudder 1 yaws right."""
        model = self._model
        model["fcs/throttle-cmd-norm"] = throttle
        model["fcs/elevator-cmd-norm"] = -elevator
        model["fcs/aileron-cmd-norm"] = aileron
        model["fcs/rudder-cmd-norm"] = -rudder

    def blow(self, north, east, down):
        """Sets the wind: where the air moves to, in m/s."""
        model = self._model
        model["atmosphere/wind-north-fps"] = north / FOOT
        model["atmosphere/wind-east-fps"] = east / FOOT
        model["atmosphere/wind-down-fps"] = down / FOOT

    def step(self, dt):
        """Flies for `dt` seconds."""
        if dt != self._model.get_delta_t():
            self._model.set_dt(dt)
        if not self._model.run():
            raise RuntimeError("JSBSim ended the flight")

    def measure(self):
        """What the instruments read: metres, degrees, seconds, and revolutions per minute."""
        model = self._model
        return {
            "altitude": model["position/h-sl-ft"] * FOOT,
            "climb_rate": model["velocities/h-dot-fps"] * FOOT,
            "airspeed": model["velocities/vt-fps"] * FOOT,
            "pitch": model["attitude/theta-deg"],
            "roll": model["attitude/phi-deg"],
            "heading": model["attitude/psi-deg"],
            "pitch_rate": model["velocities/q-rad_sec"] * DEGREE,
            "roll_rate": model["velocities/p-rad_sec"] * DEGREE,
            "yaw_rate": model["velocities/r-rad_sec"] * DEGREE,
            "latitude": model["position/lat-geod-deg"],
            "longitude": model["position/long-gc-deg"],
            "engine_speed": model["propulsion/engine/engine-rpm"],
        }
