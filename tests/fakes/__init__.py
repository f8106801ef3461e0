"""Stand-ins for the outside: an API server that keeps the real one's promises, and a clock that tests own."""
