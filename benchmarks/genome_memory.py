"""Memory and time of a data set on one large chromosome, by the format of its genome: plain, bgzip, gzip and 2bit.

``python -m benchmarks.genome_memory --data DIR``, where DIR/human-grch37 has chromosome 20 of GRCh37 (63 Mbp) and its
EPDnew BED. Each row is a process of its own; "above start" is its peak above what the imports take. What is read in
place does not grow with the genome; gzip is held in memory whole.
"""

import argparse
import gzip
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from types import ModuleType

import numpy as np

WINDOWS = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    folder = parser.parse_args().data / "human-grch37"
    print(f"{'genome':8} {'what':22} {'seconds':>8} {'peak MiB':>9} {'above start':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        for kind, path in _written(folder / "GRCh37_chr20.fa.gz", Path(scratch)).items():
            for what in (opened, windows, data_set):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    seconds, start, peak = pool.apply(measured, (what, path, folder / "EPDnew_hg19_chr20.bed"))
                print(f"{kind:8} {what.__name__:22} {seconds:8.1f} {peak:9.0f} {peak - start:12.0f}", flush=True)


def measured(what: Callable[..., None], genome: Path, starts: Path) -> tuple[float, float, float]:
    import genomic_ulmfit as gu

    gu.promoter_dataset({"a": "ACGT" * 1000}, [gu.Interval("a", 1000, 1001, strand="+")], split="none")  # imports
    start, began = _peak(), perf_counter()
    what(gu, genome, starts)
    return perf_counter() - began, start, _peak()


def opened(gu: ModuleType, genome: Path, starts: Path) -> None:
    gu.Genome(genome)


def windows(gu: ModuleType, genome: Path, starts: Path) -> None:
    """Fetch windows of 1 kb in random order."""
    opened = gu.Genome(genome)
    ((chrom, size),) = opened.chrom_sizes.items()
    places = np.random.default_rng(0).integers(0, size - 1000, WINDOWS)
    for start in places.tolist():
        opened.sequence(chrom, start, start + 1000)


def data_set(gu: ModuleType, genome: Path, starts: Path) -> None:
    """Build one with gc-matched negatives around the TSSs of EPDnew."""
    gu.promoter_dataset(genome, starts)


def _peak() -> float:
    """Return the most memory in MiB that this process has held; what getrusage says includes its parent's."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _written(packed: Path, folder: Path) -> dict[str, Path]:
    """Write the genome in all formats."""
    import pysam

    plain, bgzip, zipped, twobit = (folder / name for name in ("plain.fa", "bgzip.fa.gz", "gzip.fa.gz", "x.2bit"))
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    pysam.tabix_compress(str(plain), str(bgzip))
    zipped.write_bytes(gzip.compress(plain.read_bytes(), 1))
    header, *lines = plain.read_bytes().splitlines()
    twobit.write_bytes(_twobit(header[1:].split()[0], b"".join(lines)))
    return {"plain": plain, "bgzip": bgzip, "gzip": zipped, "2bit": twobit}


def _twobit(name: bytes, letters: bytes) -> bytes:
    """Return a 2bit file of one sequence without masks."""
    array = np.frombuffer(letters.upper(), dtype=np.uint8)
    codes = np.zeros(256, dtype=np.uint8)
    codes[list(b"TCAG")] = range(4)
    packed = codes[np.pad(array, (0, -len(array) % 4), constant_values=ord("T"))].reshape(-1, 4)
    edges = np.flatnonzero(np.diff(array == ord("N"), prepend=False, append=False)).reshape(-1, 2)
    head = np.array([0x1A412743, 0, 1, 0], "<u4").tobytes() + bytes([len(name)]) + name
    head += np.array([len(head) + 4], "<u4").tobytes()
    blocks = [len(array), len(edges), *edges[:, 0], *(edges[:, 1] - edges[:, 0]), 0, 0]
    return head + np.array(blocks, "<u4").tobytes() + (packed @ np.array([64, 16, 4, 1], np.uint8)).tobytes()


if __name__ == "__main__":
    main()
