"""Sets kept as Arrow tables: Parquet and CSV files, and what the `datasets` library loads.

A set with a column of encoded images holds images; one with a column `text` and a label alone, texts; others, rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from oneticket.data import hub
from oneticket.data.images.columns import image_columns, images
from oneticket.data.images.scan import METADATA
from oneticket.data.reading import LeftOut
from oneticket.data.roles import assign, role, split_of
from oneticket.data.sources import LARGE, DataRequest, DataSource, Raw, fingerprint
from oneticket.data.tables.csv import read_csv
from oneticket.data.tables.read import INDEX, vectors
from oneticket.data.tables.target import target_column
from oneticket.data.texts.read import text_columns, texts
from oneticket.ground.errors import DataError, FileError
from oneticket.ground.memory import afford


def files_of(root: Path, suffix: str = ".parquet") -> dict[str, list[Path]]:
    """The Parquet or CSV files of a folder by their splits: `<split>-*.parquet`, or `<split>/*.parquet`."""
    files: dict[str, list[Path]] = {}
    for path in sorted(root.glob(f"*{suffix}")):
        if path.name not in METADATA:
            files.setdefault(split_of(path.stem), []).append(path)
    if not files:
        for folder in sorted(child for child in root.iterdir() if child.is_dir() and role(child.name)):
            if found := sorted(folder.glob(f"*{suffix}")):
                files[folder.name] = found
    return files


def folder_of_tables(
    root: Path, files: Mapping[str, list[Path]], request: DataRequest, *, streams: bool = False
) -> DataSource:
    """The Parquet or CSV files of one folder, by split. Large sets go through an Arrow copy that the cache keeps."""
    read_files = {path for found in files.values() for path in found}
    known, size = fingerprint([(path.relative_to(root).as_posix(), path) for found in files.values() for path in found])
    mapped = size > LARGE and all(path.suffix == ".parquet" for path in read_files)

    def read() -> Raw:
        if mapped:
            return _raw(hub.arrow(files), str(root), request, large=True)
        return _raw({split: _table(found) for split, found in files.items()}, str(root), request, large=size > LARGE)

    return DataSource(
        where=str(root),
        fingerprint=known,
        streams=streams or mapped,
        read=read,
        options=_options(request),
        left_out=_beside(root, read_files),
    )


def single(path: Path, request: DataRequest) -> DataSource:
    """One Parquet or CSV file, of which a fixed fifth is held out."""
    known, size = fingerprint([("file", path)])
    return DataSource(
        where=str(path),
        fingerprint=known,
        read=lambda: _raw({"all": _table([path])}, str(path), request, large=size > LARGE),
        options=_options(request),
    )


def loaded(
    parts: Mapping[str, Any], files: Sequence[Path], where: str, request: DataRequest, *, streams: bool = False
) -> DataSource:
    """A set that the `datasets` library has loaded: its splits by name, and the files that its content is known by."""
    known, size = fingerprint([(path.name, path) for path in files])
    return DataSource(
        where=where,
        fingerprint=known,
        streams=streams or size > LARGE,
        read=lambda: _raw(parts, where, request, large=size > LARGE),
        options=_options(request),
    )


def _options(request: DataRequest) -> dict[str, Any]:
    """What the reading depends on in addition to the files."""
    spec, like = request.spec, request.inputs
    length = spec.length or (like.shape[0] if like and like.kind == "tokens" else None)
    return {"label": spec.label, "missing": spec.missing, "length": length, "targets": request.targets}


def _beside(root: Path, read: Collection[Path]) -> tuple[LeftOut, ...]:
    """The other files of the folder; raises DataError where one of them may be a part of the set."""
    suffix = min(read).suffix
    others = [path for path in sorted(root.rglob("*")) if path.is_file() and path not in read]
    shown = [path.relative_to(root).as_posix() for path in others if not path.name.startswith(".")]
    tables = [name for name in shown if name.lower().endswith(suffix) and Path(name).name not in METADATA]
    if tables:
        raise DataError(
            f"{root}: {tables[0]} lies beside {min(read).relative_to(root).as_posix()}, and is either a part of the "
            f"set (then put all into one folder, as train-0{suffix} and test-0{suffix}) or not (then move it elsewhere)"
        )
    return (LeftOut(count=len(shown), reason=f"beside the {NAMES[suffix]} files", example=shown[0]),) if shown else ()


def _table(files: Sequence[Path]) -> pa.Table:
    path = files[0]
    try:
        tables = [READERS[(path := file).suffix](path) for file in files]
        whole = "permissive" if path.suffix == ".csv" else "none"  # one part of a CSV set may hold whole numbers alone
        return pa.concat_tables([_sound_table(table) for table in tables], promote_options=whole)
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        kind, remedy = NAMES[path.suffix], "mend it" if path.suffix == ".csv" else "fetch it again"
        raise DataError(f"{path}: cannot read this {kind} file: {error}; {remedy}") from None
    except FileError as error:
        raise DataError(f"{path}: {error}") from None


def _parquet(path: Path) -> pa.Table:
    """A file's table; FileError for more rows than memory holds, which a few bytes may claim."""
    about = pq.read_metadata(path)
    afford(8 * about.num_rows * max(1, about.num_columns), f"{about.num_rows:,} rows of {about.num_columns:,} columns")
    return pq.ParquetFile(path).read()  # read_table imports all readers of datasets, 0.3 s, for one file


def _sound_table(table: pa.Table) -> pa.Table:
    """The table; raises what pyarrow raises for what is no UTF-8 and for a name that is there twice."""
    table.validate(full=True)
    return table.select(table.schema.names)


def _raw(parts: Mapping[str, Any], where: str, request: DataRequest, *, large: bool) -> Raw:
    """Splits, each a pyarrow table or a `datasets.Dataset`, as a checked set."""
    if not parts:
        raise DataError(f"{where}: holds no split; expected at least train")
    train, _ = assign(parts, [], where)
    parts = {split: parts[split] for split in (train, *(each for each in parts if each != train))}
    tables = {split: part if isinstance(part, pa.Table) else part.data.table for split, part in parts.items()}
    features = _features(tables, parts, where)
    schema = tables[train].schema
    if image_columns(schema, features):
        return images(tables, parts, features, request, where, in_memory=not large)
    if empty := next((split for split, table in tables.items() if not len(table)), None):
        raise DataError(f"{where}: split {empty!r} is empty; expected at least one row of each class")
    if large:
        raise DataError(
            f"{where}: more than {LARGE // 2**20} MiB of tables or texts, which are held in memory; take fewer rows"
        )
    labels = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    target = target_column(schema.names, request.spec.label, where, labels=labels)
    text = _text(schema, target, where)
    try:
        if text is not None:
            return texts(tables, features, request, target, text, where)
        return vectors(tables, features, request, target, where)
    except FileError as error:  # more than memory holds
        raise DataError(str(error)) from None


def _text(schema: pa.Schema, target: str, where: str) -> str | None:
    """The column of texts, if the set is one of texts; raises DataError where it may be or not."""
    found = [name for name in text_columns(schema) if name != target]
    others = [name for name in schema.names if name not in (*found, target) and not INDEX.fullmatch(name)]
    if not found:
        return None
    if len(found) > 1 or others:
        raise DataError(
            f"{where}: has the column {found[0]!r}, which is read as texts, and beside it "
            f"{', '.join(map(repr, (*found[1:], *others)[:3]))}; take the others out of the files, or, if the rows are "
            f"the inputs, take out or rename {found[0]!r}"
        )
    return found[0]


_Features = dict[str, dict[str, Any]]


def _features(tables: Mapping[str, pa.Table], parts: Mapping[str, Any], where: str) -> _Features:
    """The Hub's description of each column, where there is one; raises DataError if the splits name other classes."""
    found = {split: _described(tables[split].schema, part) for split, part in parts.items()}
    first, features = next(iter(found.items()))
    for split, theirs in found.items():
        for name in features.keys() & theirs.keys():
            if features[name].get("names") != theirs[name].get("names"):
                raise DataError(f"{where}: column {name!r} has other classes in {split} than in {first}; make them one")
    return features


def _described(schema: pa.Schema, part: Any) -> _Features:
    metadata = (schema if isinstance(part, pa.Table) else part.features.arrow_schema).metadata or {}
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):  # what lacks a description, or has a strange one
        return {}
    return {name: each for name, each in found.items() if _sound(each)} if isinstance(found, dict) else {}


def _sound(description: object) -> bool:
    """Whether a column's description is one: classes have names, if any, in a list."""
    names = description.get("names") if isinstance(description, dict) else 0
    return names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))


READERS = {".parquet": _parquet, ".csv": read_csv}

NAMES = {".parquet": "Parquet", ".csv": "CSV"}
"""Suffix -> what such a file is called."""
