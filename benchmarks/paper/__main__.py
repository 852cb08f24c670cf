"""The paper's tables, run again, and the page that shows them.

    python -m benchmarks.paper gene_starts --data DIR --models DIR
    python -m benchmarks.paper gene_starts --data DIR --models DIR --quick
    python -m benchmarks.paper few_labels --data DIR --variant masked --labels 20 --seed 0
    python -m benchmarks.paper pictures --data DIR
    python -m benchmarks.paper page

A table is named by its name or number. DIR of data is laid out as the tables' files say; DIR of models holds language
models as NAME.safetensors; those that aren't there are the package's, and rows without theirs are left out. The hours
planned are printed first. Each run writes one JSON; what is there of the same language model, data, settings and
version is not done again, and a run that was stopped goes on. The page is made of the JSON files alone, and shows the
pictures, which are table 13.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.paper import pictures
from benchmarks.paper.definitions import Cell, Table, cells_of, ideas_of
from benchmarks.paper.page import PAGE, write_page
from benchmarks.paper.running import QUICK_RUNS, RUNS, Place, run_cells
from benchmarks.paper.tables import TABLES

PICTURES = ("pictures", "13")


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.table == "page":
        print(write_page(TABLES.values(), options.runs or RUNS, options.out))
        return 0
    table = _named(options.table)
    if table is None and options.table not in PICTURES:
        parser.error(f"there is no table {options.table!r}; wanted page, pictures or one of {', '.join(_names())}")
    if options.data is None or not options.data.is_dir():
        parser.error(f"--data is {options.data}, wanted a folder")
    if options.models and not options.models.is_dir():
        parser.error(f"--models is {options.models}, wanted a folder")
    needed = {file for v in table.variants for file in v.files} if table else {pictures.ANNOTATION}
    absent = sorted(file for file in needed if not (options.data / file).exists())
    if absent:
        parser.error(f"{options.data / absent[0]}: no such file; the table needs {', '.join(absent)}")
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    if options.quick and runs.resolve() == RUNS.resolve():
        parser.error("--quick never writes to the committed runs; name another folder as --runs, or none")
    place = Place(options.data, options.models, runs, options.quick)
    if table is None:
        print(pictures.draw(place, pictures.FOLDER if runs == RUNS else runs / "pictures", say))
    else:
        run_cells(table, chosen(table, options), place, workers=options.workers, say=say)
    return 0


def say(text: str) -> None:
    print(text, flush=True)


def chosen(table: Table, options: argparse.Namespace) -> list[Cell]:
    """Return the cells that the options ask for; of a quick run one seed and the fewest labels."""
    cells = ideas_of(table) if options.ideas else cells_of(table)
    if options.quick:
        fewest = min(n or sys.maxsize for n in table.sizes)
        cells = [cell for cell in cells if cell.seed == 0 and (cell.idea or (cell.n or sys.maxsize) == fewest)]
    wanted = {"variant": options.variant, "row": options.row, "n": options.labels, "seed": options.seed}
    return [cell for cell in cells if all(not of or getattr(cell, name) in of for name, of in wanted.items())]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage, which is long."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _named(name: str) -> Table | None:
    return TABLES.get(name) or next((table for table in TABLES.values() if str(table.number) == name), None)


def _names() -> list[str]:
    return [f"{table.name} ({table.number})" for table in TABLES.values()]


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m benchmarks.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", help=f"page, pictures (13), or one of {', '.join(_names())}")
    parser.add_argument("--data", type=Path, help="folder of the data")
    parser.add_argument("--models", type=Path, help="folder of language models; the package's if not there")
    parser.add_argument("--runs", type=Path, help="folder of the JSON files; that of the repository if not given")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--workers", type=int, default=2, help="processes, each of one thread")
    parser.add_argument("--variant", action="append", help="only this data set of the table; repeatable")
    parser.add_argument("--row", action="append", help="only this row; repeatable")
    parser.add_argument("--labels", type=int, action="append", help="only this number of them; repeatable")
    parser.add_argument("--seed", type=int, action="append", help="only this one; repeatable")
    parser.add_argument("--ideas", action="store_true", help="the table's ideas, on the valid part, not its rows")
    parser.add_argument("--quick", action="store_true", help="a few records, one seed, elsewhere: to see that it runs")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
