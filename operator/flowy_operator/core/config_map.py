"""A value -> the manifest of the ConfigMap that holds it, and back."""

import base64
from collections.abc import Mapping
from typing import Any

from flowy_operator.core.job import Owner, labels_of, owner_reference
from flowy_operator.core.values import CONTENT


def config_map_manifest(owner: Owner, name: str, text: str, *, run: int) -> dict[str, Any]:
    """The ConfigMap of a value. Nobody can change it, only delete it: what a history refers to stays what it was.

    The text is in `binaryData` and not in `data`: escaped, as our client sends it, it could take three times its bytes
    (any letter that isn't ASCII), and the API server takes no request above 3 MiB. Base64 is a third longer, always.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": labels_of(owner, run),
            "ownerReferences": [owner_reference(owner)],
        },
        "immutable": True,
        "binaryData": {CONTENT: base64.b64encode(text.encode()).decode()},
    }


def text_of(config_map: Mapping[str, Any]) -> str | None:
    """The text in a ConfigMap, or None if this isn't one that holds a value."""
    try:
        return base64.b64decode(config_map["binaryData"][CONTENT], validate=True).decode()
    except (KeyError, TypeError, ValueError):
        return None
