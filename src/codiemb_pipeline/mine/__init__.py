"""Stage ``mine``: hard negatives for every training query, and an audit of how they were found."""
