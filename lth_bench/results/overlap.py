"""The overlap of masks of different methods and seeds, from their tickets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lth_bench.errors import FileFault
from lth_bench.hashing import canonical, sha256
from lth_bench.results.arrays import Bits, Floats
from lth_bench.results.chance import chance_overlaps, excess
from lth_bench.results.frame import BLOCK, Results
from lth_bench.storage.files import publish
from lth_bench.storage.reading import content
from lth_bench.storage.record import LayerSparsity
from lth_bench.storage.records import ticket_path
from lth_bench.storage.zoo import PackedMasks, Parcel, present, ticket_masks, unpacked

CHUNK = 1 << 17  # bytes of packed masks compared at once
DIGITS = "%.6g"  # of numbers in overlap.csv
LARGEST_TABLE = 1 << 26  # bytes
HASHES = ["board", "method_hash", "other_hash"]
PAIR = [*BLOCK, "target", "method", "other"]
MEASURED = [*PAIR, "overlap", "n", *HASHES]
"""The columns that take tickets; records alone give the others."""
COLUMNS = [*PAIR, "overlap", "chance", "excess", "n", *HASHES]


class Recorded(NamedTuple):
    """What a record tells of a mask: the hash of its ticket, and the weights of each layer."""

    digest: str | None
    layers: Mapping[str, LayerSparsity]


def overlaps(results: Results) -> pd.DataFrame:
    """Mean Jaccard overlap of masks: weights that both keep, divided by weights that either keeps.

    One row per pair of methods at one target of a leaderboard, averaged over `n` pairs: the seeds that both have or, of
    a method with itself, pairs of different seeds. `chance` is the mean overlap of random masks that keep as many
    weights in each layer, and `excess` how far `overlap` is above it: 1 for equal masks, 0 at chance. Without tickets
    or packed masks, the overlaps are those of overlap.csv, which published tables keep; hashes tell there what labels,
    which may change, do not. A ticket that differs from its record is left out; the evidence has its fault.
    """
    frame = _hashed(results.frame)
    frame = frame[(frame["status"] == "done") & (frame["asked"] > 0)]
    read = {key: one for directory in results.directories for key, one in _masks(directory).items()}
    held = frame[frame["key"].isin(read)]
    if held.empty:
        kept = pd.concat([_kept(directory, results) for directory in results.directories], ignore_index=True)
        table = _renamed(kept, frame)
        return _with_chance(table, frame, {} if table.empty else _recorded(results))
    recorded, parts, unread = _recorded(results), [], []

    def packed_masks(key: str, label: str) -> Bits | None:
        try:
            return read[key](recorded[key].digest).joined
        except FileFault as fault:
            unread.append(key)
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
    return _with_chance(pd.DataFrame(parts, columns=MEASURED), held[~held["key"].isin(unread)], recorded)


def _recorded(results: Results) -> dict[str, Recorded]:
    return {
        record.key: Recorded(record.ticket.sha256 if record.ticket else None, record.sparsity.layers)
        for record in results.records()
        if record.sparsity
    }


def _with_chance(table: pd.DataFrame, rows: pd.DataFrame, recorded: Mapping[str, Recorded]) -> pd.DataFrame:
    """Measured overlaps with those of chance, from the records of these rows."""
    if table.empty:
        return table.reindex(columns=COLUMNS)
    parts = []
    for (*place, target), some in rows[rows["key"].isin(recorded)].groupby([*BLOCK, "asked"], sort=False):
        levels = chance_overlaps([recorded[key].layers for key in some["key"]])
        parts += [(*place, target, *pair[:3]) for pair in _pairs(some, levels)]
    chance = pd.DataFrame(parts, columns=[*PAIR, "chance"]).astype({"target": float, "chance": float})
    return _with_excess(table.astype({"target": float}).merge(chance, on=PAIR, how="left"))[COLUMNS]


def _with_excess(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(excess=excess(table["overlap"].to_numpy(float), table["chance"].to_numpy(float)))


def _hashed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a hash of their leaderboard, whatever its labels."""
    names = frame[["dataset_choice", "model_choice", "board_hash"]].itertuples(index=False, name=None)
    return frame.assign(board=[sha256(canonical(list(place)).encode())[:8] for place in names])


def _renamed(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Overlaps under the labels that the rows of the frame have now, without those of other rows."""
    boards = frame.drop_duplicates("board").set_index("board")
    methods = frame.drop_duplicates(["board", "meaning"]).set_index(["board", "meaning"])["method"]
    targets = {float(DIGITS % target): target for target in frame["asked"]}
    table = table.assign(
        target=table["target"].map(lambda target: targets.get(target, target)),
        **{name: table["board"].map(boards[name]) for name in BLOCK},
        method=methods.reindex(pd.MultiIndex.from_frame(table[["board", "method_hash"]])).to_numpy(),
        other=methods.reindex(pd.MultiIndex.from_frame(table[["board", "other_hash"]])).to_numpy(),
    )
    return table.dropna(subset=[*BLOCK, "method", "other"]).reset_index(drop=True)


def write_overlaps(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes overlaps beside the tables, so that they outlive the tickets; no file if there are none."""
    if table.empty:
        return []
    publish(overlap_path(folder), formatted_overlaps(table).encode())
    return [overlap_path(folder)]


def overlap_path(folder: Path) -> Path:
    return folder / "overlap.csv"


def formatted_overlaps(table: pd.DataFrame) -> str:
    """Overlaps as CSV, which is the same whether they come from masks or from such a file."""
    rounded = table.assign(overlap=[float(DIGITS % overlap) for overlap in table["overlap"]])
    return _with_excess(rounded).to_csv(index=False, float_format=DIGITS, lineterminator="\n")


def matrices(table: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """By leaderboard and target: a square table of how far methods overlap above chance, NaN where unknown."""
    return {
        place: rows.pivot(index="method", columns="other", values="excess").reindex(
            index=list(dict.fromkeys(rows["method"])), columns=list(dict.fromkeys(rows["method"]))
        )
        for place, rows in table.groupby([*BLOCK, "target"], sort=False)
    }


def _masks(directory: Path) -> dict[str, Callable[[str | None], PackedMasks]]:
    """How to read masks, by key and given the hash of the ticket: of tickets, and else those beside the records."""
    packed = {key: partial(_unpacked, directory, parcel) for key, parcel in present(directory).items()}
    folder = ticket_path(directory, "").parent
    tickets = folder.glob("*.safetensors") if folder.is_dir() else ()
    return {**packed, **{path.stem: partial(ticket_masks, path) for path in tickets}}


def _unpacked(directory: Path, parcel: Parcel, digest: str | None) -> PackedMasks:
    return unpacked(directory, parcel)


def _kept(directory: Path, results: Results) -> pd.DataFrame:
    """The measured columns of overlap.csv; nothing if it cannot be used."""
    path, nothing = overlap_path(directory), pd.DataFrame(columns=MEASURED)
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
    if not set(MEASURED) <= set(table.columns):
        names = ", ".join(map(str, table.columns))[:300]
        raise FileFault(f"{path} has the columns {names}, not {', '.join(MEASURED)}; delete it")
    if not all(pd.api.types.is_numeric_dtype(table[name]) for name in ("target", "overlap", "n")):
        raise FileFault(f"{path} has words where numbers belong; delete it")
    return table[MEASURED]


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
