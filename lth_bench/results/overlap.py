"""The overlap of masks of different methods and seeds, from their tickets."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.hashing import canonical, sha256
from lth_bench.results.arrays import Bits, Floats
from lth_bench.results.frame import BLOCK, Results
from lth_bench.storage.files import publish
from lth_bench.storage.reading import content
from lth_bench.storage.records import ticket_path

CHUNK = 1 << 17  # bytes of packed masks compared at once
LARGEST_TABLE, LARGEST_TICKET = 1 << 26, 1 << 36  # bytes
HASHES = ["board", "method_hash", "other_hash"]
COLUMNS = [*BLOCK, "target", "method", "other", "overlap", "n", *HASHES]


def overlaps(results: Results) -> pd.DataFrame:
    """Mean Jaccard overlap of masks: weights that both keep, divided by weights that either keeps.

    One row per pair of methods at one target of a leaderboard, averaged over `n` pairs: the seeds that both have or, of
    a method with itself, pairs of different seeds. Without tickets, the overlaps are those of overlap.csv, which
    published tables keep; hashes tell there what labels, which may change, do not. A ticket that differs from its
    record is left out; the evidence has its fault.
    """
    frame = _hashed(results.frame)
    frame = frame[(frame["status"] == "done") & (frame["asked"] > 0)]
    tickets = {key: path for directory in results.directories for key, path in _tickets(directory)}
    held = frame[frame["key"].isin(tickets)]
    if held.empty:
        kept = pd.concat([_kept(directory, results) for directory in results.directories], ignore_index=True)
        return _renamed(kept, frame)
    hashes = {record.key: record.ticket.sha256 for record in results.records() if record.ticket}
    parts = []

    def packed_masks(key: str, label: str) -> Bits | None:
        try:
            return _packed(tickets[key], hashes.get(key))
        except FileFault as fault:
            results.evidence.leave_out(key, label, fault)
            return None

    for (*place, board, target), rows in held.groupby([*BLOCK, "board", "asked"], sort=False):
        packed = list(map(packed_masks, rows["key"], rows["label"]))
        masks = [mask for mask in packed if mask is not None]
        if len({mask.size for mask in masks}) == 1:
            compared = rows[[mask is not None for mask in packed]]
            meanings = dict(zip(compared["method"], compared["meaning"], strict=True))
            for pair in _pairs(compared, _jaccard(np.stack(masks))):
                parts.append((*place, target, *pair, board, meanings[pair[0]], meanings[pair[1]]))
    return pd.DataFrame(parts, columns=COLUMNS)


def _hashed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a hash of their leaderboard, whatever its labels."""
    names = frame[["dataset_choice", "model_choice", "board_hash"]].itertuples(index=False, name=None)
    return frame.assign(board=[sha256(canonical(list(place)).encode())[:8] for place in names])


def _renamed(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Overlaps under the labels that the rows of the frame have now, without those of other rows."""
    boards = frame.drop_duplicates("board").set_index("board")
    methods = frame.drop_duplicates(["board", "meaning"]).set_index(["board", "meaning"])["method"]
    table = table.assign(
        **{name: table["board"].map(boards[name]) for name in BLOCK},
        method=methods.reindex(pd.MultiIndex.from_frame(table[["board", "method_hash"]])).to_numpy(),
        other=methods.reindex(pd.MultiIndex.from_frame(table[["board", "other_hash"]])).to_numpy(),
    )
    return table.dropna(subset=[*BLOCK, "method", "other"]).reset_index(drop=True)


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


def _kept(directory: Path, results: Results) -> pd.DataFrame:
    """The overlaps of overlap.csv; none if it cannot be used."""
    path, nothing = directory / "overlap.csv", pd.DataFrame(columns=COLUMNS)
    try:
        return _table(path) if path.exists() else nothing
    except FileFault as fault:
        results.evidence.leave_out("", path.name, fault)
        return nothing


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(BytesIO(content(path, LARGEST_TABLE)), keep_default_na=False)
    except (ValueError, OverflowError) as error:
        raise FileFault(f"cannot read {path}: {error}; delete it, as it is optional") from error
    if list(table.columns) != COLUMNS:
        names = ", ".join(map(str, table.columns))[:300]
        raise FileFault(f"{path} has the columns {names}, not {', '.join(COLUMNS)}; delete it")
    if not all(pd.api.types.is_numeric_dtype(table[name]) for name in ("target", "overlap", "n")):
        raise FileFault(f"{path} has words where numbers belong; delete it")
    return table


def _packed(path: Path, digest: str | None) -> Bits:
    """The masks of a ticket, one bit a weight, layer after layer. Raises FileFault."""
    from safetensors import SafetensorError, safe_open

    if sha256(content(path, LARGEST_TICKET)) != digest:
        raise FileFault(f"{path} is not the ticket of its record: its hash differs; delete it")
    try:
        with safe_open(path, "numpy") as tensors:
            names = sorted(name for name in tensors.keys() if name.startswith("mask/"))  # noqa: SIM118 (no dict)
            masks = [tensors.get_tensor(name) for name in names]
    except (OSError, SafetensorError, TypeError, ValueError, KeyError) as error:
        raise FileFault(f"cannot read {path}: {error}; delete it") from error
    if not masks or any(mask.dtype != np.uint8 or mask.ndim != 1 for mask in masks):
        raise FileFault(f"{path} has no masks of packed bits; delete it")
    return np.concatenate(masks)


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
