"""The report: the results of all stages as one page, a few headline numbers and a table."""
