"""The Kubernetes API, as bytes and dictionaries."""
