"""Who may write: a Lease, one for each shard, and how many shards there are."""
