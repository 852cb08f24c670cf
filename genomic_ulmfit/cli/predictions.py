"""Records in, a table of probabilities out: the verb `predict`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import genomic_ulmfit as gu
from genomic_ulmfit.cli.app import app
from genomic_ulmfit.cli.options import (
    Device,
    ModelFile,
    Precision,
    ReadingPrecision,
    Target,
    check_outputs,
    load_classifier,
    output_file,
    wrote,
)

__all__ = ["predict"]


class ReadStrands(StrEnum):
    """Which strands of a record are read."""

    plus = "+"
    minus = "-"
    mean = "mean"


@app.command()
def predict(
    model: ModelFile,
    data: Annotated[Path, typer.Argument(help="FASTA, CSV or TSV; labels aren't needed.", show_default=False)],
    output: Annotated[Path, output_file("Table to write, .tsv or .csv.")],
    strands: Annotated[
        ReadStrands, typer.Option(help="Read records as they are, their reverse complements, or average both.")
    ] = ReadStrands.plus,
    prior: Annotated[
        float | None,
        typer.Option(help="Share of the target where the records come from, as 0.001. [default: as in training]"),
    ] = None,
    target: Target = None,
    precision: ReadingPrecision = Precision.fp32,
    device: Device = None,
) -> None:
    """Give each record the probabilities of the classes.

    Example: genomic-ulmfit predict clf.safetensors mine.fa -o predictions.tsv --prior 0.001
    """
    from genomic_ulmfit.datasets.records import read_records

    check_outputs(output)
    classifier, records = load_classifier(model), read_records(data)
    found = gu.predict_proba(
        classifier, records, strands=strands.value, precision=precision.value, device=device, progress=True
    )
    if prior is not None:
        found = gu.at_prevalence(classifier, found, prior, target=target)
    wrote(gu.write_predictions(records, found, classifier.classes, output), f"probabilities of {len(records)} records")
