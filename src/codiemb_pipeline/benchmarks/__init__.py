"""The paper's 15 benchmarks of C-MTEB: what they are, where they lie, and the texts in them."""
