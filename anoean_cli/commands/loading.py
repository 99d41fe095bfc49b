"""From what ``--dataset`` names to a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from anoean_cli import environment, registry
from anoean_cli.commands.options import reading_of
from anoean_cli.console import Console
from anoean_cli.data.content import digest_of
from anoean_cli.data.contract import checked
from anoean_cli.data.images import digest_of_images, image_files
from anoean_cli.errors import (
    DatasetUnavailableError,
    FileFormatError,
    UsageError,
    blaming,
    with_remedy,
)
from anoean_cli.inference.contents import Reload
from anoean_cli.interfaces import (
    Dataset,
    DatasetPlugin,
    Drawing,
    Json,
    LoadRequest,
    TableOptions,
)
from anoean_cli.parameters import positive
from anoean_cli.storage import prepared
from anoean_cli.storage.hdf5 import is_hdf5
from anoean_cli.storage.remote import is_remote
from anoean_cli.storage.typed_json import check_json

MOST_ROWS = 1_000_000  # of a text table, unless the user says otherwise
TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".gz", ".zst", ".parquet", ".pq", ".h5", ".hdf5")


def load_dataset(
    name: str,
    source: str,
    table: TableOptions,
    console: Console,
    seed: int = 0,
    from_cache: bool = True,
    image_size: int | None = None,
    drawing: Drawing | None = None,
) -> Dataset:
    """Load a data set by its plugin's name; a table, a prepared file or a folder of images by path.

    What it takes to load it again goes into its provenance, and so into the model: `load_again`.

    Args:
        from_cache: whether the prepared form in the cache will do.
        image_size: side in pixels that images are resized to, for plugins that do so.
        drawing: how rows are drawn from a text table that has too many.

    Raises:
        UsageError: a source beside a file, or stdin.
        PluginError: no such plugin.
        DatasetUnavailableError, DataError, FileFormatError: what the plugin or reader says.
    """
    if "-" in (name, source):
        raise UsageError(
            "-: a data set is read more than once, which stdin cannot be; "
            "write it to a file, and name that"
        )
    if is_file(name):
        if source not in ("auto", name):
            raise UsageError(f"--source {source}: {name} is a file already; name one of them")
        name, source = _plugin_of(name), name
    reading = asdict(table)
    if is_file(source) and is_hdf5(Path(source)):
        dataset = prepared.read_prepared(Path(source))
        reading |= _reading_before(dataset, source)
    else:
        request = LoadRequest(
            source=source,
            data_folder=environment.data_folder(),
            cache=environment.cache_folder(),
            table=table,
            image_size=image_size,
            seed=seed,
            drawing=drawing,
            warn=console.warn,
        )
        dataset = _from_plugin(name, request, console, from_cache)
    if source in ("auto", "full"):
        source = "sample" if dataset.provenance.get("sample") else "full"
    again = {"plugin": name, "source": source, "seed": seed, "reading": reading}
    if image_size is not None:
        again["image_size"] = image_size
    if drawing is not None and "drawn_from" in dataset.provenance:
        again["drawing"] = asdict(drawing)
    return replace(dataset, provenance={**dataset.provenance, "reload": again})


def _reading_before(dataset: Dataset, path: str) -> Mapping[str, Any]:
    """How the text was read that became a prepared file."""
    how = dataset.provenance.get("reload")
    if how is None:
        return {}
    check_json(how, Reload, f"{path}: its provenance.reload")
    return how["reading"]  # type: ignore[no-any-return]


def load_again(about: Mapping[str, Json], source: str | None, console: Console) -> Dataset:
    """Load the data set of a training by what its model recorded of it.

    Args:
        about: ``config["dataset"]`` of the model.
        source: where the data is now, if it has moved.

    Raises:
        UsageError: the model was not trained from the command line.
        FileFormatError: what it says of the reading cannot be.
    """
    how = about.get("reload")
    if how is None:
        raise UsageError(
            f"the model does not say where its data ({about['name']}) is to be had: "
            "give labelled rows with --data"
        )
    reading_of(about)
    drawing = how.get("drawing")
    if drawing is not None and not (drawing["most"] >= 1 and drawing.get("seed", 0) >= 0):
        raise FileFormatError(f"the model's drawing of {about['name']} cannot be: {drawing}")
    return load_dataset(
        how["plugin"],
        source or how["source"],
        TableOptions(**_with_tuples(how["reading"])),
        console,
        seed=how["seed"],
        image_size=how.get("image_size"),
        drawing=None if drawing is None else Drawing(**_with_tuples(drawing)),
    )


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON made lists of is tuples again."""
    return {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}


def _from_plugin(name: str, request: LoadRequest, console: Console, from_cache: bool) -> Dataset:
    plugin = registry.get("datasets", name)
    kept = prepared.in_cache(request.cache, name)
    with blaming(f"dataset plugin {name!r}"):
        if from_cache and request.source in ("auto", "full") and kept.exists():
            return checked(_beside_kept(kept, plugin, request, console), name)
        return checked(plugin.load(request), name)


def _beside_kept(
    kept: Path, plugin: DatasetPlugin, request: LoadRequest, console: Console
) -> Dataset:
    """Look where the user's data is, then in the prepared file, then where else the plugin looks.

    A sample that was kept when nothing else was to be had serves on the same terms only.
    """
    with _mended_by_prepare(kept):
        about = prepared.provenance_of(kept)
    if about.get("seed", request.seed) != request.seed:
        return plugin.load(request)  # generated anew for each seed
    if request.data_folder is not None:
        with suppress(DatasetUnavailableError):
            return plugin.load(replace(request, source=str(request.data_folder)))
    if about.get("sample"):
        try:
            return plugin.load(replace(request, source="full"))
        except DatasetUnavailableError as error:
            if request.source == "full":
                raise
            console.warn(f"using the sample in {kept}: {error}")
    console.detail(f"taking {kept}")
    with _mended_by_prepare(kept):
        return prepared.read_prepared(kept)


@contextmanager
def _mended_by_prepare(kept: Path) -> Iterator[None]:
    try:
        yield
    except FileFormatError as error:
        raise with_remedy(error, f"anoean prepare {kept.stem} --force makes it anew") from error


def described_by(schema: Path | None, name: str, source: str, table: TableOptions) -> TableOptions:
    """Table options with what a file says of the columns.

    Raises:
        UsageError: the data set is no table of the user's, or the file does not fit it.
        PluginError: no such plugin.
    """
    if schema is None:
        return table
    if not _takes_table_options(name, source):
        raise UsageError(f"--schema: the data set {name} is no text table; leave that out")
    from anoean_cli.commands import schema_file

    path = name if is_file(name) else source
    if path == "-":
        raise UsageError("--schema: a table on stdin cannot be looked at twice; give it as a file")
    return schema_file.applied(schema, path, table)


def check_table_options(name: str, source: str, table: TableOptions) -> None:
    """Refuse the user's table options for a data set that does not read a table by them.

    Raises:
        UsageError: naming them.
        PluginError: no such plugin.
    """
    given = [f.name for f in fields(table) if getattr(table, f.name) != f.default]
    if given and not _takes_table_options(name, source):
        names = ", ".join("--" + each.replace("_", "-") for each in given)
        path = Path(name if is_file(name) else source)
        is_prepared = path.is_file() and is_hdf5(path)
        remedy = "leave that out" + (", or say it when preparing the table" if is_prepared else "")
        raise UsageError(f"{names}: the data set {name} is no text table; {remedy}")


def _takes_table_options(name: str, source: str) -> bool:
    if is_file(name):
        return _plugin_of(name) == "table" and not is_hdf5(Path(name))
    if is_file(source) and is_hdf5(Path(source)):
        return False
    return getattr(registry.get("datasets", name), "takes_table_options", False)


def drawing_for(
    most: str | None, name: str, source: str, seed: int, normal: tuple[str, ...] = ()
) -> Drawing | None:
    """How rows are drawn from a text table that has more than so many; None where all are taken.

    Args:
        most: what ``--max-rows`` says, or None.
        normal: labels that are normal, as far as they are known.

    Raises:
        UsageError: no number, or a data set that is no text table.
        PluginError: no such plugin.
    """
    if not _takes_table_options(name, source):
        if most is not None:
            raise UsageError(f"--max-rows: the data set {name} is no text table; leave that out")
        return None
    if most == "all":
        return None
    number = MOST_ROWS if most is None else positive(most)
    if number is None:
        raise UsageError(f"--max-rows is {most!r}; a number of rows or 'all' is needed")
    return Drawing(number, normal, seed)


def check_image_size(name: str, source: str, image_size: int | None) -> None:
    """Refuse a size of images for a data set that resizes none.

    Raises:
        UsageError: naming it.
        PluginError: no such plugin.
    """
    if image_size is None:
        return
    path = name if is_file(name) else source
    is_prepared = is_file(path) and is_hdf5(Path(path))
    plugin = registry.get("datasets", _plugin_of(name) if is_file(name) else name)
    if is_prepared or not getattr(plugin, "takes_image_size", False):
        raise UsageError(f"--image-size: {name} is no folder of images; leave that out")


def _plugin_of(path: str) -> str:
    """The plugin that reads what a --dataset names by its path."""
    return "images" if Path(path).is_dir() else "table"


def origin_of(data: str) -> Mapping[str, Any]:
    """The provenance of rows given as a file: ``files`` are names and checksums."""
    path = Path(data)
    if is_hdf5(path):
        about = prepared.provenance_of(path)
        return {**about, "files": _checksums(about)}
    if path.is_dir():
        return {"source": "file", "files": digest_of_images(path, image_files(path))}
    if not is_remote(data) and not path.is_file():  # a pipe cannot be read twice
        return {"source": "file", "files": {}}
    return {"source": "file", "files": {path.name: digest_of(data)}}


def are_of_training(files: Mapping[str, str], config: Mapping[str, Any]) -> bool:
    """Whether one of the files is one that a model of this configuration learned from.

    Where its data set does not say which of a publisher's files are for the test, none is taken
    for one.
    """
    about = config["dataset"]
    of_test = about.get("test_files")
    if of_test is None and config.get("scheme") == "publisher":
        return False
    learnt = _checksums(about)
    if isinstance(of_test, list) and not config["apportionment"].get("pooled"):
        learnt = {name: value for name, value in learnt.items() if name not in of_test}
    return not set(files.values()).isdisjoint(learnt.values())


def _checksums(about: Mapping[str, Any]) -> dict[str, str]:
    """The files of a provenance whose checksums are text, as a plugin may say what it likes."""
    files = about.get("files")
    known = files.items() if isinstance(files, Mapping) else ()
    return {name: value for name, value in known if isinstance(value, str)}


def is_file(name: str) -> bool:
    """Whether a --dataset names a file rather than a plugin."""
    return (
        name == "-"
        or "/" in name
        or name.endswith(TABLE_ENDINGS)
        or (Path(name).exists() and name not in registry.names("datasets"))
    )
