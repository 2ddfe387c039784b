"""The public headers as strict C11 and C++17, by every compiler that is here."""

import shutil
import subprocess

import pytest
from conftest import ROOT, WARNINGS, need

HEADERS = sorted((ROOT / "include/hermes").glob("*.h*"))


COMPILERS = ["gcc -std=c11", "clang -std=c11", "g++ -std=c++17", "clang++ -std=c++17"]
CASES = [(header, each) for header in HEADERS for each in COMPILERS if header.suffix == ".h" or "c++17" in each]


@pytest.mark.parametrize("header, compiler", CASES, ids=lambda case: getattr(case, "name", case))
def test_compiles_without_a_warning(header, compiler, tmp_path):
    program, standard = compiler.split()
    plus = standard.startswith("-std=c++")
    need(program)
    source = tmp_path / ("header.cpp" if plus else "header.c")
    source.write_text(f"#include <hermes/{header.name}>\n#include <hermes/{header.name}>\nint used;\n")
    command = [shutil.which(program), standard, *WARNINGS, f"-I{ROOT}/include", "-c", source, "-o", tmp_path / "header.o"]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
