"""The command line: a file a verb, each of which parses, calls one function and prints."""
