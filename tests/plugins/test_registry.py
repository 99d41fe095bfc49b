"""Third-party plugins: those of docs/plugins.md installed as a distribution, and broken ones."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from anoean_cli import load_model

DOC = Path(__file__).parents[2] / "docs" / "plugins.md"
COMPLETE_CONTRACT = """
from dataclasses import dataclass

class Detector:
    name = "{name}"
    summary = "fulfils the contract"
    uses_anomalies = uses_encoder = False
    presets = {{"default": {{}}}}

    @dataclass
    class Parameters:
        pass

    def fit(self, train, selection, encoder, parameters, rng, monitor): ...
"""
LEAVES_A_TRACE = """
import os, pathlib
pathlib.Path(os.environ["TRACE"]).touch()
"""


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution of docs/plugins.md, installed into a folder of its own."""
    source = tmp_path_factory.mktemp("source")
    blocks = re.findall(r"^```\w+\n# (\S+/?\S*\.\w+)\n(.*?)^```", DOC.read_text(), re.M | re.S)
    assert len(blocks) == 5
    for name, text in blocks:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    target = tmp_path_factory.mktemp("installed")
    quiet = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    install = [sys.executable, "-m", "pip", "install", *quiet, "--target", target, source]
    subprocess.run(install, check=True)
    return target


def python_path(*folders: Path) -> str:
    """Folders of plugins before what the suite itself is run with."""
    return os.pathsep.join(filter(None, [*map(str, folders), os.environ.get("PYTHONPATH")]))


class Tool:
    """Runs ``anoean`` with folders of installed distributions."""

    def __init__(self, workplace: Path) -> None:
        self.workplace = workplace
        self.trace = workplace / "imported"
        self.folders: list[Path] = []

    def install(self, distribution: str, entry_points: str, **modules: str) -> None:
        """Install modules with entry points, as pip would leave them."""
        folder = self.workplace / distribution
        about = folder / f"{distribution}-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (about / "entry_points.txt").write_text(entry_points)
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)
        self.folders.append(folder)

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": python_path(*self.folders),
            "ANOEAN_CACHE": str(self.workplace / "cache"),
            "TRACE": str(self.trace),
        }
        command = [Path(sys.executable).with_name("anoean"), *map(str, arguments)]
        return subprocess.run(
            command, env=environment, cwd=self.workplace, capture_output=True, text=True
        )

    def plugins(self) -> dict[tuple[str, str], dict[str, object]]:
        """What ``anoean plugins --json`` shows, by kind and name."""
        shown = self("plugins", "--json")
        assert shown.returncode == 0, shown.stderr
        return {(entry["kind"], entry["name"]): entry for entry in json.loads(shown.stdout)}


@pytest.fixture
def anoean(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


@pytest.fixture
def third_party(anoean: Tool, documented: Path) -> Tool:
    anoean.folders.append(documented)
    return anoean


@pytest.fixture
def with_broken(third_party: Tool) -> Tool:
    """Beside the good plugins one that cannot be imported and one that breaks its contract."""
    third_party.install(
        "broken",
        "[anoean.encoders]\nabsent = broken_import:Encoder\n"
        "[anoean.detectors]\nhalf = half:Detector\n",
        broken_import="import a_module_that_is_not_there\n",
        half='class Detector:\n    name = "half"\n    summary = "lacks the rest"\n',
    )
    return third_party


# --------------------------------------------------------------------------- good ones


def test_plugins_of_another_distribution_are_listed_with_their_parameters(third_party: Tool):
    shown = third_party.plugins()
    assert shown["dataset", "ring"]["distribution"] == "anoean-example"
    assert shown["encoder", "shallow"]["parameters"] == [
        {
            "name": "units",
            "type": "int",
            "default": 32,
            "help": "width of the hidden layer",
            "low": 1,
            "high": 4096,
        }
    ]
    assert shown["detector", "centre"]["presets"] == {"default": {}, "robust": {"norm": "l1"}}


def test_third_party_dataset_and_encoder_train_a_model_that_scores_without_them(
    third_party: Tool, tmp_path: Path
):
    options = ("--dataset", "ring", "--encoder", "shallow", "--set", "units=16", "--epochs", 2)
    trained = third_party("train", *options, "--quiet")
    assert trained.returncode == 0, trained.stderr
    model = load_model(tmp_path / "anoean.h5")
    assert model.config["encoder"]["name"] == "shallow"
    assert model.weights["encoders.0.0.weight"].shape == (16, *model.preprocessor.spec.shape)
    assert third_party("evaluate").returncode == 0
    (tmp_path / "rows.csv").write_text("x,y\n1,0\n0,0\n")
    third_party.folders.clear()
    scored = third_party("score", "rows.csv")
    assert scored.returncode == 0, scored.stderr
    assert len(scored.stdout.splitlines()) == 3


def test_third_party_detector_trains_and_its_graph_is_what_scores(
    third_party: Tool, tmp_path: Path
):
    trained = third_party("train", "--dataset", "ring", "--detector", "centre", "--quiet")
    assert trained.returncode == 0, trained.stderr
    rule = load_model(tmp_path / "anoean.h5").calibration.rule
    assert set(rule) == {"rule", "fpr"}, "a covariance without a Gaussian"
    (tmp_path / "rows.csv").write_text("x,y\n0,0\n1,1\n2,2\n")
    scored = third_party("score", "rows.csv")
    scores = [float(line.split(",")[2]) for line in scored.stdout.splitlines()[1:]]
    assert 0 < scores[0] < 0.5 < scores[1] < scores[2]


# --------------------------------------------------------------------------- broken ones


def test_what_failed_is_listed_with_the_reason_and_the_distribution(with_broken: Tool):
    shown = with_broken.plugins()
    assert "a_module_that_is_not_there" in shown["encoder", "absent"]["error"]
    assert "of broken" in shown["encoder", "absent"]["error"]
    assert "it lacks Parameters, fit, presets, uses_anomalies" in shown["detector", "half"]["error"]
    healthy = {name for (_, name), entry in shown.items() if "error" not in entry}
    assert {"ring", "shallow", "centre", "mlp", "anoean"} <= healthy
    table = with_broken("plugins").stdout
    assert re.search(r"encoder +absent +broken +FAILED: .*a_module_that_is_not_there", table)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (("--encoder", "absent"), "encoder plugin 'absent' of broken"),
        (("--detector", "half"), "detector plugin 'half' of broken"),
        (("--encoder", "nobodys"), "no encoder plugin is called 'nobodys'; there are: absent,"),
    ],
)
def test_asking_for_a_broken_or_unknown_plugin_ends_with_status_6(with_broken, options, culprit):
    failed = with_broken("train", "--dataset", "ring", *options, "--quiet")
    assert failed.returncode == 6
    assert culprit in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (with_broken.workplace / "anoean.h5").exists()


def test_broken_plugins_do_not_hinder_the_others(with_broken: Tool):
    trained = with_broken("train", "--dataset", "ring", "--detector", "centre", "--quiet")
    assert trained.returncode == 0, trained.stderr


def test_a_name_of_two_distributions_is_refused_and_both_are_named(third_party: Tool):
    third_party.install(
        "impostor",
        "[anoean.encoders]\nshallow = impostor:Encoder\n",
        impostor="raise RuntimeError('imported')\n",
    )
    shown = third_party("plugins")
    words = (line.split() for line in shown.stdout.splitlines())
    lines = [" ".join(line) for line in words if line[:2] == ["encoder", "shallow"]]
    assert len(lines) == 2
    assert all("registered twice (by anoean-example, impostor)" in line for line in lines)
    failed = third_party("train", "--dataset", "ring", "--encoder", "shallow")
    assert failed.returncode == 6
    assert "registered twice (by anoean-example, impostor)" in failed.stderr
    untouched = third_party("train", "--dataset", "ring", "--detector", "centre", "--quiet")
    assert untouched.returncode == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('Detector.name = "other"', "it calls itself 'other', its entry point 'odd'"),
        ("Detector.fit = 3", "its fit is not a method"),
        ("Detector.Parameters = dict", "its Parameters is not a dataclass"),
        (
            "Detector.Parameters = dataclass(type('P', (), {'__annotations__': {'a': int}}))",
            "its parameter a has no default",
        ),
        (
            "Detector.Parameters = dataclass(type('P', (), "
            "{'__annotations__': {'a': tuple}, 'a': ()}))",
            "its parameter a is of type tuple",
        ),
        ('Detector.presets = {"paper": {}}', "it has no preset 'default'"),
        (
            'Detector.presets = {"default": {"depth": 2}}',
            "its preset default has no parameter 'depth'",
        ),
        ("Detector.summary = None", "its summary is None; a line of text is needed"),
        ("Detector.summary = ' '", "its summary is ' '"),
        (
            "Detector.Parameters = dataclass(type('P', (), "
            "{'__annotations__': {'a': float}, 'a': float('inf')}))",
            "its parameter a has a default or a range that is no JSON",
        ),
        (
            "Detector.presets = {'default': {}, 'odd': {'a': float('nan')}}\n"
            "Detector.Parameters = dataclass(type('P', (), "
            "{'__annotations__': {'a': float}, 'a': 1.0}))",
            "its preset odd is no JSON",
        ),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("class Detector:\n    def __init__(self, size): ...", "missing 1 required positional"),
    ],
)
def test_each_breach_of_the_contract_is_told(anoean: Tool, change: str, reason: str):
    source = COMPLETE_CONTRACT.format(name="odd") + change + "\n"
    anoean.install("odd", "[anoean.detectors]\nodd = odd:Detector\n", odd=source)
    assert reason in str(anoean.plugins()["detector", "odd"]["error"])


def test_the_contract_that_the_breaches_are_made_from_is_whole(anoean: Tool):
    source = COMPLETE_CONTRACT.format(name="odd")
    anoean.install("odd", "[anoean.detectors]\nodd = odd:Detector\n", odd=source)
    assert anoean.plugins()["detector", "odd"]["summary"] == "fulfils the contract"


def test_one_bad_plugin_leaves_the_list_of_all_others_whole(anoean: Tool):
    source = COMPLETE_CONTRACT.format(name="odd") + "Detector.summary = None\nprint('clamour')\n"
    anoean.install("odd", "[anoean.detectors]\nodd = odd:Detector\n", odd=source)
    assert "summary" in anoean.plugins()["detector", "anoean"]
    shown = anoean("plugins")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"detector +odd +odd +FAILED: .*its summary is None", shown.stdout)
    assert "clamour" in shown.stderr
    assert "clamour" not in shown.stdout


# --------------------------------------------------------------------------- nothing is imported


@pytest.fixture
def with_trace(anoean: Tool) -> Tool:
    """A plugin of each kind whose module leaves a file behind when it is imported."""
    groups = "".join(
        f"[anoean.{r}]\nslow = slow:X\n" for r in ("datasets", "encoders", "detectors")
    )
    anoean.install("slow", groups, slow=LEAVES_A_TRACE)
    return anoean


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("score", "--help"),
        ("train", "--dataset", "toy", "--epochs", "1", "--quiet"),
    ],
)
def test_no_plugin_is_imported_that_nobody_asked_for(with_trace: Tool, arguments):
    assert with_trace(*arguments).returncode == 0
    assert not with_trace.trace.exists()


def test_completing_a_name_lists_plugins_without_importing_them(with_trace: Tool):
    listing = "from anoean_cli import registry; print(*registry.names('encoders'))"
    environment = os.environ | {
        "PYTHONPATH": python_path(*with_trace.folders),
        "TRACE": str(with_trace.trace),
    }
    command = [sys.executable, "-c", listing]
    listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "slow" in listed.stdout.split()
    assert not with_trace.trace.exists()


def test_the_trace_is_left_when_the_plugin_is_asked_for(with_trace: Tool):
    assert with_trace("train", "--dataset", "slow").returncode == 6
    assert with_trace.trace.exists()
