"""The custom resource: pydantic models, the CRD made from them, and what they become inside."""
