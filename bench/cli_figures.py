"""The commands behind the figures of docs/method.md: keeping a recording, and replaying all of them."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Keep a comparison of one thing with itself for `figures`.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--label", required=True, help="What the machine was like, e.g. quiet or noisy.")
@click.option("--metric", default="start.ready", show_default=True, help="Which of its times is kept.")
def recording(run: Path, file: Path, label: str, metric: str) -> None:
    """Keep the starts of RUN, a `bench compare` of one thing with itself, as a small Parquet FILE."""
    from bench.commands import figures as work

    click.echo(work.record(run, file, label, metric))


@click.command(short_help="Work out the figures of docs/method.md from recordings.")
@click.argument("recordings", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--seed", type=int, default=1, show_default=True, help="Of the replays.")
@click.option("--windows", type=click.IntRange(1), default=4000, show_default=True, help="Replays of each.")
@click.option("--write", type=click.Path(path_type=Path, exists=True), help="Put them into this document.")
def figures(recordings: Path, seed: int, windows: int, write: Path | None) -> None:
    """Replay the gate and the history on a folder of recordings: false alarms, power, coverage, costs."""
    from bench.commands import figures as work

    click.echo(work.written(recordings, seed, windows, write))


COMMANDS = (recording, figures)
