"""From what ``--dataset`` names to a dataset."""

from __future__ import annotations

from pathlib import Path

from anoean_cli import environment, registry
from anoean_cli.console import Console
from anoean_cli.data.contract import checked
from anoean_cli.errors import UsageError, blaming
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
        return checked(plugin.load(request), name)


def is_file(name: str) -> bool:
    """Whether a --dataset names a file rather than a plugin."""
    return (
        name == "-"
        or "/" in name
        or name.endswith(TABLE_ENDINGS)
        or (Path(name).exists() and name not in registry.names("datasets"))
    )


def normal_labels(dataset: Dataset, text: str | None) -> tuple[str, ...]:
    """The labels that --normal names, or those that the data set says are normal.

    Raises:
        UsageError: neither says, or --normal is blank.
    """
    import numpy as np

    from anoean_cli.commands.options import listed
    from anoean_cli.data.splits import some

    present = [label for label in np.unique(dataset.labels).tolist() if label]
    if text is not None:
        if not listed(text):
            raise UsageError(f"--normal {text!r} names no label; the labels are: {some(present)}")
        return tuple(_as_labelled(value, present) for value in listed(text))
    if dataset.normal:
        return dataset.normal
    raise UsageError(
        f"which labels of {dataset.name} are normal? Give --normal V[,V...]; "
        f"the labels are: {some(present)}"
    )


def _as_labelled(value: str, present: list[str]) -> str:
    """The label that is meant: 1.0 means 1 where that is how the label is written."""
    if value in present:
        return value
    for label in present:
        try:
            if float(label) == float(value):
                return label
        except ValueError:
            continue
    return value
