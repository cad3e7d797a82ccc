"""The formulas that training minimises: plain functions of tensors, one file each.

Knows nothing of models, processes, files, parameters or tasks.
"""
