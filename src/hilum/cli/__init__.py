"""The command line: a thin shell over recipes; Spark and torch load only when a command needs them."""
