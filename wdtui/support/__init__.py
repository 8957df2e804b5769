"""What every part may use: texts, files, settings, the machine, errors, and the private parts of other libraries."""
