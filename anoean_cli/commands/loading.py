"""From what ``--dataset`` names to a dataset."""

from __future__ import annotations

from pathlib import Path

from anoean_cli import environment, registry
from anoean_cli.console import Console
from anoean_cli.errors import blaming
from anoean_cli.interfaces import Dataset, LoadRequest, TableOptions
from anoean_cli.storage import prepared

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".gz", ".zst", ".parquet", ".pq", ".h5", ".hdf5")


def load_dataset(
    name: str,
    source: str,
    table: TableOptions,
    console: Console,
    seed: int = 0,
    from_cache: bool = True,
) -> Dataset:
    """Load a data set by its plugin's name, a table or a prepared file by its path.

    Args:
        from_cache: whether the prepared form in the cache will do.

    Raises:
        PluginError: no such plugin.
        DatasetUnavailableError, DataError, FileFormatError: what the plugin or reader says.
    """
    if is_file(name):
        if prepared.is_prepared(Path(name)):
            return prepared.read_prepared(Path(name))
        name, source = "table", name
    elif is_file(source) and prepared.is_prepared(Path(source)):
        return prepared.read_prepared(Path(source))
    plugin = registry.get("datasets", name)
    folder = environment.data_folder()
    cache = environment.cache_folder()
    if from_cache and folder is None and source in ("auto", "full"):
        kept = prepared.in_cache(cache, name)
        if kept.exists():
            console.detail(f"taking {kept}")
            return prepared.read_prepared(kept)
    request = LoadRequest(
        source=source,
        data_folder=folder,
        cache=cache,
        table=table,
        seed=seed,
        warn=console.warn,
    )
    with blaming(f"dataset plugin {name!r}"):
        dataset: Dataset = plugin.load(request)
    return dataset


def is_file(name: str) -> bool:
    """Whether a --dataset names a file rather than a plugin."""
    return (
        name == "-"
        or "/" in name
        or name.endswith(TABLE_ENDINGS)
        or (Path(name).exists() and name not in registry.names("datasets"))
    )
