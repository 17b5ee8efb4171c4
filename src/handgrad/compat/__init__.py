"""Programs written for other libraries, run by handgrad."""
