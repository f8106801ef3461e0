"""Where the containers of activities call: heartbeats, and results that are too long for a file."""
