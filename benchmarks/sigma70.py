"""Does a classifier of E. coli's sigma70 promoters look at the -10 and the -35 box, of which nobody told it?

Promoters are those of RegulonDB 13 (PromoterSet), in the 81 bp that it prints: 60 before the TSS, and 21 from it on.
The last fifth of the chromosome is the test part, the twentieth before it the valid part; test promoters that share a
25-mer with a training record are left out. The language model must not have seen the test part.

Negatives are by default the windows beside the promoters ("flank"): they have the same neighbourhood, and so nearly
the same composition and genes, as the promoters, and lack their signals. From windows inside genes a promoter can be
told by its A and T alone, and the model then needs no box.

    python -m benchmarks.sigma70 OUT --data DIR --lm bacteria-small

Trains (minutes), prints MCC and AUC on the test part with baselines, then averages the saliency of held-out promoters,
drawn so that no two of their windows overlap: where the profile peaks, and how much more saliency the boxes hold than
the flanks. RegulonDB's data are for academic use and stay where they are; the model stays in OUT.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from Bio.SeqRecord import SeqRecord

import genomic_ulmfit as gu
from genomic_ulmfit.columns import aligned
from genomic_ulmfit.datasets.homology import KmerSet
from genomic_ulmfit.datasets.records import letters, part
from genomic_ulmfit.evaluation import table
from genomic_ulmfit.explanation import mean_heights
from genomic_ulmfit.plot import save_figure
from genomic_ulmfit.plot_explanations import plot_logo, plot_profile
from genomic_ulmfit.profiles import enrichment

FIXTURES = Path(__file__).parents[1] / "data" / "fixtures"
UPSTREAM, DOWNSTREAM = 60, 21
FRACTIONS = (0.75, 0.05, 0.2)
# Positions from the TSS, half-open, by the consensus TTGACA (-36 to -31) and TATAAT (-12 to -7) with the 17 bp between
# them (Harley & Reynolds, Nucleic Acids Res. 15:2343, 1987), and 2 bp to either side: TSS and spacer vary by that.
BOXES = {"-35": (-38, -28), "-10": (-14, -4)}
FLANKS = [(-60, -43), (1, 21)]
SPACER = (-28, -14)


@dataclass(frozen=True)
class Task:
    """Records of all parts, and the held-out promoters whose saliency is asked for."""

    records: list[SeqRecord]
    explained: list[SeqRecord]


def build(data: Path, negatives: str, ratio: float, n: int, seed: int) -> Task:
    """Build the data set, and draw `n` test promoters no two of which overlap."""
    genome = gu.Genome(FIXTURES / "NC_000913.3.fasta.gz")
    records = gu.promoter_dataset(
        genome,
        gu.read_tss(data / "ecoli" / "RegulonDB-13_PromoterSet.tsv.gz", feature="sigma70", genome=genome),
        upstream=UPSTREAM,
        downstream=DOWNSTREAM,
        negatives=negatives,
        ratio=ratio,
        genes=FIXTURES / "NC_000913.3.gbk.gz" if negatives == "gene-body" else None,
        split="region",
        fractions=FRACTIONS,
        seed=seed,
    )
    learnt = KmerSet(letters(record) for record in records if record.annotations["split"] != "test")
    test = part(records, "test")
    seen = {id(record) for record, hit in zip(test, learnt.hits(map(letters, test)), strict=True) if hit}
    print(f"{len(seen)} of {len(test)} test records share a 25-mer with a training or valid record and are left out")
    records = [record for record in records if id(record) not in seen]
    held_out = [record for record in part(records, "test") if record.annotations["label"] == "promoter"]
    return Task(records, apart(held_out, n, seed))


def apart(records: list[SeqRecord], n: int, seed: int) -> list[SeqRecord]:
    """Draw up to `n` records that don't overlap on either strand: neighbours would count the same bases twice."""
    taken: list[SeqRecord] = []
    for i in np.random.default_rng(seed).permutation(len(records)):
        here = records[i].annotations
        if all(here["end"] <= r.annotations["start"] or r.annotations["end"] <= here["start"] for r in taken):
            taken.append(records[i])
        if len(taken) == n:
            break
    return taken


def classifier(task: Task, options: argparse.Namespace) -> gu.Classifier:
    """Train, or load what this folder has already."""
    path = options.out / f"{options.name}.safetensors"
    if not path.exists():
        model = gu.train_classifier(
            gu.load(options.lm, gu.LanguageModel),
            task.records,
            method=options.method,
            epochs=options.epochs,
            drop_mult=options.drop_mult,
            seed=options.seed,
            log=None if options.method == "probe" else options.out / f"{options.name}.csv",
            progress=False,
        )
        gu.save(model, path)
    loaded = gu.load(path, gu.Classifier)
    assert isinstance(loaded, gu.Classifier)
    return loaded


def explain(model: gu.Classifier, records: list[SeqRecord], options: argparse.Namespace) -> dict[str, object]:
    """Average the saliency of held-out promoters, draw it, and measure peaks and boxes."""
    called = (gu.predict_proba(model, records)[:, 1] >= 0.5).sum()
    print(f"{len(records)} held-out promoters that don't overlap, of which the model calls {called}", flush=True)
    results = gu.saliency(model, records, lengths=(1, 5, 10), draws=3, seed=options.seed)
    profile = gu.average_profile(results, seed=options.seed)
    figure = plot_profile(profile, boxes=[(*where, name) for name, where in BOXES.items()])
    save_figure(figure, options.out / f"{options.name}.profile.{options.format}")
    changes = gu.mutagenesis(model, records)
    logo = plot_logo(mean_heights(records, changes), anchor=model.anchor, ylabel="mean, nats")
    save_figure(logo, options.out / f"{options.name}.logo.{options.format}")
    gu.write_modisco(records, changes, options.out / f"{options.name}.npz")
    rows = [["", "peak", "mean (nats)", "less flanks, 95 %", "times flanks, 95 %"]]
    found: dict[str, object] = {"records": len(records), "called": int(called)}
    for name, where in {**BOXES, "spacer": SPACER}.items():
        one = enrichment(profile, where, FLANKS, seed=options.seed)
        inside = np.flatnonzero(profile.inside(where))
        peak = int(profile.positions[inside[np.argmax(profile.mean[inside])]])
        rows.append([name, str(peak), f"{one.box:.3f}", interval(one.difference), interval(one.ratio)])
        found[name] = {"peak": peak, **one._asdict()}
    print("\n".join(aligned(rows)))
    print("highest positions of all: " + ", ".join(map(str, peaks(profile, 4))))
    return found | {"peaks": peaks(profile, 4), "mean": [round(float(x), 4) for x in profile.mean]}


def peaks(profile: gu.Profile, n: int) -> list[int]:
    """Return the positions of the `n` highest local maxima of the profile, at least 8 bp apart, highest first."""
    left, found = profile.mean.copy(), []
    for _ in range(n):
        at = int(np.nanargmax(left))
        found.append(int(profile.positions[at]))
        left[max(0, at - 7) : at + 8] = np.nan
    return found


def interval(figures: tuple[float, float, float]) -> str:
    return f"{figures[0]:.2f} ({figures[1]:.2f} to {figures[2]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder for model, pictures and figures; made if it isn't there")
    parser.add_argument("--data", type=Path, required=True, help="folder with ecoli/RegulonDB-13_PromoterSet.tsv.gz")
    parser.add_argument("--lm", required=True, help="name or file of a language model that has not seen the last fifth")
    parser.add_argument("--negatives", default="flank", help="a strategy of genomic_ulmfit.datasets.negatives")
    parser.add_argument("--ratio", type=float, default=1.0, help="negatives for each promoter")
    parser.add_argument("--method", choices=["finetune", "probe", "auto"], default="finetune")
    parser.add_argument("--epochs", type=int, help="by the number of records if not given")
    parser.add_argument("--drop-mult", type=float)
    parser.add_argument("--promoters", type=int, default=200, help="held-out promoters to explain; 0: only train")
    parser.add_argument("--format", choices=["svg", "png"], default="png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    settings = [
        options.negatives,
        f"{options.ratio:g}",
        options.method,
        options.epochs,
        options.drop_mult,
        options.seed,
    ]
    options.name = "-".join(str(setting) for setting in settings if setting is not None)
    task = build(options.data, options.negatives, options.ratio, options.promoters, options.seed)
    model = classifier(task, options)
    found = gu.evaluate(model, task.records)
    print(table({options.name: found}), flush=True)
    figures = {"test": found.to_dict()}
    if options.promoters:
        figures["saliency"] = explain(model, task.explained, options)
    path = options.out / f"{options.name}.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"{path}: the figures")


if __name__ == "__main__":
    main()
