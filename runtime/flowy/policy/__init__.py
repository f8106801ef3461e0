"""Rules that the operator and the local engine both obey: retries and timeouts."""
