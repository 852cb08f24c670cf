"""All tables, by name, in the order of the page."""

from benchmarks.paper import gene_starts, gue, long_promoters, reads, short_sets, sweeps, transcripts

_MODULES = (gene_starts, short_sets, gue, long_promoters, reads, transcripts, sweeps)
_ALL = sorted((table for module in _MODULES for table in module.TABLES), key=lambda table: table.number)
TABLES = {table.name: table for table in _ALL}
