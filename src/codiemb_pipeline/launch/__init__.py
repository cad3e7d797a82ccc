"""Processes of this machine: started by torchrun, guarded, given their work, asked why they failed."""
