"""The Debian package: built, installed, used and purged, on an island."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from conftest import ROOT, Unit, wait_for

BOOKS = re.compile(r"""/var/lib/dpkg/(status|available|diversions|statoverride|lock|triggers/.*|updates/.*|status-old|[a-z-]*-old)
    |/var/log/(dpkg|lastlog|faillog|alternatives).*|/etc/ld\.so\.cache|/var/cache/ldconfig/.*
    |/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/etc/\.pwd\.lock""", re.VERBOSE)
"""What dpkg, ldconfig and useradd note for themselves."""


@pytest.fixture(scope="module")
def package():
    if not shutil.which("dpkg-deb"):
        pytest.skip("NOT BUILT: this is no Debian, there is no dpkg-deb")
    done = subprocess.run(["make", "--no-print-directory", "deb"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dpkg-shlibdeps: warning" not in done.stderr
    (only,) = (ROOT / ".build/deb").iterdir()
    return only


def field(package, name):
    return subprocess.check_output(["dpkg-deb", "-f", package, name], text=True).strip()


def test_version_is_the_one_there_is(package):
    version = subprocess.check_output([ROOT / "scripts/version"], text=True).strip()
    assert field(package, "Version") == version
    assert package.name == f"hermes_{version}_{field(package, 'Architecture')}.deb"


def test_depends_on_every_package_that_its_programs_load_from(package, tmp_path):
    subprocess.run(["dpkg-deb", "-x", package, tmp_path], check=True)
    depends = {entry.split()[0] for entry in field(package, "Depends").split(",")}
    binaries = [tmp_path / "usr/lib/libhermes.so.1", *(tmp_path / "usr/bin").iterdir()]
    assert {path.name for path in binaries} == {"libhermes.so.1", "hermes", "hermes-node"}
    for binary in binaries:
        # What it names itself; what those need is for their packages to say.
        needed = re.findall(r"NEEDED.*\[(.+)\]", subprocess.check_output(["readelf", "-d", binary], text=True))
        loaded = dict(re.findall(r"(\S+) => (/\S+)", subprocess.check_output(["ldd", binary], text=True)))
        assert "libc.so.6" in needed
        for library in (loaded[name] for name in needed if name in loaded):
            # Through links: a package owns a file under one of its names.
            names = {library, library.removeprefix("/usr"), os.path.realpath(library)}
            owners = {subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True).stdout.split(":")[0]
                      for name in names}
            assert owners & depends, f"{binary.name} loads {library} of {owners - {''}}, which is not among {depends}"


def test_nobody_but_root_may_change_what_is_installed(package):
    for line in subprocess.check_output(["dpkg-deb", "-c", package], text=True).splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root" and (mode[0] == "l" or mode[5] == mode[8] == "-"), line


def test_life_on_a_machine(package, island):
    """Installed, started as the service would be, asked, stopped, installed again, removed, purged: and nothing is left."""
    for taken in ("/usr/bin/hermes", "/etc/hermes", "/var/lib/hermes"):
        if os.path.exists(taken):
            pytest.skip(f"NOT INSTALLED: Hermes is installed here already: {taken}")

    island.run("dpkg", "-i", package)
    assert island.run("dpkg", "--verify", "hermes").stdout == ""
    version = field(package, "Version")
    for name in ("hermes", "hermes-node"):
        assert version in island.run(name, "--version").stdout
    assert "libhermes.so.1 (" in island.run("ldconfig", "-p").stdout

    _, _, uid, gid, _, home, shell = island.run("getent", "passwd", "hermes").stdout.strip().split(":")
    assert (home, shell) == ("/var/lib/hermes", "/usr/sbin/nologin") and int(uid) < 1000
    for path, owner, mode in [("/var/lib/hermes/modules", "hermes", "755"), ("/etc/hermes/keys", "hermes", "700"),
                              ("/etc/hermes/accepted", "root", "755")]:
        assert island.run("stat", "-c", "%U %a", path).stdout.strip() == f"{owner} {mode}"

    serve(island, uid, gid)

    # An administrator's settings live through an upgrade; what Python leaves behind goes with the package.
    settings = island.path("/etc/default/hermes-node")
    settings.write_text(settings.read_text() + "# ours\n")
    island.path("/var/lib/hermes/modules/pushed").write_text("a module\n")
    island.run("dpkg", "-i", package)
    assert settings.read_text().endswith("# ours\n")
    island.run("python3", "-m", "compileall", "-q", "/usr/lib/python3/dist-packages/hermes")
    island.run("dpkg", "--remove", "hermes")
    left = {str(path) for path in island.changes() if not BOOKS.fullmatch(str(path))}
    assert {"/usr/bin/hermes", "/usr/lib/python3/dist-packages/hermes"} & left == set()
    assert "/etc/default/hermes-node" in left and island.path("/var/lib/hermes/modules/pushed").exists()

    island.run("dpkg", "--purge", "hermes")
    assert [str(path) for path in island.changes() if not BOOKS.fullmatch(str(path))] == []
    assert island.run("dpkg-query", "-W", "hermes", succeeds=False).returncode != 0
    assert list(island.path("/dev/shm").iterdir()) == []


def serve(island, uid, gid):
    """The installed unit's command, with its settings, as its user, told of like systemd does; a TCP connect is answered."""
    unit = Unit(island.path("/usr/lib/systemd/system/hermes-node.service").read_text())
    assert (unit["Service", "User"], unit["Service", "Group"]) == ("hermes", "hermes")
    settings = island.path(unit["Service", "EnvironmentFile"].lstrip("-")).read_text()
    environment = unit.environment(settings)
    island.run("install", "-d", "-o", "hermes", "/run/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notes:
        notes.bind(str(island.path("/run/notify/socket")))
        island.run("chown", "hermes", "/run/notify/socket")
        notes.setblocking(False)
        said = []

        def told(word):
            try:
                while True:
                    said.extend(notes.recv(4096).decode().splitlines())
            except BlockingIOError:
                pass
            return word in said or (node.poll() is not None and pytest.fail(f"ended with {node.returncode}:\n{node.stderr.read()}"))

        node = subprocess.Popen(
            island.words("setpriv", f"--reuid={uid}", f"--regid={gid}", "--init-groups", "--no-new-privs", "--bounding-set=-all",
                         "env", "-i", "PATH=/usr/bin:/bin", "NOTIFY_SOCKET=/run/notify/socket", *unit.command(environment)),
            cwd="/", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: told("READY=1"), "the installed node is ready")
            address, port = re.fullmatch(r"tcp://([\d.]+):(\d+)", environment["LISTEN"]).groups()
            island.run("python3", "-c", f"import socket; socket.create_connection(('{address}', {port}), 10).close()")
            node.terminate()
            assert node.wait(int(unit["Service", "TimeoutStopSec"])) == 0
        finally:
            if node.poll() is None:
                node.kill()
            node.communicate()
