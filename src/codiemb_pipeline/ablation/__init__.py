"""``make ablation``: the same data under other losses, samplers and fusions, several seeds each, in one table."""
