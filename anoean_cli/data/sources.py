"""Raw files of published datasets: found on this machine, or downloaded and verified.

A checksum is always that of the uncompressed content, since the gzip containers of the same
content differ from mirror to mirror.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Literal
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from anoean_cli.data.content import digest_of
from anoean_cli.data.streams import CHUNK
from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import Json, LoadRequest

MAX_DOWNLOAD = 1 << 30
SCHEMES = ("https", "http", "file")


@dataclass(frozen=True)
class RawFile:
    """One file of a dataset, as its publisher names it.

    Attributes:
        name: canonical name, without ``.gz``.
        sha256: of the uncompressed content that the publisher distributes.
        remote: the name below the base URL, ``name`` when empty.
        spellings: other names under which the file goes around, without ``.gz``.
        optional: whether a user's folder may lack it.
    """

    name: str
    sha256: str
    remote: str = ""
    spellings: tuple[str, ...] = ()
    optional: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """All names that the file may have on disk, the preferred ones first."""
        names = (self.name, *self.spellings)
        return tuple(name + suffix for name in names for suffix in ("", ".gz"))


@dataclass(frozen=True)
class RawDataset:
    """The files of a dataset and where they are to be had.

    Attributes:
        name: the dataset's name, which is also its subfolder in data folder and cache.
        base_url: the folder of the files on the publisher's or a mirror's server.
        files: what belongs to it.
        licence: the terms of use in a few words.
        homepage: where the publisher describes it.
        has_sample: whether ``--source sample`` is a remedy worth naming.
    """

    name: str
    base_url: str
    files: tuple[RawFile, ...]
    licence: str
    homepage: str
    has_sample: bool = False

    def provenance(
        self, source: str, digests: Mapping[str, str], rows: int, sample: bool = False
    ) -> dict[str, Json]:
        """Return what models and reports record about the data; no path of this machine."""
        return {
            "source": source,
            "files": dict(digests),
            "sample": sample,
            "rows": rows,
            "licence": self.licence,
            "homepage": self.homepage,
        }


@dataclass(frozen=True)
class Obtained:
    """Files that are on this machine now.

    Attributes:
        source: where they were found.
        paths: canonical name to path; without the optional files that are missing.
        digests: canonical name to the SHA-256 of the uncompressed content.
    """

    source: Literal["folder", "cache", "download"]
    paths: dict[str, Path]
    digests: dict[str, str]


def obtain(request: LoadRequest, raw: RawDataset) -> Obtained:
    """Return the files of a dataset from where ``request.source`` says.

    Files in the user's folder are taken as they are, with a warning where their content is not
    the publisher's. Files in the cache are ours: what is wrong there is downloaded again.

    Raises:
        DatasetUnavailableError: they are not to be had; the message says what was tried.
        DataError: a file in the user's folder cannot be read.
    """
    if request.source == "sample":
        raise _unavailable(raw, "there is no sample of it")
    paths = find_files(request, raw.name, raw.files)
    if paths is not None:
        if not _in_cache(request, raw.name, paths):
            return _taken_as_they_are(request, raw, paths)
        if all(_has_content(paths[file.name], file.sha256) for file in raw.files):
            return Obtained("cache", paths, {file.name: file.sha256 for file in raw.files})
    return _download(request, raw)


def find_files(
    request: LoadRequest, subfolder: str, files: tuple[RawFile, ...]
) -> dict[str, Path] | None:
    """Return the paths of the files in the first place that has them, or None.

    For the sources ``"auto"`` and ``"full"`` the places are the user's data folder, with and
    without the subfolder, then the cache, which must hold the optional files too: if it does
    not, a download was interrupted. A source that is a path is the only place.
    """
    for place in _places(request, subfolder):
        found = {file.name: path for file in files if (path := _pick(place, file)) is not None}
        in_cache = place == request.cache / subfolder
        if all(file.name in found or (file.optional and not in_cache) for file in files):
            return found
    return None


def fetch(url: str, name: str, folder: Path, content_sha256: str, timeout: float = 10) -> Path:
    """Return ``folder/name`` with the content of that checksum, downloaded unless it is there.

    The file appears under its name only when it is whole and verified.

    Args:
        url: an https, http or file URL; redirects to another scheme are refused.
        name: of the file to be.
        folder: where it goes; made if need be.
        content_sha256: of the uncompressed content.
        timeout: seconds of silence after which the server is given up.

    Raises:
        DatasetUnavailableError: the download failed or has another content.
    """
    target = folder / name
    if _has_content(target, content_sha256):
        return target

    def download(url: str, output_file: str, pooch: object) -> None:
        _copy(url, Path(output_file), timeout)
        _verify(Path(output_file), content_sha256)

    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        target.unlink(missing_ok=True)  # pooch would take what is there for the real thing
        # pooch's own hash is that of the container; ours is checked before it moves the file.
        pooch.retrieve(url, known_hash=None, fname=name, path=folder, downloader=download)
    except (OSError, HTTPException, ValueError) as error:
        # The text of a URLError is a wrapping around what happened.
        reason = " ".join(str(error.reason if type(error) is URLError else error).split())
        raise DatasetUnavailableError(f"{url}: {reason}") from error
    return target


# --------------------------------------------------------------------------- on this machine


def _places(request: LoadRequest, subfolder: str) -> list[Path]:
    if request.source == "sample" or _is_url(request.source):
        return []
    if request.source not in ("auto", "full"):
        return [Path(request.source) / subfolder, Path(request.source)]
    users = [request.data_folder / subfolder, request.data_folder] if request.data_folder else []
    return [*users, request.cache / subfolder]


def _pick(place: Path, file: RawFile) -> Path | None:
    """Return the file in a folder, or the place itself when it is that file."""
    # os.path says False where Path.is_file would raise, as in a folder without permission.
    if os.path.isfile(place):
        return place if place.name in file.candidates else None
    paths = (place / name for name in file.candidates)
    return next((path for path in paths if os.path.isfile(path)), None)


def _in_cache(request: LoadRequest, subfolder: str, paths: Mapping[str, Path]) -> bool:
    cache = request.cache / subfolder
    return request.source in ("auto", "full") and all(
        path.parent == cache for path in paths.values()
    )


def _taken_as_they_are(request: LoadRequest, raw: RawDataset, paths: dict[str, Path]) -> Obtained:
    digests = {name: digest_of(path) for name, path in paths.items()}
    published = {file.name: file.sha256 for file in raw.files}
    variants = [name for name, digest in digests.items() if digest != published[name]]
    if variants:
        names = ", ".join(str(paths[name]) for name in variants)
        request.warn(f"{raw.name}: not the content that its publisher distributes: {names}")
    return Obtained("folder", paths, digests)


def _has_content(path: Path, sha256: str) -> bool:
    try:
        return digest_of(path) == sha256
    except DataError:
        return False


# --------------------------------------------------------------------------- from a server


class _SameScheme(HTTPRedirectHandler):
    """Follows no redirect that would leave https, or lead into the local files."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != req.type:
            raise ValueError(f"redirected to another scheme ({newurl}), which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(request: LoadRequest, raw: RawDataset) -> Obtained:
    is_url = _is_url(request.source)
    if not is_url and request.source not in ("auto", "full"):
        raise _unavailable(raw, _missing(request.source, raw))
    base = (request.source if is_url else raw.base_url).rstrip("/") + "/"
    folder = request.cache / raw.name
    paths = {}
    try:
        for file in raw.files:
            remote = file.remote or file.name
            paths[file.name] = fetch(base + remote, remote, folder, file.sha256)
    except DatasetUnavailableError as error:
        tried = f"download failed: {error}"
        if not is_url:
            places = " and ".join(str(place) for place in _places(request, raw.name))
            tried = f"not in {places}; {tried}"
        raise _unavailable(raw, tried) from error
    return Obtained("download", paths, {file.name: file.sha256 for file in raw.files})


def _copy(url: str, target: Path, timeout: float) -> None:
    """Write what the URL gives, all of it, to a file."""
    if urlsplit(url).scheme not in SCHEMES:
        raise ValueError(f"not an {', '.join(SCHEMES)} URL")
    request = Request(url, headers={"User-Agent": "anoean"})
    with build_opener(_SameScheme).open(request, timeout=timeout) as response:
        announced = response.headers["Content-Length"]
        received = 0
        with open(target, "wb") as file:
            while chunk := response.read(CHUNK):
                received += file.write(chunk)
                if received > MAX_DOWNLOAD:
                    raise ValueError(f"longer than {MAX_DOWNLOAD:,} bytes")
    # http.client takes a connection that breaks off for the end of the file.
    if announced is not None and received != int(announced):
        raise ValueError(f"broke off after {received:,} of {int(announced):,} bytes")


def _verify(path: Path, sha256: str) -> None:
    try:
        found = digest_of(path)
    except DataError as error:
        raise ValueError(f"what came is damaged ({error.__cause__}) and was removed") from error
    if found != sha256:
        raise ValueError(f"wrong checksum: {found}, not {sha256}; the file was removed")


def _is_url(source: str) -> bool:
    return "://" in source


# --------------------------------------------------------------------------- messages


def _missing(source: str, raw: RawDataset) -> str:
    if not os.path.exists(source):
        return f"{source} is no file, folder or URL"
    places = (Path(source) / raw.name, Path(source))
    needed = [file for file in raw.files if not file.optional]
    missing = [file.name for file in needed if all(_pick(p, file) is None for p in places)]
    return f"{source} lacks {', '.join(missing) or 'some of its files in one folder'}"


def _unavailable(raw: RawDataset, tried: str) -> DatasetUnavailableError:
    remedies = f"set ANOEAN_DATA to a folder with {raw.name}/{raw.files[0].name}"
    remedies += " and the like, or give --source PATH"
    if raw.has_sample:
        remedies += " or --source sample"
    return DatasetUnavailableError(f"{raw.name} is not available: {tried}. Remedy: {remedies}.")
