"""Every odd file of a folder: read as another reader does, or refused in one line. Exit status 1 where one is neither.

``python -m benchmarks.odd_files --data DIR``, where DIR has the folders fasta, 2bit, bed and gff. The table of what is
expected is that of tests/genome/test_odd_files.py, which checks those files that lie in the repository.
"""

import argparse
import logging
import runpy
import sys
import tempfile
from pathlib import Path

TABLE = Path(__file__).parents[1] / "tests" / "genome" / "test_odd_files.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    logging.disable()
    check = runpy.run_path(str(TABLE))["check"]
    paths = sorted(path for path in parser.parse_args().data.glob("*/*") if path.suffix not in (".fai", ".gzi"))
    failed = 0
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            try:
                result = check(path, Path(folder))
            except AssertionError as error:
                result, failed = f"FAILED {error}", failed + 1
        name = f"{path.parent.name}/{path.name}"
        print(f"{name:58} {result[:130]}")
    print(f"{len(paths)} files, {failed} failed")
    return int(failed > 0 or not paths)


if __name__ == "__main__":
    sys.exit(main())
