"""Chaos on the embedded cluster: everything is killed, starved and cut off while hundreds of workflows run.

    plan ─▶ run ──▶ verdict ─▶ table
             ├─ replicas, relay     two operators outside the cluster, and the line between them and the API server
             ├─ fake_kubelet        runs the pods of fake nodes, and notes each start outside of the cluster
             ├─ observer            what the Workflows' histories say, as a watch of our own tells
             └─ blows, etcd         what is done to all of that

The simulator (`tests/sim`) has the same programs and the same oracle, a thousand times as often. Here the API server, etcd
and the controllers are the real ones, and what they do when they die is theirs.
"""
