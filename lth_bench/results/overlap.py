"""The overlap of masks of different methods and seeds, from their tickets."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.hashing import sha256
from lth_bench.results.arrays import Bits, Floats
from lth_bench.results.frame import BLOCK, Results
from lth_bench.storage.files import publish
from lth_bench.storage.records import ticket_path

CHUNK = 1 << 17  # bytes of packed masks compared at once
COLUMNS = [*BLOCK, "target", "method", "other", "overlap", "n"]


def overlaps(results: Results) -> pd.DataFrame:
    """Mean Jaccard overlap of masks: weights that both keep, divided by weights that either keeps.

    One row per pair of methods at one target of a leaderboard, averaged over `n` pairs: the seeds that both have or, of
    a method with itself, pairs of different seeds. Without tickets, the overlaps are those of overlap.csv, which
    published tables keep. Raises FileFault for a ticket that differs from its record.
    """
    frame = results.frame[(results.frame["status"] == "done") & (results.frame["asked"] > 0)]
    tickets = {key: path for directory in results.directories for key, path in _tickets(directory)}
    held = frame[frame["key"].isin(tickets)]
    if held.empty:
        return pd.concat([_kept(directory) for directory in results.directories], ignore_index=True)
    hashes = {record.key: record.ticket.sha256 for record in results.records() if record.ticket}
    parts = []
    for place, rows in held.groupby([*BLOCK, "asked"], sort=False):
        packed = [_packed(tickets[key], hashes[key]) for key in rows["key"]]
        if len({mask.size for mask in packed}) == 1:
            parts += [(*place, *pair) for pair in _pairs(rows, _jaccard(np.stack(packed)))]
    return pd.DataFrame(parts, columns=COLUMNS)


def write_overlaps(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes overlaps beside the tables, so that they outlive the tickets; no file if there are none."""
    if table.empty:
        return []
    path = folder / "overlap.csv"
    publish(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode())
    return [path]


def matrices(table: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """By leaderboard and target: a square table of overlaps between methods, NaN where unknown."""
    return {
        place: rows.pivot(index="method", columns="other", values="overlap").reindex(
            index=list(dict.fromkeys(rows["method"])), columns=list(dict.fromkeys(rows["method"]))
        )
        for place, rows in table.groupby([*BLOCK, "target"], sort=False)
    }


def _tickets(directory: Path) -> Iterator[tuple[str, Path]]:
    folder = ticket_path(directory, "").parent
    return ((path.stem, path) for path in folder.glob("*.safetensors")) if folder.is_dir() else iter(())


def _kept(directory: Path) -> pd.DataFrame:
    """The overlaps of overlap.csv."""
    path = directory / "overlap.csv"
    try:
        content = path.read_text(encoding="utf-8") if path.exists() else ""
        table = pd.read_csv(StringIO(content), keep_default_na=False) if content else pd.DataFrame(columns=COLUMNS)
    except (OSError, ValueError) as error:
        raise FileFault(f"cannot read {path}: {error}; delete it, as it is optional") from error
    if list(table.columns) != COLUMNS:
        raise FileFault(f"{path} has the columns {', '.join(table.columns)}, not {', '.join(COLUMNS)}; delete it")
    return table


def _packed(path: Path, digest: str) -> Bits:
    """The masks of a ticket, one bit a weight, layer after layer."""
    from safetensors import SafetensorError, safe_open

    try:
        if sha256(path.read_bytes()) != digest:
            raise FileFault(f"{path} is not the ticket of its record: its hash differs; delete it")
        with safe_open(path, "numpy") as tensors:
            names = sorted(name for name in tensors.keys() if name.startswith("mask/"))  # noqa: SIM118 (no dict)
            return np.concatenate([tensors.get_tensor(name) for name in names])
    except (OSError, SafetensorError) as error:
        raise FileFault(f"cannot read {path}: {error}; delete it") from error


def _jaccard(packed: Bits) -> Floats:
    """Overlaps between all rows of packed masks."""
    both = np.zeros((len(packed), len(packed)))
    for start in range(0, packed.shape[1], CHUNK):
        bits = np.unpackbits(packed[:, start : start + CHUNK], axis=1).astype(np.float32)
        both += bits @ bits.T
    kept = both.diagonal()
    either = kept[:, None] + kept[None, :] - both
    return np.divide(both, either, out=np.full_like(both, np.nan), where=either > 0)


def _pairs(rows: pd.DataFrame, jaccard: Floats) -> Iterator[tuple[str, str, float, int]]:
    methods, seeds = rows["method"].to_numpy(), rows["seed"].to_numpy()
    same_seed = seeds[:, None] == seeds[None, :]
    places = {method: np.flatnonzero(methods == method) for method in dict.fromkeys(methods)}
    for method, mine in places.items():
        for other, yours in places.items():
            here = np.ix_(mine, yours)
            pairs = jaccard[here][same_seed[here] if method != other else ~same_seed[here]]
            if pairs.size and not np.isnan(pairs).all():
                yield method, other, float(np.nanmean(pairs)), pairs.size // (1 + (method == other))
