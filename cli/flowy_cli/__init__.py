"""The command line `flowy`, also `kubectl flowy`: starts, follows, stops and replays Workflows, and draws what ran when."""
