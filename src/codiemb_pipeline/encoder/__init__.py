"""The text encoder: prompts, tokens, pooling, weights in and out. Knows nothing of losses, stages or Kedro."""
