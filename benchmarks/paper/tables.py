"""All tables, by name, in the order of the page."""

from benchmarks.paper import gene_starts, gue, short_sets

_ALL = sorted([*gene_starts.TABLES, *short_sets.TABLES, *gue.TABLES], key=lambda table: table.number)
TABLES = {table.name: table for table in _ALL}
