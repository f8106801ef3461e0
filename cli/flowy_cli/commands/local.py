"""`run`: a workflow on this machine, without a cluster."""

import os

import click


@click.command(short_help="Run a workflow on this machine, without a cluster.")
@click.argument("source", metavar="FILE|FILE.py:FACTORY")
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@click.option("-k", "--kwarg", "keywords", multiple=True, metavar="NAME=VALUE", help="A keyword argument; repeatable.")
@click.option("--name", metavar="NAME", help="Which Workflow or definition, if the file has several.")
@click.option(
    "--activities",
    metavar="FILE.py",
    help="With a factory: the file of the functions that are its tasks. Default: the same.",
)
@click.option(
    "--in",
    "wish",
    type=click.Choice(["auto", "process", "container", "podman", "docker", "nerdctl"]),
    default="auto",
    show_default=True,
    help="Where activities run: as commands of this machine, or in containers; auto means containers if an engine answers.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Activities at once. Default: 4, or one a CPU."
)
@click.option("--sequential", is_flag=True, help="One activity after the other.")
@click.option("--logs", is_flag=True, help="Print what activities have printed, on standard error.")
@click.option("--record", metavar="FILE", help="Write the run into a file, for graph, describe and replay.")
@click.option(
    "--unlocked", is_flag=True, help="Run the workflow's code with your own rights, where it can't be locked in."
)
@click.option("-q", "--quiet", is_flag=True, help="Don't show how it goes.")
def run(
    source: str,
    arguments: tuple[str, ...],
    keywords: tuple[str, ...],
    name: str | None,
    activities: str | None,
    wish: str,
    workers: int | None,
    sequential: bool,  # noqa: FBT001 - click passes flags so
    logs: bool,  # noqa: FBT001
    record: str | None,
    unlocked: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001
) -> None:
    """Run a workflow on this machine: a manifest, or a factory in a Python file with functions for its tasks.

    Of a manifest, each activity's command runs as a process here, or its image in a container, with the same files and
    variables as in the cluster. ARGUMENTs replace the manifest's input; each is JSON, or text as it stands.

    The result goes to standard output as JSON. If the workflow fails, the exit code is 1. Ctrl-C cancels it: its code may
    clean up; the second time it ends.
    """
    from contextlib import nullcontext

    from flowy_cli.arguments import argument, keyword_arguments
    from flowy_cli.local import ends, watching

    args, kwargs = [argument(text) for text in arguments], keyword_arguments(keywords)
    count = 1 if sequential else workers or max(4, os.cpu_count() or 1)
    if source.endswith(".py"):
        raise click.UsageError(f"{source} holds Python: say which factory in it, as {source}:NAME")
    is_factory = ":" in source and source.partition(":")[0].endswith(".py")
    for option, given, fits in (
        ("--activities", activities, is_factory),
        ("--record", record, not is_factory),
        ("--name", name, not is_factory),
        ("--logs", logs, not is_factory),
    ):
        if given and not fits:
            raise click.UsageError(f"{option} has no meaning for a {'factory' if is_factory else 'manifest'}")
    with nullcontext() if quiet else watching.watched() as watcher:
        if is_factory:
            from flowy_cli.local.module import run_module

            finished = run_module(source, args, kwargs, activities=activities, workers=count, watcher=watcher)
        else:
            from flowy_cli.documents import objects
            from flowy_cli.local.doing import way_of
            from flowy_cli.local.manifest import manifest_of
            from flowy_cli.local.missing import left_out
            from flowy_cli.local.running import run_manifest
            from flowy_cli.replaying import decider
            from flowy_cli.texts import place_of, read_text
            from flowy_operator.core.printable import printable

            where = place_of(source)
            manifest = manifest_of(objects(read_text(source), where), where, name)
            for sentence in left_out(manifest.spec):
                click.echo(printable(sentence, kept=""), err=True)
            way = way_of(wish)
            with decider.unlocked() if unlocked else decider.locked() as within:
                finished = run_manifest(
                    manifest,
                    args,
                    kwargs,
                    way=way,
                    decide=within(manifest.spec.decision_timeout_s),
                    workers=count,
                    watcher=watcher,
                    told=ends.print_log if logs else ends.keep_quiet,
                )
            if record is not None:
                ends.write_record(record, finished, manifest)
    ends.tell(finished)
