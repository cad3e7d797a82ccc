"""What the present params.yaml will take, told before it is run."""
