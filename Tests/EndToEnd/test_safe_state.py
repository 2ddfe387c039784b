"""terminate() reaches the module itself, whatever stands between it and its node, and one that fails is never a success."""
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import LIBRARY, REPOSITORY, Running, processes_of, segment_words, shared_memory, wait_for
from test_faults import FINE, Settings, bench, named_signal  # noqa: F401 (a fixture)

# The shells stay the parents of what they run: they execute nothing in their own place.
WRAPPERS = {
    "plain": '"$@"',
    "twice": '/bin/sh -c \'"$@"; exit $?\' inner "$@"; exit $?',
    "env": 'env UNUSED=1 "$@"; exit $?',
    "nice": 'nice -n 1 "$@"; exit $?',
    "timeout": 'timeout 1000 "$@"; exit $?',
    "deaf": "trap '' TERM INT HUP; \"$@\"; exit $?",
    "background": '"$@" & wait $!',
    "session": 'setsid --wait "$@"; exit $?',
    "blocker": 'python3 -c "import os, signal, subprocess, sys; '
               'signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); '
               'sys.exit(subprocess.call(sys.argv[1:]))" "$@"; exit $?',
}
SLOW_END = "terminate sleep 400\nterminate write {ends}\n"


def wrapped(bench, more=""):
    """A module behind each wrapper. Each takes its time to reach its safe state."""
    modules = {}
    for name, text in WRAPPERS.items():
        bench.desk.write(f"{name}.sh", f"#!/bin/sh\nset -- ./trouble\n{text}\n").chmod(0o755)
        bench.desk.write(f"{name}.trouble", f"signal x\n{more}{SLOW_END}".format(ends=bench.ends))
        modules[name] = Settings(f"{{ type: process, executable: ./{name}.sh, config: ./{name}.trouble }}")
    return modules


def test_wrapped_modules_end_in_order(bench):
    done = bench.desk.run(bench.config(wrapped(bench), end_time=0.1))
    done.expect(0)
    assert bench.ended == set(WRAPPERS)


def test_wrapped_modules_outlive_a_killed_run(bench):
    with bench.live(wrapped(bench)) as sim:
        sim.ready().frame(5)
        sim.process.kill()
        sim.process.wait()
        wait_for(lambda: bench.ended == set(WRAPPERS), "terminate() of each module")
        wait_for(lambda: not processes_of(sim.name), "nothing of them is left")
        wait_for(lambda: not [path for path in shared_memory() if sim.name in path.name], "no file of the run is left")


def test_wrapped_modules_that_hang(bench):
    done = bench.desk.run(bench.config(wrapped(bench, "step 5 hang\n"), end_time=10, step_timeout_s=0.6))
    done.expect(2, "frame 5")
    assert bench.ended == set(WRAPPERS)
    assert processes_of(bench.desk.name) == []


@pytest.mark.parametrize("name", ["plain", "twice", "deaf", "background"])
def test_wrapper_that_is_killed(bench, name):
    modules = {"fine": FINE, name: wrapped(bench)[name]}
    with bench.live(modules) as sim:
        sim.ready().frame(5)
        os.kill(sim.module_pid(name), signal.SIGKILL)
        done = sim.finish(20).expect(2, name)
    assert named_signal(signal.SIGKILL).search(done.stderr), done.stderr
    assert bench.ended == {"fine", name}
    assert processes_of(sim.name) == []


def test_wrapped_modules_on_a_node(desk, nodes):
    node = nodes.start("lab")
    ends = desk.folder / "ends"
    node.module("trouble")
    modules = ""
    for name in ("plain", "deaf"):
        node.write(f"{name}.sh", f"#!/bin/sh\nset -- ./trouble\n{WRAPPERS[name]}\n").chmod(0o755)
        node.write(f"{name}.trouble", f"signal x\n{SLOW_END}".format(ends=ends))
        modules += f"  {name}: {{ type: process, executable: {name}.sh, config: {name}.trouble, host: lab }}\n"
    config = f'version: "0.2"\nname: {desk.name}\n{nodes.hosts}\nmodules:\n{modules}execution: {{ mode: realtime, rate_hz: 100 }}\n'

    def ended():
        return sorted(line.split()[0] for line in ends.read_text().splitlines()) if ends.exists() else []
    for victim in ("coordinator", "worker"):
        ends.unlink(missing_ok=True)
        with Running(desk, config, name=desk.name) as sim:
            sim.until(lambda: (segment_words(f"{desk.name}.lab") or (0,))[0] == 2, "it runs")
            assert len(processes_of(desk.name)) >= 4, "wrappers and modules"
            if victim == "coordinator":
                sim.process.kill()
            else:
                for pid in node.others:
                    if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:2] == [b"--worker"] and \
                            Path(f"/proc/{pid}/comm").read_text().strip() != "hermes-keeper":
                        os.kill(pid, signal.SIGKILL)
            sim.process.wait(20)
            wait_for(lambda: ended() == ["deaf", "plain"], f"terminate() of each module, the {victim} being killed")
            wait_for(lambda: not processes_of(desk.name), "nothing of them is left")


def test_module_that_handles_sigterm_itself(bench):
    """Whatever it makes of the signal, libhermes hears that the node wants it to end."""
    bench.desk.write("own.py", f"""\
import signal, time
class Own:
    def init(self, config):
        signal.signal(signal.SIGTERM, lambda *_: None)
    def step(self, dt):
        import hermes
        while hermes.frame() == 5:
            time.sleep(0.01)
    def terminate(self):
        open({str(bench.ends)!r}, "a").write("own terminate 5\\n")
""")
    own = Settings("{ type: script, script: ./own.py }")
    bench.desk.run(bench.config({"fine": FINE, "own": own}, end_time=10, step_timeout_s=0.5)).expect(2, "own", "frame 5")
    assert bench.ended == {"fine", "own"}


# ---- Modules that fork -----------------------------------------------------------------------------------------

FORKING = """\
#include <hermes/module.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
static int64_t n, right;
static int ends_by(pid_t child, int number) {
  int status;
  usleep(5000);
  kill(child, number);
  for (int i = 0; i < 400; i++, usleep(5000))
    if (waitpid(child, &status, WNOHANG) == child) return WIFSIGNALED(status) && WTERMSIG(status) == number;
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return 0;
}
static int step(double dt) {
  static const int numbers[] = {SIGTERM, SIGINT, SIGPIPE};
  (void)dt;
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    if (child == 0) for (;;) pause();
    right += ends_by(child, numbers[i]);
  }
  pid_t child = fork();
  if (child == 0) return 0; /* forgotten: it must not go on as the module */
  int status;
  right += waitpid(child, &status, 0) == child;
  n++;
  return 0;
}
static hermes_module_t module = {.step = step};
hermes_module_t *hermes_module_create(void) {
  hermes_declare(&(hermes_signal_t){"n", HERMES_I64, HERMES_OUTPUT, 0, 0, &n});
  hermes_declare(&(hermes_signal_t){"right", HERMES_I64, HERMES_OUTPUT, 0, 0, &right});
  return &module;
}
void hermes_module_destroy(hermes_module_t *made) { (void)made; }
"""


def compiled(desk, text, name, shared=False):
    source = desk.write(f"{name}.c", text)
    shutil.copy2(desk.built(source, shared), desk.folder)
    return Settings(f"{{ type: {'inproc' if shared else 'process'}, executable: ./{name}{'.so' if shared else ''} }}")


@pytest.mark.parametrize("shared", [False, True], ids=["process", "inproc"])
def test_signals_to_children_are_theirs(bench, shared, request):
    text = FORKING.replace('if (child == 0) return 0; ', 'if (child == 0) _exit(0); ') if shared else FORKING
    forker = compiled(bench.desk, text, f"forker_{request.node.callspec.id}", shared)
    done = bench.desk.run(bench.config({"forker": forker}, end_time=0.03))
    done.expect(0)
    assert done.recording.rows[-1] == {"frame": "3", "time": "0.03", "forker.n": "3", "forker.right": "12"}


def test_pool_of_processes(bench):
    bench.desk.write("pool.py", """\
import multiprocessing, os, signal, sys
import hermes
def square(n):
    return n * n
class Sweep:
    total = hermes.output(0)
    def step(self, dt):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            self.total += sum(pool.map(square, range(4)))
        child = os.fork()
        if child == 0:
            sys.exit(0)   # leaves step, and must not go on as the module
        os.waitpid(child, 0)
""")
    done = bench.desk.run(bench.config({"sweep": Settings("{ type: script, script: ./pool.py }")}, end_time=0.03))
    done.expect(0)
    assert done.recording.column("sweep.total") == ["0", "14", "28", "42"]


# ---- Children --------------------------------------------------------------------------------------------------

STRAY = """\
#include <hermes/module.h>
#include <unistd.h>
/* A daemon the old way, with nothing of the run in its environment; it holds standard output. */
static int init(const char *config, const char *shm) {
  (void)config, (void)shm;
  if (fork() == 0) {
    setsid();
    char *words[] = {"sleep", SECONDS, 0}, *variables[] = {0};
    if (fork() == 0) execve("/bin/sleep", words, variables);
    _exit(0);
  }
  return 0;
}
static int step(double dt) { (void)dt; if (hermes_frame() == 3 && CRASH && access("done", F_OK)) { FILE_MADE; } return 0; }
static hermes_module_t module = {.init = init, .step = step};
hermes_module_t *hermes_module_create(void) { return &module; }
void hermes_module_destroy(hermes_module_t *made) { (void)made; }
"""


def daemons(seconds):
    """Processes that run `sleep` with this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def stray(desk, name, shared=False, crashes=False, forks=False):
    seconds = str(100000 + os.getpid() * 10 + (3 if shared else 1) + (5 if crashes else 0))
    text = STRAY.replace("SECONDS", f'"{seconds}"').replace("CRASH", str(int(crashes)))
    text = text.replace("FILE_MADE", "close(creat(\"done\", 0644)); abort()")
    if forks:
        text = text.replace('if (fork() == 0) execve("/bin/sleep", words, variables);', "if (fork() == 0) for (;;) pause();")
    text = "#include <fcntl.h>\n#include <stdlib.h>\n" + text
    return seconds, compiled(desk, text, name, shared)


def run_into_pipe(desk, config):
    """`hermes run` whose output goes to a pipe; returns when that has been closed by everything that held it."""
    done = subprocess.run([desk.hermes, "run", str(config), "--digest"], capture_output=True, text=True, timeout=30,
                          cwd=desk.folder, env=desk.environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and done.stdout.startswith("digest "), done.stdout + done.stderr


@pytest.mark.parametrize("shared", [False, True], ids=["process", "inproc"])
def test_daemons_end_with_the_run(bench, shared, request):
    seconds, module = stray(bench.desk, f"stray_{request.node.callspec.id}", shared)
    run_into_pipe(bench.desk, bench.config({"m": module}, end_time=0.05))
    assert daemons(seconds) == []


def test_daemons_of_inproc_modules_end_with_the_run_on_a_node(desk, nodes):
    node = nodes.start("lab", "--allow-inproc")
    seconds, _ = stray(desk, "stray_node", shared=True)
    shutil.copy2(desk.folder / "stray_node.so", node.root)
    desk.run(f'version: "0.2"\nname: {desk.name}\n{nodes.hosts}\nmodules:\n'
             "  m: { type: inproc, executable: stray_node.so, host: lab }\nexecution: { mode: afap, rate_hz: 100, end_time: 0.05 }\n",
             record=False).expect(0)
    wait_for(lambda: daemons(seconds) == [], "the daemon is ended")


@pytest.mark.parametrize("way", ["executes", "forks"])
def test_daemons_of_inproc_modules_end_with_a_killed_run(bench, way):
    """One that executes nothing even holds the node's sockets, FIFOs and locks."""
    seconds, module = stray(bench.desk, f"stray_{way}", shared=True, forks=way == "forks")
    with bench.live({"fine": FINE, "m": module}) as sim:
        sim.ready().frame(3)
        if way == "executes":
            wait_for(lambda: len(daemons(seconds)) == 1, "the daemon is there")
        sim.process.kill()
        sim.process.wait()
        wait_for(lambda: bench.ended == {"fine"}, "terminate() of the other module")
        wait_for(lambda: daemons(seconds) == [], "the daemon is ended")
        wait_for(lambda: not [path for path in shared_memory() if sim.name in path.name], "no file of the run is left")
    bench.desk.run(bench.config({"fine": "signal x"}, end_time=0.05), record=False).expect(0)


def test_children_that_a_shell_left_to_hermes_are_not_ours(bench):
    seconds = str(200000 + os.getpid())
    config = bench.config({"m": "signal x"}, end_time=0.05)
    done = subprocess.run(["sh", "-c", f'sleep {seconds} >/dev/null 2>&1 & exec "$@"', "sh", str(bench.desk.hermes), "run", str(config)],
                          capture_output=True, text=True, timeout=30, cwd=bench.desk.folder, env=bench.desk.environment)
    assert done.returncode == 0, done.stderr
    (alive,) = daemons(seconds)
    os.kill(alive, signal.SIGKILL)


def test_restart_ends_what_the_old_process_has_started(bench):
    seconds, module = stray(bench.desk, "stray_restart", crashes=True)
    module = Settings(str(module).replace(" }", ", on_module_error: restart }"))
    with bench.live({"m": module}) as sim:
        sim.ready()
        sim.says("goes on with frame")
        wait_for(lambda: len(daemons(seconds)) == 1, "the daemon of the new process is there, and no other")
        sim.command("stop")
        sim.finish(20).expect(0)
    assert daemons(seconds) == []


# ---- terminate() that fails ------------------------------------------------------------------------------------

UNSAFE = {
    "returns": ("signal x\nterminate return 3", "told to return 3"),
    "crashes": ("signal x\nterminate segfault", "SIGSEGV"),
    "exits": ("signal x\nterminate exit 7", "code 7"),
    "hangs": ("signal x\nterminate hang", "killed"),
}


@pytest.mark.parametrize("how", UNSAFE)
def test_terminate_that_fails(bench, how):
    text, word = UNSAFE[how]
    done = bench.desk.run(bench.config({"fine": FINE, "valve": text}, end_time=0.05), "--summary", bench.desk.folder / "summary.json")
    done.expect(2, "valve", "safe state", word)
    told = json.loads((bench.desk.folder / "summary.json").read_text())
    assert told["outcome"] == "failed" and "valve" in told["error"]
    assert done.recording.frames == list(range(6)), "every frame was completed"
    assert bench.ended == {"fine"}


@pytest.mark.parametrize("end", ["stop", "SIGINT"])
def test_terminate_that_fails_however_the_run_ends(bench, end):
    with bench.live({"fine": FINE, "valve": UNSAFE["returns"][0]}) as sim:
        sim.ready().frame(3)
        if end == "stop":
            sim.desk.command("stop", sim.name)
        else:
            sim.process.send_signal(signal.SIGINT)
        sim.finish(20).expect(2, "valve", "safe state", "told to return 3")


def test_terminate_that_fails_after_another_failure(bench):
    done = bench.desk.run(bench.config({"valve": UNSAFE["returns"][0], "crasher": "signal y\nstep 5 abort"}, end_time=1))
    done.expect(2, "crasher", "valve", "safe state", "told to return 3")


def test_terminate_that_fails_beside_a_hanging_step(bench):
    valve = "signal x\nstep 5 hang\nterminate return 3"
    done = bench.desk.run(bench.config({"valve": valve}, end_time=1, step_timeout_s=0.5))
    done.expect(2, "did not finish its step", "safe state", "told to return 3")


def test_terminate_that_fails_inside_the_node(bench):
    bench.desk.module("trouble", shared=True)
    bench.desk.write("valve.trouble", UNSAFE["returns"][0])
    valve = Settings("{ type: inproc, executable: ./trouble.so, config: ./valve.trouble }")
    bench.desk.run(bench.config({"valve": valve}, end_time=0.05)).expect(2, "valve", "safe state", "told to return 3")


def test_terminate_that_fails_on_a_node(desk, nodes):
    node = nodes.start("lab")
    node.module("trouble")
    node.write("valve.trouble", UNSAFE["returns"][0])
    desk.run(f'version: "0.2"\nname: {desk.name}\n{nodes.hosts}\nmodules:\n'
             "  valve: { type: process, executable: trouble, config: valve.trouble, host: lab }\n"
             "execution: { mode: afap, rate_hz: 100, end_time: 0.05 }\n").expect(2, "valve", "lab", "safe state", "told to return 3")


@pytest.mark.parametrize("body, words", [
    ("raise RuntimeError('the valve is stuck')", ["RuntimeError: the valve is stuck"]),
    ("return 4", ["4"]),
    ("raise SystemExit(3)", ["sys.exit(3)"]),
    ("import hermes; raise hermes.Failure('no air', 5)", ["no air"]),
    ("import os; os._exit(6)", ["code 6"]),
])
def test_terminate_that_fails_in_python(bench, body, words):
    bench.desk.write("valve.py", f"class Valve:\n    def step(self, dt): pass\n    def terminate(self):\n        {body}\n")
    done = bench.desk.run(bench.config({"valve": Settings("{ type: script, script: ./valve.py }")}, end_time=0.02))
    done.expect(2, "valve", "safe state", *words)


def test_terminate_that_fails_in_cpp(bench):
    source = bench.desk.write("valve.cpp", """\
#include <hermes/module.hpp>
class Valve : public hermes::Module {
  void step(double) override {}
  void terminate() override { throw std::runtime_error("the valve is stuck"); }
};
HERMES_MODULE(Valve);
""")
    subprocess.run(["c++", "-std=c++17", "-I", str(REPOSITORY / "include"), str(source), str(LIBRARY / "libhermes.a"), "-o",
                    str(bench.desk.folder / "valve"), "-lpthread", "-ldl", "-lm"], check=True)
    done = bench.desk.run(bench.config({"valve": Settings("{ type: process, executable: ./valve }")}, end_time=0.02))
    done.expect(2, "valve", "safe state", "the valve is stuck")
