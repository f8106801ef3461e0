"""Keys, certificates and kubeconfigs. Made once and kept: a kubeconfig copied somewhere stays good over restarts.

By the openssl program, because the standard library can read certificates but not make them.
"""

import base64
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.network import API_PORT, FIRST_SERVICE, NODE, NODE_ADDRESS
from tests.cluster.paths import CERTIFICATES, KUBECONFIG
from tests.cluster.place import FIRST, Place

DAYS = "3650"  # it serves one machine's tests; an expired certificate would only puzzle whoever comes back after a year
NAMES = (
    "localhost",
    NODE,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
ADDRESSES = ("127.0.0.1", NODE_ADDRESS, FIRST_SERVICE)
SERVER = f"https://{NODE_ADDRESS}:{API_PORT}"

CA = CERTIFICATES / "ca.crt"
CA_KEY = CERTIFICATES / "ca.key"
SERVICE_ACCOUNT_KEY = CERTIFICATES / "service-account.key"
SERVICE_ACCOUNT_PUBLIC_KEY = CERTIFICATES / "service-account.pub"
_COMPLETE = CERTIFICATES / "complete"


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate; its subject says who the holder is to the API server: CN the user, O the group."""

    name: str
    user: str
    group: str = ""

    @property
    def certificate(self) -> Path:
        return CERTIFICATES / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        return CERTIFICATES / f"{self.name}.key"

    @property
    def kubeconfig(self) -> Path:
        return KUBECONFIG if self.name == "admin" else CERTIFICATES / f"{self.name}.kubeconfig"


ADMIN = Identity("admin", "flowy-admin", "system:masters")
CONTROLLER_MANAGER = Identity("kube-controller-manager", "system:kube-controller-manager")
SCHEDULER = Identity("kube-scheduler", "system:kube-scheduler")
PROXY = Identity("kube-proxy", "system:kube-proxy")
KUBELET = Identity("kubelet", f"system:node:{NODE}", "system:nodes")
SERVING = Identity("serving", "flowy-cluster")  # one for all servers: they are all at the same addresses
CLIENTS = (ADMIN, CONTROLLER_MANAGER, SCHEDULER, PROXY, KUBELET)


def ensure() -> None:
    """Make everything unless it is there; a half-made set is made anew."""
    if _COMPLETE.exists():
        return
    shutil.rmtree(CERTIFICATES, ignore_errors=True)
    CERTIFICATES.mkdir(parents=True)
    CERTIFICATES.chmod(0o700)
    _key(CA_KEY)
    _openssl("req", "-x509", "-new", "-key", CA_KEY, "-days", DAYS, "-subj", "/CN=flowy-cluster-ca", "-out", CA)
    _key(SERVICE_ACCOUNT_KEY)
    # A file of its own: the API server finds the public half in "EC PRIVATE KEY" files, but not in those that openssl writes.
    _openssl("pkey", "-in", SERVICE_ACCOUNT_KEY, "-pubout", "-out", SERVICE_ACCOUNT_PUBLIC_KEY)
    alternatives = [f"DNS:{name}" for name in NAMES] + [f"IP:{address}" for address in ADDRESSES]
    _certificate(SERVING, f"extendedKeyUsage=serverAuth\nsubjectAltName={','.join(alternatives)}\n")
    for identity in CLIENTS:
        _certificate(identity, "extendedKeyUsage=clientAuth\n")
        _write_kubeconfig(identity)
    _COMPLETE.touch()


def of_kubelet(place: Place) -> tuple[Identity, Identity]:
    """What the kubelet is to the API server, and what it shows to those that call it."""
    if place == FIRST:
        return KUBELET, SERVING
    return Identity(f"kubelet-{place.name}", f"system:node:{place.name}", "system:nodes"), Identity(
        f"serving-{place.name}", place.name
    )


def ensure_of_kubelet(place: Place) -> None:
    """Make them for an added node, unless they are there."""
    identity, serving = of_kubelet(place)
    if not identity.kubeconfig.exists():
        _certificate(serving, f"extendedKeyUsage=serverAuth\nsubjectAltName=IP:{place.address}\n")
        _certificate(identity, "extendedKeyUsage=clientAuth\n")
        _write_kubeconfig(identity)


def _openssl(*words: str | Path) -> None:
    run(["openssl", *words], doing="making certificates")


def _key(path: Path) -> None:
    # Elliptic curves: an RSA key costs a second on a slow machine and each handshake ten times as much.
    _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def _certificate(identity: Identity, extensions: str) -> None:
    subject = f"/O={identity.group}/CN={identity.user}" if identity.group else f"/CN={identity.user}"
    request = identity.certificate.with_suffix(".csr")
    extension_file = identity.certificate.with_suffix(".ext")
    extension_file.write_text(f"basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n{extensions}")
    _key(identity.key)
    _openssl("req", "-new", "-key", identity.key, "-subj", subject, "-out", request)
    signing = ("-req", "-in", request, "-CA", CA, "-CAkey", CA_KEY, "-days", DAYS)
    number = ("-set_serial", str(secrets.randbits(64)))  # no file that counts: several nodes are made at once
    _openssl("x509", *signing, *number, "-extfile", extension_file, "-out", identity.certificate)
    request.unlink()
    extension_file.unlink()


def _write_kubeconfig(identity: Identity) -> None:
    """Everything is inside the file, so that it may be copied; JSON, which is YAML too."""

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "flowy-cluster", "cluster": {"server": SERVER, "certificate-authority-data": inline(CA)}}
        ],
        "users": [
            {
                "name": identity.name,
                "user": {
                    "client-certificate-data": inline(identity.certificate),
                    "client-key-data": inline(identity.key),
                },
            }
        ],
        "contexts": [
            {"name": "flowy-cluster", "context": {"cluster": "flowy-cluster", "user": identity.name}},
        ],
        "current-context": "flowy-cluster",
    }
    with os.fdopen(os.open(identity.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
