"""Results in, pages out."""

from genomic_ulmfit.report.auditing import audit_page
from genomic_ulmfit.report.writing import Report, write_report

__all__ = ["Report", "audit_page", "write_report"]
