"""`make chaos`: run it, show it, judge it, and write docs/reliability.md."""

import argparse
import asyncio
import shutil
import signal
import sys
import uuid
from pathlib import Path

from tests.chaos import run, table
from tests.chaos.plan import FULL, plan_of, share_of
from tests.cluster import cluster
from tests.e2e.kube import Kube, install_crds

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, help="of the whole run; a part writes no page")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it early gets the cluster back whole
    size = FULL if given.share is None else share_of(FULL, given.share)
    if cluster.external_kubeconfig() is not None:
        sys.exit("chaos kills parts of the embedded cluster: unset KUBECONFIG, which names another one")
    kube = Kube(cluster.up(), f"chaos-{uuid.uuid4().hex[:6]}")
    install_crds(kube.kubeconfig)
    kube.run("create", "namespace", kube.namespace)
    folder = ROOT / "build" / "chaos" / str(given.seed)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        report = asyncio.run(run.carry_out(plan_of(given.seed, size), kube, folder, _say))
    finally:
        kube.run("delete", "namespace", kube.namespace, "--wait=false")
    command = "make chaos" if given.seed == 1 else f"make chaos SEED={given.seed}"
    page = table.page(report.table, report.facts, command)
    print(page)
    (folder / "report.md").write_text(page)
    if report.wrong:
        (folder / "wrong").write_text("\n".join([*report.wrong, ""]))
        for line in report.wrong[:20]:
            _say(line)
        sys.exit(f"{len(report.wrong)} things are wrong; objects, logs and the list are in {folder}")
    if size is FULL:
        table.PAGE.write_text(page)


def _say(line: str) -> None:
    print(f"chaos: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
