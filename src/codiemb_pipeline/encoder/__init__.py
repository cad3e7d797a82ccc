"""The text encoder: prompts, tokens, pooling, weights in and out."""
