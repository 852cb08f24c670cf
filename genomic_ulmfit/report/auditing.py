"""An audit in, a page of it out: HTML that needs no network, to be read on a phone or printed. Nothing is computed."""

from __future__ import annotations

from typing import Any

from genomic_ulmfit.datasets.findings import NAMES, VERDICTS, AuditReport, tables
from genomic_ulmfit.plot import as_svg, plot_baselines, plot_distribution
from genomic_ulmfit.report.page import filled

__all__ = ["audit_page", "audit_parts"]


def audit_page(report: AuditReport, *, title: str = "Audit of a data set") -> str:
    """Lay an audit out as a page.

    Parameters
    ----------
    report : AuditReport
        From `genomic_ulmfit.audit`.
    title : str
        Heading, such as the file's name.

    Returns
    -------
    str
        HTML with its style and pictures inside. The same report gives the same text.
    """
    return filled("audit.html", title=title, **audit_parts(report, ""))


def audit_parts(report: AuditReport, name: str) -> dict[str, Any]:
    """Return what the templates need to show an audit.

    Parameters
    ----------
    report : AuditReport
        From `genomic_ulmfit.audit`.
    name : str
        Tells its pictures from those of other audits on the page.
    """
    return {
        "report": report,
        "words": VERDICTS[report.verdict],
        "tables": tables(report),
        "pictures": _pictures(report, name),
    }


def _pictures(report: AuditReport, name: str) -> list[tuple[str, str]]:
    """Return captions and SVG elements; a length that all records have in common is not drawn."""
    here, apart = (
        {NAMES[rival]: found["mcc"] for rival, found in baselines.items()}
        for baselines in (report.baselines, report.homology_split["baselines"])
    )
    pictures = []
    if here:
        scores = {"this split": here} | ({"relatives on one side": apart} if apart else {})
        caption = "What no neural net scores. A model has to be better than this."
        pictures.append((caption, as_svg(plot_baselines(scores), f"baselines{name}")))
    for what, xlabel in (("gc", "share of G and C"), ("length", "length (bp)")):
        counts, edges = report.distributions[what]["counts"], report.distributions[what]["edges"]
        if what == "length" and edges[-1] - edges[0] <= 1:
            continue
        figure = plot_distribution(counts, edges, xlabel=xlabel, log=what == "length" and edges[-1] > 10 * edges[0])
        n, of = len(counts), len(report.distributions[what]["quantiles"])
        classes = "of each class" if n == of else f"of the {n} largest of {of:,} classes"
        pictures.append((f"Distribution {classes}: {xlabel}.", as_svg(figure, f"{what}{name}")))
    return pictures
