import gzip
import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from anoean_cli.data import sources
from anoean_cli.data.content import digest_of
from anoean_cli.data.sources import RawDataset, RawFile, fetch, find_files, obtain
from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import LoadRequest

CONTENT = b"the content of a file\n" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOWHERE = "http://127.0.0.1:1/"  # nothing listens on port 1

RAW = RawDataset(
    name="things",
    base_url=NOWHERE,
    files=(
        RawFile("train-x", DIGEST, remote="train-x.gz", spellings=("train.x",)),
        RawFile("test-x", DIGEST, remote="test-x.gz", optional=True),
    ),
    licence="free",
    homepage="https://example.org",
)


class Server:
    """A server on this machine; ``answers`` tells what each path gets."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.answers.get(self.path, partial(answer, status=404))(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


def answer(
    handler: BaseHTTPRequestHandler,
    body: bytes = b"",
    status: int = 200,
    length: str | None = None,
    location: str | None = None,
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", length or str(len(body)))
    if location is not None:
        handler.send_header("Location", location)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=partial(server.http.serve_forever, poll_interval=0.02))
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def request_for(tmp_path, warnings) -> Callable[..., LoadRequest]:
    return partial(LoadRequest, cache=tmp_path / "cache", warn=warnings.append)


def put(*paths: Path, content: bytes = CONTENT) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


# --------------------------------------------------------------------------- finding


@pytest.mark.parametrize("subfolder", ["", "things"])
@pytest.mark.parametrize("name", ["train-x", "train-x.gz", "train.x", "train.x.gz"])
@pytest.mark.parametrize("as_source", [False, True], ids=["data folder", "source"])
def test_files_are_found_under_all_their_names(tmp_path, request_for, subfolder, name, as_source):
    folder = tmp_path / "data"
    put(folder / subfolder / name, folder / subfolder / "test-x")
    request = request_for(source=str(folder)) if as_source else request_for(data_folder=folder)

    assert find_files(request, "things", RAW.files) == {
        "train-x": folder / subfolder / name,
        "test-x": folder / subfolder / "test-x",
    }


def test_data_folder_goes_before_cache(tmp_path, request_for):
    put(tmp_path / "cache/things/train-x", tmp_path / "cache/things/test-x")
    put(tmp_path / "data/train-x")

    assert find_files(request_for(data_folder=tmp_path / "data"), "things", RAW.files) == {
        "train-x": tmp_path / "data/train-x"
    }
    assert find_files(request_for(data_folder=tmp_path / "none"), "things", RAW.files) == {
        "train-x": tmp_path / "cache/things/train-x",
        "test-x": tmp_path / "cache/things/test-x",
    }


def test_cache_of_an_interrupted_download_does_not_count(tmp_path, request_for):
    put(tmp_path / "cache/things/train-x")

    assert find_files(request_for(), "things", RAW.files) is None


def test_source_may_be_the_required_file_itself(tmp_path, request_for):
    put(tmp_path / "train-x.gz", tmp_path / "test-x")

    found = find_files(request_for(source=str(tmp_path / "train-x.gz")), "things", RAW.files)

    assert found == {"train-x": tmp_path / "train-x.gz"}


def test_explicit_sources_ignore_the_data_folder(tmp_path, request_for):
    put(tmp_path / "data/train-x", tmp_path / "other/unrelated")
    for source in (str(tmp_path / "other"), "sample", NOWHERE):
        request = request_for(source=source, data_folder=tmp_path / "data")
        assert find_files(request, "things", RAW.files) is None


# --------------------------------------------------------------------------- verifying


def test_digest_is_that_of_the_content(tmp_path):
    put(tmp_path / "plain", tmp_path / "packed.gz")

    assert digest_of(tmp_path / "plain") == digest_of(tmp_path / "packed.gz") == DIGEST


def test_published_content_of_the_user_is_taken_without_a_word(tmp_path, request_for, warnings):
    put(tmp_path / "things/train-x.gz", tmp_path / "things/test-x")

    obtained = obtain(request_for(data_folder=tmp_path), RAW)

    assert (obtained.source, warnings) == ("folder", [])
    assert obtained.digests == {"train-x": DIGEST, "test-x": DIGEST}


def test_variant_of_the_user_is_taken_with_a_warning(tmp_path, request_for, warnings):
    put(tmp_path / "train-x", content=b"mine")
    put(tmp_path / "test-x")

    obtained = obtain(request_for(source=str(tmp_path)), RAW)

    assert obtained.digests == {"train-x": hashlib.sha256(b"mine").hexdigest(), "test-x": DIGEST}
    assert len(warnings) == 1
    assert str(tmp_path / "train-x") in warnings[0]
    assert "test-x" not in warnings[0]


def test_damaged_file_of_the_user_is_an_error(tmp_path, request_for):
    put(tmp_path / "train-x.gz")
    (tmp_path / "train-x.gz").write_bytes((tmp_path / "train-x.gz").read_bytes()[:-5])

    with pytest.raises(DataError, match=r"train-x\.gz: its compression is damaged"):
        obtain(request_for(source=str(tmp_path)), RAW)


def test_provenance_holds_no_path(tmp_path, request_for):
    put(tmp_path / "train-x")
    obtained = obtain(request_for(source=str(tmp_path)), RAW)

    assert RAW.provenance(obtained.source, obtained.digests, 7) == {
        "source": "folder",
        "files": {"train-x": DIGEST},
        "sample": False,
        "rows": 7,
        "licence": "free",
        "homepage": "https://example.org",
    }


# --------------------------------------------------------------------------- downloading


def test_download_then_cache(tmp_path, server, request_for):
    for name in ("/train-x.gz", "/test-x.gz"):
        server.answers[name] = partial(answer, body=gzip.compress(CONTENT))
    raw = replace(RAW, base_url=server.url + "/")

    first = obtain(request_for(), raw)
    again = obtain(request_for(source="full"), raw)

    assert (first.source, again.source) == ("download", "cache")
    assert first.digests == again.digests == {"train-x": DIGEST, "test-x": DIGEST}
    assert first.paths == again.paths
    assert server.asked == ["/train-x.gz", "/test-x.gz"]
    assert sorted(p.name for p in (tmp_path / "cache/things").iterdir()) == [
        "test-x.gz",
        "train-x.gz",
    ]


@pytest.mark.parametrize("slash", ["", "/"])
def test_source_may_be_a_url(tmp_path, request_for, slash):
    put(tmp_path / "mirror/train-x.gz", tmp_path / "mirror/test-x.gz")

    obtained = obtain(request_for(source=(tmp_path / "mirror").as_uri() + slash), RAW)

    assert obtained.source == "download"
    assert digest_of(obtained.paths["train-x"]) == DIGEST


def test_damaged_file_in_the_cache_is_downloaded_again(tmp_path, request_for):
    put(tmp_path / "cache/things/train-x.gz", content=b"half a f")
    put(tmp_path / "cache/things/test-x.gz", tmp_path / "mirror/train-x.gz")
    raw = replace(RAW, base_url=(tmp_path / "mirror").as_uri())

    obtained = obtain(request_for(), raw)

    assert obtained.source == "download"
    assert digest_of(tmp_path / "cache/things/train-x.gz") == DIGEST


def test_redirect_within_the_scheme_is_followed(tmp_path, server):
    server.answers["/old"] = partial(answer, status=302, location="/new")
    server.answers["/new"] = partial(answer, body=CONTENT)

    assert fetch(f"{server.url}/old", "file", tmp_path, DIGEST).read_bytes() == CONTENT


def break_off(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, CONTENT[:-7], length=str(len(CONTENT)))


def stay_silent(handler: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(1.5)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (partial(answer, status=404), "HTTP Error 404"),
        (partial(answer, body=b"a login page"), f"wrong checksum: .* not {DIGEST}; .* removed"),
        (partial(answer, body=gzip.compress(CONTENT)[:-9]), "damaged .*end-of-stream.* removed"),
        (break_off, "broke off after 2,193 of 2,200 bytes"),
        (stay_silent, "timed out"),
        (partial(answer, body=bytes(5000)), "longer than 4,000 bytes"),
        (partial(answer, status=302, location="file:///etc/hostname"), "not allowed"),
        (partial(answer, status=302, location="/file"), "infinite loop.* Found"),
        (partial(answer, status=301, location="ftp://example.org/x"), "another scheme"),
        (partial(answer, status=307, location="https://example.org/x"), "another scheme"),
        (partial(answer, body=b"?", length="many"), "many"),
    ],
)
def test_failed_download_leaves_nothing(tmp_path, server, monkeypatch, behaviour, reason):
    monkeypatch.setattr(sources, "MAX_DOWNLOAD", 4000)
    server.answers["/file"] = behaviour
    (tmp_path / "file").write_bytes(b"a damaged file from before")

    with pytest.raises(DatasetUnavailableError, match=reason) as caught:
        fetch(f"{server.url}/file", "file", tmp_path, DIGEST, timeout=0.5)

    assert str(caught.value).startswith(f"{server.url}/file: ")
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (NOWHERE + "file", "Connection refused"),
        ("ftp://127.0.0.1/file", "not an https, http, file URL"),
        ("data:text/plain,x", "not an https, http, file URL"),
        ("http://[", "Invalid IPv6"),
        ("file:///no/such/file", "No such file"),
    ],
)
def test_url_that_leads_nowhere(tmp_path, url, reason):
    with pytest.raises(DatasetUnavailableError, match=reason):
        fetch(url, "file", tmp_path, DIGEST)


def test_cache_that_cannot_be_written(tmp_path):
    put(tmp_path / "content", tmp_path / "cache")

    with pytest.raises(DatasetUnavailableError):
        fetch((tmp_path / "content").as_uri(), "file", tmp_path / "cache", DIGEST)


def test_download_is_silent(tmp_path):
    put(tmp_path / "content")
    url = (tmp_path / "content").as_uri()
    # In a process of its own, as pooch's logger holds the stderr that it found when imported.
    code = (
        "from pathlib import Path; from anoean_cli.data.sources import fetch;"
        f"fetch({url!r}, 'file', Path({str(tmp_path / 'cache')!r}), {DIGEST!r})"
    )

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (run.stdout, run.stderr) == ("", "")
    assert (tmp_path / "cache/file").exists()


# --------------------------------------------------------------------------- messages


def failure(request: LoadRequest, raw: RawDataset = RAW) -> str:
    with pytest.raises(DatasetUnavailableError) as caught:
        obtain(request, raw)
    message = str(caught.value)
    assert message.startswith("things is not available: ")
    assert "\n" not in message
    return message


def test_failure_tells_what_was_tried_and_what_to_do(tmp_path, request_for):
    message = failure(request_for(data_folder=tmp_path / "data"))

    for part in (
        str(tmp_path / "data/things"),
        str(tmp_path / "cache/things"),
        NOWHERE + "train-x.gz: [Errno 111] Connection refused",
        "set ANOEAN_DATA to a folder with things/train-x",
        "--source PATH",
    ):
        assert part in message
    assert "--source sample" not in message
    assert "or --source sample" in failure(request_for(), replace(RAW, has_sample=True))


def test_failure_of_a_given_source_names_what_is_wrong_with_it(tmp_path, request_for):
    put(tmp_path / "test-x")

    assert f"{tmp_path} lacks train-x." in failure(request_for(source=str(tmp_path)))
    assert "fulll is no file, folder or URL" in failure(request_for(source="fulll"))
    assert "there is no sample" in failure(request_for(source="sample"))
    assert "download failed: ftp://x/train-x.gz" in failure(request_for(source="ftp://x"))
