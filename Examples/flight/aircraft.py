"""The c172p as a Hermes module: signals in, one JSBSim step, signals out."""

import hermes
from c172p import C172P


class Aircraft:
    throttle = hermes.input(0.0, unit="1", description="0 to 1")
    elevator = hermes.input(0.0, unit="1", description="-1 to 1 around the trim, 1 is nose up")
    aileron = hermes.input(0.0, unit="1", description="-1 to 1 around the trim, 1 rolls right")
    rudder = hermes.input(0.0, unit="1", description="-1 to 1 around the trim, 1 yaws right")
    wind_north = hermes.input(0.0, unit="m/s", name="wind.north")
    wind_east = hermes.input(0.0, unit="m/s", name="wind.east")
    wind_down = hermes.input(0.0, unit="m/s", name="wind.down")

    altitude = hermes.output(0.0, unit="m", description="above sea level")
    climb_rate = hermes.output(0.0, unit="m/s")
    airspeed = hermes.output(0.0, unit="m/s", description="true")
    pitch = hermes.output(0.0, unit="deg")
    roll = hermes.output(0.0, unit="deg")
    heading = hermes.output(0.0, unit="deg", description="true, 0 to 360")
    pitch_rate = hermes.output(0.0, unit="deg/s")
    roll_rate = hermes.output(0.0, unit="deg/s")
    yaw_rate = hermes.output(0.0, unit="deg/s")
    latitude = hermes.output(0.0, unit="deg", description="geodetic")
    longitude = hermes.output(0.0, unit="deg")
    engine_speed = hermes.output(0.0, unit="1/min")

    def stage(self):
        self.model = C172P(altitude=1500.0, heading=90.0, airspeed=55.0)
        self.read_instruments()

    reset = stage

    def step(self, dt):
        self.model.blow(self.wind_north, self.wind_east, self.wind_down)
        self.model.command(self.throttle, self.elevator, self.aileron, self.rudder)
        self.model.step(dt)
        self.read_instruments()

    def read_instruments(self):
        for name, value in self.model.measure().items():
            setattr(self, name, value)
