"""A bundle: everything that a run reads from outside, in one folder, for machines without a network."""
