"""The operator from end to end: manifests applied with kubectl, Jobs on a real Kubernetes."""
