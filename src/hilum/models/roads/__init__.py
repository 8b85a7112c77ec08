"""Roads: one module per foreign format, each of which makes a `LoadedModel` of files.

None needs the program that wrote the file. Files are taken for hostile: they are read by the
format's rules alone, nothing in them is run, and what they claim of sizes is checked against the
bytes that are there before memory is taken.
"""
