"""Runs to which something happens: a seed gives a scenario, a scenario is played with real processes, and afterwards
everything that the contract promises about ends is looked at.

    hosts     none to three named ones beside the desk, with keys, without, or at socket files
    run       realtime, afap or single_frame; every on_module_error, on_overrun, mirror transport and grant
    events    one to three: SIGKILL, SIGSTOP for a while or for good, SIGTERM, SIGINT, SIGHUP, for hermes, a hermes-node, a run's
              worker, a keeper or a module
    moments   so long after the process came to be, in a frame, beside a command (reset, pause, step ...), or in the shutdown

The text of a scenario depends on its seed alone; what the machine makes of the moments differs from one time to the next.
"""
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from conftest import Desk, environ, read_recording, segment_words, shared_memory
from hosts import FORMULA, FORMULAS, RING, Hosts, Keys, Placed, comm, command_line

LIVENESS = 2.0
STEP_TIMEOUT = 2.0
START_TIMEOUT = 4.0
"""Of the parts of a module's start, and of its reset."""
LONG_FREEZE = 0.3
"""Seconds for which a process may stand still and no time-out comes near, on a machine that is busy, too."""
END_LIMIT = 25.0
"""Seconds in which a run ends that something happened to: time-outs, ladders, and room for a busy machine."""
GONE_LIMIT = 12.0
"""Seconds after a coordinator's end in which nothing of its run is left anywhere: liveness, the node's kill ladder, safe state."""
NEXT_FRAMES = 30
REFERENCE_FRAMES = 3000

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT, "hup": signal.SIGHUP, "stop": signal.SIGSTOP,
           "pause": signal.SIGSTOP}
OVERRUN = "on_overrun: stop"
COMMANDS = ["reset", "pause", "step", "resume", "get", "list-signals", "status"]


class Wrong(AssertionError):
    """What a scenario found."""


# ---- Scenarios ---------------------------------------------------------------------------------------------------

@dataclass
class Event:
    role: str
    """hermes and its keeper; node:HOST, worker:HOST, keeper:HOST; module:NAME and its guard:NAME."""
    deed: str
    """A key of SIGNALS; `pause` is a stop that is taken back after `seconds`."""
    moment: str
    """start, frame, command or shutdown; `soon` for a second event, counted from the first."""
    delay: float
    seconds: float = 0.0
    frame: int = 0
    command: str = ""

    @property
    def is_long(self):
        return self.deed == "stop" or self.deed == "pause" and self.seconds > LONG_FREEZE

    def __str__(self):
        where = {"frame": f"frame {self.frame}", "command": f"`hermes {self.command}`"}.get(self.moment, self.moment)
        what = f"{self.deed} for {self.seconds:.2f} s" if self.deed == "pause" else self.deed
        return f"{what} {self.role}, {self.delay * 1000:.0f} ms after {where}"


@dataclass
class Scenario:
    seed: int
    hosts: str
    security: str
    places: dict
    """Module to host, None for the desk."""
    mode: str
    policy: str
    overrun: str
    mirrors: str
    grant: object
    manners: dict
    """What the watched modules do besides noting that they were called."""
    ending: str
    events: list
    release: str
    """What becomes of the frozen in the end: cont or kill."""
    at_once: bool
    """The next run does not wait until the last one has gone everywhere."""

    def __str__(self):
        places = " ".join(f"{module}@{host or 'desk'}" for module, host in self.places.items())
        events = "; ".join(map(str, self.events))
        return (f"seed {self.seed}: {self.mode}, {places}, {self.security}, on_module_error {self.policy}, on_overrun {self.overrun}, "
                f"mirrors {self.mirrors}, grant {self.grant}, manners {self.manners}, ends by {self.ending}; {events}; "
                f"the frozen get {self.release}{', next run at once' if self.at_once else ''}")


def scenario(seed):
    draw = random.Random(seed)
    hosts = "abc"[:draw.choice([0, 1, 1, 2, 2, 3])]
    possible = [*hosts, *hosts, None] if hosts else [None]
    places = {module: draw.choice(possible) for module in FORMULAS}
    for host in [*hosts, None]:
        if host or draw.random() < 0.5 or not hosts:
            places[f"watch_{host or 'desk'}"] = host
    manners = {}
    for when, most in (("create", 60), ("init", 60), ("stage", 60), ("reset", 60), ("terminate", 250)):
        if draw.random() < 0.25:
            manners[when] = draw.randint(1, most)
    made = Scenario(
        seed=seed, hosts=hosts, security=draw.choice(["plain", "plain", "keys", "ipc"]) if hosts else "plain", places=places,
        mode=draw.choice(["realtime", "afap", "single_frame"]), policy=draw.choice(["stop", "stop", "hold", "restart"]),
        overrun=draw.choice(["catch_up", "catch_up", "slip", "skip", "stop"]), mirrors=draw.choice(["auto", "tcp", "zeromq"]),
        grant=draw.choice([None, None, 1, 7, 100]), manners=manners,
        ending=draw.choice(["int", "term", "stop", "hup"]), events=[], release=draw.choice(["cont", "kill"]),
        at_once=draw.random() < 0.5)
    first = event(draw, made)
    made.events.append(first)
    for _ in range(draw.choice([0, 0, 0, 1, 1, 2])):
        second = event(draw, made)
        if first.moment != "shutdown" or draw.random() < 0.5:
            second.moment = "soon"
            second.delay = draw.choice([0, draw.uniform(0, 0.02), draw.uniform(0, 0.3), draw.uniform(0, 2)])
        made.events.append(second)
    return made


def event(draw, made):
    kinds = ["hermes", "keeper", "module", "module", "guard"] + ["node", "worker", "hostkeeper"] * bool(made.hosts) * 2
    kind = draw.choice(kinds)
    host = draw.choice(made.hosts) if made.hosts else None
    used = sorted({place for place in made.places.values() if place})
    if kind in ("node", "worker", "hostkeeper") and used:
        role = f"{kind.removeprefix('host')}:{host if host in used else draw.choice(used)}"
    elif kind in ("hermes", "keeper"):
        role = kind
    else:
        role = f"{kind}:{draw.choice(sorted(made.places))}"
    deed = draw.choice(["kill", "kill", "kill", "stop", "stop", "pause", "term", "int", "hup"])
    seconds = draw.choice([draw.uniform(0.01, LONG_FREEZE), draw.uniform(LONG_FREEZE, 5)]) if deed == "pause" else 0
    moment = draw.choice(["start", "start", "frame", "frame", "command", "shutdown"])
    delay = {"start": draw.choice([0, draw.uniform(0, 0.05), draw.uniform(0, 0.6)]),
             "frame": draw.uniform(0, 0.1), "command": draw.choice([0, draw.uniform(0, 0.1)]),
             "shutdown": draw.choice([0, draw.uniform(0, 0.02), draw.uniform(0, 0.4)])}[moment]
    return Event(role, deed, moment, delay, seconds, frame=draw.choice([1, 5, 30]), command=draw.choice(COMMANDS))


# ---- Processes, found in the tree of what the test started ---------------------------------------------------------

def children(pid):
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def tagged(tag):
    """Processes, zombies aside, that carry this scenario's word in their environment."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and environ(entry).get("E2E_CHAOS") == tag]


def send(pid, number):
    """False when there is no such process any more."""
    try:
        os.kill(pid, number)
        return True
    except ProcessLookupError:
        return False


# ---- Playing -----------------------------------------------------------------------------------------------------

@dataclass
class Player:
    scenario: Scenario
    desk: Desk
    reference: object
    """(the digest of NEXT_FRAMES frames, the rows of the ring)."""
    log: list = field(default_factory=list)
    done: list = field(default_factory=list)
    """(event, pid) of what was really delivered to a living process."""
    frozen: dict = field(default_factory=dict)
    """Role to pid."""
    restored: list = field(default_factory=list)
    killed: dict = field(default_factory=dict)
    clean_end: bool = False
    """The ending was asked for before anything happened."""

    def __post_init__(self):
        self.began = time.monotonic()
        self.tag = self.desk.name
        self.desk.environment["E2E_CHAOS"] = self.tag
        self.hosts = Hosts(self.desk)
        self.err, self.out = self.desk.folder / "run.stderr", self.desk.folder / "run.stdout"
        self.summary = self.desk.folder / "summary.json"
        self.process = None
        self.asked_to_end = None
        self.node_codes = {}
        self.helpers = []
        self.asked_again = False

    def note(self, text):
        self.log.append(f"{time.monotonic() - self.began:7.3f} {text}")

    def fail(self, text):
        raise Wrong(text)

    def until(self, condition, what, seconds):
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                self.fail(f"waited {seconds} s in vain: {what() if callable(what) else what}")
            self.restore()
            time.sleep(0.01)

    # ---- Laying out

    def furnish(self):
        s = self.scenario
        if s.security == "keys":
            self.hosts.key = Keys(self.desk.folder, "desk")
        for host in s.hosts:
            how = {}
            if s.security == "keys":
                how = {"keys": Keys(self.desk.folder, f"node-{host}"), "accept": self.hosts.key.public_file}
            if s.security == "ipc":
                (self.desk.folder / host).mkdir()
                how = {"path": self.desk.folder / host / "s"}
            self.hosts.add(host, **how).launch()
        for node in self.hosts.nodes.values():
            node.listens()
        habits = "".join(f"\n{when} sleep {ms}" for when, ms in s.manners.items())
        watch = f"signal x\ninit write {self.hosts.ends}\nterminate write {self.hosts.ends}{habits}\n"
        for folder in [self.desk.folder, *(node.root for node in self.hosts.nodes.values())]:
            (folder / "watch").write_text(watch)
        settings = {True: FORMULA, False: "{ type: process, executable: ./trouble, config: ./watch{host} }"}
        modules = {module: (host, Placed(settings[module in FORMULAS].replace(" }", f", start_timeout_s: {START_TIMEOUT} }}")))
                   for module, host in s.places.items()}
        self.config = self.hosts.config(
            modules, RING, mode=s.mode, on_module_error=s.policy, mirrors=s.mirrors, step_timeout_s=STEP_TIMEOUT,
            liveness_timeout_s=LIVENESS, realtime=f"{{ on_overrun: {s.overrun} }}")
        used = sorted({host for host in s.places.values() if host})
        self.used = used

    def start(self):
        words = [str(self.desk.hermes), "run", str(self.config), "--record", str(self.desk.record), "--summary", str(self.summary)]
        words += map(str, self.hosts.keyed)
        if self.scenario.grant:
            words += ["--grant", str(self.scenario.grant)]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(words, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=self.desk.folder,
                                            env=self.desk.environment)
        self.note(f"hermes is {self.process.pid}")

    @property
    def is_over(self):
        return self.process.poll() is not None

    @property
    def stderr(self):
        return self.err.read_text(errors="replace")

    # ---- Who is who

    def find(self, role):
        """The pid of a role, None while there is none."""
        kind, _, name = role.partition(":")
        desk = self.process.pid
        if kind == "hermes":
            return desk if not self.is_over else None
        if kind == "keeper":
            parents = self.workers(name) if name else [desk]
            return next((pid for parent in parents for pid in children(parent) if comm(pid) == "hermes-keeper"), None)
        if kind == "node":
            process = self.hosts[name].process
            return process.pid if process.poll() is None else None
        if kind == "worker":
            return next(iter(self.workers(name)), None)
        host = self.scenario.places[name]
        keeper = self.find(f"keeper:{host}" if host else "keeper")
        guards = [pid for pid in children(keeper) if comm(pid) == "hermes-keeper"] if keeper else []
        guard = next((pid for pid in guards if any(environ(child).get("HERMES_MODULE") == name for child in children(pid))), None)
        if kind == "guard":
            return guard
        # One whose guard was killed is the keeper's.
        return next((pid for parent in (guard, keeper) if parent for pid in children(parent)
                     if environ(pid).get("HERMES_MODULE") == name and comm(pid) != "hermes-keeper"), None)

    def workers(self, host):
        node = self.hosts[host].process
        return [pid for pid in children(node.pid) if command_line(pid)[1:] == ["--worker"] and comm(pid) != "hermes-keeper"]

    # ---- Events

    def command(self, verb):
        """A command that is not waited for."""
        words = {"step": ["step", self.desk.name, "20"], "get": ["get", self.desk.name, "one.out"]}.get(verb, [verb, self.desk.name])
        self.note(f"hermes {' '.join(words)}")
        self.helpers.append(self.desk.begin(*words))

    def wait_running(self, frame):
        """Until that frame, or the run is over. Single frames are asked for."""
        deadline, asked = time.monotonic() + END_LIMIT, 0
        while not self.is_over:
            word = segment_words(self.desk.name)
            if word and word[0] in (2, 3) and word[1] >= frame:
                return True
            if self.scenario.mode == "single_frame" and word and word[0] in (2, 3) and time.monotonic() - asked > 1:
                asked = time.monotonic()
                self.command("step")
            if time.monotonic() > deadline:
                if self.frozen or self.done:
                    return False  # something happened that holds it up
                self.fail(f"frame {frame} does not come")
            if self.done and time.monotonic() > deadline - END_LIMIT + 3:
                return False
            time.sleep(0.004)
        return False

    def end_run(self):
        if self.asked_to_end or self.is_over:
            return
        self.asked_to_end = self.scenario.ending
        self.clean_end = not self.done
        self.note(f"the end is asked for: {self.asked_to_end}")
        if self.asked_to_end == "stop":
            self.helpers.append(self.desk.begin("stop", self.desk.name))
        else:
            send(self.process.pid, SIGNALS[self.asked_to_end])

    def play(self, event):
        if event.moment == "frame":
            self.wait_running(event.frame)
        elif event.moment == "command":
            if self.wait_running(1):
                self.command(event.command)
        elif event.moment == "shutdown":
            self.wait_running(1)
            self.end_run()
        if event.moment != "soon":
            # The process must be there first; it may be that it never comes.
            deadline = time.monotonic() + 3
            while self.find(event.role) is None and not self.is_over and time.monotonic() < deadline:
                time.sleep(0.001)
        time.sleep(event.delay)
        pid = self.find(event.role)
        if pid is None and event.role in self.found:
            pid = self.found[event.role] if state(self.found[event.role]) not in "ZX" else None
        if pid is None or not send(pid, SIGNALS[event.deed]):
            self.note(f"{event.role} is not there for {event.deed}")
            return
        self.note(f"{event.deed} to {event.role}, process {pid}, frame {segment_words(self.desk.name)}")
        self.done.append(event)
        self.found[event.role] = pid
        if event.deed == "kill":
            self.killed[event.role] = pid
        if event.deed == "stop":
            self.frozen[event.role] = pid
        if event.deed == "pause":
            self.restored.append((time.monotonic() + event.seconds, event.role, pid))

    def restore(self, now=False):
        for entry in list(self.restored):
            if now or time.monotonic() >= entry[0]:
                self.restored.remove(entry)
                if entry[1] not in self.frozen:
                    send(entry[2], signal.SIGCONT)
                    self.note(f"{entry[1]} goes on")

    def run(self):
        s = self.scenario
        self.found = {}
        self.start()
        for event in s.events:
            self.play(event)
            self.restore()
        # What is fatal shows within its time-out; what is not lets the run go on.
        limit = time.monotonic() + (6 if any(event.is_long or event.deed in ("kill", "term", "int", "hup") for event in self.done) else 0.5)
        quick = time.monotonic() + 0.3
        while not self.is_over and time.monotonic() < limit:
            self.restore()
            if not self.restored and time.monotonic() > quick and not self.expects_end():
                break
            time.sleep(0.01)
        self.end_run()
        if "hermes" in self.frozen and not self.is_over:
            self.check_orphans()
            self.free("hermes")
            if not self.is_over and s.release == "cont" and not self.asked_to_end:
                self.end_run()
        try:
            self.until(self.is_ending_over, lambda: f"hermes run ends; living: {self.living()}", END_LIMIT)
        finally:
            self.ended_at = time.monotonic()
        self.note(f"hermes run: exit {self.process.returncode}")

    def is_ending_over(self):
        """`hermes stop` is refused where there is no simulation yet."""
        if self.asked_to_end == "stop" and self.helpers[-1].poll() not in (None, 0) and not self.is_over and not self.asked_again:
            self.asked_again = True
            send(self.process.pid, signal.SIGTERM)
            self.note("hermes stop was refused; SIGTERM")
        return self.is_over

    def expects_end(self):
        """Whether what happened ends the run by itself, sooner or later. Where it is not sure, it is waited a while for."""
        for event in self.done:
            kind = event.role.partition(":")[0]
            if event.deed == "kill" and (kind != "module" or self.scenario.policy == "stop"):
                return True
            if event.deed in ("term", "int", "hup") and kind in ("hermes", "node"):
                return True
            if event.deed == "term" and kind == "module" and self.scenario.policy == "stop":
                return True
            if event.deed == "stop" and kind in ("node", "worker"):
                return True
            if event.deed == "stop" and kind == "module" and self.scenario.policy == "stop" and self.scenario.mode != "single_frame":
                return True
        return False

    def check_orphans(self):
        """The coordinator stands still: hosts end what is its, and go on for others."""
        ours = lambda: [pid for host in self.used for pid in self.workers(host) if pid not in self.frozen.values()]
        if self.used and not any(role.startswith("node:") for role in self.frozen):
            self.until(lambda: not ours(), lambda: f"hosts end the run of a frozen coordinator; there is {self.describe(ours())}", GONE_LIMIT)

    def free(self, role):
        pid = self.frozen.pop(role)
        number = signal.SIGCONT if self.scenario.release == "cont" else signal.SIGKILL
        if send(pid, number):
            self.note(f"{role} gets {number.name}")
            if number == signal.SIGKILL:
                self.killed[role] = pid

    # ---- Looking

    def living(self, excused=()):
        """Processes but for nodes, hermes and commands; without those of the hosts that are excused."""
        own = [node.process.pid for node in self.hosts.nodes.values()] + [self.process.pid] * (not self.is_over)
        own += [helper.pid for helper in self.helpers]
        return self.describe(pid for pid in tagged(self.tag)
                             if pid not in own and environ(pid).get("E2E_NODE", "desk").rpartition("-")[2] not in excused)

    def host(self, role):
        kind, _, name = role.partition(":")
        return (self.scenario.places[name] if kind in ("module", "guard") else name) or "desk"

    @property
    def excused(self):
        """Hosts on which who should end the rest stands still, and who should end that one is gone or stands still as well."""
        def is_down(role):
            return role in self.frozen or role in self.killed
        def is_excused(role):
            host = self.host(role)
            keeper = "keeper" if host == "desk" else f"keeper:{host}"
            above = {"keeper": ["hermes"] if host == "desk" else [f"worker:{host}", f"node:{host}"], "guard": [keeper],
                     "worker": [f"node:{host}"], "node": [], "module": [keeper, f"guard:{role.partition(':')[2]}"], "hermes": []}
            return any(map(is_down, above[role.partition(":")[0]]))
        return {self.host(role) for role in self.frozen if is_excused(role)}

    @staticmethod
    def describe(pids):
        return [f"{pid} {comm(pid)} {environ(pid).get('HERMES_MODULE', '')} {state(pid)}" for pid in pids]

    def files(self):
        return [path.name for path in shared_memory() if self.desk.name in path.name]

    def check_code(self):
        s, code = self.scenario, self.process.returncode
        if "hermes" in self.killed and code == -signal.SIGKILL:
            return
        text = self.stderr
        errors = [line for line in text.splitlines() if "error:" in line]
        if self.asked_again:
            self.asked_to_end = "term"
        early = [SIGNALS[event.deed] for event in self.done if event.role == "hermes" and event.moment in ("start", "soon")]
        if early and not text and -code in [*early, SIGNALS.get(self.asked_to_end, 0)]:
            return  # before its first instruction a program does what the system does by default
        if code not in (0, 2, 130):
            self.fail(f"exit code {code} is none of a run's")
        if code == 2 and not errors:
            self.fail("failed, and no cause is told")
        if len(errors) > 1:
            self.fail(f"one cause is told, not {len(errors)}")
        if code == 2:
            self.check_cause(errors[0])
        normal = {"int": {130}, "term": {130}, "hup": {130}, "stop": {0}}.get(self.asked_to_end, set())
        for event in self.done:
            if event.role == "hermes" and event.deed in ("term", "int", "hup"):
                normal = normal | {130}
        must_fail = len(self.done) == 1 and not self.asked_to_end and not (self.done[0].role == "hermes" and self.done[0].deed != "pause")
        if must_fail and code != 2:
            self.fail(f"the run ended by itself with {code}")
        if code == 0 and 0 not in normal or code == 130 and 130 not in normal:
            self.fail(f"exit code {code} where {normal} was asked for")
        if code == 2 and not self.may_fail():
            self.fail(f"failed although nothing that ends a run had happened: {errors}")

    def may_fail(self):
        s = self.scenario
        for event in self.done:
            kind, _, name = event.role.partition(":")
            if event.deed in ("kill", "stop") or event.is_long:
                return True
            if kind == "node" or kind == "module" and event.deed == "term":
                return True
            if event.moment in ("start", "soon") and kind != "hermes":
                return True  # a program that has not yet said what it does with signals
            if kind == "module" and event.deed in ("hup", "int"):
                return True
        return s.overrun == "stop" and s.mode == "realtime" and OVERRUN in self.stderr

    def check_cause(self, line):
        """It names what something happened to: the module, or the host."""
        s, names = self.scenario, []
        if s.overrun == "stop" and s.mode == "realtime" and OVERRUN in line:
            return
        for event in self.done:
            kind, _, name = event.role.partition(":")
            if kind == "hermes":
                return  # nothing else is to blame, so it says what it found
            if kind in ("module", "guard"):
                names.append(f"module {name}")
            else:
                host = name or "desk"
                names.append(f"host {host}" if name else "keeper")
                names += [f"module {module}" for module, place in s.places.items() if (place or "desk") == host]
        if not any(re.search(rf"\b{re.escape(name)}\b", line) for name in names):
            self.fail(f"the cause names none of {names}: {line}")

    def check_recording(self):
        """Whole rows, every frame from 0 on once, each with the values of an undisturbed run."""
        if not self.desk.record.exists() or not self.desk.record.stat().st_size:
            return
        s = self.scenario
        try:
            epochs = read_recording(self.desk.record)
        except AssertionError as wrong:
            self.fail(str(wrong))
        disturbed = s.policy == "hold"
        for epoch in epochs:
            if epoch.frames != list(range(len(epoch.frames))):
                self.fail(f"frames are missing, twice, or out of order: {epoch.frames[:3]}...{epoch.frames[-3:]}")
            for row, wanted in zip(epoch.rows, self.reference[1]):
                if not disturbed and any(row[column] != value for column, value in wanted.items()):
                    self.fail(f"row {row['frame']} differs from an undisturbed run: {row}, {wanted}")
        if self.summary.exists() and self.summary.stat().st_size:
            frames = json.loads(self.summary.read_text())["frames"]
            if epochs[-1].rows and frames != epochs[-1].frames[-1]:
                self.fail(f"the summary says {frames} frames, the recording ends with {epochs[-1].frames[-1]}")

    def check_safe_state(self):
        """terminate() of every module that was begun and lived."""
        lines = [line.split() for line in self.hosts.ends.read_text().splitlines()] if self.hosts.ends.exists() else []
        begun, ended = {l[0] for l in lines if l[1] == "init"}, {l[0] for l in lines if l[1] == "terminate"}
        for module in begun - ended:
            role = f"module:{module}"
            if any(event.role == role for event in self.done):
                continue
            self.fail(f"terminate() of {module} was not called")

    def check_gone(self):
        """Nothing is left but what is frozen and what belonged to processes that were killed."""
        self.until(lambda: not self.living(self.excused), lambda: f"no process is left; there is {self.living(self.excused)}", GONE_LIMIT)
        for role in list(self.frozen):
            self.free(role)
        self.restore(now=True)
        self.until(lambda: not self.living(), lambda: f"no process is left once the frozen went on; there is {self.living()}", GONE_LIMIT)
        # A keeper removes what its killed owner had; without it that waits for the next start.
        if not any(role.startswith("keeper") for role in self.killed):
            self.until(lambda: not self.files(), lambda: f"nothing is left in /dev/shm; there is {self.files()}", GONE_LIMIT)

    def check_next(self):
        for name, node in self.hosts.nodes.items():
            told = any(e.role == f"node:{name}" and e.deed in ("term", "int", "hup", "kill") for e in self.done)
            if told or f"node:{name}" in self.killed:
                node.process.wait(15)
            if node.process.poll() is not None:
                if f"node:{name}" not in self.killed and node.process.returncode != 0:
                    self.fail(f"hermes-node {name} ended with {node.process.returncode}")
                node.start()
                self.note(f"node {name} is started again")
        self.check_serves()

    def check_serves(self):
        places = "".join((list(self.hosts.nodes) * 3)[:3]) or "---"
        config = self.hosts.ring(places, name=self.desk.name, file="next", end_time=NEXT_FRAMES / 100)
        done = self.desk.run(config, *self.hosts.keyed, "--digest", record=False, timeout=40)
        self.note(f"the next run: exit {done.code}, {done.seconds:.1f} s")
        if done.code or done.stdout != self.reference[0]:
            self.fail(f"the next run: exit {done.code}, {done.stdout!r} instead of {self.reference[0]!r}\n{done.stderr}")

    def close(self):
        """Ends all that is there, whatever happened."""
        for role in list(self.frozen):
            send(self.frozen[role], signal.SIGCONT)
        self.restore(now=True)
        codes = {}
        for name, node in self.hosts.nodes.items():
            if node.process and node.process.poll() is None:
                node.process.terminate()
        for name, node in self.hosts.nodes.items():
            if node.process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    codes[name] = node.process.wait(15)
        return codes

    def clear(self):
        if self.process and not self.is_over:
            self.process.kill()
            self.process.wait()
        for helper in self.helpers:
            if helper.poll() is None:
                helper.kill()
            helper.wait()
        for _ in range(3):
            for pid in tagged(self.tag):
                send(pid, signal.SIGKILL)
            time.sleep(0.05)
        for node in self.hosts.nodes.values():
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        for path in shared_memory():
            if self.desk.name in path.name:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def everything(self):
        try:
            self.furnish()
            self.run()
            touched = any(event.role.startswith("node") for event in self.done) or any("keeper" in role or "guard" in role for role in self.frozen)
            if self.scenario.at_once and self.process.returncode >= 0 and not touched:
                self.check_next()
            self.check_code()
            self.check_gone()
            self.check_recording()
            self.check_safe_state()
            self.check_next()
            codes = self.close()
            if any(codes.get(name) != 0 for name in self.hosts.nodes):
                self.fail(f"hermes-node ends with {codes}")
            self.until(lambda: not tagged(self.tag) or not self.living(), lambda: f"nothing left: {self.living()}", GONE_LIMIT)
            if self.files():
                self.fail(f"left in /dev/shm: {self.files()}")
            sockets = [str(path) for host in self.scenario.hosts for path in (self.desk.folder / host).glob("*")
                       if self.scenario.security == "ipc"]
            if sockets:
                self.fail(f"socket files are left: {sockets}")
        except BaseException:
            self.close()
            raise
        finally:
            self.clear()

    def story(self):
        nodes = "".join(f"\n--- node {name} said\n{node.said}" for name, node in self.hosts.nodes.items())
        said = self.stderr if self.err.exists() else ""
        return "\n".join(self.log) + f"\n--- hermes run said\n{said}{nodes}"


def play(seed, hermes, built, folder, name, reference):
    """None, or what was wrong with its whole story."""
    made = scenario(seed)
    folder.mkdir()
    player = Player(made, Desk(hermes, built, folder, name), reference)
    try:
        player.everything()
    except (AssertionError, OSError, subprocess.SubprocessError, ValueError, KeyError) as wrong:
        return f"{made}\nWRONG: {type(wrong).__name__} {wrong}\n{player.story()}"
    except BaseException as wrong:  # pytest's own, which is no Exception
        return f"{made}\nWRONG: {wrong}\n{player.story()}"
    return None
