"""What the present params.yaml takes: examples, steps, tokens, memory and disk, before anything runs."""
