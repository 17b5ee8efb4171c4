"""The command line: a file for each command, each thin over the public API."""
