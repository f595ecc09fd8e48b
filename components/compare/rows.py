"""Which rows a run has used: the trace from a run, or a model, back to the rows of its sources."""

from pathlib import Path

from components.lib.data.splits import FROM_TRAINING
from components.lib.files import read_jsonl, write_jsonl
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion

ROWS = "rows.jsonl"


def trace_rows(data: Path, store: Store, out: Path) -> dict[str, float]:
    """Write `out`/rows.jsonl with {"place", "source", "index", "hash"} of every row in the files of `data`.

    `index` counts the source's rows, whose revision the plan names; `hash` is that of the row's normal form. Returns
    how many different rows there are, and how many of them the champion's run did not have.
    """
    rows = [
        {"place": split, **{name: row[name] for name in ("source", "index", "hash")}}
        for split in FROM_TRAINING
        for row in read_jsonl(data / f"{split}.jsonl")
    ]
    write_jsonl(out / ROWS, rows)
    mine, before = {row["hash"] for row in rows}, champion_rows(store, out.with_name(f".{ROWS}"))
    return {"rows": float(len(mine)), "new_rows": float(len(mine - before))}


def champion_rows(store: Store, scratch: Path) -> set[str]:
    """The hashes of the rows that the champion's run has used; empty without a champion."""
    champion = read_champion(store)
    key = f"runs/{champion['run_id']}/results/{ROWS}" if champion else ""
    if not key or not store.keys(key):
        return set()
    store.get_file(key, scratch)
    try:
        return {row["hash"] for row in read_jsonl(scratch)}
    finally:
        scratch.unlink()
