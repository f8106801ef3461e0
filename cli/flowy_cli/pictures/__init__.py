"""Pictures of a run: its graph, its timeline, and a report of both. All that comes from a run is somebody else's text."""
