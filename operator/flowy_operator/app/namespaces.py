"""Whether the namespaces that the operator is to look after are there: a list of nothing tells no typo from a quiet day."""

import logging
from collections.abc import Sequence

from flowy_operator.adapters.kube import paths
from flowy_operator.adapters.kube.client import KubeClient
from flowy_operator.adapters.kube.errors import ApiError, NotFound

_log = logging.getLogger(__name__)


async def tell_of_missing(client: KubeClient, namespaces: Sequence[str]) -> None:
    """Warn of each that isn't there. One may come later, so it is no error.

    No right is asked for on its account: who works from a desk has it, as a rule, and there the typos are made.
    """
    for name in namespaces:
        try:
            await client.get(paths.namespaces(name))
        except NotFound:
            _log.warning("a namespace is not there, nothing is to be done until it is", extra={"namespace": name})
        except ApiError as error:
            _log.debug("a namespace can't be looked up", extra={"namespace": name, "error": str(error)})
