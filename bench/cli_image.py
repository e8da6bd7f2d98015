"""The commands about the sandbox image: building it, showing where it is, removing it."""

from __future__ import annotations

import click

from bench.errors import BenchError


@click.group(short_help="The sandbox image that every runtime uses.")
def image() -> None:
    """The sandbox image, one tree of Debian packages that every runtime uses."""


@image.command(name="build", short_help="Build it, once, and what machines need with it.")
@click.option("--vm", is_flag=True, help="Also the boot layer: what machines need besides, such as a kernel.")
@click.option("--box", is_flag=True, help="Also the Vagrant box of both; prints the command that adds it.")
def image_build(vm: bool, box: bool) -> None:
    """Build the sandbox image from Debian packages, and the layer of applications on it.

    Nothing is done where they are there already.
    """
    from bench import applications, bootlayer
    from bench import image as sandbox

    def progress(text: str) -> None:
        click.echo(text, err=True)

    built = sandbox.build(progress)
    click.echo(f"{built.tag}  {built.digest}")
    served = applications.build(built, progress)
    click.echo(f"{served.tag}  {served.digest}")
    if vm or box:
        layer = bootlayer.build(built, progress)
        click.echo(f"boot layer  {layer.digest}  {layer.disk}")
    if box:
        click.echo(f"vagrant box add --force {bootlayer.catalog(layer, progress)}")


@image.command(name="show", short_help="Print its tag, digest and place, and its boot layer's.")
def image_show() -> None:
    """Print tag, digest and place of the sandbox image, and of the layers on it."""
    from bench import applications, bootlayer
    from bench import image as sandbox

    found = sandbox.find()
    if found is None:
        raise BenchError("there is no sandbox image yet", fix="bench image build")
    click.echo(f"{found.tag}\n{found.digest}\n{found.root}")
    served = applications.find(found)
    if served is not None:
        click.echo(f"{served.tag}\n{served.digest}\n{served.root}")
    layer = bootlayer.find(found)
    if layer is not None:
        click.echo(f"boot layer  {layer.digest}  kernel {layer.kernel_release}\n{layer.disk}")


@image.command(name="rm", short_help="Remove one from the cache, with what was made of it.")
@click.argument("digest")
def image_rm(digest: str) -> None:
    """Remove a sandbox image from the cache, with all layers and Vagrant boxes made of it."""
    from bench import applications, bootlayer
    from bench import image as sandbox
    from bench.host.vm import vagrant

    # The layers first: they name the image, and are found through it only.
    removed = bootlayer.remove(digest)
    if removed:
        vagrant.forget_boxes()
    removed += applications.remove(digest)
    if not sandbox.remove(digest) and not removed:
        raise BenchError(f"there is no sandbox image {digest}", fix="bench image show")


COMMANDS = (image,)
