"""The report: what the other stages wrote, as one page to look at, a few headline numbers and a table."""
