"""The command line: options, checks, what is set up before the first sample, what is said at the end; playing files."""
