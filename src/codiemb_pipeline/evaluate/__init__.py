"""Stage ``evaluate``: models by benchmarks through mteb, cached result by result, and the geometry of their spaces."""
