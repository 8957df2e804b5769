"""Code for all packages: texts, files, the machine, errors, and the private parts of other libraries."""
