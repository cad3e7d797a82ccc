"""Training: the plan of batches, the step, the loop, and the processes that run it."""
