"""Measurements: how long training steps take here, and in PyTorch where it is installed."""
