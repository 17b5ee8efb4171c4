"""Measurements beside other programs; none of them is a test. They share `handgrad.bench`."""
