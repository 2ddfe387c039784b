"""`hermes new module`: the folder it makes builds and tests itself. Tests/Conformance builds every language's template."""
import subprocess

import pytest


@pytest.mark.parametrize("language, source", [("c", "fuel-tank.c"), ("python", "fuel-tank.py")])
def test_a_fresh_module_passes_its_own_test(desk, language, source):
    made = desk.command("new", "module", "fuel-tank", "--lang", language).expect(0)
    folder = desk.folder / "fuel-tank"
    assert source in {path.name for path in folder.iterdir()}
    assert made.stdout.split() == sorted(f"fuel-tank/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file())
    for path in folder.rglob("*"):
        if path.is_file():
            assert "{{" not in path.read_text() and "__name__" not in path.name, path
    done = subprocess.run(["make", "test"], cwd=folder, env=desk.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (folder / source).read_text()
    spoilt = text.replace("rate * dt", "rate * dt * 2")
    assert spoilt != text
    (folder / source).write_text(spoilt)
    done = subprocess.run(["make", "test"], cwd=folder, env=desk.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, "its test passes whatever it computes"


@pytest.mark.parametrize("language", ["cpp", "rust", "swift"])
def test_other_languages_are_filled_in(desk, language):
    desk.command("new", "module", "fuel_tank", "--lang", language).expect(0)
    files = [path for path in (desk.folder / "fuel_tank").rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert any("FuelTank" in path.read_text() for path in files) or language != "swift"
    for path in files:
        assert "{{" not in path.read_text() and "__name__" not in str(path) and path.suffix != ".template", path


def test_an_existing_folder_is_refused_untouched(desk):
    (desk.folder / "tank").mkdir()
    desk.command("new", "module", "tank", "--lang", "c").expect(2, "tank", "exists")
    assert not list((desk.folder / "tank").iterdir())


@pytest.mark.parametrize("name", ["9tank", "-tank", "../tank", "a.b", "a b", "tänk", "x" * 65, ""])
def test_bad_names_are_wrong_usage(desk, name):
    before = set(desk.folder.iterdir())
    assert desk.command("new", "module", name, "--lang", "c").code == 64
    assert set(desk.folder.iterdir()) == before


def test_the_librarys_own_name_is_refused(desk):
    desk.command("new", "module", "hermes", "--lang", "python").expect(2, "hermes")


def test_unknown_languages_are_wrong_usage(desk):
    desk.command("new", "module", "tank", "--lang", "cobol").expect(64, "python")
    desk.command("new", "module", "tank").expect(64, "--lang")
