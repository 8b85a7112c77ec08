"""The command line: a thin shell over recipes; Spark and torch load when a command needs them."""
