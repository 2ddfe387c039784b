"""Sends a lift up and down while it runs."""

from hermes.scripting import SimulationAPI

JOURNEYS = (  # height in m, speed limit in m/s
    (3.0, 8.0),
    (12.0, 8.0),
    (0.0, 20.0),
)

with SimulationAPI() as simulation:
    for height, speed_limit in JOURNEYS:
        # Both values take effect at one frame edge: the lift never sees one without the other.
        simulation.inject({"lift.target": height, "lift.speed_limit": speed_limit})
        fastest = 0.0
        while True:
            simulation.wait_frame(simulation.get_frame() + 1, timeout=5.0)
            # The values of one frame, never a mix.
            lift = simulation.sample(["lift.target", "lift.height", "lift.speed", "lift.arrived"])
            fastest = max(fastest, abs(lift["lift.speed"]))
            if lift["lift.target"] == height and lift["lift.arrived"]:
                break
        print(f"at {lift['lift.height']:.1f} m, {fastest:.0f} m/s at most")
