"""Peak memory of a scan of a short and of a long chromosome: it is not to grow with the genome.

The net is tiny, so that millions of windows take minutes; what a scan holds (a stretch of the chromosome, blocks of
windows, the answers not yet taken) is the same with any net but for its widths.

    python -m benchmarks.scan_memory
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

SIZES = (1, 10, 60)  # Mbp
STEP = 50


def write_fasta(path: Path, mbp: int) -> None:
    """Write a random chromosome, a megabase at a time."""
    rng = np.random.default_rng(0)
    with path.open("w") as handle:
        handle.write(">chr1\n")
        for _ in range(mbp * 10):
            lines = np.array(list("ACGT"))[rng.integers(0, 4, (1000, 100))]
            handle.write("\n".join(map("".join, lines)) + "\n")


def scan(path: str) -> None:
    """Scan both strands into a track; say how much memory that took."""
    import genomic_ulmfit as gu

    config = gu.AWDLSTMConfig(n_embedding=16, n_hidden=24, n_layers=2, n_head=8, pool="all")
    model = gu.Classifier(gu.KmerVocab(3), config, ["background", "x"], window=150, anchor=100).eval()
    began = perf_counter()
    gu.write_track(gu.scan(model, path, step=STEP), Path(path).with_suffix(".bedgraph"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak {peak:,.0f} MiB, {perf_counter() - began:.0f} s")


def main() -> None:
    if len(sys.argv) > 1:
        return scan(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        for mbp in SIZES:
            path = Path(folder) / f"{mbp}.fa"
            write_fasta(path, mbp)
            command = [sys.executable, "-m", "benchmarks.scan_memory", str(path)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(
                f"{mbp:3} Mbp, both strands, step {STEP}, {2 * mbp * 1_000_000 // STEP:,} windows: {said}", flush=True
            )
    return None


if __name__ == "__main__":
    main()
