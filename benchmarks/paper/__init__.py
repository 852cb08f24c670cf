"""The paper's tables, run again: data and language models in, one JSON a run and a page of tables out.

A table (`definitions`) names data sets, rows, published figures and aims; `running` does its cells, each one training
or one baseline, by the methods of `methods`; `page` writes docs/results.md from nothing but the JSON files. Adding a
table is one module that defines `TABLES`, and a line in `tables`.
"""
