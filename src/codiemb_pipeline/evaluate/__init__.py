"""Stage ``evaluate``: scores models on benchmarks through mteb, caches every result, and measures embedding spaces."""
