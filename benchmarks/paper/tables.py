"""All tables, by name, in the order of the page."""

from benchmarks.paper import gene_starts

TABLES = {table.name: table for table in [*gene_starts.TABLES]}
