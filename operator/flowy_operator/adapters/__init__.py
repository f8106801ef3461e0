"""One outside thing each: the API server, kopf, the decider process, our custom resource."""
