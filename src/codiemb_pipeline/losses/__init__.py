"""The formulas that training minimises: plain functions of tensors, one file each."""
