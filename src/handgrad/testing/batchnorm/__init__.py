"""What `handgrad.testing.check_batchnorm` is made of."""
