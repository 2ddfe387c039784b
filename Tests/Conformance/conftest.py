"""Builds the conformers once a session, with whatever compilers there are."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HERMES = Path(os.environ.get("HERMES_BIN", ROOT / ".build/debug/hermes")).absolute()
LIBRARIES = Path(os.environ.get("HERMES_LIBDIR", ROOT / ".build/lib")).resolve()
BUILT = ROOT / ".build/conformance"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
LINK = [f"-L{LIBRARIES}", "-lhermes", f"-Wl,-rpath,{LIBRARIES}"]

sys.path.insert(0, str(HERE))


def need(program):
    """The program's path; skips the test, saying so, when this machine has none."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on this machine")
    return found


def compiled(command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}", pytrace=False)


def build_c(source, shared=False):
    plus = source.endswith(".cpp")
    compiler = need("g++" if plus else "gcc")
    output = BUILT / (Path(source).stem + ("_cpp" if plus else "") + (".so" if shared else ""))
    kind = ["-shared", "-fPIC"] if shared else []
    standard = "-std=c++17" if plus else "-std=c11"
    link = [] if shared else LINK
    compiled([compiler, standard, "-O2", "-ffp-contract=off", *WARNINGS, f"-I{ROOT}/include", *kind, HERE / source, "-o", output, *link])
    return output


def build_rust():
    need("cargo")
    environment = dict(os.environ, HERMES_LIB_DIR=str(LIBRARIES), CARGO_TARGET_DIR=str(BUILT / "rust"))
    compiled(["cargo", "build", "--offline", "--release", "--quiet"], cwd=HERE / "rust", env=environment)
    return BUILT / "rust/release/conformer"


def build_swift():
    need("swift")
    compiled(["swift", "build", "--scratch-path", BUILT / "swift"], cwd=HERE / "swift")
    return BUILT / "swift/debug/conformer"


CONFORMERS = {
    "c-seed": lambda: build_c("conformer_seed.c"),
    "c-typed": lambda: build_c("conformer_typed.c"),
    "c++": lambda: build_c("conformer.cpp"),
    "rust": build_rust,
    "swift": build_swift,
    "python": lambda: HERE / "conformer.py",
    "c-seed-inproc": lambda: build_c("conformer_seed.c", shared=True),
    "c-typed-inproc": lambda: build_c("conformer_typed.c", shared=True),
    "c++-inproc": lambda: build_c("conformer.cpp", shared=True),
}
_programs = {}


def program_of(conformer):
    """Path of the conformer's program, built on first use."""
    if not (LIBRARIES / "libhermes.so").exists():
        pytest.skip(f"{LIBRARIES}/libhermes.so is not built; run make, or set HERMES_LIBDIR")
    if conformer not in _programs:
        BUILT.mkdir(parents=True, exist_ok=True)
        _programs[conformer] = CONFORMERS[conformer]()
    return _programs[conformer]


def command_of(conformer):
    program = program_of(conformer)
    return [sys.executable, "-m", "hermes", str(program)] if conformer == "python" else [str(program)]


def module_environment():
    return {"HERMES_LIBRARY": str(LIBRARIES / "libhermes.so"), "PYTHONPATH": str(ROOT / "Sources/Python")}


def pytest_terminal_summary(terminalreporter):
    """Says what was not tested, once a reason, also under -q."""
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.setdefault(reason.replace("Skipped: ", ""), []).append(report.nodeid)
    for reason, tests in reasons.items():
        terminalreporter.write_line(f"NOT TESTED, {reason}: {len(tests)} tests, as {tests[0]}", yellow=True)
