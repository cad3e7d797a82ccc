"""Everything a run reads from outside, in one folder with a manifest: made where there is a network, used where not."""
