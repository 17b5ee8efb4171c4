"""Known data sets: one file per set, and how they are fetched, verified and kept."""
