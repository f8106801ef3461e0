"""The command line: `python3 -m tests.cluster COMMAND`, from the repository's root."""

import argparse
import os
import sys
from pathlib import Path

from tests.cluster import added_node, cluster, paths, place
from tests.cluster.errors import ClusterError
from tests.cluster.kubectl import kubectl_path


def main(words: list[str]) -> int:
    arguments = _parser().parse_args(words)
    try:
        return _obey(arguments)
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the next `up` or `down` puts things in order\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.cluster", description="A real Kubernetes cluster for tests."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="make it run; the last line of output is the kubeconfig's path")
    commands.add_parser("down", help="stop it and take away everything but images and certificates")
    commands.add_parser("status", help="list the components")
    for verb, meaning in {
        "kill": "end a component as a crash would",
        "start": "start a killed component",
        "restart": "end a component in good order and start it",
        "logs": "print a component's output",
    }.items():
        commands.add_parser(verb, help=meaning).add_argument("component")
    adding = commands.add_parser("node", help="add a node until standard input ends (Ctrl-D)")
    adding.add_argument("number", type=int, choices=range(place.FIRST_ADDED, place.LAST_ADDED + 1))
    image = commands.add_parser("image", help="images without a registry").add_subparsers(dest="action", required=True)
    builder = image.add_parser("build", help="build a Dockerfile and put the image on the node")
    builder.add_argument("dir", type=Path)
    builder.add_argument("tag")
    builder.add_argument("--file", type=Path, help="the Dockerfile (default: DIR/Dockerfile)")
    builder.add_argument("--build-arg", action="append", default=[], metavar="K=V")
    image.add_parser("import", help="put an archive's images on the node").add_argument("tar", type=Path)
    image.add_parser("list", help="list the node's images")
    control = commands.add_parser("kubectl", help="run kubectl on the cluster: kubectl -- get nodes")
    control.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _obey(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "up":
            _print(str(cluster.up()))
        case "down":
            cluster.down()
        case "status":
            return _status()
        case "kill":
            cluster.kill(arguments.component)
        case "start":
            cluster.start(arguments.component)
        case "restart":
            cluster.restart(arguments.component)
        case "logs":
            _print(cluster.log_path(arguments.component).read_text(errors="replace").rstrip())
        case "node":
            added_node.hold(arguments.number)
        case "image":
            _image(arguments)
        case "kubectl":
            _kubectl([word for position, word in enumerate(arguments.words) if (position, word) != (0, "--")])
    return 0


def _status() -> int:
    external = cluster.external_kubeconfig()
    if external is not None:
        _print(f"KUBECONFIG is set: {external}")
        return 0
    components = cluster.status()
    for component in components:
        state = "ready" if component.ready else "not ready" if component.pid else "stopped"
        _print(f"{component.name:24} {state:10} {component.pid or '-':>8} {component.memory_mib:>5} MiB")
    return 0 if all(component.ready for component in components) else 1


def _image(arguments: argparse.Namespace) -> None:
    match arguments.action:
        case "build":
            build_args = {}
            for pair in arguments.build_arg:
                name, equals, value = pair.partition("=")
                if not equals:
                    raise ClusterError(f"--build-arg wants NAME=VALUE, not {pair!r}")
                build_args[name] = value
            tag = cluster.build_image(arguments.dir, arguments.tag, dockerfile=arguments.file, build_args=build_args)
            _print(tag)
        case "import":
            _print("\n".join(cluster.import_image(arguments.tar)))
        case "list":
            _print("\n".join(cluster.list_images()))


def _kubectl(words: list[str]) -> None:
    program = kubectl_path()
    kubeconfig = cluster.external_kubeconfig() or str(paths.KUBECONFIG)
    os.execve(program, ["kubectl", *words], {**os.environ, "KUBECONFIG": kubeconfig})


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
