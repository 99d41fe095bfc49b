"""Wheel and sdist build, hold what they must, and work outside the checkout."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed in, without what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    quiet = ("--quiet", "--no-deps", "--no-index")
    install = [sys.executable, "-m", "pip", "install", *quiet, "--target", folder, wheel]
    subprocess.run(install, check=True)
    return folder


def anoean(installed: Path, workplace: Path, *arguments: str) -> str:
    """Run the installed command in a folder; its dependencies are those of this Python."""
    environment = os.environ | {"PYTHONPATH": str(installed), "ANOEAN_THREADS": "1"}
    command = [installed / "bin" / "anoean", *arguments]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_both_packages_and_nothing_else(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "anoean_cli",
        "anoean_plugins",
        "anoean",
    }
    for source in [*ROOT.glob("anoean_cli/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        assert source.relative_to(ROOT).as_posix().removeprefix("plugins/") in names


def test_wheel_registers_the_command_and_all_plugins(wheel: Path):
    (name,) = [n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("entry_points.txt")]
    found = ConfigParser()
    found.optionxform = str
    found.read_string(zipfile.ZipFile(wheel).read(name).decode())
    wanted = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    assert {section: dict(found[section]) for section in found.sections()} == wanted


def test_sdist_holds_what_a_developer_needs_and_no_leftovers(built: Path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    top = {"pyproject.toml", "constraints.txt", "requirements.lock", "Makefile"}
    top |= {"README.md", "SECURITY.md"}
    assert {*top, "docs/cli.md", "tests/test_packaging.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name]
    hdf5 = [name for name in names if name.endswith(".h5")]
    assert all(name.startswith("tests/compatibility/") for name in hdf5)


def pins(file: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9.-]+)==([^ \n]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name: pin.removesuffix("\\") for name, pin in found}


def test_the_lock_has_the_pinned_versions_each_with_hashes():
    assert pins("requirements.lock") == pins("constraints.txt")
    lock = (ROOT / "requirements.lock").read_text()
    for entry in re.split(r"\n(?=[a-z])", lock.strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry[:60]
    assert "://" not in lock


def test_installed_command_runs_outside_the_checkout(installed: Path, tmp_path: Path):
    assert anoean(installed, tmp_path, "--version") == f"anoean {PROJECT['version']}\n"
    shown = json.loads(anoean(installed, tmp_path, "plugins", "--json"))
    assert not [entry for entry in shown if "error" in entry]
    assert len(shown) == sum(len(names) for names in PROJECT["entry-points"].values())


def test_installed_command_trains_and_scores(installed: Path, tmp_path: Path):
    anoean(installed, tmp_path, "train", "--dataset", "toy", "--epochs", "1", "--quiet")
    (tmp_path / "rows.csv").write_text("x,y\n0,0\n9,9\n")
    assert len(anoean(installed, tmp_path, "score", "rows.csv").splitlines()) == 3


def test_what_runs_is_what_was_installed(installed: Path, tmp_path: Path):
    where = "import anoean_cli, anoean_plugins as p; print(anoean_cli.__file__, p.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(path).parents[1] for path in done.stdout.split()] == [installed, installed]
