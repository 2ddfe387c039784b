"""Each template of `hermes new` builds and computes what it says, with its placeholders filled as for a checkout."""

import os
import re
import shutil
import subprocess
import sys

import node
import pytest
from conftest import HERMES, LIBRARIES, ROOT, module_environment, need

TEMPLATES = ROOT / "Sources/hermes/Templates"
LANGUAGES = {
    "c": ("gcc", "fuel-tank"),
    "cpp": ("g++", "fuel-tank"),
    "rust": ("cargo", "target/release/fuel-tank"),
    "python": ("python3", "fuel-tank.py"),
    "swift": ("swift", ".build/release/fuel-tank"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders made from templates, built on first use."""
    folder, done = tmp_path_factory.mktemp("templates"), {}

    def making(language):
        need("make"), need(LANGUAGES[language][0])
        if not (LIBRARIES / "libhermes.so").exists():
            pytest.skip(f"{LIBRARIES}/libhermes.so is not built; run make, or set HERMES_LIBDIR")
        if language not in done:
            done[language] = fill(language, folder / language / "fuel-tank")
            if language != "python":
                result = subprocess.run(["make"], cwd=done[language], capture_output=True, text=True)
                assert result.returncode == 0, result.stdout + result.stderr
        return done[language]

    return making


def fill(language, target):
    values = {
        "name": "fuel-tank",
        "Type": "FuelTank",
        "hermes": HERMES,
        "include": ROOT / "include",
        "lib": LIBRARIES,
        "rust": ROOT / "Sources/Rust/hermes-module",
        "swift": ROOT,
    }
    for source in (TEMPLATES / language).rglob("*"):
        if source.is_file():
            path = str(source.relative_to(TEMPLATES / language)).replace("__name__", values["name"])
            file = target / (path[: -len(".template")] if path.endswith(".template") else path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(re.sub(r"\{\{(\w+)\}\}", lambda match: str(values[match[1]]), source.read_text()))
    return target


@pytest.mark.parametrize("language", LANGUAGES)
def test_builds_and_steps(language, made, tmp_path):
    program = str(made(language) / LANGUAGES[language][1])
    command = [sys.executable, "-m", "hermes", program] if language == "python" else [program]
    with node.Node(command, tmp_path / "node", environment=module_environment(), rate_hz=64.0) as running:
        running.start()
        assert running.values() == {"rate": 2.0, "value": 0.0}
        for _ in range(64):
            assert running.step() == 0
        assert running.values() == {"rate": 2.0, "value": 2.0}
        assert running.terminate() == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_its_own_test_passes(language, made):
    if not HERMES.exists():
        pytest.skip(f"{HERMES} is not built; set HERMES_BIN to test through `hermes run`")
    folder = made(language)
    environment = dict(os.environ, **module_environment(), HERMES_LIBDIR=str(LIBRARIES))
    result = subprocess.run(["make", "test"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_installed_swift_package_builds_the_same_module(made, tmp_path):
    folder = made("swift")
    package = tmp_path / "hermes-installed"
    shutil.copytree(ROOT / "Sources/CHermes", package / "Sources/CHermes")
    shutil.copytree(ROOT / "Sources/HermesModule", package / "Sources/HermesModule")
    shutil.copytree(ROOT / "include", package / "include")
    shutil.copy(ROOT / "deploy/swift/Package.swift", package)
    environment = dict(os.environ, HERMES_SWIFT=str(package))
    command = ["swift", "build", "--quiet", "--scratch-path", str(tmp_path / "scratch")]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
