"""Stage ``ingest``: named sources into normalised tables, with bad rows counted and kept aside."""
