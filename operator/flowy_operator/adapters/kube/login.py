"""Where the cluster is and how to prove who we are: a kubeconfig, or the service account of the pod we run in."""

import asyncio
import logging
import os
from pathlib import Path

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME

TOKEN_CHECK_S = 60.0
"""How often credentials of a kubeconfig are looked at again; plug-ins are asked only when their answer has expired."""

SERVICE_NAMESPACE_FILENAME = str(Path(SERVICE_TOKEN_FILENAME).with_name("namespace"))

_DEFAULT_NAMESPACE = "default"

_ODD_CREDENTIALS = (ConfigException, OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)
"""What the library raises over a file that isn't as it should be: whatever it trips over."""

_log = logging.getLogger(__name__)


class NoClusterError(Exception):
    """There is no usable way to a cluster; the message says what was looked for."""


async def load_configuration(kubeconfig: str | None, context: str | None) -> Configuration:
    """Read one or the other. Credentials that expire are looked at again while in use. Raises NoClusterError."""
    configuration = Configuration()
    # From Python 3.13 on strict is the default, and refuses authorities that kubectl takes: clusters in use have some without
    # a key usage, or certificates that don't name their authority's key.
    configuration.disable_strict_ssl_verification = True
    try:
        if kubeconfig is not None:
            await _load_kubeconfig(configuration, kubeconfig, context)
        elif in_a_pod():
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            raise NoClusterError(
                "no kubeconfig was named (--kubeconfig ~/.kube/config, as a rule), and there is no service account of a pod"
                f" ({SERVICE_TOKEN_FILENAME})"
            )
    except _ODD_CREDENTIALS as error:
        raise NoClusterError(f"no way to the cluster by {kubeconfig or 'the service account'}: {error}") from error
    return configuration


def current_namespace(kubeconfig: str | None, context: str | None) -> str:
    """The namespace that is meant where none is named: the context's, or that of the pod we are in, else `default`.

    To be asked for a configuration that could be loaded. Raises NoClusterError.
    """
    if kubeconfig is None:
        path = Path(SERVICE_NAMESPACE_FILENAME)
        return (path.read_text().strip() if path.is_file() else "") or _DEFAULT_NAMESPACE
    try:
        contexts, current = list_kube_config_contexts(kubeconfig)  # type: ignore[no-untyped-call]
        chosen = current if context is None else next(item for item in contexts if item["name"] == context)
        return str(chosen["context"].get("namespace") or _DEFAULT_NAMESPACE)
    except (*_ODD_CREDENTIALS, StopIteration) as error:
        raise NoClusterError(f"{kubeconfig} has no usable context {context or 'that is current'}: {error}") from error


def in_a_pod() -> bool:
    """Whether there is a service account here, and an API server that belongs to it."""
    return Path(SERVICE_TOKEN_FILENAME).is_file() and SERVICE_HOST_ENV_NAME in os.environ


def _any_file(kubeconfig: str) -> bool:
    """Several files may be named, as in $KUBECONFIG."""
    return any(Path(path).expanduser().is_file() for path in kubeconfig.split(os.pathsep) if path)


async def _load_kubeconfig(configuration: Configuration, kubeconfig: str, context: str | None) -> None:
    if not _any_file(kubeconfig):
        # The library would only log this, and then fail with a riddle.
        raise NoClusterError(f"no kubeconfig at {kubeconfig}")
    loader = await load_kube_config(  # type: ignore[no-untyped-call]
        kubeconfig, context=context, client_configuration=configuration, persist_config=False
    )
    loop = asyncio.get_running_loop()
    checked_at = loop.time()

    async def refresh(own: Configuration) -> None:
        # The library's own refresh is an endless task for exec plug-ins only. This one serves every kind of token:
        # loading again runs a plug-in only when its answer has expired, and reads a token file anew.
        nonlocal checked_at
        if loop.time() - checked_at < TOKEN_CHECK_S:
            return
        checked_at = loop.time()  # first, so that calls in the meantime go on with what they have
        try:
            await loader.load_and_set(own)
        except _ODD_CREDENTIALS:
            _log.warning("credentials can't be renewed", exc_info=True)

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]
