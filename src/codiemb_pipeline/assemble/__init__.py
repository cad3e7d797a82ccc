"""Stage ``assemble``: sources and hard negatives become training examples, dev sets and token ids."""
