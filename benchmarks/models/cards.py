"""What the cards of models that ship say beside what training writes into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import genomic_ulmfit as gu

LICENCE = "MIT, as the package; NCBI places no restriction on the sequences that it learnt from"
CITATION = (
    "this package; K. Heyer, Genomic-ULMFiT, 2019; J. Howard, S. Ruder, arXiv:1801.06146; "
    "S. Merity, N. S. Keskar, R. Socher, arXiv:1708.02182"
)
SOURCES = {
    "bacteria": "NCBI / INSDC genome records, listed with their sha256",
    "human": "GRCh37 chromosome 20, listed with its sha256 (Genome Reference Consortium)",
}


def hardware() -> str:
    """Say what a training ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    on = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} thread(s) of {cpu}"
    return f"{on}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def described(name: str, summary: str, intended_use: str, not_for: str, data: str) -> dict[str, Any]:
    """Return the fields of a card that a publisher writes (`genomic_ulmfit.cards.PUBLISHED`)."""
    return {
        "name": name,
        "summary": summary,
        "intended_use": intended_use,
        "not_for": not_for,
        "data": SOURCES.get(data, SOURCES["bacteria"]),
        "licence": LICENCE,
        "citation": CITATION,
        "version": gu.__version__,
    }
