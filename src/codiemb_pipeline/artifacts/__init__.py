"""What each stage hands to the next, one file per stage that writes it: its tables, arrays and JSON, typed."""
