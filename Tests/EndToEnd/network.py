"""Machines on a network of their own: namespaces joined by two switches, made and removed by the tests. Needs root."""
import os
import subprocess

# The desk, hosts a, b, c, and one that may pass on what it gets.
MACHINES = ("desk", "a", "b", "c", "relay")


def ip(*words, check=True):
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
    assert not check or done.returncode == 0, f"ip {' '.join(map(str, words))}: {done.stderr}"
    return done


def why_not():
    """Why there can be no network here; None when there can."""
    if os.geteuid():
        return "network namespaces need root"
    name = f"faults-{os.getpid()}-probe"
    try:
        if ip("netns", "add", name, check=False).returncode:
            return "this machine makes no network namespaces"
        if ip("-n", name, "link", "add", "x", "type", "bridge", check=False).returncode:
            return "this machine makes no bridges"
        if ip("-n", name, "link", "add", "y", "type", "veth", "peer", "name", "z", check=False).returncode:
            return "this machine makes no veth pairs"
    except FileNotFoundError:
        return "there is no `ip` (package iproute2)"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return None


class Network:
    """`main` joins all machines, `side` all but the desk: it is for mirrors."""

    def __init__(self):
        self.prefix = f"faults-{os.getpid()}"
        self.switch = f"{self.prefix}-switch"

    def space(self, machine):
        return f"{self.prefix}-{machine}"

    def address(self, machine, network="main"):
        return f"10.{71 if network == 'main' else 72}.0.{MACHINES.index(machine) + 1}"

    def file(self, machine):
        return f"/run/netns/{self.space(machine)}"

    def inside(self, machine):
        """What makes the command that follows run on a machine, as the same process."""
        return ["nsenter", f"--net={self.file(machine)}"]

    def __enter__(self):
        ip("netns", "add", self.switch)
        for network in ("main", "side"):
            ip("-n", self.switch, "link", "add", network, "type", "bridge")
            ip("-n", self.switch, "link", "set", network, "up")
        for machine in MACHINES:
            ip("netns", "add", self.space(machine))
            ip("-n", self.space(machine), "link", "set", "lo", "up")
            for network in ("main", "side") if machine != "desk" else ("main",):
                port = f"{network}-{machine}"
                ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", network, "netns", self.space(machine))
                ip("-n", self.switch, "link", "set", port, "master", network, "up")
                ip("-n", self.space(machine), "address", "add", f"{self.address(machine, network)}/24", "dev", network)
                ip("-n", self.space(machine), "link", "set", network, "up")
        return self

    def __exit__(self, *_):
        for space in (*map(self.space, MACHINES), self.switch):
            ip("netns", "del", space, check=False)

    def cut(self, machine, network="main"):
        """Pulls a cable at the switch."""
        ip("-n", self.switch, "link", "set", f"{network}-{machine}", "down")

    def mend(self, machine, network="main"):
        ip("-n", self.switch, "link", "set", f"{network}-{machine}", "up")

    def firewall(self, machine, first, last, network="main"):
        """Drops what comes in for a range of ports without a word."""
        rule = ("-n", self.space(machine), "rule")
        # The table of own addresses is asked first of all; not any more.
        ip(*rule, "add", "pref", 100, "lookup", "local")
        ip(*rule, "del", "pref", 0)
        ip(*rule, "add", "pref", 10, "iif", network, "ipproto", "tcp", "dport", f"{first}-{last}", "blackhole")

    def open(self, machine):
        rule = ("-n", self.space(machine), "rule")
        ip(*rule, "add", "pref", 0, "lookup", "local")
        ip(*rule, "del", "pref", 10)
        ip(*rule, "del", "pref", 100)
