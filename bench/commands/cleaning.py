"""`bench clean`: undo what the ledger says a killed run left behind."""

from __future__ import annotations

import click

from bench.errors import BenchError
from bench.ledger import Ledger


def clean(*, dry_run: bool = False, services: bool = False, ledger: Ledger | None = None) -> int:
    """Undo every entry whose maker is dead; 0 when nothing is left, 4 when something would not go."""
    ledger = ledger or Ledger()
    left = ledger.left()
    failed = 0
    for entry in left:
        if dry_run:
            click.echo(f"left: {entry.kind} {entry.name}")
            continue
        try:
            ledger.undo(entry)
            click.echo(f"removed {entry.kind} {entry.name}")
        except (BenchError, OSError) as error:
            failed += 1
            click.echo(f"cannot remove {entry.kind} {entry.name}: {error}", err=True)
    if not left:
        click.echo("nothing was left behind")
    if not dry_run and not failed:
        ledger.compact()
    if services and not dry_run:
        from bench.host import services as daemons
        from bench.host.vm import daemon

        stopped = daemons.stop_dockerd(), daemon.stop_libvirtd()
        for ran, name in zip(stopped, ("the Docker daemon", "libvirt's daemons"), strict=True):
            if ran:
                click.echo(f"stopped {name}")
        if not any(stopped):
            click.echo("no daemon of ours is running")
        if daemon.close_kvm():
            click.echo("put /dev/kvm back as it was")
    return 4 if failed else 0
