"""Table 13: the paper's kinds of pictures, on E. coli gene starts, with a few figures, and their place on the page.

All that is shown lies in the last tenth of the chromosome, which neither the classifiers nor the language model read.
Coordinates are 0-based half-open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from Bio.SeqRecord import SeqRecord
from numpy.typing import NDArray

import genomic_ulmfit as gu
from benchmarks.paper.definitions import model_file
from benchmarks.paper.gene_starts import ANNOTATION, UPSTREAM, data_set
from benchmarks.paper.running import QUICK_LABELS, Place, digest_of_file, hardware, learnt_of
from genomic_ulmfit.datasets.metrics import metrics
from genomic_ulmfit.datasets.records import labels, part, place
from genomic_ulmfit.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "paper"
LINKS = "images/paper"  # from the page
LANGUAGE_MODEL = "bacteria-small"
SCANNED = 20_000  # bp, around the middle of the test part
STEP, THRESHOLD, NEAR = 3, 0.9, (10, 50)  # bp of a bin, probability of a call, bp from a call to a start
EXPLAINED, EMBEDDED = 50, 800  # records
NEIGHBOURS = 15
SECTION = "## Table 13: pictures\n"


def draw(place: Place, folder: Path, say: Callable[[str], None]) -> Path:
    """Train two classifiers, draw all pictures, and write what is said of them; return the JSON."""
    import torch

    torch.set_num_threads(1)
    began = perf_counter()
    records = data_set(place.data, 0, split="region")
    learnt = learnt_of(records, QUICK_LABELS if place.quick else None, 0)
    model = model_file(place.models, LANGUAGE_MODEL)
    adapted = gu.finetune(gu.load(model, gu.LanguageModel), learnt, seed=0, progress=False)
    classifiers = {
        "from scratch": _trained((adapted.vocab, adapted.config), learnt, place.quick),
        "pretrained": _trained(adapted, learnt, place.quick),
    }
    say(f"two classifiers after {perf_counter() - began:.0f} s")
    found = pictures(classifiers, gu.Genome(place.data / ANNOTATION), records, place.data, folder)
    said = {
        "pictures": found,
        "identity": {
            "version": gu.__version__,
            "language_models": {LANGUAGE_MODEL: digest_of_file(model)},
            "data": {ANNOTATION: digest_of_file(place.data / ANNOTATION)},
        },
        "n": {"train": len(part(learnt, "train"))},
        "seconds": round(perf_counter() - began, 1),
        "hardware": hardware(),
    }
    path = place.runs / "pictures" / "pictures.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(said, indent=1) + "\n")
    return path


def pictures(
    classifiers: Mapping[str, gu.Classifier], genome: gu.Genome, records: list[SeqRecord], data: Path, folder: Path
) -> list[dict[str, str]]:
    """Draw all pictures into a folder; return file, title and caption of each."""
    from genomic_ulmfit.plot import save_figure

    folder.mkdir(parents=True, exist_ok=True)
    tested = part(records, "test")
    found = []
    drawn = (*_explained(classifiers["pretrained"], tested), _scan(classifiers["pretrained"], genome, tested, data),
             _embedding(classifiers, tested))  # fmt: skip
    for name, title, caption, figure in drawn:
        save_figure(figure, folder / name)
        found.append({"file": name, "title": title, "caption": caption})
    return found


def _trained(start: Any, learnt: list[SeqRecord], quick: bool) -> gu.Classifier:
    return gu.train_classifier(start, learnt, epochs=1 if quick else None, seed=0, progress=False)


# Pictures -------------------------------------------------------------------------------------------------------------

Picture = tuple[str, str, str, "Figure"]


def _explained(classifier: gu.Classifier, tested: list[SeqRecord]) -> list[Picture]:
    """Show saliency at one gene start, and its mean over several."""
    from genomic_ulmfit.plot import plot_saliency
    from genomic_ulmfit.plot_explanations import plot_profile

    starts = [record for record in tested if record.annotations["label"] == "gene_start"]
    chosen = [starts[i] for i in np.random.default_rng(0).permutation(len(starts))[:EXPLAINED]]
    results = gu.saliency(classifier, chosen)
    middle = sorted(results, key=lambda result: result.log_odds)[len(results) // 2]
    profile = gu.average_profile(results, anchor=UPSTREAM)
    peak = int(profile.positions[int(np.nanargmax(profile.mean))])
    return [
        (
            "saliency.png",
            "Perturbation of one gene start",
            f"{middle.record.id}, of {len(chosen)} held-out gene starts drawn by chance the one with the median "
            f"log-odds ({middle.log_odds:.1f} nats). Blue bases speak for a gene start, red ones against; below, "
            "what 1, 5 and 10 bp of other bases in their place take away. 0 is the first base of the start codon.",
            plot_saliency(middle, anchor=UPSTREAM),
        ),
        (
            "saliency-mean.png",
            "The same, mean of many",
            f"Mean saliency of these {len(chosen)} gene starts, whether they are called or not. It is highest at "
            f"{peak:+d}.",
            plot_profile(profile),
        ),
    ]


def _scan(classifier: gu.Classifier, genome: gu.Genome, tested: list[SeqRecord], data: Path) -> Picture:
    """Show the scores of both strands along 20 kb, and count what is found."""
    from genomic_ulmfit.plot import plot_scan

    places = [at for record in tested if (at := place(record))]
    middle = (min(at.start for at in places) + max(at.end for at in places)) // 2
    region = gu.Interval(places[0].chrom, middle - SCANNED // 2, middle + SCANNED // 2)
    blocks = list(gu.scan(classifier, genome, step=STEP, regions=[region], strands="both"))
    calls = [peak.site for peak in gu.call_peaks(blocks, threshold=THRESHOLD)]
    annotation = data / ANNOTATION
    sites = [site for site in gu.read_tss(annotation, feature="CDS") if inside(site, region)]
    genes = [gene for gene in gu.read_genes(annotation) if gene.end > region.start and gene.start < region.end]
    found = {within: sum(any(near(call, site, within) for call in calls) for site in sites) for within in NEAR}
    right = sum(any(near(call, site, NEAR[-1]) for site in sites) for call in calls)
    caption = (
        f"{region.chrom}:{region.start + 1:,}-{region.end:,}, the middle of the held-out stretch; a bin is {STEP} bp. "
        f"Of {len(sites)} annotated starts {' and '.join(map(str, found.values()))} have a call within "
        f"{' and '.join(map(str, NEAR))} bp on their strand, at probability {THRESHOLD} or more; of {len(calls)} "
        f"calls {right} lie within {NEAR[-1]} bp of a start. The classifier learnt from as many gene starts as windows "
        "inside genes, along their strand. Of a genome one place in some 2,000 is a start, and what lies between genes "
        "or on their other strand it has never seen: hence false calls."
    )
    return "scan.png", "A long sequence", caption, plot_scan(blocks, sites=sites, calls=calls, genes=genes)


def inside(site: gu.Interval, region: gu.Interval) -> bool:
    return site.chrom == region.chrom and region.start <= site.start and site.end <= region.end


def near(call: gu.Interval, site: gu.Interval, within: int) -> bool:
    return call.strand == site.strand and abs(call.start - site.start) <= within


def _embedding(classifiers: Mapping[str, gu.Classifier], tested: list[SeqRecord]) -> Picture:
    """Show what the encoders make of held-out records, by t-SNE, and what their neighbours say."""
    from genomic_ulmfit.plot_style import BLUE, ORANGE, paper_figure, paper_letters

    shown = [tested[i] for i in sorted(np.random.default_rng(0).permutation(len(tested))[:EMBEDDED])]
    truth = np.array(labels(shown)) == "gene_start"
    figure = paper_figure(columns=2, height=3.2)
    said = []
    for axes, (name, classifier) in zip(figure.subplots(1, len(classifiers)), classifiers.items(), strict=True):
        features = encodings(classifier, shown)
        x, y = t_sne(features).T
        for of, colour, label in ((~truth, ORANGE, "inside genes"), (truth, BLUE, "gene start")):
            axes.scatter(x[of], y[of], s=3, color=colour, linewidth=0, label=label)
        axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
        axes.set_title(name, loc="left")
        mcc = metrics(truth.astype(int), gu.predict_proba(classifier, shown))["mcc"]
        said.append(f"{name} {neighbours_agree(features, truth):.3f} (MCC of the classifier's calls {mcc:.3f})")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, markerscale=2)
    caption = (
        f"{len(shown)} held-out records: all outputs of the classifiers' LSTM layers, pooled as their heads do, by "
        f"t-SNE. t-SNE keeps neighbours, not distances. Share of records whose {NEIGHBOURS} nearest others, by those "
        f"outputs themselves, are mostly of their class: {'; '.join(said)}."
    )
    return "embedding.png", "What the encoders make of records", caption, paper_letters(figure)


def encodings(classifier: gu.Classifier, records: Sequence[SeqRecord]) -> NDArray[np.floating]:
    """Return the pooled outputs of all layers, standardised: float array (n_records, n_features)."""
    from sklearn.preprocessing import StandardScaler

    from genomic_ulmfit.net.probe import pooled_outputs
    from genomic_ulmfit.predict import encode_records

    features, _ = pooled_outputs(classifier, encode_records(classifier.vocab, records), progress=False)
    return StandardScaler().fit_transform(features)


def t_sne(features: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a place in the plane for each row, the same each time: float array (n_rows, 2)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    most = min(50, *features.shape)
    reduced = PCA(most, random_state=0).fit_transform(features)
    perplexity = min(30, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)


def neighbours_agree(features: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Return the share of rows most of whose nearest other rows are of their class."""
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(features).kneighbors(return_distance=False)
    return float(((truth[nearest].mean(axis=1) > 0.5) == truth).mean())


# Page -----------------------------------------------------------------------------------------------------------------


def section(runs: Path) -> Iterator[str]:
    """Yield the page's lines on the pictures, from the JSON."""
    yield SECTION
    path = runs / "pictures" / "pictures.json"
    if not path.exists():
        yield "Not run yet: `python -m benchmarks.paper pictures`.\n"
        return
    said = json.loads(path.read_text())
    yield (
        "E. coli gene starts, plain, split by region: all that is shown is from the last tenth of the chromosome. The "
        f"classifiers learnt from {said['n']['train']:,} records, one from scratch, one from the language model "
        f"`{LANGUAGE_MODEL}`; the first two pictures and the scan are of the latter. Positives have their start codon "
        "at one index, so the pictures say how a gene start is told, not a promoter.\n"
    )
    for picture in said["pictures"]:
        yield f"### {picture['title']}\n\n![{picture['title']}]({LINKS}/{picture['file']})\n\n{picture['caption']}\n"
    read = said["identity"]["language_models"].items()
    models = ", ".join(f"`{name}` (sha256 {digest[:12]})" for name, digest in read)
    yield f"{said['seconds'] / 3600:.1f} h on {said['hardware']}; version {said['identity']['version']}; {models}.\n"
