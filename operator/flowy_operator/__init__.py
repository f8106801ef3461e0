"""The Flowy operator: Workflow objects in, Jobs out. `app` assembles, `adapters` touch the world, `core` decides."""
