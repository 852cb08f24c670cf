"""The program itself, and what goes for all its verbs."""

from __future__ import annotations

from typing import Annotated

import typer

import genomic_ulmfit as gu

__all__ = ["app"]

app = typer.Typer(
    name="genomic-ulmfit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # rich would take "[default: ...]" in a help text for a style, and leave it out
    help="ULMFiT for genomes: from a genome and its gene starts to a classifier, tracks and explanations. "
    "Typed regions (chr:start-end) are 1-based inclusive, as in samtools; files are what their format says.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(gu.__version__)
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
