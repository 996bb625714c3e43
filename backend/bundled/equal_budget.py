"""Measures what `distill bench budget` lacks, and ships what is measured in `resources/figures/equal-budget.json`.

    python -m backend.bundled.equal_budget [--seed N] [METHOD ...]

Several processes may do so at a time, each with other seeds or methods. Sample sheets go to the folder of kept cells.
"""

import argparse
import json
import os

from backend import equal_budget
from backend.bench import kept_cells


def main() -> None:
    """Go through the cells, and after each write down all rows that are of this code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    asked = parser.parse_args()
    folder = kept_cells() / "budget"
    for cell in equal_budget.cells(asked.methods, asked.seed or equal_budget.SEEDS):
        row = equal_budget.row_of(cell, folder, equal_budget.read_shipped())
        # Read again: another process may have written meanwhile.
        rows = sorted((equal_budget.read_shipped() | {cell.key: row}).items())
        text = ",\n".join(f"{json.dumps(key)}: {json.dumps(each)}" for key, each in rows)
        equal_budget.SHIPPED.parent.mkdir(exist_ok=True)
        unfinished = equal_budget.SHIPPED.with_suffix(f".{os.getpid()}.unfinished")
        unfinished.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")
        unfinished.replace(equal_budget.SHIPPED)
        print(cell.key, row["problem"] or f"Frechet distance {row['figures']['frechet']:.3f}", flush=True)


if __name__ == "__main__":
    main()
