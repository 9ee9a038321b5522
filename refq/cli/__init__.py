"""The command line: options, opened inputs, exit codes, files written whole."""
