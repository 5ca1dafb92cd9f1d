"""Tools for authors of tasks: a first package, a look at the data, the contract."""
